package storetest

import (
	"time"

	"github.com/onceq/onceq"
)

// sweeping: what tidying removes, and what it does not.
var sweeping = []scenario{
	{"a_finished_job_is_pruned_when_its_retention_has_passed", func(w *world) {
		a := w.insert(task(1), onceq.Retention(minute))
		b := w.insert(task(2), onceq.Retention(time.Hour))
		c := w.insert(task(3), onceq.Retention(time.Second), onceq.Delay(24*time.Hour))
		w.complete(w.starts(a.ID))
		w.complete(w.starts(b.ID))
		w.after(minute - time.Millisecond)
		equal(w, "pruned", w.sweep().Jobs, 0)
		w.after(time.Millisecond)
		equal(w, "pruned", w.sweep().Jobs, 1)
		w.gone(a.ID)
		w.job(b.ID)
		w.after(time.Hour)
		equal(w, "pruned", w.sweep().Jobs, 1)
		w.gone(b.ID)
		w.job(c.ID)
	}},
	{"retention_counts_from_the_latest_finish", func(w *world) {
		j := w.insert(task(1), onceq.Retention(10*minute))
		w.complete(w.start())
		w.after(9 * minute)
		w.retry(j.ID)
		w.after(9 * minute)
		equal(w, "pruned", w.sweep().Jobs, 0)
		w.complete(w.start())
		w.after(9 * minute)
		equal(w, "pruned", w.sweep().Jobs, 0)
		w.after(minute)
		equal(w, "pruned", w.sweep().Jobs, 1)
	}},
	{"jobs_that_are_not_finished_are_never_pruned", func(w *world) {
		var ids []string
		for _, name := range []string{"scheduled", "available", "running", "retryable"} {
			j := inPhase(w, name, onceq.Retention(time.Millisecond))
			w.release(j)
			ids = append(ids, j.ID)
			if name == "available" {
				w.snooze(w.starts(j.ID), time.Hour) // out of the way of the next phase
			}
		}
		w.after(1000 * time.Hour)
		equal(w, "pruned", w.sweep().Jobs, 0)
		for _, id := range ids {
			w.job(id)
		}
	}},
	{"a_sweep_does_at_most_its_limit_and_says_that_there_is_more", func(w *world) {
		for i := range 7 {
			w.insert(task(i), onceq.Retention(minute))
		}
		for _, j := range w.fetch("w", "default", 7) {
			w.complete(j)
		}
		w.after(minute)
		w.beat()
		total := 0
		for round := 0; ; round++ {
			s, err := w.Store.Sweep(w.ctx, onceq.SweepRequest{Limit: 3})
			w.must(err)
			if s.Jobs > 3 || round > 10 {
				w.Fatalf("round %d pruned %d", round, s.Jobs)
			}
			total += s.Jobs
			if !s.More {
				break
			}
		}
		equal(w, "pruned", total, 7)
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"a_sweep_drops_keys_that_hold_no_longer_and_no_others", func(w *world) {
		lapsing := w.insert(task(1), onceq.UniqueKey("lapsing"), onceq.Unique{TTL: minute})
		held := w.insert(task(2), onceq.UniqueKey("held"))
		later := w.insert(task(3), onceq.UniqueKey("later"),
			onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour})
		w.sweep()
		w.holds(lapsing)
		w.after(minute)
		w.sweep()
		keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{Inert: true}, 10)
		w.must(err)
		equal(w, "keys", len(keys), 2)
		w.free(lapsing)
		w.holds(held)
		w.holds(later)
	}},
	{"pruning_is_no_event_where_there_is_a_ttl", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDeleted, TTL: time.Hour}, onceq.Retention(minute))
		w.complete(w.start())
		w.after(minute)
		equal(w, "pruned", w.sweep().Jobs, 1)
		held := w.holds(j)
		equal(w, "gone", line(held.Gone, held.State), "true completed")
		w.sameTime("frees at", held.FreesAt, start.Add(time.Hour))
		w.at(start.Add(time.Hour))
		w.free(j)
	}},
	{"pruning_ends_until_deleted_where_there_is_no_ttl", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDeleted), onceq.Retention(minute))
		w.complete(w.start())
		w.after(10 * minute)
		w.holds(j) // nobody has swept: the job is kept
		w.sweep()
		w.free(j)
	}},
	{"pruning_leaves_what_is_left_of_a_window", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDeleted, Window: time.Hour}, onceq.Retention(minute))
		w.complete(w.start())
		w.after(minute)
		w.sweep()
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
	}},
	{"pruning_an_old_job_leaves_the_key_with_its_new_holder", func(w *world) {
		w.insert(task(1), key, onceq.Retention(minute))
		w.complete(w.start())
		second := w.insert(task(2), key)
		w.after(minute)
		equal(w, "pruned", w.sweep().Jobs, 1)
		w.holds(second)
	}},
	{"sweeping_all_the_time_changes_no_answer", func(w *world) {
		for round := range 6 {
			j := w.insert(task(round), key, onceq.Unique{Window: 2 * minute}, onceq.Retention(time.Second))
			w.sweep()
			w.complete(w.starts(j.ID))
			w.sweep()
			w.enqueue(onceq.Skipped, task(100), key)
			w.after(minute)
			w.sweep()
			w.enqueue(onceq.Skipped, task(100), key)
			w.after(minute)
			w.sweep()
		}
	}},
	{"a_failed_job_is_kept_for_a_retention_of_its_own", func(w *world) {
		kept := []onceq.Option{onceq.Retention(minute), onceq.RetentionFailed(time.Hour)}
		done, failed := w.insert(task(1), kept...), w.insert(task(2), append(kept, onceq.ID("0"))...)
		stopped, waiting := w.insert(task(3), kept...), w.insert(task(4), append(kept, onceq.Delay(minute))...)
		equal(w, "both", line(failed.Retention, failed.RetentionFailed), line(minute, time.Hour))
		equal(w, "as one", w.look(w.insert(task(5), onceq.Retention(2*time.Hour)).ID).RetentionFailed, 2*time.Hour)
		w.discard(w.starts(failed.ID))
		w.complete(w.starts(done.ID))
		run := w.starts(stopped.ID)
		w.cancel(run.ID)
		w.cancelled(run)
		w.cancel(waiting.ID)
		for _, id := range []string{failed.ID, stopped.ID, waiting.ID} {
			w.sameTime("kept until", w.look(id).KeepUntil(), start.Add(time.Hour))
		}
		w.after(minute)
		equal(w, "pruned", w.sweep().Jobs, 1)
		w.gone(done.ID)
		w.after(time.Hour - minute - time.Millisecond)
		equal(w, "pruned", w.sweep().Jobs, 0)
		c := w.enqueue(onceq.Skipped, task(2), onceq.ID("0")).Conflict
		w.sameTime("the ID is kept until", c.KeptUntil, start.Add(time.Hour))
		w.after(time.Millisecond)
		equal(w, "pruned", w.sweep().Jobs, 3)
		w.insert(task(2), onceq.ID("0"))
	}},
	{"a_key_is_held_as_long_as_its_failed_holder_is_kept", func(w *world) {
		for _, until := range []onceq.Until{onceq.UntilDeleted, onceq.UntilSucceeded} {
			j := w.insert(task(1), key, onceq.Unique{Until: until}, onceq.Retention(minute),
				onceq.RetentionFailed(time.Hour))
			ended := w.now
			w.discard(w.starts(j.ID))
			w.after(2 * minute)
			equal(w, "pruned", w.sweep().Jobs, 0)
			c := w.enqueue(onceq.Skipped, task(1), key).Conflict
			if until == onceq.UntilDeleted {
				w.sameTime("kept until", c.KeptUntil, ended.Add(time.Hour))
			}
			w.after(time.Hour)
			equal(w, "pruned", w.sweep().Jobs, 1)
			w.free(j)
		}
	}},
	{"a_failed_job_that_is_retried_is_kept_as_what_it_becomes", func(w *world) {
		j := w.insert(task(1), key, onceq.Retention(minute), onceq.RetentionFailed(time.Hour))
		w.discard(w.start())
		w.after(30 * minute)
		w.retry(j.ID)
		w.after(time.Hour)
		equal(w, "pruned", w.sweep().Jobs, 0)
		w.complete(w.start())
		w.after(minute)
		equal(w, "pruned", w.sweep().Jobs, 1)
		w.gone(j.ID)
	}},
	{"a_failed_job_may_be_deleted_in_the_step_that_ends_it", func(w *world) {
		none := []onceq.Option{key, onceq.RetentionFailed(0)}
		j := w.insert(task(1), none...)
		w.discard(w.start())
		w.gone(j.ID)
		j = w.insert(task(2), none...)
		w.cancel(w.start().ID)
		w.cancelled(w.job(j.ID))
		w.gone(j.ID)
		j = w.insert(task(3), none...)
		w.cancel(j.ID)
		w.gone(j.ID)
		j = w.insert(task(4), none...)
		second := w.enqueue(onceq.Superseded, task(5), append(none, supersede)...).Job
		w.gone(j.ID)
		w.complete(w.starts(second.ID))
		w.is(second.ID, onceq.Completed)
	}},
	{"a_superseded_job_is_kept_as_one_that_failed", func(w *world) {
		for _, delay := range []time.Duration{0, time.Second} {
			opts := []onceq.Option{key, onceq.Retention(delay), onceq.RetentionFailed(time.Hour)}
			old := w.insert(task(1), opts...)
			new := w.enqueue(onceq.Superseded, task(2), append(opts, supersede)...).Job
			w.sameTime("kept until", w.is(old.ID, onceq.Cancelled).KeepUntil(), w.now.Add(time.Hour))
			w.complete(w.starts(new.ID))
			w.after(minute)
			w.sweep()
			w.gone(new.ID)
			w.is(old.ID, onceq.Cancelled)
		}
	}},
}
