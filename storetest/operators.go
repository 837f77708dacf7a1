package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// operators: what is done to jobs, keys and queues by hand.
var operators = []scenario{
	{"cancel_of_a_waiting_job_is_immediate", func(w *world) {
		for _, name := range []string{"scheduled", "available", "retryable"} {
			j := inPhase(w, name)
			w.after(time.Second)
			got := w.cancel(j.ID)
			equal(w, "state", got.State, onceq.Cancelled)
			w.sameTime("finished at", got.FinishedAt, w.now)
			equal(w, "the row", show(w.job(j.ID)), show(got))
			w.free(j)
			w.after(2 * time.Hour)
			w.idle()
		}
	}},
	{"cancel_of_a_running_job_is_a_request", func(w *world) {
		j := inPhase(w, "running")
		got := w.cancel(j.ID)
		equal(w, "state", line(got.State, got.CancelRequested), "running true")
		w.holds(j)
		run := onceq.Run{ID: j.ID, Run: 1}
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, Runs: []onceq.Run{run},
			FetchesDone: w.fetches["w"]})
		equal(w, "to stop", fmt.Sprint(x.Stop), fmt.Sprint([]onceq.Run{run}))
		equal(w, "again", w.cancel(j.ID).State, onceq.Running)
		w.ends(got, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		w.free(j)
	}},
	{"a_run_that_is_asked_to_stop_is_cancelled_when_its_worker_is_lost", func(w *world) {
		j := inPhase(w, "running")
		got := w.cancel(j.ID)
		w.ends(got, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Cancelled)
		w.free(j)
	}},
	{"cancel_of_a_cancelled_job_changes_nothing_and_is_no_error", func(w *world) {
		j := w.insert(task(1))
		w.cancel(j.ID)
		before := w.job(j.ID)
		w.after(time.Second)
		equal(w, "state", w.cancel(j.ID).State, onceq.Cancelled)
		w.unchanged(before)
	}},
	{"cancel_of_a_completed_or_discarded_job_is_refused", func(w *world) {
		for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard} {
			w.insert(task(1))
			run := w.start()
			end(run)
			before := w.job(run.ID)
			_, err := w.client.Cancel(w.ctx, run.ID)
			equal(w, "field", w.refused(err).Field, "state")
			w.unchanged(before)
		}
	}},
	{"a_job_that_is_not_there_is_not_found", func(w *world) {
		_, err := w.client.Cancel(w.ctx, "x")
		w.wantErr(err, onceq.ErrNotFound)
		_, err = w.client.Retry(w.ctx, "x")
		w.wantErr(err, onceq.ErrNotFound)
		_, err = w.client.RunNow(w.ctx, "x")
		w.wantErr(err, onceq.ErrNotFound)
		w.wantErr(w.client.Delete(w.ctx, "x"), onceq.ErrNotFound)
		_, err = w.client.Job(w.ctx, "x")
		w.wantErr(err, onceq.ErrNotFound)
		_, err = w.client.Key(w.ctx, onceq.Key{1})
		w.wantErr(err, onceq.ErrNotFound)
		w.wantErr(w.client.ReleaseKey(w.ctx, onceq.Key{1}), onceq.ErrNotFound)
	}},
	{"cancel_of_a_job_that_is_not_kept_removes_it", func(w *world) {
		j := w.insert(task(1), key, onceq.Retention(0))
		w.cancel(j.ID)
		w.gone(j.ID)
		w.free(j)
	}},
	{"retry_of_a_finished_job_makes_it_due_with_one_more_attempt", func(w *world) {
		for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard, w.cancelled} {
			j := w.insert(task(1), onceq.MaxAttempts(1))
			end(w.start())
			errs := len(w.job(j.ID).Errors)
			w.after(minute)
			got := w.retry(j.ID)
			equal(w, "job", line(got.State, got.Attempt, got.MaxAttempts, got.Run, len(got.Errors) == errs,
				got.FinishedAt.IsZero(), got.Worker),
				"available 1 2 1 true true ")
			w.sameTime("run at", got.RunAt, w.now)
			equal(w, "the row", show(w.job(j.ID)), show(got))
			run := w.starts(j.ID)
			equal(w, "run", line(run.Attempt, run.Run), "2 2")
			w.complete(run)
		}
	}},
	{"retry_leaves_a_larger_number_of_attempts_alone", func(w *world) {
		j := w.insert(task(1), onceq.MaxAttempts(10))
		w.discard(w.start())
		equal(w, "max attempts", w.retry(j.ID).MaxAttempts, 10)
	}},
	{"retry_of_a_retryable_job_is_run_now", func(w *world) {
		j := inPhase(w, "retryable")
		w.after(minute)
		got := w.retry(j.ID)
		equal(w, "job", line(got.State, got.Attempt, got.MaxAttempts), "available 1 25")
		w.sameTime("run at", got.RunAt, w.now)
		w.holds(j)
		w.starts(j.ID)
	}},
	{"retry_of_any_other_job_is_refused", func(w *world) {
		for _, name := range []string{"scheduled", "available", "running"} {
			j := inPhase(w, name)
			before := w.job(j.ID)
			_, err := w.client.Retry(w.ctx, j.ID)
			equal(w, "field", w.refused(err).Field, "state")
			w.unchanged(before)
			w.cancel(j.ID)
			if name == "running" {
				w.ends(before, onceq.Finish{State: onceq.Cancelled}, onceq.Cancelled)
			}
		}
	}},
	{"retry_retakes_the_key", func(w *world) {
		j := w.insert(task(1), key)
		w.complete(w.start())
		w.free(j)
		w.after(minute)
		w.retry(j.ID)
		held := w.holds(j)
		w.sameTime("since", held.Since, start.Add(minute))
		w.enqueue(onceq.Skipped, task(2), key)
		w.complete(w.start())
		w.free(j)
	}},
	{"retry_retakes_the_key_of_every_event", func(w *world) {
		for _, u := range []onceq.Until{onceq.UntilStarted, onceq.UntilFinished, onceq.UntilSucceeded,
			onceq.UntilFailed, onceq.UntilDeleted} {
			k := onceq.UniqueKey(u.String())
			j := w.insert(task(1), k, until(u))
			w.discard(w.starts(j.ID))
			w.after(minute)
			w.retry(j.ID)
			equal(w, "frees when", w.holds(j).FreesWhen, u.String())
			w.starts(j.ID)
			if u == onceq.UntilStarted {
				w.free(j)
			} else {
				w.holds(j)
			}
		}
	}},
	{"retry_sets_the_anchor_to_now", func(w *world) {
		for _, from := range []bool{false, true} {
			k := onceq.UniqueKey(fmt.Sprint(from))
			w.at(start)
			j := w.insert(task(1), k, onceq.Unique{Window: minute, TTL: 10 * minute, FromEnqueue: from})
			w.complete(w.start())
			w.after(30 * minute)
			w.retry(j.ID)
			w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(10*minute))
			w.sameTime("anchor", w.job(j.ID).Anchor, w.now)
			w.complete(w.start())
			w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(minute))
		}
	}},
	{"retry_of_a_job_that_still_holds_its_key_holds_it_anew", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilSucceeded, TTL: 10 * minute})
		w.discard(w.start())
		w.after(minute)
		w.holds(j)
		w.retry(j.ID)
		w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(10*minute))
		w.complete(w.start())
		w.free(j)
	}},
	{"retry_is_refused_when_another_job_holds_the_key", func(w *world) {
		j := w.insert(task(1), key)
		w.complete(w.start())
		second := w.insert(task(2), key)
		before := w.job(j.ID)
		_, err := w.client.Retry(w.ctx, j.ID)
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) || dup.Holder != second.ID || dup.By != "key" || !dup.ArgsDiffer {
			w.Fatalf("got error %v, want a *DuplicateError naming %s", err, second.ID)
		}
		w.unchanged(before)
		w.holds(second)
	}},
	{"retry_is_refused_when_a_job_that_is_gone_holds_the_key", func(w *world) {
		j := w.insert(task(1), key)
		w.complete(w.start())
		second := w.insert(task(2), key, onceq.Unique{Window: time.Hour}, onceq.Retention(0))
		w.complete(w.start())
		_, err := w.client.Retry(w.ctx, j.ID)
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) || dup.Holder != second.ID {
			w.Fatalf("got error %v, want a *DuplicateError naming %s", err, second.ID)
		}
		w.is(j.ID, onceq.Completed)
	}},
	{"retry_without_key_runs_beside_the_holder_and_leaves_its_key_alone", func(w *world) {
		j := w.insert(task(1), key)
		w.complete(w.start())
		second := w.insert(task(2), key, onceq.Delay(time.Hour))
		got := w.retry(j.ID, onceq.WithoutKey)
		equal(w, "job", line(got.State, got.Keyless), "available true")
		w.holds(second)
		run := w.starts(j.ID)
		w.fail(run, 0)
		w.holds(second)
		w.complete(w.starts(j.ID))
		w.holds(second)
		w.remove(j.ID)
		w.holds(second)
	}},
	{"retry_without_key_takes_a_key_that_is_free", func(w *world) {
		j := w.insert(task(1), key)
		w.complete(w.start())
		equal(w, "keyless", w.retry(j.ID, onceq.WithoutKey).Keyless, false)
		w.holds(j)
	}},
	{"retry_of_a_keyless_job_retakes_the_key", func(w *world) {
		j := w.insert(task(1), key)
		w.release(j)
		w.complete(w.start())
		equal(w, "keyless", w.job(j.ID).Keyless, true)
		w.after(minute)
		equal(w, "keyless", w.retry(j.ID).Keyless, false)
		w.holds(j)
	}},
	{"retry_of_two_jobs_of_one_key_gives_it_to_the_first", func(w *world) {
		first := w.insert(task(1), key)
		w.complete(w.start())
		second := w.insert(task(2), key)
		w.complete(w.start())
		results, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpRetry, IDs: []string{first.ID, "x", second.ID}})
		w.must(err)
		w.must(results[0].Err)
		w.wantErr(results[1].Err, onceq.ErrNotFound)
		w.wantErr(results[2].Err, onceq.ErrDuplicate)
		w.holds(first)
	}},
	{"run_now_makes_a_waiting_job_due", func(w *world) {
		for _, name := range []string{"scheduled", "available", "retryable"} {
			j := inPhase(w, name)
			w.after(time.Second)
			got := w.runNow(j.ID)
			equal(w, "state", got.State, onceq.Available)
			if got.RunAt.After(w.now) {
				w.Fatalf("run at %s", clock(got.RunAt))
			}
			w.holds(j)
			w.complete(w.starts(j.ID))
		}
	}},
	{"run_now_of_a_job_that_does_not_wait_is_refused", func(w *world) {
		for _, name := range []string{"running", "finished"} {
			j := inPhase(w, name)
			before := w.job(j.ID)
			_, err := w.client.RunNow(w.ctx, j.ID)
			equal(w, "field", w.refused(err).Field, "state")
			w.unchanged(before)
			if name == "running" {
				w.complete(before)
			}
		}
	}},
	{"delete_removes_a_job_and_its_key", func(w *world) {
		for _, name := range []string{"scheduled", "available", "retryable", "finished"} {
			j := inPhase(w, name)
			w.holds(j)
			w.remove(j.ID)
			w.free(j)
			w.after(2 * time.Hour)
			w.idle()
		}
	}},
	{"delete_of_a_running_job_is_refused", func(w *world) {
		j := inPhase(w, "running")
		before := w.job(j.ID)
		equal(w, "field", w.refused(w.client.Delete(w.ctx, j.ID)).Field, "state")
		w.unchanged(before)
		w.holds(j)
	}},
	{"delete_answers_with_the_job_as_it_was", func(w *world) {
		j := w.insert(task(1), key)
		results, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{j.ID, j.ID}})
		w.must(err)
		w.must(results[0].Err)
		j.Args = nil // the call named two jobs
		equal(w, "job", show(results[0].Job), show(j))
		w.wantErr(results[1].Err, onceq.ErrNotFound)
	}},
	{"every_way_to_remove_jobs_frees_their_keys", func(w *world) {
		insert := func(queue string) {
			for i := range 5 {
				w.insert(task(i), onceq.Unique{Until: onceq.UntilDeleted}, onceq.Queue(queue),
					onceq.Delay(time.Duration(i)*minute))
			}
		}
		insert("a")
		insert("b")
		n, err := w.client.DeleteAll(w.ctx, onceq.JobFilter{Queue: "a"})
		w.must(err)
		equal(w, "deleted", n, 5)
		n, err = w.client.DeleteAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Available}})
		w.must(err)
		equal(w, "deleted", n, 1)
		n, err = w.client.DeleteAll(w.ctx, onceq.JobFilter{Kind: "task"})
		w.must(err)
		equal(w, "deleted", n, 4)
		insert("c")
		n, err = w.client.DeleteAll(w.ctx, onceq.JobFilter{All: true})
		w.must(err)
		equal(w, "deleted", n, 5)
		keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, 10)
		w.must(err)
		equal(w, "keys", len(keys), 0)
	}},
	{"each_operation_exists_for_all_that_match", func(w *world) {
		all := func(n int, err error) func(want int) {
			return func(want int) {
				w.Helper()
				w.must(err)
				equal(w, "changed jobs", n, want)
			}
		}
		for i := range 4 {
			w.insert(task(i), onceq.Delay(time.Hour))
			w.insert(mail{To: fmt.Sprint(i)}, onceq.Delay(time.Hour))
		}
		all(w.client.RunAll(w.ctx, onceq.JobFilter{Kind: "task"}))(4)
		running := w.fetch("w", "default", 2)
		all(w.client.CancelAll(w.ctx, onceq.JobFilter{Kind: "task"}))(4)
		for _, j := range running {
			w.ends(j, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		}
		all(w.client.RetryAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Cancelled}, Limit: 3}))(3)
		all(w.client.RetryAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Cancelled}}))(1)
		all(w.client.DeleteAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Scheduled}, Kind: "mail"}))(4)
		equal(w, "jobs", len(w.jobs()), 4)
	}},
	{"a_bulk_step_says_what_it_passes_over_and_a_dry_run_changes_nothing", bulkSteps},
	{"a_bulk_change_goes_on_from_its_cursor", changeSome},
	{"an_empty_filter_changes_nothing", func(w *world) {
		j := w.insert(task(1))
		for _, all := range []func() (int, error){
			func() (int, error) { return w.client.CancelAll(w.ctx, onceq.JobFilter{}) },
			func() (int, error) { return w.client.DeleteAll(w.ctx, onceq.JobFilter{Limit: 3}) },
			func() (int, error) { return w.client.RetryAll(w.ctx, onceq.JobFilter{}) },
			func() (int, error) { return w.client.RunAll(w.ctx, onceq.JobFilter{}) },
		} {
			_, err := all()
			w.refused(err)
		}
		w.unchanged(j)
	}},
	{"a_change_reaches_only_jobs_in_the_states_it_names", func(w *world) {
		later := w.insert(task(1), onceq.Delay(time.Hour))
		due := w.insert(task(2))
		results, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{due.ID, later.ID},
			States: []onceq.State{onceq.Scheduled, onceq.Running}})
		w.must(err)
		w.wantErr(results[0].Err, onceq.ErrNotFound)
		w.must(results[1].Err)
		w.is(due.ID, onceq.Available)
		w.is(later.ID, onceq.Cancelled)
	}},
	{"release_frees_the_key_and_the_holder_goes_on_without_it", func(w *world) {
		for _, name := range []string{"scheduled", "available", "running", "retryable", "finished"} {
			j := inPhase(w, name)
			before := w.job(j.ID)
			w.release(j)
			w.free(j)
			got := w.job(j.ID)
			equal(w, "keyless", got.Keyless, true)
			got.Keyless = false
			equal(w, "the rest of the job", show(got), show(before))
			w.wantErr(w.client.ReleaseKey(w.ctx, *j.Key), onceq.ErrNotFound)
			second := w.insert(task(2), key, onceq.Delay(time.Hour))
			w.holds(second)
			if name == "running" {
				w.complete(before)
				w.holds(second)
			}
			w.remove(second.ID)
			if name != "running" && name != "finished" {
				w.cancel(j.ID)
			}
		}
	}},
	{"release_frees_what_is_left_of_a_job_that_is_gone", func(w *world) {
		j := inPhase(w, "gone")
		w.holds(j)
		w.release(j)
		w.free(j)
		w.insert(task(2), key)
	}},
	{"release_frees_a_window_at_once", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour})
		w.release(j)
		w.insert(task(2), key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour})
	}},
	{"release_of_a_key_that_a_clock_has_freed_is_not_found", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.after(minute)
		w.wantErr(w.client.ReleaseKey(w.ctx, *j.Key), onceq.ErrNotFound)
		equal(w, "keyless", w.job(j.ID).Keyless, false)
	}},
	{"a_released_job_that_ends_does_not_free_the_next_holders_key", func(w *world) {
		for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard, w.cancelled} {
			j := w.insert(task(1), key)
			run := w.starts(j.ID)
			w.release(j)
			second := w.insert(task(2), key)
			end(run)
			w.holds(second)
			w.remove(run.ID)
			w.holds(second)
			w.complete(w.starts(second.ID))
		}
	}},
	{"a_change_of_one_job_tells_its_args_and_one_of_many_does_not", func(w *world) {
		a, b := w.insert(task(1)), w.insert(task(2))
		for _, op := range []onceq.Op{onceq.OpRunNow, onceq.OpCancel, onceq.OpRetry, onceq.OpDelete} {
			for _, ids := range [][]string{{a.ID}, {a.ID, b.ID}, {b.ID, "none"}} {
				results, err := w.Store.Change(w.ctx, onceq.Change{Op: op, IDs: ids})
				w.must(err)
				for i, r := range results {
					if r.Job != nil {
						equal(w, fmt.Sprint("args of ", i, " of ", len(ids)), len(r.Job.Args) > 0, len(ids) == 1)
					}
				}
			}
		}
	}},
}
