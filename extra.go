package onceq

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"time"
)

// MaxExtra is how many bytes NewRow.Extra has at most.
const MaxExtra = 1 << 10

// extra is what an enqueue says of its job that no rule of keys reads, and no
// store: see [NewRow].Extra. A new member is added here, and nowhere in a
// store. Members that this version does not know are passed over, so that
// programs of two versions can share a store. The names are stored.
type extra struct {
	Backoff *storedBackoff `json:"backoff,omitempty"`
	Trace   *TraceContext  `json:"trace,omitempty"`
}

// storedBackoff is the stored form of a Backoff, in milliseconds.
type storedBackoff struct {
	Initial int64   `json:"initial_ms"`
	Max     int64   `json:"max_ms"`
	Factor  float64 `json:"factor"`
}

// encode is the stored form; nil when nothing was said.
func (e extra) encode() ([]byte, error) {
	if e == (extra{}) {
		return nil, nil
	}
	return json.Marshal(e)
}

// extra reads what the enqueue said. What cannot be read counts as not said.
func (j *JobRow) extra() (e extra) {
	if len(j.Extra) == 0 || json.Unmarshal(j.Extra, &e) != nil {
		return extra{}
	}
	return e
}

// Backoff is how long a job waits after a failed attempt, in place of
// WorkerConfig.Retry. After attempt n that is Initial × Factor^(n-1), at most
// Max. Up to a tenth of it is taken off at random, so that jobs that failed
// together do not come back together. It is an [Option], and it goes with the
// args: where another enqueue replaces them, its Backoff replaces this one. The
// zero Backoff is that of the worker.
type Backoff struct {
	Initial time.Duration // after the first attempt; at least 1ms
	Max     time.Duration // 0 = 24h
	Factor  float64       // 0 = 2; 1 = always Initial
}

func (b Backoff) apply(s *settings) { s.backoff, s.backoffAt = b, s.at }

// check checks a backoff, and fills in what was not said.
func (b *Backoff) check() error {
	if *b == (Backoff{}) {
		return nil
	}
	if b.Max == 0 {
		b.Max = max(maxRetryDelay, b.Initial)
	}
	if b.Factor == 0 {
		b.Factor = 2
	}
	switch {
	case b.Initial < time.Millisecond:
		return invalid("Backoff.Initial", b.Initial, "must be at least 1ms")
	case b.Max < b.Initial:
		return invalid("Backoff.Max", b.Max, "must not be less than {Initial}, %v", b.Initial)
	case math.IsNaN(b.Factor) || b.Factor < 1 || b.Factor > 100:
		return invalid("Backoff.Factor", b.Factor, "must be 1 to 100; 1 means that each wait is as long as the first")
	}
	return checkDuration("Backoff.Max", b.Max)
}

// wait is the longest wait after this attempt, counted from 1.
func (b Backoff) wait(attempt int) time.Duration {
	d := float64(b.Initial) * math.Pow(b.Factor, float64(max(attempt, 1)-1))
	if d >= float64(b.Max) { // +Inf too
		return b.Max
	}
	return time.Duration(d)
}

// stored is the stored form; nil when nothing was said.
func (b Backoff) stored() *storedBackoff {
	if b == (Backoff{}) {
		return nil
	}
	return &storedBackoff{ceilMilli(b.Initial).Milliseconds(), ceilMilli(b.Max).Milliseconds(), b.Factor}
}

// Backoff is the backoff of the job's own; the zero value when it has none.
func (j *JobRow) Backoff() Backoff {
	b := j.extra().Backoff
	if b == nil {
		return Backoff{}
	}
	read := Backoff{time.Duration(b.Initial) * time.Millisecond, time.Duration(b.Max) * time.Millisecond, b.Factor}
	if read.check() != nil {
		return Backoff{} // another program wrote it
	}
	return read
}

// ownRetry is the policy of a job: its own backoff, or else policy.
func ownRetry(job *JobRow, policy RetryPolicy) RetryPolicy {
	if len(job.Extra) == 0 {
		return policy
	}
	b := job.Backoff()
	if b == (Backoff{}) {
		return policy
	}
	return func(job *JobRow, _ error) time.Duration {
		d := b.wait(job.Attempt)
		return d - rand.N(d/10+1)
	}
}
