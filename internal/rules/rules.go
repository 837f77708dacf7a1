// Package rules says what a key does, as pure Go over rows: who holds it,
// when it becomes free, who is next, and what each change of a job does to
// it. docs/rules.md has these rules in words.
//
// A rule reads and writes the rows that it is given and nothing else. It
// marks what it changed, so that a store knows what to write (see [Mark]).
// A [Book] is one atomic step: it has the instant, and collects what the
// step did besides.
//
// A rule about one key needs at most four rows: the job at hand, the row of
// its key, the holder and the waiter. The caller reads them first, under
// whatever lock its store has.
//
// PostgreSQL and Redis repeat these rules in SQL and Lua, where one round
// trip needs that, under the same names. Package storetest makes sure that
// all copies mean the same.
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

// Job is the row of a job. State is the stored one, which is never
// [onceq.Available]: see [Job.Shown]. Only [Job.View] fills RunAt, Anchor
// and Meta of the JobRow.
type Job struct {
	onceq.JobRow
	Seq      int64    // the number of the row, in a store that numbers rows
	Nonce    [16]byte // of the enqueue that made it
	MetaJSON []byte   // nil = no meta
	RunMS    int64    // the run time
	AnchorMS int64    // the instant from which Window and TTL count
	PruneMS  int64    // the end of the retention of a finished job
	FetchNo  int64    // of the fetch that started the current run

	Mark    Mark // what a store has to write of the row
	NewArgs bool // the args have to be written too
	// NewResult says that Result has to be written too; nil removes it.
	NewResult bool
}

// Key is the row of a key. A key that has no row in the store is a Key that
// is not held.
type Key struct {
	Name    onceq.Key   // the key itself
	Holder  *Job        // nil when its row is gone, or when the key is free
	Gone    *Gone       // what the key keeps of a holder whose row is gone
	Waiter  *Job        // the job that stands behind the holder
	Pending onceq.Until // the event that has not come yet; 0 = none
	FreesMS int64       // when a clock frees the key, unless something else does
	SinceMS int64       // when the holder took it

	Mark Mark // what a store has to write of the row
}

// Gone is what a key keeps of a holder whose row is gone.
type Gone struct {
	ID     string      // of the job
	Kind   string      // of the job
	Queue  string      // of the job
	Text   string      // the readable key
	State  onceq.State // the last state of the job
	Digest [16]byte    // of its args, by value
}

// Book is one atomic step on rows, at one instant of the store's clock.
type Book struct {
	Now   int64    // the instant, in milliseconds
	Added []*Job   // new rows, in the order in which they were made
	Woken []*Job   // jobs that have a new run time, or may run now
	Stops []string // workers that have a run which was asked to stop
}

// change marks a row to be updated.
func (j *Job) change() {
	if j.Mark == Clean {
		j.Mark = Changed
	}
}

// drop marks a row to be deleted.
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

// Shown is the state that people see: a waiting job that is due and stands
// behind no other is available.
func (j *Job) Shown(now int64) onceq.State {
	if j.State.Waiting() && j.Behind == "" && j.RunMS <= now {
		return onceq.Available
	}
	return j.State
}

// View is the row as a store hands it out, without its result.
func (j *Job) View(now int64) *onceq.JobRow {
	row := j.JobRow
	row.State = j.Shown(now)
	row.RunAt = onceq.Instant(j.RunMS)
	if j.Key != nil {
		name := *j.Key
		row.Key, row.Anchor = &name, onceq.Instant(j.AnchorMS)
	}
	row.Meta, row.Result = nil, nil
	if len(j.MetaJSON) > 0 {
		d := json.NewDecoder(bytes.NewReader(j.MetaJSON))
		d.UseNumber()
		_ = d.Decode(&row.Meta) // the client encoded it
	}
	return &row
}

// own is View in memory of its own: several rows of a call may meet one job.
func (j *Job) own(now int64) *onceq.JobRow {
	row := j.View(now) // has a key and a meta of its own
	row.Args, row.Extra = bytes.Clone(row.Args), bytes.Clone(row.Extra)
	row.Tags, row.Errors = slices.Clone(row.Tags), slices.Clone(row.Errors)
	return row
}

// SetOptions gives a job all that the caller of an enqueue chose, except ID
// and run time.
func (j *Job) SetOptions(r *onceq.NewRow) {
	j.Kind, j.Queue, j.Args, j.Encoding = r.Kind, r.Queue, bytes.Clone(r.Args), r.Encoding
	j.MetaJSON, j.Tags = bytes.Clone(r.Meta), slices.Clone(r.Tags)
	j.Extra = bytes.Clone(r.Extra)
	j.Priority, j.MaxAttempts, j.Timeout = r.Priority, r.MaxAttempts, r.Timeout
	j.Retention, j.RetentionFailed = r.Retention, r.RetentionFailed
	if r.Claim != nil {
		name := r.Claim.Key
		j.Key, j.KeyText, j.Hold, j.Digest = &name, r.Claim.Text, r.Claim.Hold, r.Claim.Digest
	}
}

// RunMS is the run time of a new row.
func RunMS(r *onceq.NewRow, now int64) int64 {
	if !r.RunAt.IsZero() {
		return max(now, r.RunAt.UnixMilli())
	}
	return now + r.Delay.Milliseconds()
}

// NewJob makes the row of an enqueue.
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

// insert adds the row of an enqueue. The caller sees to its key.
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
	j.PruneMS = b.Now + j.RetentionIn(state).Milliseconds()
}

// unkept reports whether a finished job is deleted in the step that ends it.
func (j *Job) unkept() bool { return j.RetentionIn(j.State) == 0 }
