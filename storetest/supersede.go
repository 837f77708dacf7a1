package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// superseded is a running job with args 1, asked to stop, and the job
// behind it that took its place, with args 2.
func superseded(w *world, opts ...onceq.Option) (old, new *onceq.JobRow) {
	w.Helper()
	opts = append(opts, key)
	w.insert(task(1), opts...)
	old = w.start()
	r := w.enqueue(onceq.Superseded, task(2), append(opts, supersede)...)
	equal(w, "conflict", line(r.Conflict.By, r.Conflict.Holder == old.ID, r.Conflict.State), "key true running")
	return old, r.Job
}

// supersedesWaiting is a case in which a waiting holder is cancelled in the
// step that makes the new job.
func supersedesWaiting(name string) func(*world) {
	return func(w *world) {
		old := inPhase(w, name)
		w.after(time.Second)
		r := w.enqueue(onceq.Superseded, task(2), key, supersede)
		equal(w, "holder", r.Conflict.Holder, old.ID)
		equal(w, "origin", line(r.Job.Origin, r.Job.Displaced == old.ID, r.Job.Behind), "superseded true ")
		j := w.is(old.ID, onceq.Cancelled)
		equal(w, "superseded by", j.SupersededBy, r.Job.ID)
		w.sameTime("finished at", j.FinishedAt, start.Add(time.Second))
		w.sameTime("since", w.holds(r.Job).Since, start.Add(time.Second))
		w.starts(r.Job.ID)
		w.idle()
	}
}

// stopped is a case in which a superseded run reports in some way.
func stopped(f onceq.Finish, recorded onceq.State) func(*world) {
	return func(w *world) {
		old, new := superseded(w)
		w.idle()
		w.after(minute)
		r := w.ends(old, f, recorded)
		equal(w, "wake", r.Wake, "default")
		j := w.is(old.ID, recorded)
		equal(w, "superseded by", j.SupersededBy, new.ID)
		equal(w, "cancel requested", j.CancelRequested, false)
		w.sameTime("finished at", j.FinishedAt, start.Add(minute))
		w.sameTime("since", w.holds(new).Since, start.Add(minute))
		w.sameTime("run at", w.is(new.ID, onceq.Available).RunAt, start.Add(minute))
		w.starts(new.ID)
		w.idle()
	}
}

// superseding: the policy Supersede.
var superseding = []scenario{
	{"a_scheduled_holder_is_cancelled", supersedesWaiting("scheduled")},
	{"an_available_holder_is_cancelled", supersedesWaiting("available")},
	{"a_retryable_holder_is_cancelled", supersedesWaiting("retryable")},
	{"a_running_holder_is_asked_to_stop_and_the_new_job_waits", func(w *world) {
		old, new := superseded(w)
		j := w.is(old.ID, onceq.Running)
		equal(w, "asked to stop", line(j.CancelRequested, j.SupersededBy == new.ID), "true true")
		equal(w, "origin", line(new.Origin, new.Displaced == old.ID), "superseded true")
		w.waits(new, old)
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"],
			Runs: []onceq.Run{{ID: old.ID, Run: old.Run}}})
		equal(w, "the heartbeat's answer", fmt.Sprint(x),
			fmt.Sprint(onceq.Extended{Stop: []onceq.Run{{ID: old.ID, Run: old.Run}}}))
		w.idle()
	}},
	{"a_superseded_run_that_completes_is_completed", stopped(onceq.Finish{State: onceq.Completed}, onceq.Completed)},
	{"a_superseded_run_that_fails_is_cancelled",
		stopped(onceq.Finish{State: onceq.Retryable, Delay: minute, Error: "stopped"}, onceq.Cancelled)},
	{"a_superseded_run_that_snoozes_is_cancelled",
		stopped(onceq.Finish{State: onceq.Scheduled, Delay: minute, GiveBack: true}, onceq.Cancelled)},
	{"a_superseded_run_that_is_handed_back_is_cancelled",
		stopped(onceq.Finish{State: onceq.Scheduled, GiveBack: true}, onceq.Cancelled)},
	{"a_superseded_run_that_is_discarded_is_cancelled", stopped(onceq.Finish{State: onceq.Discarded, Error: "hopeless"},
		onceq.Cancelled)},
	{"a_superseded_run_that_cancels_itself_is_cancelled",
		stopped(onceq.Finish{State: onceq.Cancelled}, onceq.Cancelled)},
	{"a_superseded_run_that_is_rescued_is_cancelled",
		stopped(onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"}, onceq.Cancelled)},
	{"a_superseded_run_whose_fetch_was_never_answered_is_cancelled", func(w *world) {
		old, new := superseded(w)
		w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"]})
		w.is(old.ID, onceq.Cancelled)
		w.starts(new.ID)
	}},
	{"a_superseded_run_whose_worker_takes_leave_is_cancelled", func(w *world) {
		old, new := superseded(w)
		w.extend(onceq.ExtendRequest{Worker: "w"})
		w.is(old.ID, onceq.Cancelled)
		equal(w, "job", w.startAs("other", "default").ID, new.ID)
	}},
	{"the_newest_takes_the_place_of_the_waiter", func(w *world) {
		old, second := superseded(w)
		third := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		j := w.is(second.ID, onceq.Cancelled)
		equal(w, "waiter", line(j.SupersededBy == third.ID, j.Behind), "true ")
		equal(w, "superseded by", w.job(old.ID).SupersededBy, third.ID)
		w.waits(third, old)
		w.complete(old)
		w.starts(third.ID)
		w.idle()
	}},
	{"a_coalesced_waiter_is_cancelled_and_the_run_asked_to_stop", func(w *world) {
		holder, waiter := standing(w)
		new := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		w.is(waiter.ID, onceq.Cancelled)
		equal(w, "asked to stop", w.job(holder.ID).CancelRequested, true)
		w.waits(new, holder)
		w.complete(holder)
		w.starts(new.ID)
	}},
	{"a_coalesce_onto_a_superseding_waiter_gives_it_the_args", func(w *world) {
		old, new := superseded(w)
		r := w.enqueue(onceq.Replaced, task(3), key, coalesce)
		equal(w, "job", r.Job.ID, new.ID)
		equal(w, "origin", r.Job.Origin, onceq.Superseded)
		w.complete(old)
		equal(w, "args", string(w.starts(new.ID).Args), "3")
	}},
	{"a_waiting_holder_and_the_waiter_behind_it_are_both_cancelled", func(w *world) {
		holder, waiter := standing(w)
		w.fail(holder, time.Hour)
		new := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		w.is(holder.ID, onceq.Cancelled)
		w.is(waiter.ID, onceq.Cancelled)
		equal(w, "behind", w.job(new.ID).Behind, "")
		w.holds(new)
		w.starts(new.ID)
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_is_superseded_in_its_place", func(w *world) {
		was, waiter := lapsed(w)
		new := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		w.is(waiter.ID, onceq.Cancelled)
		equal(w, "behind", w.is(new.ID, onceq.Scheduled).Behind, was.ID)
		equal(w, "the run is asked to stop", w.job(was.ID).CancelRequested, false)
		w.holds(new)
		w.idle()
		w.complete(was)
		w.starts(new.ID)
	}},
	{"a_superseded_job_that_is_not_kept_is_gone", func(w *world) {
		old := w.insert(task(1), key, onceq.Retention(0))
		new := w.enqueue(onceq.Superseded, task(2), key, supersede, onceq.Retention(0)).Job
		w.gone(old.ID)
		w.holds(new)
		run := w.starts(new.ID)
		third := w.enqueue(onceq.Superseded, task(3), key, supersede, onceq.Retention(0)).Job
		fourth := w.enqueue(onceq.Superseded, task(4), key, supersede, onceq.Retention(0)).Job
		w.gone(third.ID)
		w.ends(run, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		w.gone(run.ID)
		w.complete(w.starts(fourth.ID))
		w.free(fourth)
	}},
	{"the_new_jobs_delay_counts", func(w *world) {
		old := w.insert(task(1), key)
		new := w.enqueue(onceq.Superseded, task(2), key, supersede, onceq.Delay(minute)).Job
		w.is(old.ID, onceq.Cancelled)
		w.idle()
		w.after(minute)
		w.starts(new.ID)
	}},
	{"the_new_jobs_delay_counts_behind_a_run_too", func(w *world) {
		w.insert(task(1), key)
		old := w.start()
		new := w.enqueue(onceq.Superseded, task(2), key, supersede, onceq.Delay(10*minute)).Job
		w.after(minute)
		equal(w, "wake", w.complete(old).Wake, "")
		w.sameTime("run at", w.is(new.ID, onceq.Scheduled).RunAt, start.Add(10*minute))
	}},
	{"a_superseded_waiting_job_does_not_retake_the_key_by_itself", func(w *world) {
		old := w.insert(task(1), key, until(onceq.UntilSucceeded))
		new := w.enqueue(onceq.Superseded, task(2), key, supersede).Job
		w.holds(new)
		_, err := w.client.Retry(w.ctx, old.ID)
		w.wantErr(err, onceq.ErrDuplicate)
		w.complete(w.starts(new.ID))
		w.free(new)
		w.retry(old.ID)
		w.holds(old)
		equal(w, "superseded by", w.job(old.ID).SupersededBy, "")
	}},
	{"a_superseded_holder_on_terms_that_outlive_it_gives_the_key_up", func(w *world) {
		for _, u := range []onceq.Unique{{Until: onceq.UntilDeleted}, {Window: time.Hour},
			{Until: onceq.UntilWindowEnds, Window: time.Hour}} {
			w.insert(task(1), key, u)
			new := w.enqueue(onceq.Superseded, task(2), key, supersede).Job
			w.holds(new)
			w.complete(w.starts(new.ID))
			w.free(new)
		}
	}},
	{"a_job_that_supersedes_a_waiter_with_the_key_starts_its_clock_when_the_run_has_ended", func(w *world) {
		run, waiter := lapsed(w)
		j := w.enqueue(onceq.Superseded, task(3), key, supersede, onceq.Unique{TTL: 5 * minute}).Job
		w.is(waiter.ID, onceq.Cancelled)
		w.sameTime("frees at", w.holds(j).FreesAt, time.Time{})
		w.after(time.Hour)
		w.sameTime("frees at", w.holds(j).FreesAt, time.Time{})
		w.complete(run)
		w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(5*minute))
		w.after(5 * minute)
		w.free(j)
		w.complete(w.starts(j.ID))
	}},
	{"a_job_never_runs_while_the_one_it_superseded_does", func(w *world) {
		var running *onceq.JobRow
		w.insert(task(0), key)
		for i := range 30 {
			w.enqueue(onceq.Superseded, task(i), key, supersede)
			jobs := w.fetch("w", "default", 10)
			switch {
			case running != nil && len(jobs) > 0:
				w.Fatalf("%s runs beside %s", jobs[0].ID, running.ID)
			case len(jobs) > 1:
				w.Fatalf("%d jobs of one key run at once", len(jobs))
			case len(jobs) == 1:
				running = jobs[0]
			}
			if i%4 == 3 && running != nil {
				want := onceq.Retryable
				if w.job(running.ID).CancelRequested {
					want = onceq.Cancelled
				}
				w.ends(running, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, want)
				running = nil
			}
		}
	}},
}
