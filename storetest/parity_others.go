package storetest

import (
	"errors"
	"time"

	"github.com/onceq/onceq"
)

// The peers in docs/coming-from.md beyond the four that are equalled row by
// row: a case for each line there.

type river struct {
	ID   int `json:"id" onceq:"unique"`
	Note int `json:"note"`
}

func (river) Kind() string { return "river" }

func raw(json string) onceq.Args { return onceq.JSON("raw", []byte(json)) }

// once finishes the only due job.
func (w *world) once() *onceq.JobRow {
	w.Helper()
	j := w.start()
	w.complete(j)
	return j
}

var parityRiver = []scenario{
	{"by_args_over_the_default_states", func(w *world) {
		u := onceq.Unique{By: onceq.ByKind | onceq.ByArgs, Until: onceq.UntilFailed}
		w.insert(task(1), u)
		w.enqueue(onceq.Skipped, task(1), u, onceq.Queue("other"))
		w.once()
		w.enqueue(onceq.Skipped, task(1), u) // completed counts
		w.insert(task(2), u)
		w.discard(w.start())
		w.insert(task(2), u) // discarded does not
	}},
	{"nested_objects_in_any_order_and_names_with_dots", func(w *world) {
		u := onceq.Unique{}
		w.insert(raw(`{"a":{"x":1,"y":2}}`), u)
		w.enqueue(onceq.Skipped, raw(`{"a":{"y":2,"x":1}}`), u)
		w.insert(raw(`{"user.id":1}`), u)
		w.insert(raw(`{"user.id":2}`), u)
	}},
	{"struct_tags", func(w *world) {
		w.insert(river{1, 1}, onceq.Unique{})
		w.enqueue(onceq.Skipped, river{1, 2}, onceq.Unique{})
		w.insert(river{2, 1}, onceq.Unique{})
	}},
	{"by_period_counts_from_the_first_job_and_from_its_run_time", func(w *world) {
		u := onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour}
		w.insert(task(1), u)
		w.insert(task(2), u, onceq.Delay(72*time.Hour))
		w.after(time.Hour - time.Millisecond) // past the edge of a slot of the clock
		w.enqueue(onceq.Skipped, task(1), u)
		w.after(time.Millisecond)
		w.insert(task(1), u)
		w.after(72 * time.Hour)
		w.free(w.jobs()[0])
		w.after(-30 * time.Minute)
		w.enqueue(onceq.Skipped, task(2), u)
	}},
	{"by_queue_and_exclude_kind", func(w *world) {
		all := onceq.Unique{By: onceq.ByArgs}
		w.insert(onceq.JSON("a", []byte("1")), all)
		w.enqueue(onceq.Skipped, onceq.JSON("b", []byte("1")), all, onceq.Queue("other"))
		_, err := w.client.Enqueue(w.ctx, onceq.JSON("b", []byte("1")), all, replace(onceq.Replace{Args: true}))
		w.refused(err)
	}},
	{"by_state_has_no_state_to_forget", func(w *world) {
		j := w.insert(task(1), key)
		w.fail(w.starts(j.ID), 0) // a retry never meets its own key
		w.complete(w.starts(j.ID))
		w.free(j)
	}},
	{"unique_skipped_as_duplicate", func(w *world) {
		j := w.insert(task(1), key)
		r := w.enqueue(onceq.Skipped, task(2), key)
		equal(w, "the job", r.Job.ID, j.ID)
		w.unchanged(j)
	}},
	{"insert_many", func(w *world) {
		w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped}, onceq.NewItem(task(1), key), onceq.NewItem(task(2), key))
	}},
	{"retry_of_a_discarded_job_whose_twin_lives", func(w *world) {
		j := w.insert(task(1), key)
		w.discard(w.starts(j.ID))
		twin := w.insert(task(1), key)
		_, err := w.client.Retry(w.ctx, j.ID)
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) || dup.Holder != twin.ID {
			w.Fatalf("retry: %v, want a *DuplicateError that names %s", err, twin.ID)
		}
		equal(w, "keyless", w.retry(j.ID, onceq.WithoutKey).Keyless, true)
	}},
}

var parityBullMQ = []scenario{
	{"job_id", func(w *world) {
		j := w.insert(task(1), onceq.ID("a:1"))
		equal(w, "the job", w.enqueue(onceq.Skipped, task(1), onceq.ID("a:1")).Job.ID, j.ID)
	}},
	{"simple_deduplication", func(w *world) {
		k := onceq.UniqueKey("id", onceq.ByQueue)
		j := w.insert(task(1), k)
		w.fail(w.starts(j.ID), 0) // kept across retries
		w.enqueue(onceq.Skipped, task(2), k)
		w.discard(w.starts(j.ID))
		w.insert(task(2), k)
	}},
	{"throttle", func(w *world) {
		k := []onceq.Option{onceq.UniqueKey("id", onceq.ByQueue),
			onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}}
		w.insert(task(1), k...)
		w.once()
		w.enqueue(onceq.Skipped, task(1), k...)
		w.after(minute)
		w.insert(task(1), k...)
	}},
	{"debounce_ends", func(w *world) {
		opts := []onceq.Option{onceq.UniqueKey("id"), onceq.Delay(10 * time.Second),
			onceq.OnConflict(onceq.Debounce{MaxWait: minute})}
		j := w.insert(task(0), opts...)
		for n := 1; n <= 11; n++ {
			w.after(5 * time.Second)
			w.enqueue(onceq.Replaced, task(n), opts...)
		}
		w.sameTime("run at", w.job(j.ID).RunAt, start.Add(minute))
		w.after(5 * time.Second)
		w.has(w.starts(j.ID).ID, 11)
	}},
	{"keep_last_if_active", func(w *world) {
		j := w.insert(task(1), key)
		w.starts(j.ID)
		b := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.enqueue(onceq.Replaced, task(3), key, coalesce)
		w.waits(b, j)
		w.complete(w.job(j.ID))
		w.has(w.starts(b.ID).ID, 3)
	}},
	{"remove_deduplication_key", func(w *world) {
		j := w.insert(task(1), key)
		w.release(j)
		w.insert(task(1), key)
	}},
}

var paritySidekiq = []scenario{
	{"until_executing", func(w *world) {
		u := []onceq.Option{key, until(onceq.UntilStarted)}
		j := w.insert(task(1), u...)
		w.enqueue(onceq.Skipped, task(1), u...)
		w.starts(j.ID)
		w.insert(task(2), u...)
		w.fail(w.job(j.ID), 0) // and is not dropped for the key it no longer has
		w.is(j.ID, onceq.Available)
	}},
	{"until_executed", func(w *world) {
		j := w.insert(task(1), key)
		w.starts(j.ID)
		w.enqueue(onceq.Skipped, task(1), key)
		w.complete(w.job(j.ID))
		w.insert(task(1), key)
	}},
	{"until_expired", func(w *world) {
		u := []onceq.Option{key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}}
		w.insert(task(1), u...)
		w.once()
		w.enqueue(onceq.Skipped, task(1), u...)
	}},
	{"until_and_while_executing", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.starts(j.ID)
		b := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.after(time.Hour) // a lock that has expired drops nobody
		w.idle()
		w.complete(w.job(j.ID))
		w.starts(b.ID)
	}},
	{"difference_while_executing_a_concurrency_of_one_is_of_one_worker", func(w *world) {
		for i := range 3 {
			w.insert(task(i))
		}
		for _, worker := range []string{"w1", "w2", "w3"} {
			w.known(worker)
			equal(w, "jobs of "+worker, len(w.fetch(worker, "default", 1)), 1)
		}
		// What keeps runs of one key apart is one waiter behind the holder.
		w.insert(task(1), key)
		a := w.start()
		b := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.enqueue(onceq.Replaced, task(3), key, coalesce) // and no second one
		w.idle()
		w.complete(a)
		w.starts(b.ID)
	}},
	{"difference_until_executing_a_run_that_puts_itself_off_stands_beside_the_next", func(w *world) {
		u := []onceq.Option{key, until(onceq.UntilStarted)}
		j := w.insert(task(1), u...)
		w.snooze(w.starts(j.ID), minute)
		w.insert(task(2), u...)
		w.after(minute)
		equal(w, "jobs at once", len(w.fetch("w", "default", 5)), 2)
	}},
	{"on_conflict_log_raise_replace", func(w *world) {
		j := w.insert(task(1), key)
		w.enqueue(onceq.Skipped, task(2), key)
		w.enqueue(onceq.Rejected, task(2), key, reject)
		w.enqueue(onceq.Replaced, task(3), key, replace(onceq.Replace{Args: true}))
		w.has(j.ID, 3)
		w.enqueue(onceq.Superseded, task(4), key, supersede)
		w.is(j.ID, onceq.Cancelled)
	}},
}

var parityPgBoss = []scenario{
	{"singleton_key_exclusive", func(w *world) {
		k := onceq.UniqueKey("k", onceq.ByQueue)
		w.insert(task(1), k)
		w.enqueue(onceq.Skipped, task(2), k)
		w.insert(task(2), k, onceq.Queue("other"))
	}},
	{"short", func(w *world) {
		k := []onceq.Option{onceq.UniqueKey("k", onceq.ByQueue), until(onceq.UntilStarted)}
		w.insert(task(1), k...)
		w.enqueue(onceq.Skipped, task(2), k...)
		w.start()
		w.insert(task(2), k...)
	}},
	{"stately", func(w *world) {
		j := w.insert(task(1), key)
		w.starts(j.ID)
		b := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.fail(w.job(j.ID), minute) // keeps its attempts although one waits behind it
		w.is(j.ID, onceq.Retryable)
		w.waits(b, j)
	}},
	{"singleton_seconds", func(w *world) {
		u := []onceq.Option{key, onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}}
		w.after(59 * time.Second)
		w.insert(task(1), u...)
		w.after(2 * time.Second) // another slot of the clock, the same window
		w.enqueue(onceq.Skipped, task(1), u...)
	}},
	{"send_debounced_takes_the_last_data", func(w *world) {
		opts := []onceq.Option{key, onceq.Delay(minute), onceq.OnConflict(onceq.Debounce{MaxWait: time.Hour})}
		j := w.insert(task(1), opts...)
		w.enqueue(onceq.Replaced, task(2), opts...)
		w.has(j.ID, 2)
	}},
	{"a_duplicate_is_told_the_holder", func(w *world) {
		j := w.insert(task(1), key)
		equal(w, "holder", w.enqueue(onceq.Skipped, task(2), key).Conflict.Holder, j.ID)
	}},
}

var parityGraphile = []scenario{
	{"job_key_replace", func(w *world) {
		r := replace(replaceAll)
		j := w.insert(task(1), key, r)
		w.enqueue(onceq.Replaced, task(2), key, r, onceq.Delay(minute))
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(minute))
	}},
	{"job_key_replace_of_a_running_job_does_not_overlap", func(w *world) {
		j := w.insert(task(1), key)
		w.starts(j.ID)
		b := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.idle()
		w.complete(w.job(j.ID))
		w.starts(b.ID)
	}},
	{"preserve_run_at", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(minute))
		w.enqueue(onceq.Replaced, task(2), key, onceq.Delay(time.Hour), replace(onceq.Replace{Args: true}))
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(minute))
	}},
	{"unsafe_dedupe", func(w *world) {
		w.insert(task(1), key)
		w.enqueue(onceq.Skipped, task(2), key)
	}},
	{"a_key_is_scoped_to_its_kind", func(w *world) {
		w.insert(task(1), key)
		w.insert(mail{To: "a"}, key)
	}},
	{"remove_job", func(w *world) {
		j := w.insert(task(1), key)
		w.remove(j.ID)
		w.insert(task(2), key)
	}},
}

var parityTemporal = []scenario{
	{"allow_duplicate", func(w *world) {
		w.insert(task(1), key)
		w.enqueue(onceq.Skipped, task(1), key)
		w.once()
		w.insert(task(1), key)
	}},
	{"allow_duplicate_failed_only", func(w *world) {
		u := []onceq.Option{key, until(onceq.UntilFailed)}
		w.insert(task(1), u...)
		w.discard(w.start())
		w.insert(task(1), u...)
		w.once()
		w.enqueue(onceq.Skipped, task(1), u...)
	}},
	{"reject_duplicate_while_it_is_kept", func(w *world) {
		u := []onceq.Option{key, until(onceq.UntilDeleted), onceq.Retention(time.Hour)}
		w.insert(task(1), u...)
		w.once()
		w.enqueue(onceq.Rejected, task(1), append(u, reject)...)
		w.after(time.Hour)
		w.sweep()
		w.insert(task(1), u...)
	}},
	{"fail", func(w *world) {
		w.insert(task(1), key)
		w.enqueue(onceq.Rejected, task(1), key, reject)
	}},
	{"use_existing", func(w *world) {
		j := w.insert(task(1), key)
		equal(w, "the job", w.enqueue(onceq.Skipped, task(1), key).Job.ID, j.ID)
	}},
	{"terminate_existing", func(w *world) {
		j := w.insert(task(1), key)
		w.starts(j.ID)
		b := w.enqueue(onceq.Superseded, task(2), key, supersede).Job
		equal(w, "cancel requested", w.job(j.ID).CancelRequested, true)
		w.idle() // until the old run has ended
		w.ends(w.job(j.ID), onceq.Finish{State: onceq.Retryable, Error: "stopped"}, onceq.Cancelled)
		w.starts(b.ID)
	}},
}
