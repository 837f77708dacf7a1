package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

var replaceAll = onceq.Replace{Args: true, Meta: true, Priority: true, RunAt: true, MaxAttempts: true, Tags: true}

// fresh is an enqueue that differs from the holder in every field that can
// be replaced.
var fresh = []onceq.Option{key, onceq.Meta(map[string]any{"m": "new"}), onceq.Priority(1), onceq.Delay(2 * time.Hour),
	onceq.MaxAttempts(3),
	onceq.Tags("new"), onceq.Timeout(time.Second), onceq.Retention(time.Minute), onceq.Queue("elsewhere")}

// summary is what a Replace can change, in short.
func summary(j *onceq.JobRow) string {
	return fmt.Sprint("args ", string(j.Args), ", meta ", j.Meta["m"], ", priority ", j.Priority, ", run at +",
		j.RunAt.Sub(start),
		", max attempts ", j.MaxAttempts, ", tags ", j.Tags)
}

// replaces is a case in which a policy writes these fields to a holder in a
// waiting phase.
func replaces(name string, r onceq.Replace, want string) func(*world) {
	return func(w *world) {
		j := inPhase(w, name, onceq.Meta(map[string]any{"m": "old"}), onceq.Tags("old"))
		before := w.job(j.ID)
		receipt := w.enqueue(onceq.Replaced, task(2), append(fresh, replace(r))...)
		after := w.job(j.ID)
		equal(w, "the job", summary(after), want)
		equal(w, "the receipt's job", show(receipt.Job), show(after))
		equal(w, "by", receipt.Conflict.By, "key")
		equal(w, "holder", receipt.Conflict.Holder, j.ID)
		equal(w, "args differ", receipt.Conflict.ArgsDiffer, true)
		// Nothing else is changed.
		after.Args, after.Meta, after.Priority, after.MaxAttempts, after.Tags = before.Args, before.Meta,
			before.Priority, before.MaxAttempts, before.Tags
		after.RunAt, after.Digest, after.State = before.RunAt, before.Digest, before.State
		if r.RunAt && before.Run == 0 {
			after.Anchor = before.Anchor
		}
		equal(w, "the rest of the job", show(after), show(before))
		w.holds(j)
		equal(w, "jobs", len(w.jobs()), 1)
	}
}

// replacing: the policy Replace.
var replacing = []scenario{
	{"all_fields_of_a_scheduled_holder", replaces("scheduled", replaceAll,
		"args 2, meta new, priority 1, run at +2h0m0s, max attempts 3, tags [new]")},
	{"all_fields_of_an_available_holder", replaces("available", replaceAll,
		"args 2, meta new, priority 1, run at +2h0m0s, max attempts 3, tags [new]")},
	{"all_fields_of_a_retryable_holder", replaces("retryable", replaceAll,
		"args 2, meta new, priority 1, run at +2h0m0s, max attempts 3, tags [new]")},
	{"args_alone", replaces("scheduled", onceq.Replace{Args: true},
		"args 2, meta old, priority 5, run at +1h0m0s, max attempts 25, tags [old]")},
	{"meta_alone", replaces("scheduled", onceq.Replace{Meta: true},
		"args 1, meta new, priority 5, run at +1h0m0s, max attempts 25, tags [old]")},
	{"priority_alone", replaces("scheduled", onceq.Replace{Priority: true},
		"args 1, meta old, priority 1, run at +1h0m0s, max attempts 25, tags [old]")},
	{"run_at_alone", replaces("scheduled", onceq.Replace{RunAt: true},
		"args 1, meta old, priority 5, run at +2h0m0s, max attempts 25, tags [old]")},
	{"max_attempts_alone", replaces("scheduled", onceq.Replace{MaxAttempts: true},
		"args 1, meta old, priority 5, run at +1h0m0s, max attempts 3, tags [old]")},
	{"tags_alone", replaces("scheduled", onceq.Replace{Tags: true},
		"args 1, meta old, priority 5, run at +1h0m0s, max attempts 25, tags [new]")},
	{"never_touches_a_running_holder", answersIn("running", onceq.Skipped, replace(replaceAll), onceq.Priority(1),
		onceq.Delay(minute))},

	{"values_that_are_not_said_replace_too", func(w *world) {
		j := w.insert(task(1), key, onceq.Meta(map[string]any{"m": 1}), onceq.Tags("t"), onceq.Delay(time.Hour))
		w.enqueue(onceq.Replaced, task(2), key, replace(replaceAll))
		got := w.job(j.ID)
		if len(got.Meta)+len(got.Tags) > 0 {
			w.Fatalf("meta %v, tags %v are left of the old enqueue", got.Meta, got.Tags)
		}
	}},
	{"run_at_without_a_delay_means_now", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(time.Hour))
		w.after(minute)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}))
		w.sameTime("run at", w.is(j.ID, onceq.Available).RunAt, start.Add(minute))
		w.has(j.ID, 1)
		w.starts(j.ID)
	}},
	{"run_at_that_has_passed_means_now", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(time.Hour))
		w.after(minute)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.RunAt(start.Add(-time.Hour)))
		w.sameTime("run at", w.job(j.ID).RunAt, start.Add(minute))
	}},
	{"run_at_moves_the_anchor_of_a_holder_never_fetched", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: 10 * minute, TTL: time.Hour}, onceq.Delay(minute))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(61*minute))
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.Delay(5*minute))
		w.sameTime("anchor", w.job(j.ID).Anchor, start.Add(5*minute))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(65*minute))
		w.after(5 * minute)
		w.complete(w.start())
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(15*minute))
	}},
	{"run_at_moves_no_anchor_that_is_the_enqueue", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: time.Hour, FromEnqueue: true}, onceq.Delay(minute))
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.Delay(5*minute))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
	}},
	{"run_at_moves_no_anchor_after_the_first_fetch", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: time.Hour})
		w.fail(w.start(), minute)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.Delay(5*minute))
		w.sameTime("run at", w.job(j.ID).RunAt, start.Add(5*minute))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
	}},
	{"until_due_follows_run_at", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilDue), onceq.Delay(minute))
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.Delay(time.Hour))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
		w.after(time.Hour - time.Millisecond)
		w.holds(j)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}))
		w.free(j)
	}},
	{"until_due_that_has_come_stays_so", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDue, Window: 10 * minute, FromEnqueue: true},
			onceq.Delay(minute))
		w.after(2 * minute)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{RunAt: true}), onceq.Delay(time.Hour))
		held := w.holds(j)
		w.sameTime("frees at", held.FreesAt, start.Add(10*minute))
		equal(w, "frees when", held.FreesWhen, "")
		w.at(start.Add(10 * minute))
		w.free(j)
	}},
	{"only_limits_it_to_some_waiting_states", func(w *world) {
		only := func(s ...onceq.State) onceq.Option { return replace(onceq.Replace{Args: true, Only: s}) }
		j := w.insert(task(1), key, onceq.Delay(minute))
		w.enqueue(onceq.Skipped, task(2), key, only(onceq.Available, onceq.Retryable))
		w.enqueue(onceq.Replaced, task(3), key, only(onceq.Scheduled))
		w.after(minute)
		w.enqueue(onceq.Skipped, task(4), key, only(onceq.Scheduled))
		w.has(j.ID, 3)
		w.enqueue(onceq.Replaced, task(5), key, only(onceq.Available))
		w.fail(w.start(), minute)
		w.enqueue(onceq.Skipped, task(6), key, only(onceq.Scheduled, onceq.Available))
		w.has(j.ID, 5)
		w.enqueue(onceq.Replaced, task(7), key, only(onceq.Retryable))
		w.has(j.ID, 7)
	}},
	{"the_key_stays_the_one_taken_at_enqueue", func(w *world) {
		byTo := onceq.Unique{Fields: []string{"to"}}
		j := w.insert(mail{To: "a", Body: "one"}, byTo)
		w.enqueue(onceq.Replaced, mail{To: "a", Body: "two"}, byTo, replace(onceq.Replace{Args: true}),
			onceq.Queue("default"))
		got := w.job(j.ID)
		equal(w, "args", string(got.Args), `{"to":"a","body":"two"}`)
		equal(w, "key", *got.Key, *j.Key)
		equal(w, "readable key", got.KeyText, j.KeyText)
		w.holds(j)
	}},
	{"later_conflicts_compare_with_the_replaced_args", func(w *world) {
		j := w.insert(task(1), key)
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{Args: true}))
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(2), key).Conflict.ArgsDiffer, false)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(1), key).Conflict.ArgsDiffer, true)
		w.complete(w.starts(j.ID))
	}},
	{"encodings_travel_with_their_args", func(w *world) {
		j := w.insert(onceq.JSON("blob", []byte(`{"a":1}`)), key)
		w.enqueue(onceq.Replaced, onceq.Bytes("blob", []byte{0xff}), key, replace(onceq.Replace{Args: true}))
		got := w.job(j.ID)
		equal(w, "args", fmt.Sprintf("%x %s", got.Args, got.Encoding), "ff bytes")
	}},
	{"priority_decides_over_the_next_fetch", func(w *world) {
		w.insert(task(1), onceq.Priority(3))
		second := w.insert(task(2), key, onceq.Priority(4))
		w.enqueue(onceq.Replaced, task(2), key, replace(onceq.Replace{Priority: true}), onceq.Priority(0))
		w.starts(second.ID)
	}},
	{"a_waiter_is_not_met", func(w *world) {
		holder, waiter := standing(w)
		w.fail(w.job(holder.ID), time.Hour)
		w.enqueue(onceq.Replaced, task(9), key, replace(onceq.Replace{Args: true}))
		w.has(holder.ID, 9)
		w.has(waiter.ID, 2)
		w.waits(waiter, holder)
	}},
	{"a_job_never_conflicts_with_itself", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(minute))
		w.after(minute)
		for range 4 {
			w.fail(w.starts(j.ID), minute)
			w.after(minute)
		}
		w.complete(w.starts(j.ID))
	}},
}
