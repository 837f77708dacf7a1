package storetest

import (
	"time"

	"github.com/onceq/onceq"
)

// holding: how long a key is held.
var holding = []scenario{
	// Each of these plays one life for every Until, with and without Window
	// and TTL, from the run time and from the enqueue.
	{"while_a_job_waits", lived(life{due: 0, started: never, ended: never, removed: never})},
	{"while_a_delayed_job_waits", lived(life{due: 10 * minute, started: never, ended: never, removed: never})},
	{"while_a_job_waits_longer_than_window_and_ttl",
		lived(life{due: time.Hour, started: never, ended: never, removed: never})},
	{"while_a_job_runs", lived(life{due: 10 * minute, started: 12 * minute, ended: never, removed: never})},
	{"after_a_job_is_completed",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: never,
			endsAs: onceq.Completed})},
	{"after_a_job_is_discarded",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: never,
			endsAs: onceq.Discarded})},
	{"after_a_job_is_cancelled_by_its_handler",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: never,
			endsAs: onceq.Cancelled})},
	{"after_a_long_run_is_completed",
		lived(life{due: 10 * minute, started: 45 * minute, ended: 90 * minute, removed: never,
			endsAs: onceq.Completed})},
	{"after_a_job_without_a_delay_is_completed",
		lived(life{due: 0, started: 0, ended: minute, removed: never, endsAs: onceq.Completed})},
	{"after_a_job_is_cancelled_before_it_is_due",
		lived(life{due: 10 * minute, started: never, ended: 5 * minute, removed: never, endsAs: onceq.Cancelled})},
	{"after_a_job_is_cancelled_when_it_is_due",
		lived(life{due: 10 * minute, started: never, ended: 15 * minute, removed: never, endsAs: onceq.Cancelled})},
	{"after_a_job_is_deleted_before_it_is_due",
		lived(life{due: 10 * minute, started: never, ended: never, removed: 5 * minute})},
	{"after_a_job_is_deleted_when_it_is_due",
		lived(life{due: 10 * minute, started: never, ended: never, removed: 15 * minute})},
	{"after_a_completed_job_is_deleted",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 18 * minute,
			endsAs: onceq.Completed})},
	{"after_a_discarded_job_is_deleted",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 35 * minute,
			endsAs: onceq.Discarded})},
	{"after_a_cancelled_job_is_deleted_before_it_was_due",
		lived(life{due: 10 * minute, started: never, ended: 3 * minute, removed: 5 * minute, endsAs: onceq.Cancelled})},
	{"after_a_completed_job_is_pruned",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 18 * minute,
			endsAs: onceq.Completed, pruned: true},
			onceq.Retention(3*minute))},
	{"after_a_discarded_job_is_pruned",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 35 * minute,
			endsAs: onceq.Discarded, pruned: true},
			onceq.Retention(20*minute))},
	{"after_a_job_that_is_not_kept_is_completed",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 15 * minute,
			endsAs: onceq.Completed, pruned: true},
			onceq.Retention(0))},
	{"after_a_job_that_is_not_kept_is_discarded",
		lived(life{due: 10 * minute, started: 12 * minute, ended: 15 * minute, removed: 15 * minute,
			endsAs: onceq.Discarded, pruned: true},
			onceq.Retention(0))},
	{"after_a_job_that_is_not_kept_is_cancelled_before_it_is_due",
		lived(life{due: 10 * minute, started: never, ended: 5 * minute, removed: 5 * minute,
			endsAs: onceq.Cancelled, pruned: true},
			onceq.Retention(0))},

	{"a_failure_with_attempts_left_keeps_the_key", func(w *world) {
		for _, u := range []onceq.Until{onceq.UntilFinished, onceq.UntilSucceeded, onceq.UntilFailed,
			onceq.UntilDeleted} {
			j := w.insert(task(u), onceq.UniqueKey(u.String()), until(u))
			for range 3 {
				r := w.start()
				w.fail(r, minute)
				w.holds(j)
				w.after(minute)
				w.holds(j)
			}
			w.enqueue(onceq.Skipped, task(0), onceq.UniqueKey(u.String()))
			w.cancelled(w.start())
			w.remove(j.ID)
			w.free(j)
		}
	}},
	{"a_snooze_keeps_the_key_and_moves_no_anchor", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, TTL: 10 * minute})
		w.after(minute)
		w.snooze(w.start(), 5*minute)
		w.sameTime("anchor", w.job(j.ID).Anchor, start)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(10*minute))
		w.at(start.Add(10*minute - time.Millisecond))
		w.holds(j)
		w.after(time.Millisecond)
		w.free(j)
	}},
	{"a_hand_back_keeps_the_key_and_moves_no_anchor", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, TTL: 10 * minute})
		w.after(minute)
		w.handBack(w.start())
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(10*minute))
	}},
	{"a_retry_moves_no_anchor", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, Window: 5 * minute, TTL: 10 * minute})
		w.after(minute)
		w.fail(w.start(), minute)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(10*minute))
		w.after(minute)
		w.complete(w.start())
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(5*minute))
	}},
	{"a_lost_lease_and_a_rescue_keep_the_key", func(w *world) {
		j := w.insert(task(1), key)
		r := w.start()
		w.after(time.Hour)
		w.holds(j)
		w.ends(r, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost", Delay: minute},
			onceq.Retryable)
		w.holds(j)
		w.after(minute)
		w.complete(w.start())
		w.free(j)
	}},
	{"no_clock_releases_the_key_of_a_job_that_lives", func(w *world) {
		for _, u := range []onceq.Until{onceq.UntilStarted, onceq.UntilFinished, onceq.UntilSucceeded,
			onceq.UntilFailed, onceq.UntilDeleted} {
			j := w.insert(task(u), onceq.UniqueKey(u.String()), until(u), onceq.Queue("backed up"))
			held := w.holds(j)
			if !held.FreesAt.IsZero() || held.FreesWhen != u.String() {
				w.Fatalf("until %s: frees at %s on %q", u, clock(held.FreesAt), held.FreesWhen)
			}
		}
		w.after(10 * 365 * 24 * time.Hour)
		w.sweep()
		keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, 100)
		w.must(err)
		equal(w, "held keys", len(keys), 5)
	}},
	{"until_started_releases_at_the_first_fetch_only", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilStarted))
		w.holds(j)
		r := w.start()
		w.free(j)
		second := w.insert(task(2), key, until(onceq.UntilStarted))
		w.fail(r, 0) // the retry runs without the key, and does not take it from its new holder
		w.holds(second)
		r = w.starts(j.ID)
		w.holds(second)
		w.complete(r)
		w.holds(second)
	}},
	{"until_due_is_not_renewed_by_a_snooze_or_a_retry", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDue), onceq.Delay(minute))
		w.after(minute)
		w.free(j)
		w.snooze(w.start(), time.Hour)
		w.free(j)
		w.after(time.Hour)
		w.fail(w.start(), time.Hour)
		w.free(j)
	}},
	{"until_due_without_a_delay_holds_for_no_time_and_meets_a_scheduled_holder", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDue))
		w.free(j)
		w.insert(task(2), key, until(onceq.UntilDue))
		holder := w.insert(task(3), key, until(onceq.UntilDue), onceq.Delay(minute))
		r := w.enqueue(onceq.Skipped, task(4), key, until(onceq.UntilDue))
		equal(w, "holder", r.Conflict.Holder, holder.ID)
		equal(w, "frees when", r.Conflict.FreesWhen, "due")
		w.sameTime("frees at", r.Conflict.FreesAt, start.Add(minute))
		w.after(minute)
		w.insert(task(5), key, until(onceq.UntilDue))
	}},
	{"until_due_follows_run_now", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDue), onceq.Delay(time.Hour))
		w.after(minute)
		w.holds(j)
		w.runNow(j.ID)
		w.free(j)
	}},
	{"an_event_that_has_come_is_named_no_more", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDue, Window: time.Hour}, onceq.Delay(minute))
		equal(w, "frees when", w.holds(j).FreesWhen, "due")
		w.after(minute)
		equal(w, "frees when", w.holds(j).FreesWhen, "")
		equal(w, "frees when", w.enqueue(onceq.Skipped, task(2), key).Conflict.FreesWhen, "")
	}},
	{"run_now_moves_the_anchor_of_a_job_never_fetched", func(w *world) {
		at := w.insert(task(1), onceq.UniqueKey("run"), onceq.Unique{Until: onceq.UntilWindowEnds, Window: 10 * minute},
			onceq.Delay(time.Hour))
		from := w.insert(task(2), onceq.UniqueKey("enqueue"),
			onceq.Unique{Until: onceq.UntilWindowEnds, Window: 10 * minute, FromEnqueue: true}, onceq.Delay(time.Hour))
		w.sameTime("frees at", w.holds(at).FreesAt, start.Add(70*minute))
		w.sameTime("frees at", w.holds(from).FreesAt, start.Add(10*minute))
		w.after(minute)
		w.runNow(at.ID)
		w.runNow(from.ID)
		w.sameTime("frees at", w.holds(at).FreesAt, start.Add(11*minute))
		w.sameTime("frees at", w.holds(from).FreesAt, start.Add(10*minute))
	}},
	{"an_event_that_has_come_stays_so_when_the_job_is_put_off_and_ends_early", func(w *world) {
		later := func(w *world, k string) *onceq.JobRow {
			w.at(start)
			j := w.insert(task(1), onceq.UniqueKey(k), onceq.Unique{Until: onceq.UntilDue, Window: 20 * minute},
				onceq.Delay(10*minute))
			w.at(start.Add(15 * minute)) // it is due: only the window holds from here on
			w.enqueue(onceq.Replaced, task(2), onceq.UniqueKey(k), replace(onceq.Replace{RunAt: true}),
				onceq.Delay(time.Hour))
			held := w.holds(j)
			equal(w, "frees when", held.FreesWhen, "")
			w.sameTime("frees at", held.FreesAt, start.Add(95*minute))
			w.after(minute)
			return j
		}
		w.cancel(later(w, "cancelled").ID)
		w.sameTime("frees at", w.holder(w.keyOf(task(1), onceq.UniqueKey("cancelled"))).FreesAt, start.Add(36*minute))
		w.remove(later(w, "deleted").ID)
		w.sameTime("frees at", w.holder(w.keyOf(task(1), onceq.UniqueKey("deleted"))).FreesAt, start.Add(36*minute))
	}},
	{"run_now_moves_no_anchor_after_the_first_fetch", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, TTL: time.Hour})
		w.snooze(w.start(), 30*minute)
		w.after(minute)
		w.runNow(j.ID)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
	}},
	{"run_now_on_a_job_that_is_due_changes_nothing", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, TTL: 10 * minute})
		w.after(minute)
		before := w.job(j.ID)
		w.runNow(j.ID)
		w.unchanged(before)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(10*minute))
		w.after(10 * minute)
		w.runNow(j.ID)
		w.free(j)
	}},
	{"a_ttl_that_lapses_while_the_job_waits_does_not_drop_the_job", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.after(minute)
		w.free(j)
		w.sweep()
		second := w.insert(task(2), key, onceq.Unique{TTL: minute})
		first := w.starts(j.ID)
		w.complete(first)
		w.holds(second)
		w.complete(w.starts(second.ID))
	}},
	{"a_late_finisher_does_not_release_the_next_holders_key", func(w *world) {
		w.insert(task(1), key, onceq.Unique{TTL: minute})
		late := w.start()
		w.after(minute)
		second := w.insert(task(2), key)
		w.complete(late)
		w.holds(second)
		w.remove(late.ID)
		w.holds(second)
	}},
	{"a_discarded_or_cancelled_late_holder_does_not_release_the_next_holders_key", func(w *world) {
		for _, end := range []func(*onceq.JobRow) onceq.FinishResult{w.discard, w.cancelled} {
			w.insert(task(1), key, onceq.Unique{TTL: minute})
			late := w.start()
			w.after(minute)
			second := w.insert(task(2), key)
			end(late)
			w.holds(second)
			w.remove(second.ID)
			w.free(second)
		}
	}},
	{"a_key_is_judged_when_it_is_asked_without_a_sweep", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDeleted, TTL: 1500 * time.Millisecond})
		w.after(1499 * time.Millisecond)
		w.enqueue(onceq.Skipped, task(2), key)
		w.after(time.Millisecond)
		w.free(j)
		w.insert(task(2), key)
	}},
	{"a_key_that_outlives_its_job_says_so", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFinished, Window: time.Hour}, onceq.Queue("q"))
		w.complete(w.startAs("w", "q"))
		before := w.holds(j)
		equal(w, "gone", before.Gone, false)
		w.remove(j.ID)
		held := w.holds(j)
		equal(w, "what is left", line(held.Gone, held.State, held.Kind, held.Queue, held.Text == j.KeyText,
			held.Digest == j.Digest, held.FreesWhen),
			"true completed task q true true ")
		w.sameTime("frees at", held.FreesAt, start.Add(time.Hour))
		w.sameTime("since", held.Since, start)
		r := w.enqueue(onceq.Skipped, task(1), key)
		equal(w, "job", line(r.Job.ID == j.ID, r.Job.Kind, r.Job.Queue, r.Job.State, r.Job.KeyText == j.KeyText,
			r.Job.Key != nil && *r.Job.Key == *j.Key),
			"true task q completed true true")
		equal(w, "args differ", r.Conflict.ArgsDiffer, false)
		equal(w, "args differ", w.enqueue(onceq.Rejected, task(2), key, reject).Conflict.ArgsDiffer, true)
		w.after(time.Hour)
		w.insert(task(2), key)
	}},
	{"a_released_key_is_not_retaken_by_its_job", func(w *world) {
		j := w.insert(task(1), key)
		w.release(j)
		w.free(j)
		w.fail(w.start(), 0)
		w.free(j)
		equal(w, "keyless", w.job(j.ID).Keyless, true)
		second := w.insert(task(2), key)
		w.complete(w.starts(j.ID))
		w.holds(second)
	}},
	{"a_holder_with_a_key_across_queues_holds_it_in_all_of_them", func(w *world) {
		j := w.insert(task(1), key, onceq.Queue("one"))
		equal(w, "queue", w.enqueue(onceq.Skipped, task(2), key, onceq.Queue("two")).Job.Queue, "one")
		w.insert(task(3), onceq.UniqueKey("k", onceq.ByKind, onceq.ByQueue), onceq.Queue("one"))
		w.insert(task(4), onceq.UniqueKey("k", onceq.ByKind, onceq.ByQueue), onceq.Queue("two"))
		w.insert(task(5), onceq.UniqueKey("k", onceq.ByKey))
		equal(w, "kind", w.enqueue(onceq.Skipped, mail{To: "x"}, onceq.UniqueKey("k", onceq.ByKey)).Job.Kind, "task")
		w.holds(j)
	}},
	{"an_unknown_kind_holds_and_releases_like_any_other", func(w *world) {
		j := w.insert(onceq.Bytes("nobody knows", []byte{0xff}), onceq.Unique{}, onceq.MaxAttempts(1))
		w.discard(w.start())
		w.free(j)
	}},
}
