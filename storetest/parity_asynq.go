package storetest

import (
	"errors"
	"time"

	"github.com/onceq/onceq"
)

// parityAsynq: what asynq does is expressible, and each deliberate
// difference is one. The rows are those of docs/coming-from.md.
var parityAsynq = []scenario{
	{"task_id_conflicts_until_the_task_is_done", func(w *world) {
		once := []onceq.Option{onceq.ID("x"), onceq.Retention(0), reject}
		w.insert(task(1), once...)
		_, err := w.client.Enqueue(w.ctx, task(1), once...)
		var dup *onceq.DuplicateError
		if !errors.Is(err, onceq.ErrDuplicate) || !errors.As(err, &dup) || dup.By != "id" {
			w.Fatalf("error %v, want ErrDuplicate by the ID", err)
		}
		run := w.starts("x")
		w.enqueue(onceq.Rejected, task(1), once...)
		w.fail(run, 0)
		w.enqueue(onceq.Rejected, task(1), once...)
		w.complete(w.starts("x"))
		w.insert(task(1), once...)
		w.cancel("x")
		w.insert(task(1), once...)
	}},
	{"unique_ttl_is_held_until_success_or_ttl", func(w *world) {
		unique := []onceq.Option{onceq.Unique{Until: onceq.UntilSucceeded, TTL: time.Hour}, reject}
		payload := func(raw ...byte) onceq.Args { return onceq.Bytes("email:welcome", raw) }
		w.insert(payload(0xff, 0x00), unique...)
		_, err := w.client.Enqueue(w.ctx, payload(0xff, 0x00), unique...)
		w.wantErr(err, onceq.ErrDuplicate)
		w.insert(payload(0xff, 0x01), unique...)
		w.insert(payload(0xff, 0x00), append(unique, onceq.Queue("other"))...)
		w.insert(onceq.Bytes("email:goodbye", []byte{0xff, 0x00}), unique...)

		w.complete(w.start()) // success
		w.insert(payload(0xff, 0x00), unique...)
		w.after(time.Hour) // the TTL, though it still waits
		w.insert(payload(0xff, 0x00), unique...)
	}},
	{"unique_ttl_of_an_archived_task_is_kept_or_not_as_one_likes", func(w *world) {
		kept := w.insert(task(1), onceq.UniqueKey("kept"), onceq.Unique{Until: onceq.UntilSucceeded, TTL: time.Hour})
		freed := w.insert(task(2), onceq.UniqueKey("freed"), onceq.Unique{Until: onceq.UntilFinished, TTL: time.Hour})
		w.discard(w.starts(kept.ID))
		w.discard(w.starts(freed.ID))
		w.holds(kept)
		w.free(freed)
		w.remove(kept.ID)
		w.free(kept)
	}},
	{"a_scheduled_task_is_locked_until_its_run_time_plus_ttl", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilSucceeded, TTL: 10 * minute}, onceq.Delay(time.Hour))
		w.at(start.Add(70*minute - time.Millisecond))
		w.enqueue(onceq.Rejected, task(2), key, reject)
		w.after(time.Millisecond)
		w.free(j)
	}},
	{"a_task_whose_id_is_taken_leaves_no_lock", func(w *world) {
		w.insert(task(1), onceq.ID("x"))
		w.enqueue(onceq.Rejected, task(2), onceq.ID("x"), onceq.Unique{TTL: time.Hour}, reject)
		w.insert(task(2), onceq.Unique{TTL: time.Hour}, reject)
	}},
	{"deleting_all_pending_tasks_frees_their_locks", func(w *world) {
		for i := range 3 {
			w.insert(task(i), onceq.Unique{TTL: time.Hour})
		}
		n, err := w.client.DeleteAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Available}})
		w.must(err)
		equal(w, "deleted", n, 3)
		for i := range 3 {
			w.insert(task(i), onceq.Unique{TTL: time.Hour})
		}
	}},
	{"a_batch_takes_unique_tasks", func(w *world) {
		w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped}, onceq.NewItem(task(1), onceq.Unique{TTL: time.Hour}),
			onceq.NewItem(task(1), onceq.Unique{TTL: time.Hour}))
	}},
	{"difference_an_id_is_unique_in_the_store_and_not_in_its_queue", func(w *world) {
		w.insert(task(1), onceq.ID("x"), onceq.Queue("one"))
		w.enqueue(onceq.Rejected, task(1), onceq.ID("x"), onceq.Queue("two"), reject)
	}},
	{"difference_running_an_archived_task_takes_its_key_again", func(w *world) {
		first := w.insert(task(1), key, onceq.Unique{TTL: time.Hour}, reject)
		w.discard(w.start())
		w.retry(first.ID)
		w.enqueue(onceq.Rejected, task(2), key, reject)
		w.discard(w.start())
		second := w.insert(task(2), key, reject)
		_, err := w.client.Retry(w.ctx, first.ID)
		w.wantErr(err, onceq.ErrDuplicate)
		w.holds(second)
	}},
	{"difference_payloads_that_are_json_are_compared_by_value", func(w *world) {
		w.insert(onceq.JSON("t", []byte(`{"a":1,"b":2}`)), onceq.Unique{TTL: time.Hour})
		w.enqueue(onceq.Skipped, onceq.JSON("t", []byte(`{ "b":2.0, "a":1 }`)), onceq.Unique{TTL: time.Hour})
	}},
	{"difference_a_ttl_counts_in_milliseconds", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: 1999 * time.Millisecond})
		w.after(1998 * time.Millisecond)
		w.holds(j)
		w.after(time.Millisecond)
		w.free(j)
	}},
}
