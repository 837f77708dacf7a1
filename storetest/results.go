package storetest

import (
	"strings"

	"github.com/onceq/onceq"
)

// results: what a run gives is kept with the job that it ends.
var results = []scenario{
	{"the_result_of_the_run_that_ends_a_job_is_kept_with_it", func(w *world) {
		large := `"` + strings.Repeat("x", 64<<10) + `"`
		for _, end := range []onceq.State{onceq.Completed, onceq.Discarded, onceq.Cancelled} {
			for _, result := range []string{`{"n":1}`, large, ""} {
				for _, opts := range [][]onceq.Option{nil, {key}} {
					w.insert(task(1), opts...)
					run := w.start()
					w.ends(run, onceq.Finish{State: end, Result: []byte(result)}, end)
					equal(w, "result", string(w.job(run.ID).Result), result)
					w.ends(run, onceq.Finish{State: end, Result: []byte("late")}, end) // a repeat
					equal(w, "result", string(w.job(run.ID).Result), result)
				}
			}
		}
	}},
	{"a_result_is_kept_beside_an_error_and_only_from_the_last_run", func(w *world) {
		j := w.insert(task(1), key)
		w.finish(w.start(), onceq.Finish{State: onceq.Retryable, Error: "no", Result: []byte("1")})
		w.finish(w.start(), onceq.Finish{State: onceq.Scheduled, GiveBack: true, Result: []byte("2")})
		equal(w, "result", string(w.job(j.ID).Result), "")
		w.finish(w.start(), onceq.Finish{State: onceq.Discarded, Error: "no", Result: []byte("3")})
		got := w.job(j.ID)
		equal(w, "job", line(string(got.Result), len(got.Errors), got.State), "3 2 discarded")
	}},
	{"the_result_of_a_run_that_lost_its_lease_is_not_kept", func(w *world) {
		j := w.insert(task(1))
		first := w.start()
		w.finish(first, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"})
		second := w.startAs("v", "default")
		r := w.finish(first, onceq.Finish{State: onceq.Completed, Result: []byte("first")})
		equal(w, "status", r.Status, onceq.FinishLost)
		w.finish(second, onceq.Finish{State: onceq.Completed, Worker: "v", Result: []byte("second")})
		equal(w, "result", string(w.job(j.ID).Result), "second")
	}},
	{"a_retry_by_hand_forgets_the_result", func(w *world) {
		j := w.insert(task(1), key)
		w.finish(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")})
		w.retry(j.ID)
		equal(w, "result", string(w.job(j.ID).Result), "")
		w.complete(w.start())
		equal(w, "result", string(w.job(j.ID).Result), "")
	}},
	{"a_result_goes_with_its_job", func(w *world) {
		for range 2 {
			j := w.insert(task(1), onceq.ID("again"))
			w.finish(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")})
			equal(w, "result", string(w.job(j.ID).Result), "1")
			w.remove(j.ID)
			w.insert(task(1), onceq.ID("again"))
			w.complete(w.start())
			equal(w, "result", string(w.job(j.ID).Result), "")
			w.remove(j.ID)
		}
		w.insert(task(1), onceq.Retention(0), key)
		w.finish(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")})
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"nothing_but_a_look_at_the_job_hands_out_its_result", func(w *world) {
		unique := []onceq.Option{key, onceq.Unique{Until: onceq.UntilDeleted}}
		j := w.insert(task(1), unique...)
		w.finish(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")})
		r := w.enqueue(onceq.Skipped, task(1), unique...)
		equal(w, "of a duplicate", string(r.Job.Result), "")
		for _, listed := range w.jobs() {
			equal(w, "in a list", string(listed.Result), "")
		}
		w.ends(w.job(j.ID), onceq.Finish{State: onceq.Completed, Run: 1, Worker: "w"}, onceq.Completed)
		equal(w, "of a cancelled job", string(w.job(j.ID).Result), "1")
		jobs, err := w.Store.Get(w.ctx, []string{"none", j.ID, j.ID})
		w.must(err)
		equal(w, "of two looks", line(string(jobs[1].Result), string(jobs[2].Result)), "1 1")
		equal(w, "of a retry", string(w.retry(j.ID).Result), "")
	}},
	{"results_of_a_batch_go_to_their_jobs", func(w *world) {
		want := map[string]string{}
		var fs []onceq.Finish
		for i := range 12 {
			w.insert(task(i))
		}
		for i, j := range w.fetch("w", "default", 12) {
			f := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
			if i%3 == 1 {
				f.State, f.Error = onceq.Discarded, "no"
			}
			if i%2 == 0 {
				f.Result = []byte(line(i))
			}
			want[j.ID] = string(f.Result)
			fs = append(fs, f)
		}
		_, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: fs})
		w.must(err)
		for id, result := range want {
			equal(w, "result", string(w.job(id).Result), result)
		}
	}},
}
