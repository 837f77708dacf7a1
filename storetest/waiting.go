package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// another is a store on the same data, as another process would have it, if
// there can be one.
func (w *world) another() onceq.Store {
	if w.Open == nil {
		return w.Store
	}
	return w.Open()
}

// waited is the answer to a wait.
type waited struct {
	job *onceq.JobRow
	err error
}

// waitFor begins to wait for what stands for an enqueue.
func (w *world) waitFor(r onceq.Receipt) <-chan waited {
	done := make(chan waited, 1)
	go func() {
		job, err := r.Wait(w.ctx)
		done <- waited{job, err}
	}()
	return done
}

// over is the answer to a wait that must be over soon, without an error.
func (w *world) over(done <-chan waited) *onceq.JobRow {
	w.Helper()
	got := <-done
	w.must(got.err)
	return got.job
}

// waitsOn wants a wait not to be over after some looks.
func (w *world) waitsOn(done <-chan waited) {
	w.Helper()
	select {
	case got := <-done:
		w.Fatalf("the wait is over: %v, %v", show(got.job), got.err)
	case <-time.After(20 * time.Millisecond):
	}
}

// gives completes a run with a result.
func (w *world) gives(run *onceq.JobRow, result string) {
	w.Helper()
	w.ends(run, onceq.Finish{State: onceq.Completed, Result: []byte(result)}, onceq.Completed)
}

// waiting: callers wait for the end of a job, and get its result.
var waiting = []scenario{
	{"a_waiter_gets_the_result_of_a_job_run_by_another_process", func(w *world) {
		r := w.enqueue(onceq.Inserted, task(1))
		done := w.waitFor(r)
		w.waitsOn(done)
		there := w.another()
		_, err := there.Extend(w.ctx, onceq.ExtendRequest{Worker: "there", Lease: minute})
		w.must(err)
		f, err := there.Fetch(w.ctx, onceq.FetchRequest{Worker: "there", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		w.must(err)
		w.waitsOn(done)
		_, err = there.Finish(w.ctx, onceq.FinishRequest{Runs: []onceq.Finish{{ID: r.Job.ID, Run: f.Jobs[0].Run,
			Worker: "there", State: onceq.Completed, Result: []byte(`"done"`)}}})
		w.must(err)
		got, err := onceq.ResultOf[string](w.over(done))
		w.must(err)
		equal(w, "result", got, "done")
		got, err = onceq.WaitFor[string](w.ctx, r) // long after the end
		w.must(err)
		equal(w, "result", got, "done")
	}},
	{"a_hundred_duplicate_callers_get_one_result_of_one_run", func(w *world) {
		var runs atomic.Int64
		w.withWorker(4, func(ctx context.Context, j *onceq.JobRow) error {
			return onceq.SetResult(ctx, runs.Add(1))
		})
		unique := []onceq.Option{key, onceq.Unique{Until: onceq.UntilFailed, TTL: time.Hour}}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				r, err := w.client.Enqueue(w.ctx, task(1), unique...)
				if err != nil {
					w.Error(err)
					return
				}
				if n, err := onceq.WaitFor[int64](w.ctx, r); n != 1 || err != nil {
					w.Errorf("the result is %d, %v", n, err)
				}
			})
		}
		all.Wait()
		equal(w, "runs", runs.Load(), 1)
	}},
	{"a_coalesced_caller_gets_the_result_of_the_later_run", func(w *world) {
		coalesce := []onceq.Option{key, onceq.OnConflict(onceq.Coalesce)}
		first := w.enqueue(onceq.Inserted, task(1), coalesce...)
		run := w.start()
		second := w.enqueue(onceq.Coalesced, task(2), coalesce...)
		third := w.enqueue(onceq.Replaced, task(3), coalesce...)
		a, b, c := w.waitFor(first), w.waitFor(second), w.waitFor(third)
		w.gives(run, "1")
		equal(w, "the first result", string(w.over(a).Result), "1")
		w.waitsOn(b)
		w.gives(w.start(), "2")
		equal(w, "the later result", string(w.over(b).Result), "2")
		equal(w, "the later result", string(w.over(c).Result), "2")
	}},
	{"waiting_follows_the_job_that_superseded_it", func(w *world) {
		supersede := []onceq.Option{key, onceq.OnConflict(onceq.Supersede)}
		done := w.waitFor(w.enqueue(onceq.Inserted, task(1), supersede...))
		w.waitsOn(done)
		w.enqueue(onceq.Superseded, task(2), supersede...)
		run := w.start()
		last := w.enqueue(onceq.Superseded, task(3), supersede...).Job
		w.ends(run, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		w.waitsOn(done)
		w.gives(w.starts(last.ID), "3")
		job := w.over(done)
		equal(w, "job", line(job.ID, string(job.Result)), line(last.ID, "3"))
	}},
	{"a_discarded_job_is_a_FailedError_with_its_last_error", func(w *world) {
		for _, end := range []onceq.State{onceq.Discarded, onceq.Cancelled} {
			done := w.waitFor(w.enqueue(onceq.Inserted, task(1)))
			w.finish(w.start(), onceq.Finish{State: onceq.Retryable, Error: "early"})
			w.finish(w.start(), onceq.Finish{State: end, Error: "no such address", Result: []byte("1")})
			got := <-done
			w.wantErr(got.err, onceq.ErrFailed)
			var failed *onceq.FailedError
			if !errors.As(got.err, &failed) || failed.Job.State != end || !strings.HasSuffix(got.err.Error(),
				string(end)+": no such address") {
				w.Fatalf("the error is %v", got.err)
			}
			equal(w, "job", line(got.job.ID, string(failed.Job.Result)), line(failed.Job.ID, "1"))
		}
	}},
	{"a_retry_is_not_the_end", func(w *world) {
		done := w.waitFor(w.enqueue(onceq.Inserted, task(1)))
		w.fail(w.start(), 0)
		w.waitsOn(done)
		w.snooze(w.start(), time.Second)
		w.after(time.Second)
		w.waitsOn(done)
		w.handBack(w.start())
		w.waitsOn(done)
		w.gives(w.start(), "1")
		equal(w, "result", string(w.over(done).Result), "1")
	}},
	{"waiting_for_a_job_kept_for_no_time_is_refused", func(w *world) {
		r := w.enqueue(onceq.Inserted, task(1), onceq.Retention(0))
		_, err := r.Wait(w.ctx)
		equal(w, "field", w.refused(err).Field, "retention")
		_, err = w.client.Wait(w.ctx, r.Job.ID)
		equal(w, "field", w.refused(err).Field, "retention")
	}},
	{"a_job_deleted_while_waited_for_says_so", func(w *world) {
		r := w.enqueue(onceq.Inserted, task(1))
		done := w.waitFor(r)
		w.waitsOn(done)
		w.remove(r.Job.ID)
		w.wantErr((<-done).err, onceq.ErrGone)
		_, err := r.Wait(w.ctx)
		w.wantErr(err, onceq.ErrGone)
		_, err = w.client.Wait(w.ctx, r.Job.ID)
		w.wantErr(err, onceq.ErrNotFound)
	}},
	{"a_holder_that_is_gone_cannot_be_waited_for", func(w *world) {
		w.insert(task(1), key, onceq.Unique{Window: time.Hour}, onceq.Retention(0))
		w.complete(w.start())
		_, err := w.enqueue(onceq.Skipped, task(1), key).Wait(w.ctx)
		w.wantErr(err, onceq.ErrGone)
	}},
	{"a_rejected_caller_waits_for_the_holder", func(w *world) {
		w.insert(task(1), key)
		r, err := w.client.Enqueue(w.ctx, task(1), key, onceq.OnConflict(onceq.Reject))
		w.wantErr(err, onceq.ErrDuplicate)
		done := w.waitFor(r)
		w.gives(w.start(), "1")
		equal(w, "result", string(w.over(done).Result), "1")
	}},
	{"a_result_too_large_is_refused_before_it_is_sent", func(w *world) {
		var refused atomic.Int64
		w.withWorker(1, func(ctx context.Context, j *onceq.JobRow) error {
			var invalid *onceq.InvalidError
			if err := onceq.SetResult(ctx, strings.Repeat("x", onceq.DefaultMaxResult)); errors.As(err, &invalid) {
				refused.Add(1)
			}
			return onceq.SetResult(ctx, strings.Repeat("x", onceq.DefaultMaxResult-2))
		})
		got, err := onceq.WaitFor[string](w.ctx, w.enqueue(onceq.Inserted, task(1)))
		w.must(err)
		equal(w, "refused, kept", line(refused.Load(), len(got)), line(1, onceq.DefaultMaxResult-2))
	}},
	{"the_context_ends_the_wait_and_nothing_else", func(w *world) {
		r := w.enqueue(onceq.Inserted, task(1), key)
		ctx, cancel := context.WithCancel(w.ctx)
		done := make(chan waited)
		go func() {
			job, err := r.Wait(ctx)
			done <- waited{job, err}
		}()
		cancel()
		got := <-done
		w.wantErr(got.err, context.Canceled)
		equal(w, "job", got.job.ID, r.Job.ID)
		w.holds(r.Job)
		w.is(r.Job.ID, onceq.Available)
	}},
	{"many_waits_for_many_jobs_end_each_with_its_own", func(w *world) {
		w.withWorker(8, func(ctx context.Context, j *onceq.JobRow) error {
			return onceq.SetResult(ctx, string(j.Args))
		})
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				r, err := w.client.Enqueue(w.ctx, task(i))
				if err != nil {
					w.Error(err)
					return
				}
				if got, err := onceq.WaitFor[string](w.ctx, r); got != fmt.Sprint(i) || err != nil {
					w.Errorf("the result of %d is %q, %v", i, got, err)
				}
			})
		}
		all.Wait()
	}},
}
