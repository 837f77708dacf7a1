package storetest

import (
	"time"

	"github.com/onceq/onceq"
)

// debounce is an enqueue with a delay that is pushed back for at most wait.
func debounce(delay, wait time.Duration) []onceq.Option {
	return []onceq.Option{key, onceq.Delay(delay), onceq.OnConflict(onceq.Debounce{MaxWait: wait})}
}

// debouncing: the policy Debounce.
var debouncing = []scenario{
	{"several_enqueues_are_one_run_with_the_last_args", func(w *world) {
		j := w.insert(task(1), debounce(minute, time.Hour)...)
		for i := 2; i <= 6; i++ {
			w.after(30 * time.Second)
			r := w.enqueue(onceq.Replaced, task(i), debounce(minute, time.Hour)...)
			equal(w, "job", r.Job.ID, j.ID)
			w.sameTime("run at", r.Job.RunAt, w.now.Add(minute))
		}
		w.after(minute - time.Millisecond)
		w.idle()
		w.after(time.Millisecond)
		equal(w, "args", string(w.starts(j.ID).Args), "6")
		w.idle()
	}},
	{"a_steady_stream_runs_once_per_max_wait", func(w *world) {
		runs := 0
		for i := range 60 {
			_, err := w.client.Enqueue(w.ctx, task(i), debounce(20*time.Second, minute)...)
			w.must(err)
			for _, j := range w.fetch("w", "default", 10) {
				w.complete(j)
				runs++
			}
			w.after(10 * time.Second)
		}
		equal(w, "runs in ten minutes", runs, 8) // the enqueue after a run begins anew
	}},
	{"the_first_enqueue_is_the_base_of_max_wait", func(w *world) {
		j := w.insert(task(1), debounce(minute, 2*minute)...)
		w.after(50 * time.Second)
		w.enqueue(onceq.Replaced, task(2), debounce(minute, 2*minute)...)
		w.after(50 * time.Second)
		w.enqueue(onceq.Replaced, task(3), debounce(minute, 2*minute)...)
		w.sameTime("run at", w.job(j.ID).RunAt, start.Add(2*minute))
		w.sameTime("enqueued at", w.job(j.ID).EnqueuedAt, start)
		w.enqueue(onceq.Replaced, task(4), debounce(minute, 3*minute)...)
		w.sameTime("run at under the newcomer's MaxWait", w.job(j.ID).RunAt, start.Add(160*time.Second))
	}},
	{"an_overdue_holder_is_due_now_and_takes_the_args", func(w *world) {
		j := w.insert(task(1), debounce(minute, 2*minute)...)
		w.after(5 * minute)
		r := w.enqueue(onceq.Replaced, task(2), debounce(minute, 2*minute)...)
		equal(w, "state", r.Job.State, onceq.Available)
		equal(w, "args", string(w.starts(j.ID).Args), "2")
	}},
	{"a_run_that_has_started_is_not_touched_and_the_next_enqueue_is_a_new_job", func(w *world) {
		first := w.insert(task(1), debounce(minute, time.Hour)...)
		w.after(minute)
		w.starts(first.ID)
		w.free(first)
		second := w.insert(task(2), debounce(minute, time.Hour)...)
		w.has(first.ID, 1)
		w.sameTime("run at", second.RunAt, start.Add(2*minute))
	}},
	{"a_running_holder_on_other_terms_is_skipped", answersIn("running", onceq.Skipped, debounce(minute, time.Hour)...)},
	{"a_holder_on_other_terms_that_waits_takes_args_and_time", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(minute))
		w.after(30 * time.Second)
		w.enqueue(onceq.Replaced, task(2), debounce(minute, time.Hour)...)
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(90*time.Second))
	}},
	{"only_the_args_and_the_run_time_change", func(w *world) {
		j := w.insert(task(1), append(debounce(minute, time.Hour), onceq.Priority(7), onceq.Tags("old"),
			onceq.MaxAttempts(2))...)
		w.enqueue(onceq.Replaced, task(2), append(debounce(minute, time.Hour), onceq.Priority(1), onceq.Tags("new"),
			onceq.MaxAttempts(9))...)
		got := w.has(j.ID, 2)
		equal(w, "priority", got.Priority, 7)
		equal(w, "max attempts", got.MaxAttempts, 2)
		equal(w, "tags", got.Tags[0], "old")
	}},
	{"the_anchor_moves_with_the_run_time", func(w *world) {
		j := w.insert(task(1), append(debounce(minute, time.Hour), onceq.Unique{TTL: 10 * minute})...)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(11*minute))
		w.after(30 * time.Second)
		w.enqueue(onceq.Replaced, task(2), append(debounce(minute, time.Hour), onceq.Unique{TTL: 10 * minute})...)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(11*minute+30*time.Second))
	}},
	{"a_cancelled_holder_lets_the_next_enqueue_begin_anew", func(w *world) {
		j := w.insert(task(1), debounce(minute, time.Hour)...)
		w.cancel(j.ID)
		w.after(30 * time.Second)
		second := w.insert(task(2), debounce(minute, time.Hour)...)
		w.sameTime("run at", second.RunAt, start.Add(90*time.Second))
	}},
	{"leading_throttle_keeps_the_first_args", func(w *world) {
		once := []onceq.Option{key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}}
		w.insert(task(1), once...)
		for i := range 5 {
			w.enqueue(onceq.Skipped, task(2+i), once...)
		}
		equal(w, "args", string(w.start().Args), "1")
		w.idle()
		w.after(minute)
		w.insert(task(9), once...)
	}},
	{"an_id_that_was_absorbed_is_not_known_and_its_redelivery_is_judged_anew", func(w *world) {
		for _, terms := range [][]onceq.Option{debounce(minute, time.Hour), {key, coalesce, onceq.Delay(minute)},
			{key, onceq.Delay(minute)}} {
			w.insert(task(1), append(terms, onceq.ID("e1"))...)
			r, err := w.client.Enqueue(w.ctx, task(2), append(terms, onceq.ID("e2"))...)
			w.must(err)
			equal(w, "the job that stands for e2", r.Job.ID, "e1")
			w.gone("e2")
			w.after(2 * minute)
			w.complete(w.starts("e1"))
			w.insert(task(2), append(terms, onceq.ID("e2"))...) // the redelivery runs
			w.enqueue(onceq.Skipped, task(1), append(terms, onceq.ID("e1"))...)
			w.remove("e1")
			w.remove("e2")
		}
	}},
}
