package onceq

import (
	"math/rand/v2"
	"time"
)

// RetryPolicy says how long a job waits after a failed attempt before the
// next one. job is the row as it was fetched: Attempt is the number of the
// attempt that failed, from 1. Zero or less means at once. It is called
// only while attempts are left, from many goroutines at once; a run that
// was lost with its worker is a failure too. If it panics, [DefaultRetry]
// is used, and the panic is recorded with the attempt.
type RetryPolicy func(job *JobRow, err error) time.Duration

const (
	minRetryDelay = 500 * time.Millisecond
	maxRetryDelay = 24 * time.Hour
)

// DefaultRetry is exponential backoff with jitter: anything from half a
// second to 2s after the first attempt, to 4s after the second, and so on
// to at most 24 hours. The half second keeps a job from spending several
// attempts within a second while something restarts. The 25 attempts of the
// default span about five days on average.
func DefaultRetry(job *JobRow, _ error) time.Duration {
	ceiling := maxRetryDelay
	if job.Attempt < 17 { // 2^17 s is more than a day
		ceiling = min(ceiling, time.Second<<max(job.Attempt, 1))
	}
	return minRetryDelay + rand.N(ceiling-minRetryDelay)
}
