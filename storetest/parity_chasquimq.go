package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// restarted goes on with another handle on the data, as after a restart.
// Where the data is in this process only, nothing is restarted.
func (w *world) restarted() {
	w.Helper()
	if w.Open == nil {
		return
	}
	other := w.Open()
	w.client.Close()
	w.must(w.Store.Close())
	w.Store = other
	w.client = w.clientOf(other, nil)
}

// parityChasquiMQ: what ChasquiMQ does is expressible, and each deliberate
// difference is one. The rows are those of docs/coming-from.md.
var parityChasquiMQ = []scenario{
	{"add_unique_with_an_id_is_a_no_op_the_second_time", func(w *world) {
		addUnique := func(want onceq.Outcome, opts ...onceq.Option) {
			w.Helper()
			r := w.enqueue(want, mail{To: "a"}, append(opts, onceq.ID("welcome-42"))...)
			equal(w, "ID", r.Job.ID, "welcome-42")
		}
		addUnique(onceq.Inserted)
		addUnique(onceq.Skipped)
		addUnique(onceq.Skipped, onceq.Delay(time.Hour)) // the delayed path
		w.restarted()
		addUnique(onceq.Skipped)
		w.complete(w.start())
		addUnique(onceq.Skipped)
		equal(w, "jobs", len(w.jobs()), 1)
	}},
	{"add_unique_with_a_key_is_a_no_op_the_second_time", func(w *world) {
		unique := []onceq.Option{onceq.UniqueKey("welcome-42", onceq.ByQueue), onceq.Unique{Until: onceq.UntilDeleted}}
		j := w.insert(mail{To: "a"}, unique...)
		for _, o := range []onceq.Option{onceq.Delay(time.Hour), onceq.Priority(1)} {
			equal(w, "job", w.enqueue(onceq.Skipped, mail{To: "b"}, append(unique, o)...).Job.ID, j.ID)
		}
		w.restarted()
		equal(w, "job", w.enqueue(onceq.Skipped, mail{To: "a"}, unique...).Job.ID, j.ID)
		w.complete(w.start())
		equal(w, "job", w.enqueue(onceq.Skipped, mail{To: "a"}, unique...).Job.ID, j.ID)
		w.insert(mail{To: "a"}, append(unique, onceq.Queue("other"))...)
	}},
	{"a_delayed_job_is_marked_for_its_delay_and_an_hour", func(w *world) {
		unique := []onceq.Option{onceq.UniqueKey("reminder-7", onceq.ByQueue), onceq.Unique{Window: time.Hour},
			onceq.Delay(30 * minute)}
		w.insert(mail{To: "a"}, unique...)
		w.at(start.Add(30 * minute))
		w.complete(w.start())
		w.enqueue(onceq.Skipped, mail{To: "a"}, unique...)
		w.restarted()
		w.at(start.Add(90*minute - time.Millisecond))
		w.enqueue(onceq.Skipped, mail{To: "a"}, unique...) // a producer's retry, late
		w.after(time.Millisecond)
		w.insert(mail{To: "a"}, unique...)
	}},
	{"a_blank_id_is_refused", func(w *world) {
		for _, blank := range []string{"", "  ", "\t\n"} {
			_, err := w.client.Enqueue(w.ctx, task(1), onceq.ID(blank))
			w.refused(err)
			_, err = w.client.Enqueue(w.ctx, task(1), onceq.UniqueKey(blank, onceq.ByQueue))
			w.refused(err)
		}
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"ids_of_high_cardinality_never_lose_dedup", func(w *world) {
		n := scaled(1500)
		var ids, keys []onceq.Item
		for i := range n {
			ids = append(ids, onceq.NewItem(task(i), onceq.ID(fmt.Sprint("id ", i))))
			keys = append(keys, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint("key ", i), onceq.ByQueue),
				onceq.Unique{Until: onceq.UntilDeleted}))
		}
		w.many(each(onceq.Inserted, n), ids...)
		w.many(each(onceq.Inserted, n), keys...)
		w.restarted()
		w.many(each(onceq.Skipped, n), ids...)
		w.many(each(onceq.Skipped, n), keys...)
		// Nor when the jobs have ended, as long as they are kept.
		for done := 0; done < 2*n; {
			jobs := w.fetch("w", "default", 500)
			if len(jobs) == 0 {
				w.Fatalf("%d of %d jobs were due", done, 2*n)
			}
			finishes := make([]onceq.Finish, len(jobs))
			for i, j := range jobs {
				finishes[i] = onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
			}
			_, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: finishes})
			w.must(err)
			done += len(jobs)
		}
		w.after(24*time.Hour - time.Millisecond)
		w.sweep()
		w.many(each(onceq.Skipped, n), ids...)
		w.many(each(onceq.Skipped, n), keys...)
	}},
	{"an_id_is_of_the_store_and_a_key_by_queue_is_of_its_queue", func(w *world) {
		w.insert(mail{To: "a"}, onceq.ID("welcome-42"))
		w.enqueue(onceq.Skipped, mail{To: "a"}, onceq.ID("welcome-42"), onceq.Queue("other"))
		unique := []onceq.Option{onceq.UniqueKey("welcome-42", onceq.ByQueue), onceq.Unique{Until: onceq.UntilDeleted}}
		w.insert(mail{To: "a"}, unique...)
		w.insert(mail{To: "a"}, append(unique, onceq.Queue("other"))...)
		w.enqueue(onceq.Skipped, task(1), unique...) // whatever the name
	}},
	{"a_retained_key_is_free_when_a_worker_has_pruned_its_job", func(w *world) {
		unique := []onceq.Option{onceq.ID("welcome-42"), onceq.UniqueKey("k"), onceq.Unique{Until: onceq.UntilDeleted},
			onceq.Retention(time.Hour)}
		w.insert(task(1), unique...)
		w.complete(w.start())
		w.after(2 * time.Hour)
		w.enqueue(onceq.Skipped, task(1), unique...) // nobody swept: without any worker it stays
		w.sweep()
		w.insert(task(1), unique...)
	}},
	{"difference_an_id_is_always_enforced", func(w *world) {
		w.insert(task(1), onceq.ID("a"))
		w.enqueue(onceq.Skipped, task(2), onceq.ID("a"))
	}},
	{"difference_a_random_uuid_never_deduplicates_and_explain_says_so", func(w *world) {
		const uuid = "3f2b8c1e-9d47-4c6a-8f10-2b7d5e9a1c34"
		e, err := w.client.Explain(w.ctx, task(1), onceq.UniqueKey(uuid))
		w.must(err)
		if !strings.Contains(e.Hint, "UUID") || e.Outcome != onceq.Inserted {
			w.Errorf("explain says %+v", e)
		}
		e, err = w.client.Explain(w.ctx, task(1), onceq.ID(uuid))
		w.must(err)
		if !strings.Contains(e.Hint, "UUID") {
			w.Errorf("explain says %+v", e)
		}
		w.insert(task(1), onceq.UniqueKey(uuid))
		w.insert(task(1), onceq.UniqueKey("5e9a1c34-9d47-4c6a-8f10-3f2b8c1e2b7d"))
	}},
}
