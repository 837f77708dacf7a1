package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// start is where the store's clock stands when a case begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is what a case works with: an empty store whose clock stands still,
// a client of it, and the steps of a worker one at a time.
type world struct {
	*testing.T
	Harness
	ctx     context.Context
	client  *onceq.Client
	now     time.Time        // of the store's clock; zero while it runs
	latest  time.Time        // that the clock has ever shown
	fetches map[string]int64 // of each worker: the number of its last fetch
	open    []Tx             // transactions that the case began
	stops   []func()         // of workers that the case started
	closed  bool             // the case has closed the store
}

func newWorld(t *testing.T, h Harness) *world {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	w := &world{T: t, Harness: h, ctx: ctx, fetches: map[string]int64{}}
	w.client = w.clientOf(h.Store, nil)
	w.at(start)
	return w
}

// settle checks what must hold after every case.
func (w *world) settle() {
	w.Helper()
	for _, tx := range w.open {
		tx.Rollback() // where it has not ended
	}
	for _, stop := range w.stops {
		stop()
	}
	defer w.client.Close()
	if w.closed {
		return
	}
	if w.now.IsZero() {
		w.at(time.Now().Truncate(time.Millisecond).Add(time.Millisecond))
	}
	checkInvariants(w, w.Store, w.now, w.latest)
	w.wantHealthy()
}

// wantHealthy wants Client.Doctor to find nothing wrong either.
func (w *world) wantHealthy() {
	w.Helper()
	doctor := w.clientOf(w.Store, nil)
	defer doctor.Close()
	r, err := doctor.Doctor(context.Background(), nil)
	if err != nil {
		w.Errorf("the doctor could not look: %v", err)
	}
	for _, v := range r.Violations {
		w.Errorf("the doctor says: %s", v)
	}
}

// clientOf is a client that does nothing of its own accord: it notes nothing.
func (w *world) clientOf(store onceq.Store, config *onceq.Config) *onceq.Client {
	w.Helper()
	quiet := onceq.Config{}
	if config != nil {
		quiet = *config
	}
	quiet.NoTally = true
	client, err := onceq.NewClient(store, &quiet)
	w.must(err)
	return client
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// at makes the store's clock stand still at an instant.
func (w *world) at(t time.Time) {
	w.now = t
	if t.After(w.latest) {
		w.latest = t
	}
	w.SetClock(t)
}

// after moves the store's clock.
func (w *world) after(d time.Duration) { w.at(w.now.Add(d)) }

// real lets the store's clock run.
func (w *world) real() {
	w.now = time.Time{}
	w.SetClock(time.Time{})
}

// task is args without members: a number, so that cases can tell one
// enqueue from another.
type task int

func (task) Kind() string { return "task" }

// mail is args with members.
type mail struct {
	To   string `json:"to"`
	Body string `json:"body,omitempty"`
}

func (mail) Kind() string { return "mail" }

// Options that most cases use.
var (
	key       = onceq.UniqueKey("k") // one key for all tasks
	reject    = onceq.OnConflict(onceq.Reject)
	coalesce  = onceq.OnConflict(onceq.Coalesce)
	supersede = onceq.OnConflict(onceq.Supersede)
)

func until(u onceq.Until) onceq.Option { return onceq.Unique{Until: u} }

func replace(r onceq.Replace) onceq.Option { return onceq.OnConflict(r) }

// enqueue wants an outcome, and checks what every receipt must be.
func (w *world) enqueue(want onceq.Outcome, args onceq.Args, opts ...onceq.Option) onceq.Receipt {
	w.Helper()
	r, err := w.client.Enqueue(w.ctx, args, opts...)
	w.checkReceipt(want, r, err)
	return r
}

func (w *world) checkReceipt(want onceq.Outcome, r onceq.Receipt, err error) {
	w.Helper()
	if want == onceq.Rejected {
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) || !errors.Is(err, onceq.ErrDuplicate) {
			w.Fatalf("enqueue: got error %v (%s), want a *DuplicateError", err, r.Outcome)
		}
		if r.Conflict == nil || dup.Conflict != *r.Conflict {
			w.Fatalf("the error tells of %+v, the receipt of %+v", dup.Conflict, r.Conflict)
		}
	} else if err != nil {
		w.Fatalf("enqueue: %v, want %s", err, want)
	}
	w.checkAnswer(want, r)
}

func (w *world) checkAnswer(want onceq.Outcome, r onceq.Receipt) {
	w.Helper()
	if r.Outcome != want {
		w.Fatalf("enqueue: %s (%v), want %s", r.Outcome, r.Conflict, want)
	}
	if r.Job == nil || r.Job.ID == "" {
		w.Fatalf("%s without a job", want)
	}
	if (r.Conflict == nil) != (want == onceq.Inserted) {
		w.Fatalf("%s with conflict %v", want, r.Conflict)
	}
	if made := want == onceq.Inserted || want == onceq.Coalesced || want == onceq.Superseded; r.Duplicate() == made {
		w.Fatalf("%s: Duplicate() = %v", want, r.Duplicate())
	}
	if c := r.Conflict; c != nil && (c.Holder == "" || c.Since.IsZero() ||
		!(c.By == "key" && c.Text != "" || c.By == "id" && c.Text == "" && c.Key == onceq.Key{})) {
		w.Fatalf("a conflict that does not say why: %+v", c)
	}
}

// insert makes a new job.
func (w *world) insert(args onceq.Args, opts ...onceq.Option) *onceq.JobRow {
	w.Helper()
	return w.enqueue(onceq.Inserted, args, opts...).Job
}

// many enqueues a batch and wants these outcomes.
func (w *world) many(want []onceq.Outcome, items ...onceq.Item) []onceq.Receipt {
	w.Helper()
	receipts, err := w.client.EnqueueMany(w.ctx, items)
	w.must(err)
	if len(receipts) != len(want) {
		w.Fatalf("%d receipts for %d items", len(receipts), len(want))
	}
	for i, r := range receipts {
		w.checkAnswer(want[i], r)
	}
	return receipts
}

// job reads a job that must be there.
func (w *world) job(id string) *onceq.JobRow {
	w.Helper()
	j := w.look(id)
	if j == nil {
		w.Fatalf("job %s is not there", id)
	}
	return j
}

// look reads a job; nil when it is not there.
func (w *world) look(id string) *onceq.JobRow {
	w.Helper()
	jobs, err := w.Store.Get(w.ctx, []string{id})
	w.must(err)
	return jobs[0]
}

func (w *world) gone(id string) {
	w.Helper()
	if j := w.look(id); j != nil {
		w.Fatalf("job %s is there (%s), want it gone", id, j.State)
	}
}

// is wants a job to be in a state, and returns it.
func (w *world) is(id string, s onceq.State) *onceq.JobRow {
	w.Helper()
	j := w.job(id)
	if j.State != s {
		w.Fatalf("job %s (args %s) is %s, want %s", id, j.Args, j.State, s)
	}
	return j
}

// has wants a job's args to be these.
func (w *world) has(id string, args task) *onceq.JobRow {
	w.Helper()
	j := w.job(id)
	if string(j.Args) != fmt.Sprint(int(args)) {
		w.Fatalf("job %s has args %s, want %d", id, j.Args, args)
	}
	return j
}

// keyOf is the key that an enqueue would have.
func (w *world) keyOf(args onceq.Args, opts ...onceq.Option) onceq.Key {
	w.Helper()
	return *w.row(args, opts...).key()
}

// holder looks up who holds a key; nil when it is free.
func (w *world) holder(k onceq.Key) *onceq.HeldKey {
	w.Helper()
	page, err := w.Store.Keys(w.ctx, onceq.KeysRequest{Key: &k, Limit: 1})
	w.must(err)
	if len(page.Keys) == 0 {
		return nil
	}
	return page.Keys[0]
}

// holds wants a job to hold its key now.
func (w *world) holds(j *onceq.JobRow) *onceq.HeldKey {
	w.Helper()
	held := w.holder(*j.Key)
	if held == nil {
		w.Fatalf("the key of %s (args %s) is free, want it held", j.ID, j.Args)
	}
	if held.Holder != j.ID {
		w.Fatalf("the key is held by %s, want %s (args %s)", held.Holder, j.ID, j.Args)
	}
	return held
}

// free wants nobody to hold the key of a job.
func (w *world) free(j *onceq.JobRow) {
	w.Helper()
	if held := w.holder(*j.Key); held != nil {
		w.Fatalf("the key is held by %s (%s; %s), want it free", held.Holder, held.State, held.FreesText())
	}
}

// waits wants this job (nil = none) to stand behind the holder of its key.
func (w *world) waits(j, holder *onceq.JobRow) {
	w.Helper()
	held := w.holds(holder)
	want := ""
	if j != nil {
		want = j.ID
	}
	if held.Waiter != want {
		w.Fatalf("behind holder %s stands %q, want %q", holder.ID, held.Waiter, want)
	}
	if j != nil {
		if row := w.is(j.ID, onceq.Scheduled); row.Behind != holder.ID {
			w.Fatalf("waiter %s stands behind %q, want %s", j.ID, row.Behind, holder.ID)
		}
	}
}

// unchanged wants a job to be as it was.
func (w *world) unchanged(before *onceq.JobRow) {
	w.Helper()
	if was, is := show(before), show(w.job(before.ID)); was != is {
		w.Fatalf("the job was changed:\n was %s\n is  %s", was, is)
	}
}

// cancel, retry, runNow, remove and release are an operator's steps that
// must succeed.
func (w *world) cancel(id string) *onceq.JobRow {
	w.Helper()
	j, err := w.client.Cancel(w.ctx, id)
	w.must(err)
	return j
}

func (w *world) retry(id string, opts ...onceq.RetryOption) *onceq.JobRow {
	w.Helper()
	j, err := w.client.Retry(w.ctx, id, opts...)
	w.must(err)
	return j
}

func (w *world) runNow(id string) *onceq.JobRow {
	w.Helper()
	j, err := w.client.RunNow(w.ctx, id)
	w.must(err)
	return j
}

func (w *world) remove(id string) {
	w.Helper()
	w.must(w.client.Delete(w.ctx, id))
	w.gone(id)
}

func (w *world) release(j *onceq.JobRow) {
	w.Helper()
	w.must(w.client.ReleaseKey(w.ctx, *j.Key))
}

// refused wants an *InvalidError, and returns it.
func (w *world) refused(err error) *onceq.InvalidError {
	w.Helper()
	var invalid *onceq.InvalidError
	if !errors.As(err, &invalid) {
		w.Fatalf("got error %v, want an *InvalidError", err)
	}
	return invalid
}

func (w *world) wantErr(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("got error %v, want %v", err, want)
	}
}

func (w *world) sweep(lost ...onceq.Beat) onceq.Swept {
	w.Helper()
	s, err := w.Store.Sweep(w.ctx, onceq.SweepRequest{Limit: 1000, Lost: lost})
	w.must(err)
	return s
}

// jobs lists the whole store, oldest ID first.
func (w *world) jobs() []*onceq.JobRow {
	w.Helper()
	jobs, err := allJobs(w.ctx, w.Store, onceq.JobFilter{}, 1000)
	w.must(err)
	slices.Reverse(jobs)
	return jobs
}

// equal compares two values by how they print.
func equal[T comparable](w *world, what string, got, want T) {
	w.Helper()
	if got != want {
		w.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// sameTime compares instants.
func (w *world) sameTime(what string, got, want time.Time) {
	w.Helper()
	if !got.Equal(want) {
		w.Fatalf("%s is %s, want %s", what, clock(got), clock(want))
	}
}
