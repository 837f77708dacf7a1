package onceq

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq/internal/fingerprint"
	"github.com/onceq/onceq/internal/reserved"
)

// A claim of package guard is a job that no worker fetches. It holds the key
// of a message that waits in somebody else's broker. Its run time is the
// instant at which the message counts as lost: nothing runs then, but an
// enqueue that meets a claim that is due takes its key. This file is what the
// client has to know of it.

// guardPrefix begins the queues of claims; the name of the guard follows.
const guardPrefix = reservedPrefix + "guard/"

// metaPatience is the member of a claim's meta that says how long, in
// milliseconds, its message may be silent until it counts as lost. It is
// written after the key was computed.
const metaPatience = reservedPrefix + "patience_ms"

// claimAttempts keeps a claim from being discarded: whether a message is tried
// again is for its broker to say.
const claimAttempts = 1_000_000

// guarded is an [Option] of package guard only: the enqueue makes a claim.
type guarded struct{ reserved.Claim }

func (o guarded) apply(s *settings) { s.guard, s.queue = &o.Claim, guardPrefix+o.Guard }

// notBefore is an [Option] of package guard only: patience begins then.
type notBefore time.Time

func (o notBefore) apply(s *settings) { s.notBefore = time.Time(o) }

func init() {
	reserved.NotBefore = func(t time.Time) any { return notBefore(t) }
	reserved.Guarded = func(c reserved.Claim) any { return guarded{c} }
	reserved.Acquire = acquire
	reserved.AcquireMany = acquireMany
	reserved.Uncertain = uncertainOne
	reserved.Patience = patienceOf
	reserved.Logger = safeLogger
	reserved.Decide = func(job *JobRow, err, cause error, policy RetryPolicy) (f Finish) {
		decideSafely(&f, job, err, cause, policy)
		return f
	}
}

// checkGuarded refuses options that mean nothing to a claim.
func (s *settings) checkGuarded() error {
	for _, o := range []struct {
		name string
		at   level
		why  string
	}{
		{"Queue", s.queueAt, "a claim stands in the queue of its guard"},
		{"RunAt", s.runAtAt, "no worker runs a claim; {Delay} says how long its message may be silent"},
		{"Priority", s.priorityAt, "no worker fetches a claim"},
		{"MaxAttempts", s.maxAttemptsAt, "how often a message is tried is for its broker to say"},
	} {
		if o.at != unsaid {
			return invalid(o.name, "", "is {said %s}, and "+o.why+": leave it away", o.at)
		}
	}
	if s.policyAt != unsaid && s.policy != ConflictPolicy(Reject) {
		return invalid("OnConflict", s.policy, "is {said %s}, and a guard refuses every duplicate: leave it away, "+
			"or say {Reject}", s.policyAt)
	}
	if s.delayAt != unsaid && s.delay < time.Millisecond {
		return invalid("delay", s.delay, "is how long a message may be silent until it counts as lost: at least 1ms")
	}
	return nil
}

// asClaim makes a row a claim: it is in doubt, it keeps a digest in place of
// the args, and a duplicate is refused unless the holder is due.
func (s *settings) asClaim(row *NewRow) error {
	if !s.unique && !s.guard.ByID {
		row.unguarded = true
		return nil
	}
	patience := s.guard.Patience
	if s.delayAt != unsaid && patience > 0 {
		patience = row.Delay
	}
	if patience > 0 {
		patience = min(patience+max(time.Until(s.notBefore), 0), maxDuration)
	}
	row.Delay, row.MaxAttempts = s.guard.InDoubt, claimAttempts
	row.Reactions = Reactions{Scheduled: ActionRefuse, Available: ActionTake, Running: ActionRefuse,
		Retryable: ActionRefuse, Ended: ActionRefuse}
	digest, err := [16]byte{}, error(nil)
	if row.Claim != nil {
		digest = row.Claim.Digest
		row.Claim.Hold.FromEnqueue = true // no run time is meant by that of a claim
	} else if digest, err = fingerprint.Digest(row.Args, row.Encoding == EncodingJSON); err != nil {
		return invalidFrom(err, false)
	}
	row.Args, row.Encoding = []byte(`"`+hex.EncodeToString(digest[:])+`"`), EncodingJSON
	member := `"` + metaPatience + `":` + strconv.FormatInt(patience.Milliseconds(), 10) + `}`
	if row.Meta == nil {
		row.Meta = []byte("{" + member)
	} else {
		row.Meta = append(append(row.Meta[:len(row.Meta)-1], ','), member...)
	}
	return nil
}

// patienceOf is how long the message of a claim may be silent, and a slot of
// the whole fleet that lost its worker. ok is false for any other job.
func patienceOf(j *JobRow) (patience time.Duration, ok bool) {
	if isSlot(j.Queue) { // it is free at once
		return 0, true
	}
	if !strings.HasPrefix(j.Queue, guardPrefix) {
		return 0, false
	}
	n, _ := j.Meta[metaPatience].(json.Number)
	ms, _ := n.Int64()
	return time.Duration(ms) * time.Millisecond, true
}

// ClaimState says how far the message of a claim of package guard is: "in
// doubt", "sent", "running", "failed" (its broker brings it again), "lapsed",
// "done", "given up" or "cancelled". A slot of a limit is "held" where a message
// would be in doubt or sent. "" = the job is no claim.
func (j *JobRow) ClaimState() string {
	patience, ok := patienceOf(j)
	switch {
	case !ok:
		return ""
	case j.State == Scheduled && patience == 0:
		return "held" // by guard.Do or a limit: no broker has a message of it
	case j.State == Scheduled && j.Run == 0 && j.RunAt.Before(j.EnqueuedAt.Add(patience)):
		return "in doubt"
	}
	return map[State]string{Scheduled: "sent", Available: "lapsed", Running: "running", Retryable: "failed",
		Completed: "done", Discarded: "given up", Cancelled: "cancelled"}[j.State]
}

// claimWaits says why a claim that waits does not run: what its broker has to do.
func claimWaits(j *JobRow, now time.Time) []string {
	lapses := fmt.Sprintf("it lapses at %s, in %s", j.RunAt.UTC().Format(time.RFC3339),
		terse(j.RunAt.Sub(now)))
	switch j.ClaimState() {
	case "in doubt":
		return []string{"nobody has said that its message was sent; " + lapses}
	case "sent":
		return []string{"its message waits in its broker; " + lapses}
	case "failed":
		return []string{"its message has failed, and its broker brings it again; " + lapses}
	case "lapsed":
		return []string{"its message was silent for longer than its patience: the next one of its key takes the key; " +
			"if it comes before that, it runs"}
	}
	return nil
}

// retryOf is the policy for a run that was lost.
func (s *sweeper) retryOf(job *JobRow) RetryPolicy {
	if patience, ok := patienceOf(job); ok {
		return func(*JobRow, error) time.Duration { return patience }
	}
	return s.retry(job)
}

// acquire makes one claim. A row without an ID is not to be guarded.
func acquire(ctx context.Context, c *Client, args Args, opts []Option) (NewRow, Receipt, error) {
	var row NewRow
	result, err := c.answer(ctx, &row, args, opts)
	switch {
	case row.unguarded:
		return NewRow{}, Receipt{}, nil
	case err != nil:
		return row, Receipt{}, stillUncertain(err, opts)
	}
	receipt, err := c.receipt(ctx, &row, result)
	return row, receipt, err
}

// acquireMany makes claims in one step. It returns a row for each item: those
// without an ID are not to be guarded, and have no receipt.
func acquireMany(ctx context.Context, c *Client, items []Item) ([]NewRow, []Receipt, error) {
	if err := c.usable(ctx); err != nil {
		return nil, nil, err
	}
	rows, err := c.rowsOf(ctx, items)
	if err != nil {
		return nil, nil, err
	}
	var at []int
	for i := range rows {
		if rows[i].unguarded {
			rows[i] = NewRow{}
			continue
		}
		at = append(at, i)
	}
	receipts := make([]Receipt, len(rows))
	if len(at) == 0 {
		return rows, receipts, nil
	}
	sent := pick(rows, at)
	answered, err := c.sendBatch(ctx, sent)
	for n, r := range answered {
		receipts[at[n]] = r
	}
	return rows, receipts, err
}
