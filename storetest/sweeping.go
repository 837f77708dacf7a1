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
}
