// Package rules is what a key does, as pure Go over rows: who holds it, when it frees, who is next,
// and what each change of a job does to it. docs/uniqueness.md is the text of these rules.
//
// A rule reads and writes the rows that it is given and nothing else. It marks what it changed, so
// that a store knows what to write; see [Mark]. A [Book] is one atomic step: it knows the instant,
// and collects what happened besides.
//
// A rule about one key needs at most four rows: the job at hand, the row of its key, the holder and
// the waiter. The caller reads them, under whatever lock its store has, before it asks.
//
// PostgreSQL and Redis repeat some of these rules in SQL and Lua, where one round trip needs that.
// They have the same names there. Package storetest holds all copies to one meaning.
package rules

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/onceq/onceq"
)

// Mark says what a step still has to write of a row.
type Mark uint8

const (
	Clean   Mark = iota // nothing
	Changed             // an update
	Added               // an insert
	Removed             // a delete
	Never               // nothing: it was added and removed in one step
)

// Job is a row of a job. State is the stored one, in which [onceq.Available] does not occur: see
// [Job.Shown]. The fields RunAt, Anchor and Meta of the JobRow are filled by [Job.View] only.
type Job struct {
	onceq.JobRow
	Seq      int64    // the number of the row in a store that has such numbers
	Nonce    [16]byte // of the enqueue that made it
	MetaJSON []byte   // nil = no meta
	RunMS    int64    // the run time
	AnchorMS int64    // where Window and TTL count from
	PruneMS  int64    // when finished: the end of the retention
	FetchNo  int64    // of the fetch that started the current run

	Mark    Mark // what is to be written of the row
	NewArgs bool // the args are to be written too
}

// Key is the row of a key. A key without a row is a Key that is not held.
type Key struct {
	Name    onceq.Key   // the key itself
	Holder  *Job        // nil when the holder's row is gone, or there never was one
	Gone    *Gone       // what is known of a holder whose row is gone
	Waiter  *Job        // the job that stands behind the holder
	Pending onceq.Until // the event that has not come yet; 0 = none
	FreesMS int64       // when a clock frees it, as things stand
	SinceMS int64       // since when the holder holds it

	Mark Mark // what is to be written of the row
}

// Gone is what a key keeps of a holder whose row is gone.
type Gone struct {
	ID     string      // of the job
	Kind   string      // of the job
	Queue  string      // of the job
	Text   string      // the readable key
	State  onceq.State // the last one of the job
	Digest [16]byte    // of its args, by value
}

// Book is one atomic step on rows, at one instant of the store's clock.
type Book struct {
	Now   int64    // the instant, in milliseconds
	Added []*Job   // new rows, in the order in which they came
	Woken []*Job   // jobs that were given a new run time, or may now run
	Stops []string // workers of whose runs one was asked to stop
}

// change marks a row as one to be updated.
func (j *Job) change() {
	if j.Mark == Clean {
		j.Mark = Changed
	}
}

// drop marks a row as one to be deleted.
func (j *Job) drop() {
	if j.Mark == Added {
		j.Mark = Never
	} else {
		j.Mark = Removed
	}
}

// IsGone reports whether the row was removed in this step.
func (j *Job) IsGone() bool { return j.Mark == Removed || j.Mark == Never }

// wake notes that a job waits for a worker, now or at its run time.
func (b *Book) wake(j *Job) {
	if j.Behind == "" {
		b.Woken = append(b.Woken, j)
	}
}

// Shown is the state as people see it: what waits for nobody and is due is available.
func (j *Job) Shown(now int64) onceq.State {
	if j.State.Waiting() && j.Behind == "" && j.RunMS <= now {
		return onceq.Available
	}
	return j.State
}

// View is the row as it is handed out.
func (j *Job) View(now int64) *onceq.JobRow {
	row := j.JobRow
	row.State = j.Shown(now)
	row.RunAt = onceq.Instant(j.RunMS)
	if j.Key != nil {
		row.Anchor = onceq.Instant(j.AnchorMS)
	}
	row.Meta = nil
	if len(j.MetaJSON) > 0 {
		d := json.NewDecoder(bytes.NewReader(j.MetaJSON))
		d.UseNumber()
		_ = d.Decode(&row.Meta) // the client encoded it
	}
	return &row
}

// SetOptions gives a job everything that the caller of an enqueue chose, but for ID and run time.
func (j *Job) SetOptions(r *onceq.NewRow) {
	j.Kind, j.Queue, j.Args, j.Encoding = r.Kind, r.Queue, bytes.Clone(r.Args), r.Encoding
	j.MetaJSON, j.Tags = bytes.Clone(r.Meta), slices.Clone(r.Tags)
	j.Priority, j.MaxAttempts, j.Timeout, j.Retention = r.Priority, r.MaxAttempts, r.Timeout, r.Retention
	if r.Claim != nil {
		name := r.Claim.Key
		j.Key, j.KeyText, j.Hold, j.Digest = &name, r.Claim.Text, r.Claim.Hold, r.Claim.Digest
	}
}

// RunMS is when the job of a new row is to run.
func RunMS(r *onceq.NewRow, now int64) int64 {
	if !r.RunAt.IsZero() {
		return max(now, r.RunAt.UnixMilli())
	}
	return now + r.Delay.Milliseconds()
}

// NewJob is the row that an enqueue makes.
func NewJob(r *onceq.NewRow, origin onceq.Outcome, behind, displaced string, now int64) *Job {
	j := &Job{Nonce: r.Nonce, RunMS: RunMS(r, now), Mark: Added}
	j.ID, j.State, j.Origin = r.ID, onceq.Scheduled, origin
	j.Behind, j.Displaced, j.EnqueuedAt = behind, displaced, onceq.Instant(now)
	j.SetOptions(r)
	if j.Key != nil {
		j.AnchorMS = j.Hold.AnchorAt(now, j.RunMS)
	}
	return j
}

// insert makes the row of an enqueue. Its key is the caller's business.
func (b *Book) insert(r *onceq.NewRow, origin onceq.Outcome, behind, displaced string) *Job {
	j := NewJob(r, origin, behind, displaced, b.Now)
	b.Added = append(b.Added, j)
	b.wake(j)
	return j
}

// finish sets a final state.
func (b *Book) finish(j *Job, state onceq.State) {
	j.change()
	j.State, j.CancelRequested, j.FinishedAt = state, false, onceq.Instant(b.Now)
	j.PruneMS = b.Now + j.Retention.Milliseconds()
}
