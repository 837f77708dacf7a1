package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// completing: a job ends in its handler's own transaction.
var completing = []scenario{
	{"a_job_is_completed_iff_the_transaction_commits", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.must(tx.Rollback())
		for _, end := range []string{"rollback", "commit"} {
			j := w.insert(task(1), key)
			run := w.start()
			tx := w.begin()
			w.must(w.client.WithTx(tx).Complete(w.ctx, run))
			if end == "rollback" {
				w.must(tx.Rollback())
				w.is(j.ID, onceq.Running)
				w.holds(j)
				w.cancelled(run)
				w.remove(j.ID)
				continue
			}
			w.must(tx.Commit())
			w.is(j.ID, onceq.Completed)
			w.free(j)
			w.ends(run, onceq.Finish{State: onceq.Completed}, onceq.Completed) // a repeat
			w.ends(run, onceq.Finish{State: onceq.Retryable, Error: "no"}, onceq.Completed)
			equal(w, "errors", len(w.job(j.ID).Errors), 0)
		}
	})},
	{"a_worker_that_lost_its_lease_cannot_complete_in_a_transaction", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		w.insert(task(1))
		first := w.start()
		w.finish(first, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"})
		second := w.startAs("v", "default")
		tx := w.begin()
		in := w.client.WithTx(tx)
		w.wantErr(in.Complete(w.ctx, first), onceq.ErrLeaseLost)
		j := w.within(in, onceq.Inserted, task(2)) // it is usable
		w.must(tx.Commit())
		w.is(second.ID, onceq.Running)
		w.is(j.ID, onceq.Available)
	}},
	{"what_does_not_run_cannot_be_completed", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.refused(in.Complete(w.ctx, nil))
		w.refused(in.Complete(w.ctx, &onceq.JobRow{ID: "x", State: onceq.Available}))
		w.wantErr(in.Complete(w.ctx, &onceq.JobRow{ID: "x", State: onceq.Running, Worker: "w", Run: 1}),
			onceq.ErrLeaseLost)
	})},
	{"the_key_is_free_for_others_at_the_commit_not_before", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		w.insert(task(1), key)
		run := w.start()
		tx := w.begin()
		w.must(w.client.WithTx(tx).Complete(w.ctx, run))
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		r, err := w.client.Enqueue(ctx, task(2), key) // it waits, or meets the holder
		cancel()
		if err == nil {
			equal(w, "outcome", r.Outcome, onceq.Skipped)
		}
		w.must(tx.Commit())
		if errors.Is(err, onceq.ErrUncertain) {
			w.enqueue(onceq.Skipped, task(2), key, onceq.Resend(err)) // perhaps it was inserted just now
		} else {
			w.insert(task(2), key)
		}
	}},
	{"the_next_step_enqueued_inside_exists_iff_the_first_is_done", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		w.insert(task(1), key)
		for _, commit := range []bool{false, true} {
			run := w.start()
			tx := w.begin()
			in := w.client.WithTx(tx)
			w.must(in.Complete(w.ctx, run))
			next := w.within(in, onceq.Inserted, task(2), key) // its key is free inside
			if !commit {
				w.must(tx.Rollback())
				w.gone(next.ID)
				w.snooze(run, 0)
				continue
			}
			w.must(tx.Commit())
			w.holds(next)
			w.is(run.ID, onceq.Completed)
		}
	}},
	{"an_open_completion_does_not_hold_up_other_results", func(w *world) {
		if w.Begin == nil || !w.Store.Traits().Blocks {
			w.Skip("one at a time writes to this store")
		}
		w.insert(task(1))
		w.insert(task(2))
		mine, other := w.start(), w.start()
		tx := w.begin()
		w.must(w.client.WithTx(tx).Complete(w.ctx, mine))
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{NoWait: true, Runs: []onceq.Finish{
			{ID: mine.ID, Run: mine.Run, Worker: "w", State: onceq.Retryable, Error: "no"},
			{ID: other.ID, Run: other.Run, Worker: "w", State: onceq.Completed}}})
		w.must(err)
		equal(w, "statuses", line(results[0].Status, results[1].Status), line(onceq.FinishBusy, onceq.FinishDone))
		w.must(tx.Commit())
		w.is(mine.ID, onceq.Completed)
	}},
	{"retention_zero_in_a_transaction", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		j := w.insert(task(1), key, onceq.Retention(0))
		run := w.start()
		tx := w.begin()
		w.must(w.client.WithTx(tx).Complete(w.ctx, run))
		w.must(tx.Commit())
		w.gone(j.ID)
		w.free(j)
		equal(w, "repeat", w.finish(run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishGone)
	}},
	{"a_waiter_starts_after_the_commit", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		holder := w.insert(task(1), key)
		run := w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, onceq.OnConflict(onceq.Coalesce)).Job
		w.waits(waiter, holder)
		tx := w.begin()
		w.must(w.client.WithTx(tx).Complete(w.ctx, run))
		w.must(tx.Commit())
		w.holds(waiter)
		w.starts(waiter.ID)
	}},
	{"a_job_is_changed_iff_the_transaction_commits", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		for _, end := range []func(Tx) error{func(t Tx) error { return t.Rollback() },
			func(t Tx) error { return t.Commit() }} {
			cancel, deleted, moved := w.insert(task(1), key), w.insert(task(2)), w.insert(task(3), onceq.Delay(minute))
			soon, retried := w.insert(task(4), onceq.Delay(minute)), w.insert(task(5))
			w.cancel(retried.ID)
			tx := w.begin()
			in := w.client.WithTx(tx)
			for _, step := range []func() (*onceq.JobRow, error){
				func() (*onceq.JobRow, error) { return in.Cancel(w.ctx, cancel.ID) },
				func() (*onceq.JobRow, error) { return in.Move(w.ctx, moved.ID, onceq.Delay(time.Hour)) },
				func() (*onceq.JobRow, error) { return in.RunNow(w.ctx, soon.ID) },
				func() (*onceq.JobRow, error) { return in.Retry(w.ctx, retried.ID) },
				func() (*onceq.JobRow, error) { return nil, in.Delete(w.ctx, deleted.ID) },
			} {
				_, err := step()
				w.must(err)
			}
			_, err := in.Cancel(w.ctx, "none")
			w.wantErr(err, onceq.ErrNotFound)
			_, err = in.Retry(w.ctx, soon.ID)
			w.refused(err)
			w.must(end(tx))
			jobs, err := w.Store.Get(w.ctx, []string{cancel.ID, deleted.ID, moved.ID, soon.ID, retried.ID})
			w.must(err)
			if jobs[1] != nil { // rolled back
				equal(w, "states", line(jobs[0].State, jobs[1].State, jobs[2].RunAt.Sub(w.now), jobs[3].State,
					jobs[4].State), "available available 1m0s scheduled cancelled")
				w.holds(cancel)
				for _, j := range jobs[:4] {
					w.remove(j.ID)
				}
				continue
			}
			equal(w, "states", line(jobs[0].State, jobs[2].RunAt.Sub(w.now), jobs[3].State, jobs[4].State),
				"cancelled 1h0m0s available available")
			w.free(cancel)
		}
	}},
	{"a_commit_is_settled_whatever_the_handler_returns", inWorker(func(w *world, ctx context.Context, j *onceq.JobRow,
		commit bool) error {
		tx, err := w.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := onceq.SetResult(ctx, j.Run); err != nil {
			return err
		}
		if err := onceq.ClientFrom(ctx).WithTx(tx).Complete(ctx, j); err != nil {
			return err
		}
		if commit {
			_ = tx.Commit()
			time.Sleep(500 * time.Millisecond) // a heartbeat finds the job ended
			if ctx.Err() != nil {
				w.Errorf("a run is stopped whose job was completed in a transaction: %v", context.Cause(ctx))
			}
		}
		if string(j.Args) == "1" {
			return errors.New("the answer of the commit was lost")
		}
		return nil // also after a rollback, which is a slip
	})},
}

// inWorker is a case in which a worker runs two jobs, one whose handler fails
// and one whose handler returns nil. The first run of each rolls back, and the
// second commits: both must run twice, and be completed by the second.
func inWorker(handle func(w *world, ctx context.Context, j *onceq.JobRow, commit bool) error) func(*world) {
	return func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		var runs atomic.Int64
		w.withWorker(1, func(ctx context.Context, j *onceq.JobRow) error {
			runs.Add(1)
			return handle(w, ctx, j, j.Run == 2)
		})
		for i := 1; i <= 2; i++ {
			job, err := w.enqueue(onceq.Inserted, task(i), onceq.UniqueKey(line(i))).Wait(w.ctx)
			w.must(err)
			equal(w, "job", line(job.State, job.Run, len(job.Errors), string(job.Result)), "completed 2 1 2")
			w.free(job)
		}
		equal(w, "runs", runs.Load(), 4)
	}
}
