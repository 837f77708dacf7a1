package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/onceq/onceq"
)

// stopping asks a run to stop in some way, and wants its worker to be woken
// for it, as it must be told by a heartbeat.
func stopping(stop func(w *world, run *onceq.JobRow)) func(*world) {
	return func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil {
			w.Skip("this store does not wake anybody")
		}
		wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: []string{"other"}, Worker: "w"})
		w.must(err)
		w.insert(task(1), key)
		run := w.start()
		quiet(wake)
		stop(w, run)
		for deadline := time.After(5 * time.Second); ; {
			select {
			case got, ok := <-wake:
				if !ok {
					w.Fatal("the channel was closed before its context ended")
				}
				if got.Stop {
					equal(w, "to stop", fmt.Sprint(w.beat(run).Stop),
						fmt.Sprint([]onceq.Run{{ID: run.ID, Run: run.Run}}))
					return
				}
			case <-deadline:
				w.Fatal("nothing woke the worker of the run that is to stop")
			}
		}
	}
}

// stops: a run that is asked to stop hears of it by a wake-up, in this
// process and from others.
var stops = []scenario{
	{"a_cancel_of_a_run_wakes_its_worker", stopping(func(w *world, run *onceq.JobRow) { w.cancel(run.ID) })},
	{"a_cancel_through_another_handle_wakes_the_worker_too", stopping(func(w *world, run *onceq.JobRow) {
		if w.Open == nil {
			w.Skip("the data is in this process only")
		}
		other := w.clientOf(w.Open(), nil)
		defer other.Close()
		_, err := other.Cancel(w.ctx, run.ID)
		w.must(err)
	})},
	{"a_cancel_of_all_that_match_wakes_the_worker", stopping(func(w *world, run *onceq.JobRow) {
		_, err := w.client.CancelAll(w.ctx, onceq.JobFilter{Kind: "task"})
		w.must(err)
	})},
	{"a_supersede_of_a_run_wakes_its_worker", stopping(func(w *world, run *onceq.JobRow) {
		w.enqueue(onceq.Superseded, task(2), key, supersede)
	})},
	{"a_supersede_in_a_batch_through_another_handle_wakes_the_worker_too", stopping(func(w *world, run *onceq.JobRow) {
		c := w.client
		if w.Open != nil {
			c = w.clientOf(w.Open(), nil)
			defer c.Close()
		}
		_, err := c.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(3)), onceq.NewItem(task(2), key, supersede),
			onceq.NewItem(task(4))})
		w.must(err)
	})},
	{"a_supersede_in_a_transaction_wakes_the_worker_when_it_commits", stopping(func(w *world, run *onceq.JobRow) {
		if w.Begin == nil {
			w.Skip("this store has no transactions of the caller's")
		}
		tx, err := w.Begin(w.ctx)
		w.must(err)
		defer tx.Rollback()
		_, err = w.client.WithTx(tx).Enqueue(w.ctx, task(2), key, supersede)
		w.must(err)
		w.must(tx.Commit())
	})},
	{"a_run_is_told_to_stop_long_before_its_next_heartbeat", func(w *world) {
		if w.Store.Traits().Wake == nil {
			w.Skip("this store does not wake anybody")
		}
		w.real()
		worker, err := onceq.NewWorker(w.handles(2)[1], &onceq.WorkerConfig{Lease: 24 * time.Hour,
			ShutdownTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
		w.must(err)
		started := make(chan string, 10)
		worker.HandleKind("task", func(ctx context.Context, j *onceq.JobRow) error {
			started <- j.ID
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(w.ctx)
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		w.stops = append(w.stops, func() { cancel(); <-done })
		first := w.insert(task(1), key)
		equal(w, "started", <-started, first.ID)
		second := w.enqueue(onceq.Superseded, task(2), key, supersede).Job
		w.eventually("it has ended", w.finished(first.ID))
		w.is(first.ID, onceq.Cancelled)
		equal(w, "started", <-started, second.ID)
		w.cancel(second.ID)
		w.eventually("it has ended", w.finished(second.ID))
		w.is(second.ID, onceq.Cancelled)
	}},
}
