package storetest

import (
	"context"
	"time"

	"github.com/onceq/onceq"
)

// inTx is a case that needs a caller's own transaction.
func inTx(run func(w *world, tx Tx, in *onceq.TxClient)) func(*world) {
	return func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		tx := w.begin()
		run(w, tx, w.client.WithTx(tx))
	}
}

func (w *world) begin() Tx {
	w.Helper()
	tx, err := w.Begin(w.ctx)
	w.must(err)
	w.open = append(w.open, tx)
	return tx
}

// within enqueues in a transaction and wants an outcome.
func (w *world) within(in *onceq.TxClient, want onceq.Outcome, args onceq.Args, opts ...onceq.Option) *onceq.JobRow {
	w.Helper()
	r, err := in.Enqueue(w.ctx, args, opts...)
	w.checkReceipt(want, r, err)
	return r.Job
}

// transactions: enqueues inside the caller's own.
var transactions = []scenario{
	{"a_job_is_there_when_its_transaction_commits", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		j := w.within(in, onceq.Inserted, task(1), key)
		w.must(tx.Commit())
		w.has(j.ID, 1)
		w.holds(j)
		w.enqueue(onceq.Skipped, task(2), key)
		w.starts(j.ID)
	})},
	{"nothing_is_left_of_a_transaction_that_rolls_back", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		j := w.within(in, onceq.Inserted, task(1), key)
		w.must(tx.Rollback())
		w.gone(j.ID)
		w.free(j)
		w.insert(task(2), key)
	})},
	{"nobody_sees_a_job_before_its_transaction_commits", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		j := w.within(in, onceq.Inserted, task(1), key)
		// A store may let a reader wait for the transaction; it may not
		// show what is not committed.
		ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
		defer cancel()
		if jobs, err := w.Store.Get(ctx, []string{j.ID}); err == nil && jobs[0] != nil {
			w.Fatalf("job %s is there (%s)", j.ID, jobs[0].State)
		}
		if page, err := w.Store.Keys(ctx, onceq.KeysRequest{Key: j.Key, Limit: 1}); err == nil && len(page.Keys) > 0 {
			w.Fatalf("the key is held by %s", page.Keys[0].Holder)
		}
		w.must(tx.Commit())
		w.job(j.ID)
		w.holds(j)
	})},
	{"a_duplicate_leaves_the_transaction_usable", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		holder := w.insert(task(1), key)
		tx := w.begin()
		in := w.client.WithTx(tx)
		equal(w, "holder", w.within(in, onceq.Skipped, task(2), key).ID, holder.ID)
		equal(w, "holder", w.within(in, onceq.Rejected, task(2), key, reject).ID, holder.ID)
		equal(w, "holder", w.within(in, onceq.Skipped, task(2), onceq.ID(holder.ID)).ID, holder.ID)
		_, err := in.Enqueue(w.ctx, task(1), onceq.Priority(99))
		w.refused(err)
		other := w.within(in, onceq.Inserted, task(3), onceq.UniqueKey("other"))
		w.must(tx.Commit())
		w.holds(other)
		equal(w, "jobs", len(w.jobs()), 2)
	}},
	{"a_transaction_meets_its_own_jobs", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		first := w.within(in, onceq.Inserted, task(1), key)
		equal(w, "holder", w.within(in, onceq.Skipped, task(2), key).ID, first.ID)
		equal(w, "holder", w.within(in, onceq.Rejected, task(2), key, reject).ID, first.ID)
		equal(w, "replaced", w.within(in, onceq.Replaced, task(3), key, coalesce).ID, first.ID)
		second := w.within(in, onceq.Superseded, task(4), key, supersede)
		w.within(in, onceq.Inserted, task(5), onceq.UniqueKey("other"))
		w.must(tx.Commit())
		w.is(first.ID, onceq.Cancelled)
		w.holds(second)
		equal(w, "jobs", len(w.jobs()), 3)
	})},
	{"a_batch_in_a_transaction_is_of_that_transaction", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		items := []onceq.Item{onceq.NewItem(task(1), key), onceq.NewItem(task(2), key),
			onceq.NewItem(task(3), key, reject), onceq.NewItem(task(4))}
		receipts, err := in.EnqueueMany(w.ctx, items)
		w.must(err)
		equal(w, "outcomes", line(receipts[0].Outcome, receipts[1].Outcome, receipts[2].Outcome, receipts[3].Outcome),
			"inserted skipped rejected inserted")
		_, err = in.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1)), onceq.NewItem(task(2), onceq.Priority(-1))})
		w.refused(err)
		w.must(tx.Rollback())
		equal(w, "jobs", len(w.jobs()), 0)
		tx = w.begin()
		_, err = w.client.WithTx(tx).EnqueueMany(w.ctx, items)
		w.must(err)
		w.must(tx.Commit())
		equal(w, "jobs", len(w.jobs()), 2)
	})},
	{"a_write_to_a_holder_rolls_back_with_its_transaction", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		for _, name := range []string{"scheduled", "running"} {
			for _, o := range []onceq.Option{coalesce, supersede} {
				j := inPhase(w, name)
				before, jobs := w.job(j.ID), len(w.jobs())
				tx := w.begin()
				r, err := w.client.WithTx(tx).Enqueue(w.ctx, task(2), key, o)
				w.must(err)
				if r.Outcome == onceq.Skipped {
					w.Fatalf("%s holder: %s", name, r.Outcome)
				}
				w.must(tx.Rollback())
				w.unchanged(before)
				w.waits(nil, j)
				equal(w, "jobs", len(w.jobs()), jobs)
				w.cancel(j.ID)
				if name == "running" {
					w.ends(before, onceq.Finish{State: onceq.Cancelled}, onceq.Cancelled)
				}
			}
		}
	}},
	{"a_waiter_made_in_a_transaction_waits_when_it_commits", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		w.insert(task(1), key)
		holder := w.start()
		tx := w.begin()
		waiter := w.within(w.client.WithTx(tx), onceq.Coalesced, task(2), key, coalesce)
		w.must(tx.Commit())
		w.waits(waiter, holder)
		w.complete(holder)
		w.starts(waiter.ID)
	}},
	{"another_enqueue_waits_for_the_transaction_and_meets_its_job", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		j := w.within(in, onceq.Inserted, task(1), key)
		r, err := w.meanwhile(tx.Commit, task(2), key)
		w.checkReceipt(onceq.Skipped, r, err)
		equal(w, "holder", r.Job.ID, j.ID)
	})},
	{"another_enqueue_waits_for_the_transaction_and_takes_the_key_when_it_rolls_back",
		inTx(func(w *world, tx Tx, in *onceq.TxClient) {
			w.within(in, onceq.Inserted, task(1), key)
			r, err := w.meanwhile(tx.Rollback, task(2), key)
			w.checkReceipt(onceq.Inserted, r, err)
			w.holds(r.Job)
		})},
	{"another_enqueue_of_the_id_waits_for_the_transaction_too", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.within(in, onceq.Inserted, task(1), onceq.ID("a"))
		r, err := w.meanwhile(tx.Commit, task(2), onceq.ID("a"))
		w.checkReceipt(onceq.Skipped, r, err)
		equal(w, "by", r.Conflict.By, "id")
	})},
	{"another_enqueue_waits_no_longer_than_its_context", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.within(in, onceq.Inserted, task(1), key)
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		defer cancel()
		if r, err := w.client.Enqueue(ctx, task(2), key); err == nil {
			w.Fatalf("an answer about an outcome that is not known yet: %s", r.Outcome)
		}
		w.must(tx.Rollback())
		w.client.Close() // the call may be on its way still
		w.client = w.clientOf(w.Store, nil)
	})},
	{"a_transaction_that_has_ended_takes_no_enqueue", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.must(tx.Commit())
		if r, err := in.Enqueue(w.ctx, task(1)); err == nil {
			w.Fatalf("enqueued (%s) in a transaction that has ended", r.Outcome)
		}
		equal(w, "jobs", len(w.jobs()), 0)
	})},
	{"a_closed_client_enqueues_in_no_transaction", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		w.client.Close()
		_, err := in.Enqueue(w.ctx, task(1))
		w.wantErr(err, onceq.ErrClosed)
		_, err = in.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1))})
		w.wantErr(err, onceq.ErrClosed)
	})},
	{"an_expired_key_is_taken_in_a_transaction", func(w *world) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.after(minute)
		tx := w.begin()
		j := w.within(w.client.WithTx(tx), onceq.Inserted, task(2), key)
		w.must(tx.Commit())
		w.holds(j)
	}},
}

// meanwhile enqueues in another goroutine, ends a transaction when that had
// time to arrive, and returns the answer.
func (w *world) meanwhile(end func() error, args onceq.Args, opts ...onceq.Option) (r onceq.Receipt, err error) {
	w.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = w.client.Enqueue(w.ctx, args, opts...)
	}()
	select {
	case <-done:
		if err != nil {
			w.Fatalf("it did not wait for the transaction: %v", err)
		}
		w.Fatalf("it did not wait for the transaction: %s", r.Outcome)
	case <-time.After(30 * time.Millisecond): // it waits; were it slow to arrive, the answer would be the same
	}
	w.must(end())
	<-done
	return r, err
}
