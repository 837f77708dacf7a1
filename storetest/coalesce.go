package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// standing is a running holder with args 1 and a waiter behind it with args 2.
func standing(w *world, opts ...onceq.Option) (holder, waiter *onceq.JobRow) {
	w.Helper()
	opts = append(opts, key, coalesce)
	w.insert(task(1), opts...)
	holder = w.start()
	r := w.enqueue(onceq.Coalesced, task(2), opts...)
	equal(w, "conflict", line(r.Conflict.By, r.Conflict.Holder == holder.ID, r.Conflict.State, r.Conflict.ArgsDiffer),
		"key true running true")
	return holder, r.Job
}

// lapsed is standing, but the holder's TTL is over: the key is the
// waiter's, which stands behind the run still.
func lapsed(w *world) (was, holder *onceq.JobRow) {
	w.Helper()
	was, holder = standing(w, onceq.Unique{TTL: minute})
	w.after(minute)
	return was, holder
}

// letGo is a case in which a run with a waiter behind it ends in one way,
// and the key is the waiter's in the same step.
func letGo(end func(w *world, holder *onceq.JobRow)) func(*world) {
	return func(w *world) {
		holder, waiter := standing(w)
		w.waits(waiter, holder)
		w.idle()
		w.after(minute)
		end(w, holder)
		held := w.holds(waiter)
		equal(w, "waiter", held.Waiter, "")
		w.sameTime("since", held.Since, start.Add(minute))
		j := w.is(waiter.ID, onceq.Available)
		w.sameTime("run at", j.RunAt, start.Add(minute))
		w.sameTime("anchor", j.Anchor, start.Add(minute))
		equal(w, "behind", j.Behind, "")
		w.complete(w.starts(waiter.ID))
		w.free(waiter)
	}
}

// coalescing: the policy Coalesce, and the waiter that every other policy
// meets.
var coalescing = []scenario{
	{"a_waiting_holder_takes_the_latest_args", func(w *world) {
		j := w.insert(task(1), key, coalesce)
		for i := 2; i < 5; i++ {
			r := w.enqueue(onceq.Replaced, task(i), key, coalesce, onceq.Priority(1))
			equal(w, "job", r.Job.ID, j.ID)
		}
		equal(w, "priority", w.has(j.ID, 4).Priority, 5)
		equal(w, "args", string(w.start().Args), "4")
		equal(w, "jobs", len(w.jobs()), 1)
	}},
	{"a_waiting_holder_takes_the_earlier_of_the_two_run_times", func(w *world) {
		j := w.insert(task(1), key, coalesce, onceq.Unique{TTL: time.Hour}, onceq.Delay(10*minute))
		w.enqueue(onceq.Replaced, task(2), key, coalesce, onceq.Delay(20*minute))
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(10*minute))
		w.enqueue(onceq.Replaced, task(3), key, coalesce, onceq.Delay(5*minute))
		w.sameTime("run at", w.has(j.ID, 3).RunAt, start.Add(5*minute))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(65*minute))
		w.enqueue(onceq.Replaced, task(4), key, coalesce)
		w.is(j.ID, onceq.Available)
	}},
	{"a_retry_keeps_its_backoff", func(w *world) {
		j := inPhase(w, "retryable")
		w.enqueue(onceq.Replaced, task(2), key, coalesce)
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(time.Hour))
		w.is(j.ID, onceq.Retryable)
		w.after(2 * time.Hour)
		w.enqueue(onceq.Replaced, task(3), key, coalesce)
		equal(w, "args", string(w.starts(j.ID).Args), "3")
	}},
	{"one_waiter_stands_behind_a_running_holder_with_the_latest_args", func(w *world) {
		holder, waiter := standing(w)
		equal(w, "origin", waiter.Origin, onceq.Coalesced)
		equal(w, "displaced", waiter.Displaced, holder.ID)
		w.waits(waiter, holder)
		for i := 3; i < 7; i++ {
			r := w.enqueue(onceq.Replaced, task(i), key, coalesce)
			equal(w, "job", r.Job.ID, waiter.ID)
			equal(w, "holder", r.Conflict.Holder, holder.ID)
		}
		w.waits(w.has(waiter.ID, 6), holder)
		w.has(holder.ID, 1)
		w.complete(holder)
		equal(w, "args", string(w.starts(waiter.ID).Args), "6")
		w.idle()
		equal(w, "jobs", len(w.jobs()), 2)
	}},
	{"no_enqueue_no_extra_run", func(w *world) {
		w.insert(task(1), key, coalesce)
		w.complete(w.start())
		w.idle()
	}},
	{"a_waiter_takes_the_options_of_the_latest_enqueue_and_keeps_its_identity", func(w *world) {
		holder, waiter := standing(w)
		w.after(time.Second)
		w.enqueue(onceq.Replaced, task(3), key, coalesce, onceq.Queue("late"), onceq.Priority(1), onceq.MaxAttempts(3),
			onceq.Timeout(time.Minute),
			onceq.Retention(time.Hour), onceq.Tags("t"), onceq.Meta(map[string]any{"m": "v"}),
			onceq.Unique{TTL: 10 * minute})
		j := w.has(waiter.ID, 3)
		equal(w, "options", line(j.Queue, j.Priority, j.MaxAttempts, j.Timeout, j.Retention, j.Tags, j.Meta,
			j.Hold.TTL), "late 1 3 1m0s 1h0m0s [t] map[m:v] 10m0s")
		equal(w, "identity", line(j.Origin, j.Displaced == holder.ID, j.EnqueuedAt.Equal(start)), "coalesced true true")
		w.waits(waiter, holder)
		w.after(minute)
		equal(w, "wake", w.complete(holder).Wake, "late")
		w.idle()
		w.sameTime("frees at", w.holds(waiter).FreesAt, start.Add(11*minute+time.Second))
		equal(w, "job", w.startAs("w", "late").ID, waiter.ID)
	}},
	{"a_waiter_is_due_at_the_later_of_the_holders_finish_and_its_own_run_time", func(w *world) {
		w.insert(task(1), key, coalesce)
		holder := w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Delay(10*minute)).Job
		w.after(minute)
		equal(w, "wake", w.complete(holder).Wake, "")
		w.sameTime("run at", w.is(waiter.ID, onceq.Scheduled).RunAt, start.Add(10*minute))
		w.idle()
		w.at(start.Add(10 * minute))
		w.starts(waiter.ID)
	}},
	{"a_waiter_takes_the_earlier_of_the_run_times", func(w *world) {
		w.insert(task(1), key, coalesce)
		holder := w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Delay(10*minute)).Job
		w.enqueue(onceq.Replaced, task(3), key, coalesce, onceq.Delay(20*minute))
		w.sameTime("run at", w.job(waiter.ID).RunAt, start.Add(10*minute))
		w.enqueue(onceq.Replaced, task(4), key, coalesce, onceq.Delay(5*minute))
		w.sameTime("run at", w.job(waiter.ID).RunAt, start.Add(5*minute))
		w.at(start.Add(20 * minute))
		w.is(waiter.ID, onceq.Scheduled)
		w.complete(holder)
		w.sameTime("run at", w.is(waiter.ID, onceq.Available).RunAt, start.Add(20*minute))
	}},
	{"a_waiter_gets_the_key_when_the_holder_is_completed", letGo(func(w *world, holder *onceq.JobRow) {
		equal(w, "wake", w.complete(holder).Wake, "default")
	})},
	{"a_waiter_gets_the_key_when_the_holder_is_discarded", letGo(func(w *world, holder *onceq.JobRow) {
		equal(w, "wake", w.discard(holder).Wake, "default")
	})},
	{"a_waiter_gets_the_key_when_the_holder_is_cancelled_by_its_handler", letGo(func(w *world, holder *onceq.JobRow) {
		equal(w, "wake", w.cancelled(holder).Wake, "default")
	})},
	{"a_waiter_gets_the_key_when_the_holder_is_cancelled_by_an_operator_and_fails",
		letGo(func(w *world, holder *onceq.JobRow) {
			w.cancel(holder.ID)
			w.is(holder.ID, onceq.Running)
			w.ends(holder, onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		})},
	{"a_waiter_gets_the_key_when_the_holder_is_cancelled_while_it_waits_again",
		letGo(func(w *world, holder *onceq.JobRow) {
			w.fail(holder, time.Hour)
			w.cancel(holder.ID)
		})},
	{"a_waiter_gets_the_key_when_the_holder_is_deleted_while_it_waits_again",
		letGo(func(w *world, holder *onceq.JobRow) {
			w.snooze(holder, time.Hour)
			w.remove(holder.ID)
		})},
	{"a_waiter_gets_the_key_when_the_holders_worker_is_lost_and_the_holder_discarded",
		letGo(func(w *world, holder *onceq.JobRow) {
			w.ends(holder, onceq.Finish{State: onceq.Discarded, Worker: "rescuer", Rescue: true, Error: "lost"},
				onceq.Discarded)
		})},
	{"a_waiter_gets_the_key_of_a_holder_that_is_not_kept", func(w *world) {
		holder, waiter := standing(w, onceq.Retention(0))
		w.complete(holder)
		w.gone(holder.ID)
		w.holds(waiter)
		w.complete(w.starts(waiter.ID))
		w.gone(waiter.ID)
		w.free(waiter)
	}},
	{"a_waiter_gets_the_key_of_a_holder_on_any_terms", func(w *world) {
		for _, u := range []onceq.Unique{{Until: onceq.UntilSucceeded}, {Until: onceq.UntilFailed},
			{Until: onceq.UntilDeleted}, {Window: time.Hour},
			{Until: onceq.UntilDeleted, TTL: time.Hour}, {Until: onceq.UntilWindowEnds, Window: time.Hour}} {
			for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard} {
				j := w.insert(task(1), key, u)
				holder := w.starts(j.ID)
				waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
				w.waits(waiter, holder)
				end(holder)
				w.holds(waiter)
				w.complete(w.starts(waiter.ID))
				w.free(waiter)
			}
		}
	}},
	{"a_waiter_stays_while_the_holder_goes_back_to_waiting", func(w *world) {
		holder, waiter := standing(w)
		for i, back := range []func(){
			func() { w.fail(holder, 0) },
			func() { w.snooze(holder, minute) },
			func() { w.handBack(holder) },
			func() {
				w.ends(holder, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
					onceq.Retryable)
			},
			func() {
				equal(w, "handed back",
					w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"]}).Back, 1)
			},
		} {
			back()
			w.waits(waiter, holder)
			w.enqueue(onceq.Replaced, task(10+i), key, coalesce)
			w.has(waiter.ID, task(10+i))
			w.has(holder.ID, 1)
			w.after(minute)
			holder = w.starts(holder.ID)
			w.idle()
		}
		w.complete(holder)
		equal(w, "args of the last run", string(w.starts(waiter.ID).Args), "14")
	}},
	{"every_receipt_has_a_run_that_starts_later", func(w *world) {
		// A run that starts later has the args of this enqueue or of a
		// later one: args only grow.
		type run struct{ after, args int }
		var runs []run
		var running *onceq.JobRow
		enqueued := 0
		try := func() {
			for _, j := range w.fetch("w", "default", 10) {
				if running != nil {
					w.Fatalf("%s runs beside %s", j.ID, running.ID)
				}
				running = j
				var args int
				fmt.Sscan(string(j.Args), &args)
				runs = append(runs, run{enqueued, args})
			}
		}
		enqueue := func() {
			enqueued++
			r, err := w.client.Enqueue(w.ctx, task(enqueued), key, coalesce)
			w.must(err)
			if r.Outcome == onceq.Skipped {
				w.Fatalf("enqueue %d was skipped", enqueued)
			}
		}
		for enqueued < 60 {
			enqueue()
			switch {
			case enqueued%3 == 0:
				try()
			case running != nil && enqueued%5 == 0:
				w.fail(running, 0)
				running = nil
			case running != nil && enqueued%7 == 0:
				w.complete(running)
				running = nil
			}
		}
		drain := func() {
			for range 3 {
				if running != nil {
					w.complete(running)
					running = nil
				}
				try()
			}
		}
		drain()
		enqueue()
		try()
		enqueue() // behind the last run
		enqueue()
		drain()
		for e := 1; e <= enqueued; e++ {
			if !slices.ContainsFunc(runs, func(r run) bool { return r.after >= e && r.args >= e }) {
				w.Errorf("no run started after enqueue %d with its args or later ones: %v", e, runs)
			}
		}
	}},
	{"every_other_policy_sees_the_holder", func(w *world) {
		holder, waiter := standing(w)
		before, behind := w.job(holder.ID), w.job(waiter.ID)
		equal(w, "skip meets", w.enqueue(onceq.Skipped, task(5), key).Job.ID, holder.ID)
		equal(w, "reject meets", w.enqueue(onceq.Rejected, task(5), key, reject).Job.ID, holder.ID)
		equal(w, "replace meets", w.enqueue(onceq.Skipped, task(5), key, replace(replaceAll)).Job.ID, holder.ID)
		equal(w, "debounce meets", w.enqueue(onceq.Skipped, task(5), debounce(minute, time.Hour)...).Job.ID, holder.ID)
		w.unchanged(before)
		w.unchanged(behind)
	}},
	{"a_waiter_is_not_run_now", func(w *world) {
		holder, waiter := standing(w)
		_, err := w.client.RunNow(w.ctx, waiter.ID)
		w.refused(err)
		w.waits(waiter, holder)
		w.idle()
	}},
	{"a_waiter_that_is_cancelled_leaves_the_key_with_the_holder", func(w *world) {
		holder, waiter := standing(w)
		equal(w, "state", w.cancel(waiter.ID).State, onceq.Cancelled)
		equal(w, "behind", w.job(waiter.ID).Behind, "")
		w.waits(nil, holder)
		w.complete(holder)
		w.free(holder)
		w.idle()
	}},
	{"a_waiter_that_ends_before_its_anchor_brings_the_anchor_to_that_instant", func(w *world) {
		w.insert(task(1), key, coalesce)
		w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Delay(10*minute)).Job
		w.after(minute)
		w.cancel(waiter.ID)
		w.sameTime("anchor", w.job(waiter.ID).Anchor, w.now)
	}},
	{"a_waiter_that_is_deleted_leaves_the_key_with_the_holder", func(w *world) {
		holder, waiter := standing(w)
		w.remove(waiter.ID)
		w.waits(nil, holder)
		second := w.enqueue(onceq.Coalesced, task(3), key, coalesce).Job
		w.waits(second, holder)
		w.complete(holder)
		w.starts(second.ID)
	}},
	{"a_cancelled_waiter_can_be_retried_when_the_key_is_free", func(w *world) {
		holder, waiter := standing(w)
		w.cancel(waiter.ID)
		_, err := w.client.Retry(w.ctx, waiter.ID)
		w.wantErr(err, onceq.ErrDuplicate)
		w.complete(holder)
		w.retry(waiter.ID)
		w.holds(waiter)
		w.starts(waiter.ID)
	}},
	{"a_ttl_that_lapses_passes_the_key_to_the_waiter", func(w *world) {
		was, waiter := lapsed(w)
		held := w.holds(waiter)
		equal(w, "key", line(held.State, held.Waiter, held.FreesAt.IsZero(), held.FreesWhen),
			"scheduled  true finished")
		w.sameTime("since", held.Since, start.Add(minute))
		equal(w, "behind", w.job(waiter.ID).Behind, was.ID)
		r := w.enqueue(onceq.Skipped, task(5), key)
		equal(w, "skip meets", r.Job.ID, waiter.ID)
		equal(w, "state", r.Conflict.State, onceq.Scheduled)
		w.sameTime("since", r.Conflict.Since, start.Add(minute))
		w.idle()
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_starts_when_the_run_has_ended", func(w *world) {
		was, waiter := lapsed(w)
		w.after(time.Hour)
		w.sweep()
		w.idle()
		w.holds(waiter)
		w.complete(was)
		equal(w, "behind", w.is(waiter.ID, onceq.Available).Behind, "")
		w.sameTime("frees at", w.holds(waiter).FreesAt, w.now.Add(minute)) // its own clocks start now
		w.starts(waiter.ID)
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_takes_later_args", func(w *world) {
		was, waiter := lapsed(w)
		r := w.enqueue(onceq.Replaced, task(3), key, coalesce)
		equal(w, "job", r.Job.ID, waiter.ID)
		equal(w, "holder", r.Conflict.Holder, waiter.ID)
		r = w.enqueue(onceq.Replaced, task(4), key, replace(onceq.Replace{Args: true}))
		equal(w, "job", r.Job.ID, waiter.ID)
		w.has(was.ID, 1)
		w.idle()
		w.fail(was, 0)
		w.holds(waiter)
		w.complete(w.starts(was.ID))
		equal(w, "args", string(w.starts(waiter.ID).Args), "4")
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_takes_later_options_too", func(w *world) {
		was, waiter := lapsed(w)
		w.enqueue(onceq.Replaced, task(3), key, coalesce, onceq.Priority(1), onceq.Queue("late"), onceq.Tags("t"))
		j := w.has(waiter.ID, 3)
		equal(w, "options", line(j.Priority, j.Queue, j.Tags, j.Behind == was.ID), "1 late [t] true")
		equal(w, "wake", w.complete(was).Wake, "late")
	}},
	{"later_conflicts_compare_with_the_latest_args", func(w *world) {
		holder := w.insert(task(1), key, coalesce)
		w.enqueue(onceq.Replaced, task(2), key, coalesce)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(2), key).Conflict.ArgsDiffer, false)
		w.starts(holder.ID)
		waiter := w.enqueue(onceq.Coalesced, task(3), key, coalesce).Job
		w.enqueue(onceq.Replaced, task(4), key, coalesce)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(2), key).Conflict.ArgsDiffer, false) // the holder's count
		w.complete(w.job(holder.ID))
		w.holds(waiter)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(4), key).Conflict.ArgsDiffer, false)
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_and_is_cancelled_frees_it", func(w *world) {
		was, waiter := lapsed(w)
		w.cancel(waiter.ID)
		w.free(waiter)
		third := w.insert(task(3), key)
		w.complete(was)
		w.holds(third)
	}},
	{"a_waiter_that_got_the_key_by_a_ttl_and_is_deleted_frees_it", func(w *world) {
		was, waiter := lapsed(w)
		w.remove(waiter.ID)
		w.free(waiter)
		w.complete(was)
		w.free(waiter)
	}},
	{"a_run_whose_key_has_passed_on_can_be_retried_without_it_only", func(w *world) {
		was, waiter := lapsed(w)
		w.discard(was)
		w.holds(waiter)
		_, err := w.client.Retry(w.ctx, was.ID)
		w.wantErr(err, onceq.ErrDuplicate)
		w.retry(was.ID, onceq.WithoutKey)
		w.holds(waiter)
	}},
	{"a_window_that_ends_passes_the_key_to_the_waiter", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute})
		holder := w.starts(j.ID)
		waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.after(minute)
		w.holds(waiter)
		w.sweep()
		w.idle()
		w.complete(holder)
		w.starts(waiter.ID)
	}},
	{"a_release_by_hand_passes_the_key_to_the_waiter", func(w *world) {
		holder, waiter := standing(w)
		w.after(minute)
		w.release(holder)
		held := w.holds(waiter)
		equal(w, "waiter", held.Waiter, "")
		w.sameTime("since", held.Since, start.Add(minute))
		equal(w, "keyless", w.job(holder.ID).Keyless, true)
		w.idle()
		w.refused(w.client.ReleaseKey(w.ctx, *waiter.Key))
		w.holds(waiter)
		w.fail(holder, 0)
		w.holds(waiter)
		w.complete(w.starts(holder.ID))
		w.starts(waiter.ID)
		w.holds(waiter)
	}},
	{"a_sweep_while_a_waiter_stands_drops_no_key", func(w *world) {
		was, waiter := lapsed(w)
		equal(w, "dropped keys", w.sweep().Keys, 0)
		w.holds(waiter)
		w.complete(was)
		w.holds(waiter)
	}},
	{"a_waiter_gets_a_waiter_of_its_own", func(w *world) {
		first, second := standing(w)
		w.complete(first)
		second = w.starts(second.ID)
		third := w.enqueue(onceq.Coalesced, task(3), key, coalesce).Job
		w.waits(third, second)
		w.complete(second)
		w.complete(w.starts(third.ID))
		w.free(third)
	}},
	{"a_holder_and_its_waiter_end_in_one_call", func(w *world) {
		// The waiter does not run yet when the call is judged: its own
		// Finish is lost, whatever other requests are in the call.
		holder, waiter := standing(w)
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: []onceq.Finish{
			{ID: waiter.ID, Run: 1, Worker: "w", State: onceq.Completed},
			{ID: holder.ID, Run: 1, Worker: "w", State: onceq.Completed},
			{ID: waiter.ID, Run: 1, Worker: "w", State: onceq.Completed},
		}})
		w.must(err)
		equal(w, "results", line(results[0].Status, results[1].Status, results[2].Status),
			line(onceq.FinishLost, onceq.FinishDone, onceq.FinishLost))
		w.holds(waiter)
		w.starts(waiter.ID)
	}},
}
