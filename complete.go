package onceq

import (
	"context"
	"errors"
	"fmt"
)

// Complete completes the job whose handler calls it, inside the transaction:
// the job is completed, with the result that [SetResult] set, if and only if
// the transaction commits. So what the transaction writes happens exactly
// once, although the job may run more than once.
//
//	tx, err := pool.Begin(ctx)
//	…
//	defer tx.Rollback(ctx)
//	// write what the job is about, in tx
//	if err := client.WithTx(store.Tx(tx)).Complete(ctx, job.JobRow); err != nil {
//		return err
//	}
//	return tx.Commit(ctx)
//
// Until it commits, others see the job running, its key is held, and a waiter
// behind it does not start. Jobs that are enqueued in the same transaction
// exist if it commits.
//
// The handler returns the error of the commit. If the commit succeeded, or its
// answer was lost and it had succeeded, the job stays completed whatever the
// handler returns. If it did not, the job is tried again; a handler that
// returns nil all the same has failed.
//
// [ErrLeaseLost] means that the run is no longer this worker's: roll back.
//
// While the transaction is open it has locked the job. On SQLite nobody else
// writes meanwhile, heartbeats included: keep it shorter than a third of the
// worker's lease.
func (t *TxClient) Complete(ctx context.Context, job *JobRow) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	switch {
	case job == nil:
		return invalid("job", "nil", "must not be nil")
	case job.State != Running || job.Worker == "":
		return invalid("job", job.State, "does not run: pass the row that its handler got")
	}
	f := Finish{ID: job.ID, Run: job.Run, Worker: job.Worker, State: Completed}
	leaves := resultIn(ctx)
	if leaves != nil && leaves.of != (Run{job.ID, job.Run}) {
		leaves = nil // it is another job than the handler's
	}
	if leaves != nil {
		f.Result = leaves.get()
	}
	results, err := t.tx.Finish(ctx, FinishRequest{Runs: []Finish{f}})
	switch {
	case err != nil:
		return fmt.Errorf("onceq: complete job %s in a transaction: %w", job.ID, err)
	case results[0].Status != FinishDone || results[0].State != Completed:
		return fmt.Errorf("run %d of job %s: %w", job.Run, job.ID, ErrLeaseLost)
	}
	if leaves != nil {
		leaves.complete()
	}
	return nil
}

// Cancel is [Client.Cancel] inside the transaction.
func (t *TxClient) Cancel(ctx context.Context, id string) (*JobRow, error) {
	return t.change(ctx, Change{Op: OpCancel}, id)
}

// Retry is [Client.Retry] inside the transaction.
func (t *TxClient) Retry(ctx context.Context, id string, opts ...RetryOption) (*JobRow, error) {
	return t.change(ctx, retryOf(opts), id)
}

// RunNow is [Client.RunNow] inside the transaction.
func (t *TxClient) RunNow(ctx context.Context, id string) (*JobRow, error) {
	return t.change(ctx, Change{Op: OpRunNow}, id)
}

// Move is [Client.Move] inside the transaction.
func (t *TxClient) Move(ctx context.Context, id string, when Option) (*JobRow, error) {
	ch, err := moveTo(when)
	if err != nil {
		return nil, err
	}
	return t.change(ctx, ch, id)
}

// Delete is [Client.Delete] inside the transaction.
func (t *TxClient) Delete(ctx context.Context, id string) error {
	_, err := t.change(ctx, Change{Op: OpDelete}, id)
	return err
}

func (t *TxClient) change(ctx context.Context, ch Change, id string) (*JobRow, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	return changeOne(ctx, t.tx.Change, ch, id)
}

var (
	errNotCommitted = errors.New("the job was completed in a transaction that did not commit")
	errUnknownEnd   = errors.New("the job was completed in a transaction, and whether it committed is not known")
)

// ended decides what a handler returned that had completed its job in a
// transaction. If that has committed, the job has ended, whatever the handler
// says. Else nil is a failure: should the commit be on its way, the failure is
// answered as a repeat of the completion, and changes nothing.
func (s *session) ended(r *run, err error) error {
	if !r.leaves.isComplete() {
		return err
	}
	var jobs []*JobRow
	_, lookErr := s.call(s.base, s.callLimit(), func(ctx context.Context) (err error) {
		jobs, err = s.w.store.Get(ctx, []string{r.job.ID})
		return err
	})
	switch {
	case lookErr != nil && err == nil:
		return fmt.Errorf("%w: %w", errUnknownEnd, lookErr)
	case lookErr != nil:
		return err
	case jobs[0] != nil && jobs[0].State == Running && jobs[0].Run == r.job.Run:
		if err == nil {
			err = errNotCommitted
		}
		return err
	}
	if err != nil {
		s.log.Debug("onceq: handler failed after Complete",
			append(r.attrs(), "error", err)...)
	}
	return nil
}
