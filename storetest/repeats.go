package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// repeated asks for a key again and again, so that a store which remembers who
// holds it has learnt that, and wants each answer to name the holder as it is.
func (w *world) repeated(holder *onceq.JobRow, args onceq.Args, opts ...onceq.Option) {
	w.Helper()
	for range 3 {
		r := w.enqueue(onceq.Skipped, args, opts...)
		equal(w, "the job", show(r.Job), show(w.job(holder.ID)))
		equal(w, "the holder", line(r.Conflict.By, r.Conflict.Holder, r.Conflict.State),
			line("key", holder.ID, r.Job.State))
	}
	w.enqueue(onceq.Rejected, args, append([]onceq.Option{reject}, opts...)...)
}

// changing is a case in which a key that was asked for often is freed by a
// step, through this handle or through another, and is then taken by a new
// job.
func changing(free func(w *world, holder *onceq.JobRow), opts ...onceq.Option) func(*world) {
	return func(w *world) {
		opts := append([]onceq.Option{key}, opts...)
		here, there := w.client, w.clientOf(w.another(), nil)
		defer there.Close()
		for _, other := range []bool{false, true} {
			first := w.insert(task(1), opts...)
			w.repeated(first, task(1), opts...)
			free(w, first)
			second := first
			if other { // the handle that remembers does not see who comes next
				w.client = there
				second = w.insert(task(1), opts...)
				w.client = here
			} else {
				second = w.insert(task(1), opts...)
			}
			w.repeated(second, task(1), opts...)
			w.release(second)
			w.remove(second.ID)
			third := w.insert(task(1), opts...)
			w.release(third)
			w.remove(third.ID)
		}
	}
}

// repeats: who holds a key is looked up each time, however often it was asked.
var repeats = []scenario{
	{"a_key_that_its_holder_gave_back_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.complete(w.starts(j.ID))
	})},
	{"a_key_of_a_deleted_holder_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.remove(j.ID)
	})},
	{"a_key_of_a_cancelled_holder_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.cancel(j.ID)
	})},
	{"a_key_that_was_released_by_hand_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.release(j)
	})},
	{"a_key_whose_ttl_is_over_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.after(time.Hour)
	}, onceq.Unique{TTL: time.Hour})},
	{"a_key_whose_window_has_passed_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.complete(w.starts(j.ID))
		w.enqueue(onceq.Skipped, task(1), key)
		w.after(time.Hour)
	}, onceq.Unique{Window: time.Hour})},
	{"a_key_that_is_free_at_the_start_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.starts(j.ID)
	}, until(onceq.UntilStarted))},
	{"a_key_that_is_free_when_it_is_due_is_taken_by_the_next", changing(func(w *world, j *onceq.JobRow) {
		w.after(time.Minute)
	}, until(onceq.UntilDue), onceq.Delay(time.Minute))},

	{"a_holder_is_shown_in_the_state_that_it_has_now", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDeleted), onceq.Delay(time.Minute), onceq.MaxAttempts(5))
		w.repeated(j, task(1), key)
		w.after(-time.Hour)
		w.repeated(j, task(1), key)
		w.after(time.Hour + time.Minute)
		w.is(j.ID, onceq.Available)
		w.repeated(j, task(1), key)
		w.fail(w.starts(j.ID), time.Hour)
		w.repeated(j, task(1), key)
		w.runNow(j.ID)
		w.repeated(j, task(1), key)
		run := w.starts(j.ID)
		w.repeated(j, task(1), key)
		w.complete(run)
		w.is(j.ID, onceq.Completed)
		w.repeated(j, task(1), key)
		w.remove(j.ID)
		w.insert(task(1), key)
	}},
	{"a_holder_with_new_args_is_shown_with_these", func(w *world) {
		j := w.insert(task(1), key)
		w.repeated(j, task(1), key)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{Args: true}))
		w.repeated(j, task(2), key)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(1), key).Conflict.ArgsDiffer, true)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(2), key).Conflict.ArgsDiffer, false)
		w.enqueue(onceq.Replaced, task(3), key, coalesce)
		w.repeated(j, task(3), key)
	}},
	{"a_key_that_a_waiter_got_is_the_waiters", func(w *world) {
		j := w.insert(task(1), key)
		w.repeated(j, task(1), key)
		run := w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, coalesce).Job
		w.repeated(j, task(1), key)
		w.complete(run)
		w.repeated(waiter, task(2), key)
		next := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		w.repeated(next, task(3), key)
	}},
	{"a_holder_that_lost_its_key_and_took_it_again_is_met_again", func(w *world) {
		j := w.insert(task(1), key)
		w.repeated(j, task(1), key)
		w.complete(w.starts(j.ID))
		w.retry(j.ID)
		w.repeated(j, task(1), key)
	}},
	{"what_is_left_of_a_window_calls_the_holder_gone", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: time.Hour})
		w.repeated(j, task(1), key)
		w.remove(j.ID)
		for range 3 {
			equal(w, "gone", w.enqueue(onceq.Skipped, task(1), key).Conflict.Gone, true)
		}
	}},
	{"a_call_that_comes_again_is_no_duplicate_of_itself", func(w *world) {
		send := func(row onceq.NewRow) onceq.EnqueueResult {
			w.Helper()
			results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
			w.must(err)
			return results[0]
		}
		first, err := w.client.Prepare(task(1), key)
		w.must(err)
		inserted := send(first)
		w.repeated(inserted.Job, task(1), key)
		again := send(first)
		equal(w, "while it holds the key", line(again.Outcome, show(again.Job)),
			line(onceq.Inserted, show(inserted.Job)))

		w.complete(w.starts(first.ID))
		second := w.insert(task(1), key)
		w.repeated(second, task(1), key)
		again = send(first)
		equal(w, "when another holds it", line(again.Outcome, again.Job.ID, again.Conflict == nil),
			line(onceq.Inserted, first.ID, true))
	}},
	{"an_id_that_is_there_is_met_before_the_key", func(w *world) {
		j := w.insert(task(1), key)
		other := w.insert(task(2), onceq.UniqueKey("other"), onceq.ID(j.ID+"x"))
		w.repeated(j, task(1), key)
		for range 2 {
			r := w.enqueue(onceq.Skipped, task(1), key, onceq.ID(other.ID))
			equal(w, "conflict", line(r.Conflict.By, r.Conflict.Holder), line("id", other.ID))
		}
	}},
	{"a_batch_of_repeated_and_new_jobs_answers_each", func(w *world) {
		var holders []*onceq.JobRow
		for i := range 30 {
			holders = append(holders, w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i))))
		}
		for range 2 {
			for i, j := range holders {
				w.repeated(j, task(i), onceq.UniqueKey(fmt.Sprint(i)))
			}
		}
		w.complete(w.starts(holders[0].ID))
		var items []onceq.Item
		var want []onceq.Outcome
		for i := range 40 {
			items = append(items, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i))))
			if want = append(want, onceq.Skipped); i == 0 || i >= 30 {
				want[i] = onceq.Inserted
			}
		}
		receipts := w.many(want, items...)
		for i, r := range receipts[1:30] {
			equal(w, "holder", r.Conflict.Holder, holders[i+1].ID)
		}
		equal(w, "jobs", len(w.jobs()), 41)
	}},
	{"an_item_that_writes_is_seen_by_the_repeated_ones_behind_it", func(w *world) {
		j := w.insert(task(1), key)
		w.repeated(j, task(1), key)
		receipts := w.many([]onceq.Outcome{onceq.Skipped, onceq.Replaced, onceq.Skipped},
			onceq.NewItem(task(1), key), onceq.NewItem(task(2), key, replace(onceq.Replace{Args: true})),
			onceq.NewItem(task(1), key))
		equal(w, "args differ", line(receipts[0].Conflict.ArgsDiffer, receipts[2].Conflict.ArgsDiffer), "false true")
	}},
}
