package storetest

import (
	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/reserved"
)

// tokens: a caller's own token names the call, and a prepared row is sent as
// often as one likes.
var tokens = []scenario{
	{"the_same_id_and_token_is_the_same_call", func(w *world) {
		mine := onceq.Token([16]byte{1})
		first := w.enqueue(onceq.Inserted, task(1), onceq.ID("a"), mine, key)
		again := w.enqueue(onceq.Inserted, task(2), onceq.ID("a"), mine, key)
		equal(w, "the answer", show(again.Job), show(first.Job))
		w.complete(w.starts("a"))
		w.enqueue(onceq.Inserted, task(1), onceq.ID("a"), mine, key, onceq.OnConflict(onceq.Reject))
		w.is("a", onceq.Completed)
		w.many([]onceq.Outcome{onceq.Inserted, onceq.Inserted, onceq.Inserted},
			onceq.NewItem(task(1), onceq.ID("a"), mine, key), onceq.NewItem(task(3), onceq.ID("b"), mine),
			onceq.NewItem(task(3), onceq.ID("b"), mine))
		equal(w, "jobs", len(w.jobs()), 2)
	}},
	{"the_same_id_with_another_token_is_another_call", func(w *world) {
		w.insert(task(1), onceq.ID("a"), onceq.Token([16]byte{1}))
		r := w.enqueue(onceq.Skipped, task(1), onceq.ID("a"), onceq.Token([16]byte{2}))
		equal(w, "by", r.Conflict.By, "id")
		w.enqueue(onceq.Skipped, task(1), onceq.ID("a"))
		_, err := w.client.Enqueue(w.ctx, task(1), onceq.ID("a"), onceq.Token([16]byte{3}),
			onceq.OnConflict(onceq.Reject))
		w.wantErr(err, onceq.ErrDuplicate)
	}},
	{"a_call_that_waits_behind_a_run_is_answered_alike_by_its_token", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		opts := []onceq.Option{key, onceq.OnConflict(onceq.Coalesce), onceq.ID("waiter"), onceq.Token([16]byte{1})}
		w.enqueue(onceq.Coalesced, task(2), opts...)
		r := w.enqueue(onceq.Coalesced, task(2), opts...)
		equal(w, "holder", r.Conflict.Holder, run.ID)
		w.complete(run)
	}},
	{"a_prepared_row_is_sent_once_or_again_and_is_one_job", func(w *world) {
		row, err := w.client.Prepare(task(1), key)
		w.must(err)
		w.gone(row.ID)
		for range 2 {
			results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
			w.must(err)
			equal(w, "answer", line(results[0].Outcome, results[0].Job.ID), line(onceq.Inserted, row.ID))
		}
		equal(w, "jobs", len(w.jobs()), 1)
		w.enqueue(onceq.Skipped, task(1), key)
	}},
	{"jobs_of_onceqs_own_are_seen_only_if_they_are_named", func(w *world) {
		ours := []onceq.Option{onceq.Queue("onceq.guard/x"), reserved.Allow.(onceq.Option),
			onceq.UniqueKey("k", onceq.ByQueue)}
		own := w.insert(task(1), ours...)
		w.insert(task(1), key)
		equal(w, "all", w.count(onceq.JobFilter{}), 1)
		equal(w, "of the kind", w.count(onceq.JobFilter{Kind: own.Kind}), 1)
		equal(w, "of the queue", w.count(onceq.JobFilter{Queue: "onceq.guard/x"}), 1)
		equal(w, "of the key", w.count(onceq.JobFilter{Key: own.Key}), 1)
		equal(w, "asked for", w.count(onceq.JobFilter{Reserved: true}), 2)
		keys := 0
		for k, err := range w.client.Keys(w.ctx, onceq.KeyFilter{}) {
			w.must(err)
			if keys++; k.Holder == own.ID {
				w.Fatalf("a list of keys has that of a claim")
			}
		}
		equal(w, "keys", keys, 1)
		n, err := w.client.DeleteAll(w.ctx, onceq.JobFilter{All: true})
		w.must(err)
		equal(w, "deleted", n, 1)
		w.holds(own)
		report, err := w.client.Doctor(w.ctx, nil)
		w.must(err)
		equal(w, "doctor", line(report.Jobs, report.Reserved, report.Keys, len(report.Violations)), "0 1 1 0")
	}},
}

// count is how many jobs a filter lists.
func (w *world) count(f onceq.JobFilter) (n int) {
	w.Helper()
	for _, err := range w.client.Jobs(w.ctx, f) {
		w.must(err)
		n++
	}
	return n
}
