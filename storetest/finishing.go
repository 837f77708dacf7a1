package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// finishing: how runs end.
var finishing = []scenario{
	{"completed", func(w *world) {
		w.insert(task(1))
		w.after(time.Second)
		run := w.start()
		w.after(time.Second)
		equal(w, "wake", w.complete(run).Wake, "")
		j := w.is(run.ID, onceq.Completed)
		w.sameTime("finished at", j.FinishedAt, start.Add(2*time.Second))
		w.sameTime("started at", j.StartedAt, start.Add(time.Second))
		equal(w, "attempt and worker", line(j.Attempt, j.Run, j.Worker, len(j.Errors)), "1 1 w 0")
		w.idle()
	}},
	{"discarded_and_cancelled_keep_their_error", func(w *world) {
		for _, s := range []onceq.State{onceq.Discarded, onceq.Cancelled} {
			w.insert(task(1))
			run := w.start()
			w.after(time.Second)
			w.ends(run, onceq.Finish{State: s, Error: "why é", Stack: "where\n\tline"}, s)
			j := w.is(run.ID, s)
			w.sameTime("finished at", j.FinishedAt, w.now)
			if len(j.Errors) != 1 {
				w.Fatalf("errors %v", j.Errors)
			}
			e := j.Errors[0]
			w.sameTime("at", e.At, w.now)
			equal(w, "error", line(e.Attempt, e.Run, e.Error, e.Stack), "1 1 why é where\n\tline")
		}
	}},
	{"a_failure_waits_for_its_backoff_and_spends_the_attempt", func(w *world) {
		w.insert(task(1))
		run := w.start()
		w.after(time.Second)
		equal(w, "wake", w.fail(run, 1500*time.Millisecond).Wake, "")
		j := w.is(run.ID, onceq.Retryable)
		w.sameTime("run at", j.RunAt, start.Add(2500*time.Millisecond))
		equal(w, "attempt", line(j.Attempt, j.Run, j.FinishedAt.IsZero()), "1 1 true")
	}},
	{"a_failure_without_backoff_is_due_at_once", func(w *world) {
		w.insert(task(1), onceq.Queue("q"))
		run := w.startAs("w", "q")
		equal(w, "wake", w.fail(run, 0).Wake, "q")
		w.is(run.ID, onceq.Available)
	}},
	{"a_snooze_waits_and_spends_no_attempt", func(w *world) {
		w.insert(task(1))
		run := w.start()
		equal(w, "wake", w.snooze(run, minute).Wake, "")
		j := w.is(run.ID, onceq.Scheduled)
		w.sameTime("run at", j.RunAt, start.Add(minute))
		equal(w, "attempt", line(j.Attempt, j.Run, len(j.Errors)), "0 1 0")
		w.after(minute)
		equal(w, "attempt", w.starts(j.ID).Attempt, 1)
	}},
	{"a_hand_back_is_due_at_once_and_spends_no_attempt", func(w *world) {
		w.insert(task(1))
		run := w.start()
		equal(w, "wake", w.handBack(run).Wake, "default")
		j := w.is(run.ID, onceq.Available)
		equal(w, "attempt", line(j.Attempt, j.Run), "0 1")
		equal(w, "run", w.startAs("other", "default").Run, int64(2))
	}},
	{"the_last_five_errors_are_kept_oldest_first", func(w *world) {
		w.insert(task(1))
		for i := range 7 {
			w.ends(w.start(), onceq.Finish{State: onceq.Retryable, Error: fmt.Sprint("error ", i+1)}, onceq.Retryable)
			w.after(time.Second)
		}
		run := w.start()
		var got []string
		for _, e := range run.Errors {
			got = append(got, line(e.Error, e.Attempt, e.Run))
		}
		equal(w, "errors", strings.Join(got, " "), "error 3 3 3 error 4 4 4 error 5 5 5 error 6 6 6 error 7 7 7")
	}},
	{"a_job_that_is_not_kept_goes_when_it_ends_and_not_before", func(w *world) {
		for _, s := range []onceq.State{onceq.Completed, onceq.Discarded, onceq.Cancelled} {
			w.insert(task(1), key, onceq.Retention(0))
			run := w.start()
			w.fail(run, 0)
			run = w.starts(run.ID)
			w.ends(run, onceq.Finish{State: s}, s)
			w.gone(run.ID)
			w.free(run)
			equal(w, "a repeat", w.finish(run, onceq.Finish{State: s}).Status, onceq.FinishGone)
		}
	}},
	{"a_job_that_is_not_there_is_gone", func(w *world) {
		r := w.finish(&onceq.JobRow{ID: "no such job", Run: 1, Worker: "w"}, onceq.Finish{State: onceq.Completed})
		equal(w, "status", r.Status, onceq.FinishGone)
		w.insert(task(1), onceq.ID("a"))
		w.cancelled(w.start())
		w.remove("a")
		equal(w, "status", w.finish(&onceq.JobRow{ID: "a", Run: 1, Worker: "w"},
			onceq.Finish{State: onceq.Completed}).Status, onceq.FinishGone)
	}},
	{"a_job_that_does_not_run_is_not_finished", func(w *world) {
		j := w.insert(task(1))
		for _, run := range []int64{0, 1} {
			equal(w, "status", w.finish(&onceq.JobRow{ID: j.ID, Run: run, Worker: "w"},
				onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		}
		w.unchanged(j)
	}},
	{"an_old_run_changes_nothing", func(w *world) {
		w.insert(task(1), key)
		old := w.start()
		w.fail(old, 0)
		current := w.starts(old.ID)
		for _, s := range []onceq.State{onceq.Completed, onceq.Discarded, onceq.Cancelled, onceq.Retryable,
			onceq.Scheduled} {
			equal(w, "status", w.finish(old, onceq.Finish{State: s, Error: "late"}).Status, onceq.FinishLost)
		}
		w.unchanged(current)
		w.holds(current)
		w.complete(current)
		equal(w, "status", w.finish(old, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
	}},
	{"another_worker_changes_nothing", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.known("other")
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed, Worker: "other"}).Status,
			onceq.FinishLost)
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed, Worker: "nobody"}).Status,
			onceq.FinishLost)
		w.unchanged(run)
		w.complete(run)
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed, Worker: "other"}).Status,
			onceq.FinishLost)
	}},
	{"a_run_that_is_yet_to_come_is_not_finished", func(w *world) {
		w.insert(task(1))
		run := *w.start()
		run.Run++
		equal(w, "status", w.finish(&run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		w.is(run.ID, onceq.Running)
	}},
	{"a_repeat_is_answered_as_the_first_time", func(w *world) {
		for _, f := range []onceq.Finish{{State: onceq.Completed}, {State: onceq.Discarded, Error: "e"},
			{State: onceq.Cancelled},
			{State: onceq.Retryable, Error: "e", Delay: minute},
			{State: onceq.Scheduled, Delay: minute, GiveBack: true}} {
			j := w.insert(task(1), key)
			run := w.starts(j.ID)
			w.ends(run, f, f.State)
			before := w.job(j.ID)
			for range 2 {
				w.after(time.Second)
				w.ends(run, f, f.State)
				w.unchanged(before)
			}
			if !f.State.Finished() {
				w.cancel(j.ID)
			}
		}
	}},
	{"a_repeat_does_not_touch_the_next_holder", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.complete(run)
		second := w.insert(task(2), key)
		w.complete(run)
		w.holds(second)
	}},
	{"a_repeat_after_the_waiter_was_let_go_changes_nothing", func(w *world) {
		holder, waiter := standing(w)
		w.complete(holder)
		w.complete(holder)
		w.holds(waiter)
		run := w.starts(waiter.ID)
		w.complete(holder)
		w.unchanged(run)
	}},
	{"a_repeat_of_what_a_cancel_request_turned_is_answered_as_the_first_time", func(w *world) {
		j := w.insert(task(1))
		run := w.start()
		w.cancel(j.ID)
		w.ends(run, onceq.Finish{State: onceq.Retryable, Error: "e"}, onceq.Cancelled)
		w.ends(run, onceq.Finish{State: onceq.Retryable, Error: "e"}, onceq.Cancelled)
	}},
	{"a_rescue_ends_anybodys_run_and_the_lost_workers_finish_is_lost", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.ends(run, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "its worker was lost"},
			onceq.Retryable)
		equal(w, "attempt", w.is(run.ID, onceq.Available).Attempt, 1)
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		w.is(run.ID, onceq.Available)
		w.holds(run)
		w.complete(w.startAs("other", "default"))
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
	}},
	{"a_rescue_of_an_old_run_changes_nothing", func(w *world) {
		w.insert(task(1))
		old := w.start()
		w.fail(old, 0)
		current := w.start()
		equal(w, "status", w.finish(old, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true}).Status,
			onceq.FinishLost)
		w.unchanged(current)
	}},
	{"a_rescue_of_a_run_that_has_ended_is_lost", func(w *world) {
		w.insert(task(1))
		run := w.start()
		w.complete(run)
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true}).Status,
			onceq.FinishLost)
		w.is(run.ID, onceq.Completed)
		w.complete(run) // its own repeat still counts
	}},
	{"many_runs_end_in_one_call_in_the_order_of_the_requests", func(w *world) {
		var fs []onceq.Finish
		var want []string
		for i := range 50 {
			w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)))
		}
		for i, j := range w.fetch("w", "default", 50) {
			f := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w",
				State: []onceq.State{onceq.Completed, onceq.Discarded, onceq.Retryable, onceq.Scheduled}[i%4],
				Delay: minute}
			status := onceq.FinishDone
			switch i % 7 {
			case 5:
				f.Run, status = 9, onceq.FinishLost
			case 6:
				f.ID, status = "no such job", onceq.FinishGone
			}
			fs, want = append(fs, f), append(want, fmt.Sprint(status))
		}
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: fs})
		w.must(err)
		for i, r := range results {
			equal(w, "status", fmt.Sprint(r.Status), want[i])
			if r.Status == onceq.FinishDone {
				equal(w, "state", r.State, fs[i].State)
				w.is(fs[i].ID, fs[i].State)
			}
		}
	}},
	{"an_empty_call_finishes_nothing", func(w *world) {
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: nil})
		w.must(err)
		equal(w, "results", len(results), 0)
	}},
	{"one_run_twice_in_a_call_ends_once", func(w *world) {
		w.insert(task(1))
		j := w.start()
		f := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Retryable, Delay: minute, Error: "once"}
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: []onceq.Finish{f, f}})
		w.must(err)
		equal(w, "results", line(results[0].Status, results[0].State, results[1].Status, results[1].State),
			"0 retryable 0 retryable")
		equal(w, "errors", len(w.job(j.ID).Errors), 1)
	}},
	{"a_cancel_request_makes_any_verdict_but_completed_cancelled", func(w *world) {
		for _, f := range []onceq.Finish{{State: onceq.Completed}, {State: onceq.Discarded, Error: "e"},
			{State: onceq.Cancelled},
			{State: onceq.Retryable, Delay: minute, Error: "e"},
			{State: onceq.Scheduled, Delay: minute, GiveBack: true}, {State: onceq.Scheduled, GiveBack: true}} {
			j := w.insert(task(1), key)
			run := w.starts(j.ID)
			w.cancel(j.ID)
			w.holds(j)
			want := onceq.Cancelled
			if f.State == onceq.Completed {
				want = onceq.Completed
			}
			equal(w, "wake", w.ends(run, f, want).Wake, "")
			got := w.is(j.ID, want)
			w.sameTime("finished at", got.FinishedAt, w.now)
			equal(w, "cancel requested", got.CancelRequested, false)
			w.free(j)
			w.idle()
		}
	}},
}
