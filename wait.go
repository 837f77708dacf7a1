package onceq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrFailed means that the job that was waited for was discarded or
// cancelled. The error is a [*FailedError].
var ErrFailed = errors.New("failed")

// ErrGone means that the job that was waited for was there and is no longer
// kept: it was deleted, or its retention is over. How it ended is not known.
var ErrGone = errors.New("gone")

// FailedError is the error of a wait for a job that did not complete.
type FailedError struct {
	Job *JobRow // with its errors, and with its result if it has one
}

func (e *FailedError) Error() string {
	text := fmt.Sprintf("job %s is %s", e.Job.ID, e.Job.State)
	if n := len(e.Job.Errors); n > 0 {
		text += ": " + e.Job.Errors[n-1].Error
	}
	return text
}

// Is makes errors.Is(err, ErrFailed) true.
func (e *FailedError) Is(target error) bool { return target == ErrFailed }

// Wait waits until a job is finished, and returns it with its result. A
// retry, a snooze or a hand-back is not the end. If another job superseded it,
// Wait waits for that one: the row says whose result it is.
//
// A job that was discarded or cancelled is a [*FailedError]. A job that is not
// there is [ErrNotFound], and one that goes while it is waited for [ErrGone].
// When ctx ends, Wait returns its error, and the job as it was seen last. An
// error of the store does not end a wait.
//
// All waits of a client share one look at the store every few milliseconds,
// and later every 250ms: a wait takes at most an eighth longer than what it
// waits for, or 250ms. A job with Retention(0) is refused: its row is gone
// when it has ended.
//
// In a handler Wait holds a slot of the worker. If the job that it waits for
// needs that slot, both wait for ever.
func (c *Client) Wait(ctx context.Context, id string) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	return c.waits.wait(ctx, id, nil)
}

// Wait is [Client.Wait] for the job that stands for the enqueue: the new one,
// or the holder. So everybody who enqueues the same work waits for one run. A
// rejected enqueue waits for the holder too. A receipt that was not returned
// by a client, but made by hand or decoded, is refused. That of an enqueue in a
// transaction can be waited for once it has committed.
func (r Receipt) Wait(ctx context.Context) (*JobRow, error) {
	switch {
	case r.client == nil:
		return nil, invalid("receipt", "", "was not returned by a client: use Client.Wait with the ID of its job")
	case ctx == nil || r.client.closed.Load():
		return nil, r.client.usable(ctx)
	case r.Conflict != nil && r.Conflict.Gone:
		return nil, fmt.Errorf("job %q: %w", r.Job.ID, ErrGone)
	}
	known := r.Job
	if r.inTx { // perhaps it was rolled back
		known = nil
	}
	job, err := r.client.waits.wait(ctx, r.Job.ID, known)
	if failed := (*FailedError)(nil); errors.As(err, &failed) {
		r.hide(failed.Job)
	}
	r.hide(job)
	return job, err
}

// WaitFor waits as [Receipt.Wait] does, and decodes the result.
func WaitFor[R any](ctx context.Context, r Receipt) (R, error) {
	job, err := r.Wait(ctx)
	if err != nil {
		var none R
		return none, err
	}
	return ResultOf[R](job)
}

const (
	soonestLook = 2 * time.Millisecond   // after a wait has begun
	latestLook  = 250 * time.Millisecond // between two looks
	lookAtMost  = 1000                   // jobs in one look
	lookUnseen  = 64 << 10               // bytes that a job may have which was not seen yet
)

// waits are the waits of one client. While there are any, one goroutine looks
// for all of them.
type waits struct {
	store  Store
	ctx    context.Context // ends with the client
	stop   context.CancelFunc
	looker sync.WaitGroup

	mu    sync.Mutex
	all   map[*wait]struct{}
	added chan struct{} // wakes the looker; nil = there is none
}

func newWaits(store Store) *waits {
	ctx, stop := context.WithCancel(context.Background())
	return &waits{store: store, ctx: ctx, stop: stop, all: map[*wait]struct{}{}}
}

// close ends all waits, and the looker.
func (ws *waits) close() {
	ws.mu.Lock() // no looker is called any more
	ws.stop()
	ws.mu.Unlock()
	ws.looker.Wait()
}

// wait is one wait.
type wait struct {
	id      string // of the job, which changes when another supersedes it
	job     *JobRow
	from    time.Time
	next    time.Time     // when it is looked at
	between time.Duration // two looks
	done    chan error
}

// wait waits for one job. known is its row if the caller has it.
func (ws *waits) wait(ctx context.Context, id string, known *JobRow) (*JobRow, error) {
	if err := keptAtAll(known); err != nil {
		return nil, err
	}
	now := time.Now()
	w := &wait{id: id, job: known, from: now, next: now, done: make(chan error, 1)}
	ws.add(w)
	select {
	case err := <-w.done:
		return w.answer(err)
	case <-ctx.Done():
	case <-ws.ctx.Done():
	}
	ws.mu.Lock()
	delete(ws.all, w)
	id, job := w.id, w.job
	ws.mu.Unlock()
	select {
	case err := <-w.done: // it came just now
		return w.answer(err)
	default:
	}
	if err := ctx.Err(); err != nil {
		return job.Clone(), fmt.Errorf("waiting for job %q: %w", id, err)
	}
	return job.Clone(), errClosed
}

// answer is what a wait returns that is over. Others may wait for the same
// row.
func (w *wait) answer(err error) (*JobRow, error) {
	if err != nil {
		return nil, err
	}
	job := w.job.Clone()
	if job.State != Completed {
		return job, &FailedError{job}
	}
	return job, nil
}

// keptAtAll refuses to wait for a job whose end nobody can see.
func keptAtAll(job *JobRow) error {
	if job != nil && job.Retention == 0 && !job.EnqueuedAt.IsZero() && !job.State.Finished() {
		return invalid("retention", "0s", "of job %s deletes it when it has ended, so nobody can wait for it: "+
			"keep it for a minute", job.ID)
	}
	return nil
}

func (ws *waits) add(w *wait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.all[w] = struct{}{}
	if ws.added == nil && ws.ctx.Err() == nil {
		added := make(chan struct{}, 1)
		ws.added = added
		ws.looker.Go(func() { ws.look(added) })
	}
	if ws.added != nil {
		signal(ws.added)
	}
}

// look looks at the jobs that are waited for until there are none.
func (ws *waits) look(added chan struct{}) {
	for ws.ctx.Err() == nil {
		due, pause, some := ws.due()
		if !some {
			return
		}
		if len(due) > 0 {
			ws.see(due)
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-added:
		case <-ws.ctx.Done():
		}
		t.Stop()
	}
}

// due returns the waits that are to be looked at now, and how long it is until
// others are. some is false if there are no waits: then the looker ends.
func (ws *waits) due() (due []*wait, pause time.Duration, some bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) == 0 {
		ws.added = nil
		return nil, 0, false
	}
	now := time.Now()
	pause = latestLook
	for w := range ws.all {
		pause = min(pause, w.next.Sub(now))
	}
	if pause > 0 {
		return nil, pause, true
	}
	bytes := 0
	for w := range ws.all { // those that are soon due share the look
		if w.next.Sub(now) > w.between/2 {
			continue
		}
		if bytes += w.bytes(); len(due) == lookAtMost || len(due) > 0 && bytes > MaxPageBytes {
			break // the others are looked at next
		}
		due = append(due, w)
	}
	return due, 0, true
}

// bytes is what the row of the job may weigh.
func (w *wait) bytes() int {
	if w.job == nil {
		return lookUnseen
	}
	return len(w.job.Args)
}

// see looks at some jobs in one call, and ends the waits for those that are
// finished.
func (ws *waits) see(due []*wait) {
	place := map[string]int{}
	var ids []string
	for _, w := range due {
		if _, known := place[w.id]; !known {
			place[w.id] = len(ids)
			ids = append(ids, w.id)
		}
	}
	ctx, cancel := context.WithTimeout(ws.ctx, 10*time.Second)
	jobs, err := ws.get(ctx, ids)
	cancel()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	now := time.Now()
	for _, w := range due {
		w.between = min(max(now.Sub(w.from)/8, soonestLook), latestLook)
		w.next = now.Add(w.between*7/8 + rand.N(w.between/8))
		if err != nil {
			continue // the next look may succeed
		}
		if over, err := w.take(jobs[place[w.id]]); over {
			delete(ws.all, w)
			w.done <- err
		}
	}
}

// get is Store.Get, in which a panic of the store (a decorator may) is an
// error.
func (ws *waits) get(ctx context.Context, ids []string) (jobs []*JobRow, err error) {
	defer recovered(&err, "store", ws.store, "its Get")
	return ws.store.Get(ctx, ids)
}

// take takes in how a job was found, and reports whether the wait is over.
func (w *wait) take(job *JobRow) (over bool, err error) {
	switch {
	case job == nil && w.job == nil:
		return true, fmt.Errorf("job %q: %w", w.id, ErrNotFound)
	case job == nil:
		return true, fmt.Errorf("job %q: %w", w.id, ErrGone)
	}
	w.job = job
	switch {
	case job.State == Cancelled && job.SupersededBy != "":
		w.id, w.next = job.SupersededBy, time.Now()
		return false, nil
	case job.State.Finished():
		return true, nil
	}
	err = keptAtAll(job)
	return err != nil, err
}
