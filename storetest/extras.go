package storetest

import (
	"strings"
	"time"

	"github.com/onceq/onceq"
)

var (
	slow  = onceq.Backoff{Initial: time.Minute, Max: time.Hour, Factor: 3}
	quick = onceq.Backoff{Initial: time.Second, Max: time.Minute, Factor: 1}
)

// keeps wants that a job has a backoff of its own, wherever it is read.
func (w *world) keeps(id string, want onceq.Backoff) {
	w.Helper()
	equal(w, "the backoff", w.look(id).Backoff(), want)
	for _, j := range w.jobs() {
		if j.ID == id {
			equal(w, "the backoff in a list", j.Backoff(), want)
			return
		}
	}
	w.Fatalf("job %s is not listed", id)
}

// extras: what an enqueue said that no rule reads (NewRow.Extra) stays with the
// job. Backoff stands for all of it.
var extras = []scenario{
	{"it_stays_with_the_job_through_its_life", func(w *world) {
		for _, opts := range [][]onceq.Option{
			{slow}, {slow, key}, {slow, key, onceq.Meta(map[string]any{"m": 1}), onceq.Tags("a", "b")},
			{slow, onceq.Meta(map[string]any{"m": 1})}, {slow, onceq.Tags("a", "b")},
		} {
			want := func(j *onceq.JobRow) {
				w.Helper()
				equal(w, "the backoff", j.Backoff(), slow)
				w.keeps(j.ID, slow)
			}
			j := w.insert(task(7), append(opts, onceq.Delay(time.Hour))...)
			want(j)
			meta, tags := j.Meta, j.Tags
			want(w.move(j.ID, onceq.Delay(2*time.Hour)))
			want(w.runNow(j.ID))
			run := w.starts(j.ID)
			want(run)
			w.fail(run, minute)
			want(w.is(j.ID, onceq.Retryable))
			w.after(minute)
			run = w.starts(j.ID)
			want(run)
			w.complete(run)
			want(w.is(j.ID, onceq.Completed))
			want(w.retry(j.ID))
			want(w.cancel(j.ID))
			got := w.has(j.ID, 7)
			equal(w, "the meta", len(got.Meta), len(meta))
			equal(w, "the tags", len(got.Tags), len(tags))
			w.remove(j.ID)
		}
	}},
	{"a_job_without_it_has_none", func(w *world) {
		j := w.insert(task(7), key, onceq.Tags("t"), onceq.Meta(map[string]any{"m": 1}))
		w.keeps(j.ID, onceq.Backoff{})
		equal(w, "extra", len(w.look(j.ID).Extra), 0)
	}},
	{"it_is_replaced_with_the_args_alone", func(w *world) {
		j := w.insert(task(1), key, slow, onceq.Tags("t"), onceq.Meta(map[string]any{"m": 1}), onceq.Delay(time.Hour))
		w.enqueue(onceq.Replaced, task(2), key, quick, replace(onceq.Replace{Meta: true, Tags: true, Priority: true}))
		w.keeps(j.ID, slow)
		w.has(j.ID, 1)
		w.enqueue(onceq.Replaced, task(3), key, quick, replace(onceq.Replace{Args: true}))
		w.keeps(j.ID, quick)
		w.has(j.ID, 3)
		w.enqueue(onceq.Replaced, task(4), key, onceq.Meta(map[string]any{"m": 2}), replace(replaceAll))
		w.keeps(j.ID, onceq.Backoff{})
		w.has(j.ID, 4)
		equal(w, "the meta", len(w.look(j.ID).Meta), 1)
	}},
	{"it_goes_to_the_job_that_takes_the_args", func(w *world) {
		j := w.insert(task(1), key, slow, onceq.Delay(time.Hour))
		w.enqueue(onceq.Replaced, task(2), key, quick, coalesce)
		w.keeps(j.ID, quick)
		w.runNow(j.ID)
		w.starts(j.ID)
		waiter := w.enqueue(onceq.Coalesced, task(3), key, slow, coalesce).Job
		w.keeps(j.ID, quick)
		w.keeps(waiter.ID, slow)
		w.enqueue(onceq.Replaced, task(4), key, quick, coalesce)
		w.keeps(waiter.ID, quick)
	}},
	{"a_duplicate_that_writes_nothing_leaves_it", func(w *world) {
		j := w.insert(task(1), key, slow)
		r := w.enqueue(onceq.Skipped, task(1), key, quick)
		equal(w, "the receipt's", r.Job.Backoff(), slow)
		w.keeps(j.ID, slow)
	}},
	{"it_stays_beside_large_args", func(w *world) {
		args := make([]byte, 50_000)
		j := w.insert(onceq.Bytes("task", args), key, slow, onceq.Delay(time.Hour))
		w.keeps(j.ID, slow)
		w.enqueue(onceq.Replaced, onceq.Bytes("task", args[1:]), key, quick, replace(onceq.Replace{Args: true}))
		w.keeps(j.ID, quick)
		equal(w, "args", len(w.look(j.ID).Args), len(args)-1)
	}},
	{"a_trace_stays_with_the_job_through_its_life_and_goes_with_the_args", func(w *world) {
		first, second, plain := traceOf("1"), traceOf("2"), w.ctx
		w.in(first)
		j := w.insert(task(7), key, onceq.Delay(time.Hour))
		traced := func(id string, want onceq.TraceContext) {
			w.Helper()
			equal(w, "the trace", w.look(id).Trace(), want)
			for _, listed := range w.jobs() {
				if listed.ID == id {
					equal(w, "the trace in a list", listed.Trace(), want)
				}
			}
		}
		traced(j.ID, first)
		w.in(second)
		r := w.enqueue(onceq.Skipped, task(7), key)
		equal(w, "the trace of the holder", r.Job.Trace(), first)
		w.enqueue(onceq.Replaced, task(7), key, replace(onceq.Replace{Priority: true}))
		traced(w.move(j.ID, onceq.Delay(2*time.Hour)).ID, first)
		w.runNow(j.ID)
		run := w.starts(j.ID)
		equal(w, "the trace of a run", run.Trace(), first)
		w.fail(run, minute)
		traced(j.ID, first)
		w.after(minute)
		run = w.starts(j.ID)
		equal(w, "the trace of a retry", run.Trace(), first)
		waiter := w.enqueue(onceq.Coalesced, task(8), key, coalesce, slow).Job
		traced(waiter.ID, second)
		w.keeps(waiter.ID, slow)
		w.complete(run)
		traced(j.ID, first)
		traced(w.retry(j.ID, onceq.WithoutKey).ID, first)
		traced(w.cancel(j.ID).ID, first)
		w.in(first)
		w.enqueue(onceq.Replaced, task(9), key, coalesce)
		traced(waiter.ID, first)
		for _, r := range w.many([]onceq.Outcome{onceq.Inserted, onceq.Inserted}, onceq.NewItem(task(1), slow),
			onceq.NewItem(task(2))) {
			traced(r.Job.ID, first)
		}
		w.ctx = plain
		w.enqueue(onceq.Replaced, task(9), key, replace(onceq.Replace{Args: true}))
		traced(waiter.ID, onceq.TraceContext{})
	}},
}

// traceOf is a place in a trace, with vendors of its own.
func traceOf(digit string) onceq.TraceContext {
	return onceq.TraceContext{Traceparent: "00-" + strings.Repeat(digit, 32) + "-" + strings.Repeat(digit, 16) + "-01",
		Tracestate: "one=" + digit + ",two=<&\"\\>"}
}

// in makes what follows part of a trace.
func (w *world) in(t onceq.TraceContext) { w.ctx = t.Into(w.ctx) }
