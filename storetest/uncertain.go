package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// shaky makes the world's client one on a connection that fails on purpose.
func shaky(run func(w *world, f *flaky)) func(*world) {
	return func(w *world) {
		f := &flaky{Store: w.Store}
		w.client.Close()
		w.client = w.clientOf(f, nil)
		run(w, f)
	}
}

// lost enqueues and wants the answer to be lost for good.
func (w *world) lost(f *flaky, what fate, args onceq.Args, opts ...onceq.Option) *onceq.UncertainError {
	w.Helper()
	ctx, cancel := context.WithCancel(w.ctx) // ends with the loss, so that the client does not resend
	defer cancel()
	f.set(what)
	f.lost = cancel
	r, err := w.client.Enqueue(ctx, args, opts...)
	f.lost = nil
	f.set(fine)
	var lost *onceq.UncertainError
	if !errors.As(err, &lost) || !errors.Is(err, onceq.ErrUncertain) || lost.ID == "" {
		w.Fatalf("got %s and error %v, want an *UncertainError with an ID", r.Outcome, err)
	}
	return lost
}

// uncertain: answers that are lost on the way.
var uncertain = []scenario{
	{"the_client_resends_by_itself_what_had_arrived", shaky(func(w *world, f *flaky) {
		f.setFor(1, answerLost)
		j := w.insert(task(1), key)
		equal(w, "calls", f.count(), 2)
		w.holds(j)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"the_client_resends_by_itself_what_had_not_arrived", shaky(func(w *world, f *flaky) {
		f.setFor(2, neverSent)
		w.holds(w.insert(task(1), key))
		equal(w, "calls", f.count(), 3)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_resend_finds_the_job_that_had_arrived", shaky(func(w *world, f *flaky) {
		err := w.lost(f, answerLost, task(1), key)
		w.has(err.ID, 1)
		r := w.enqueue(onceq.Inserted, task(1), key, onceq.Resend(err))
		equal(w, "job", r.Job.ID, err.ID)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_resend_makes_the_job_that_had_not_arrived", shaky(func(w *world, f *flaky) {
		err := w.lost(f, neverSent, task(1), key)
		w.gone(err.ID)
		equal(w, "job", w.insert(task(1), key, onceq.Resend(err)).ID, err.ID)
	})},
	{"a_resend_loop_can_begin_without_an_error", shaky(func(w *world, f *flaky) {
		var err error
		for try := range 2 {
			f.set(fine)
			if try == 0 {
				f.set(answerLost)
			}
			var r onceq.Receipt
			if r, err = w.client.Enqueue(w.ctx, task(1), onceq.Resend(err)); err == nil {
				equal(w, "outcome", r.Outcome, onceq.Inserted)
			}
		}
		w.must(err)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_resend_of_a_job_that_has_ended_since_gets_its_first_answer", shaky(func(w *world, f *flaky) {
		err := w.lost(f, answerLost, task(1), key)
		w.complete(w.starts(err.ID))
		second := w.insert(task(2), key)
		r := w.enqueue(onceq.Inserted, task(1), key, onceq.Resend(err))
		equal(w, "job", line(r.Job.ID == err.ID, r.Job.State), "true completed")
		w.holds(second)
	})},
	{"a_resend_tells_no_end_of_a_key_that_the_job_holds_no_longer", func(w *world) {
		row := []onceq.NewRow{onceq.NewRow(w.row(task(1), key, onceq.Unique{TTL: time.Hour}))}
		for range 2 {
			results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: row})
			w.must(err)
			equal(w, "frees at", results[0].FreesAt, start.Add(time.Hour).UnixMilli())
		}
		w.after(time.Hour)
		results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: row})
		w.must(err)
		equal(w, "frees at", results[0].FreesAt, 0)
	}},
	{"a_resend_under_reject_is_not_refused_by_its_own_job", shaky(func(w *world, f *flaky) {
		err := w.lost(f, answerLost, task(1), key, reject)
		w.enqueue(onceq.Inserted, task(1), key, reject, onceq.Resend(err))
	})},
	{"another_call_with_the_id_is_no_echo", shaky(func(w *world, f *flaky) {
		w.lost(f, answerLost, task(1), onceq.ID("a"))
		w.enqueue(onceq.Skipped, task(1), onceq.ID("a"))
	})},
	{"a_resend_under_coalesce_is_not_merged_into_its_own_job", shaky(func(w *world, f *flaky) {
		merge := onceq.OnConflict(onceq.Coalesce)
		err := w.lost(f, answerLost, task(1), key, merge)
		r := w.enqueue(onceq.Inserted, task(1), key, merge, onceq.Resend(err))
		equal(w, "job", r.Job.ID, err.ID)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_resend_meets_the_id_of_another_call", shaky(func(w *world, f *flaky) {
		err := w.lost(f, neverSent, task(1), onceq.ID("a"))
		w.insert(task(2), onceq.ID("a"))
		w.enqueue(onceq.Skipped, task(1), onceq.ID("a"), onceq.Resend(err))
		w.has("a", 2)
	})},
	{"a_job_that_is_not_kept_is_not_resent_by_the_client", shaky(func(w *world, f *flaky) {
		f.setFor(1, answerLost)
		_, err := w.client.Enqueue(w.ctx, task(1), onceq.Retention(0))
		w.wantErr(err, onceq.ErrUncertain)
		_, err = w.client.EnqueueMany(w.ctx, nil)
		w.must(err)
		f.setFor(1, answerLost)
		_, err = w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(2), onceq.Retention(0)),
			onceq.NewItem(task(3))})
		w.wantErr(err, onceq.ErrUncertain)
		equal(w, "calls", f.count(), 2)
		equal(w, "jobs", len(w.jobs()), 3)
	})},
	{"a_duplicate_whose_answer_was_lost_is_a_duplicate_again", shaky(func(w *world, f *flaky) {
		holder := w.insert(task(1), key)
		f.setFor(2, answerLost)
		equal(w, "holder", w.enqueue(onceq.Skipped, task(2), key).Job.ID, holder.ID)
		f.setFor(2, answerLost)
		equal(w, "holder", w.enqueue(onceq.Rejected, task(2), key, reject).Job.ID, holder.ID)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_coalesced_job_gets_its_first_answer", shaky(func(w *world, f *flaky) {
		w.insert(task(1), key, coalesce)
		holder := w.start()
		err := w.lost(f, answerLost, task(2), key, coalesce)
		r := w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Resend(err))
		equal(w, "jobs", line(r.Job.ID == err.ID, r.Conflict.Holder == holder.ID), "true true")
		w.waits(r.Job, holder)
		w.complete(holder)
		equal(w, "job", w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Resend(err)).Job.ID, err.ID)
		w.starts(err.ID)
	})},
	{"a_superseding_job_gets_its_first_answer_and_supersedes_once", shaky(func(w *world, f *flaky) {
		old := w.insert(task(1), key)
		err := w.lost(f, answerLost, task(2), key, supersede)
		third := w.enqueue(onceq.Superseded, task(3), key, supersede).Job
		r := w.enqueue(onceq.Superseded, task(2), key, supersede, onceq.Resend(err))
		equal(w, "job", line(r.Job.ID == err.ID, r.Job.State, r.Conflict.Holder == old.ID), "true cancelled true")
		w.holds(third)
	})},
	{"an_enqueue_that_was_absorbed_is_judged_anew_and_no_args_are_lost", shaky(func(w *world, f *flaky) {
		holder := w.insert(task(1), key, coalesce)
		err := w.lost(f, answerLost, task(2), key, coalesce)
		w.has(holder.ID, 2)
		w.enqueue(onceq.Replaced, task(2), key, coalesce, onceq.Resend(err))
		run := w.starts(holder.ID)
		w.enqueue(onceq.Coalesced, task(2), key, coalesce, onceq.Resend(err))
		w.complete(run)
		equal(w, "args", string(w.start().Args), "2")
	})},
	{"a_batch_is_resent_as_a_whole", shaky(func(w *world, f *flaky) {
		w.insert(task(0), onceq.UniqueKey("held"))
		f.setFor(2, answerLost)
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Inserted, onceq.Skipped},
			onceq.NewItem(task(1), key), onceq.NewItem(task(2), key),
			onceq.NewItem(task(3), onceq.UniqueKey("other")), onceq.NewItem(task(4), onceq.UniqueKey("held")))
		equal(w, "holder", r[1].Job.ID, r[0].Job.ID)
		equal(w, "jobs", len(w.jobs()), 3)
	})},
	{"an_id_twice_in_a_batch_that_is_resent_is_one_job_and_one_duplicate", shaky(func(w *world, f *flaky) {
		f.setFor(1, answerLost)
		w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped}, onceq.NewItem(task(1), onceq.ID("a")),
			onceq.NewItem(task(2), onceq.ID("a")))
		w.has("a", 1)
	})},
	{"a_batch_that_stays_uncertain_names_its_jobs_and_can_be_resent", shaky(func(w *world, f *flaky) {
		items := func(opts ...onceq.Option) (all []onceq.Item) {
			for i := range 3 {
				all = append(all, onceq.NewItem(task(i), append(opts, onceq.UniqueKey(fmt.Sprint(i)))...))
			}
			return all
		}
		f.set(answerLost)
		_, err := w.client.EnqueueMany(w.ctx, items())
		f.set(fine)
		var lost *onceq.UncertainError
		if !errors.As(err, &lost) || len(lost.IDs) != 3 || lost.IDs[0] != lost.ID {
			w.Fatalf("error %v, want an *UncertainError with 3 IDs", err)
		}
		for i, r := range w.many(each(onceq.Inserted, 3), items(onceq.Resend(err))...) {
			equal(w, "job", r.Job.ID, lost.IDs[i])
		}
		equal(w, "jobs", len(w.jobs()), 3)
	})},
	{"a_context_that_ends_after_sending_is_uncertain", shaky(func(w *world, f *flaky) {
		f.set(hangs)
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		defer cancel()
		_, err := w.client.Enqueue(ctx, task(1), key)
		w.wantErr(err, onceq.ErrUncertain)
		w.wantErr(err, context.DeadlineExceeded)
		f.set(fine)
		j := w.insert(task(1), key, onceq.Resend(err))
		w.holds(j)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_definite_error_is_not_uncertain_and_leaves_nothing_behind", shaky(func(w *world, f *flaky) {
		f.set(refused)
		_, err := w.client.Enqueue(w.ctx, task(1), key)
		w.wantErr(err, errRefused)
		if errors.Is(err, onceq.ErrUncertain) {
			w.Fatalf("a definite error is called uncertain: %v", err)
		}
		_, err = w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1), key)})
		w.wantErr(err, errRefused)
		if errors.Is(err, onceq.ErrUncertain) {
			w.Fatalf("a definite error is called uncertain: %v", err)
		}
		f.set(fine)
		equal(w, "jobs", len(w.jobs()), 0)
		w.insert(task(1), key)
	})},
	{"a_row_sent_again_to_the_store_is_answered_as_the_first_time", func(w *world) {
		row := []onceq.NewRow{onceq.NewRow(w.row(task(1), key, onceq.ID("a"), onceq.Unique{TTL: time.Hour}))}
		first, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: row})
		w.must(err)
		for range 2 {
			again, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: row})
			w.must(err)
			equal(w, "answer", line(again[0].Outcome, show(again[0].Job), again[0].Conflict, again[0].FreesAt),
				line(first[0].Outcome, show(first[0].Job), first[0].Conflict, first[0].FreesAt))
		}
		row[0].Nonce[3]++
		other, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: row})
		w.must(err)
		equal(w, "another nonce", line(other[0].Outcome, other[0].Conflict.By), "skipped id")
	}},
	{"an_inserted_job_says_when_a_clock_frees_its_key", func(w *world) {
		for i, c := range []struct {
			u    onceq.Unique
			want int64
		}{
			{onceq.Unique{}, onceq.Never},
			{onceq.Unique{TTL: time.Hour}, start.Add(time.Hour + minute).UnixMilli()},
			{onceq.Unique{Until: onceq.UntilDue}, start.Add(minute).UnixMilli()},
			{onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour, FromEnqueue: true},
				start.Add(time.Hour).UnixMilli()},
		} {
			row := onceq.NewRow(w.row(task(i), onceq.UniqueKey(fmt.Sprint(i)), c.u, onceq.Delay(minute)))
			results, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
			w.must(err)
			equal(w, "frees at", results[0].FreesAt, c.want)
		}
	}},
}
