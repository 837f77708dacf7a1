package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// report is args that bring their own options, as an Oban worker does.
type report struct {
	Account int    `json:"account"`
	Format  string `json:"format"`
}

func (report) Kind() string { return "report" }

func (report) EnqueueOptions() []onceq.Option {
	return []onceq.Option{onceq.Unique{Fields: []string{"account"}, TTL: time.Hour}, onceq.Queue("reports")}
}

// parityOban: what Oban does is expressible, and each deliberate difference
// is one. The rows are those of docs/coming-from.md.
var parityOban = []scenario{
	{"unique_true", func(w *world) {
		unique := onceq.Unique{Until: onceq.UntilFailed}
		j := w.insert(mail{To: "a"}, unique)
		w.enqueue(onceq.Skipped, mail{To: "a"}, unique)
		w.insert(mail{To: "b"}, unique)
		w.insert(mail{To: "a"}, unique, onceq.Queue("other"))
		w.complete(w.starts(j.ID))
		w.enqueue(onceq.Skipped, mail{To: "a"}, unique) // while it is kept
		w.remove(j.ID)
		j = w.insert(mail{To: "a"}, unique, onceq.Priority(0))
		w.discard(w.starts(j.ID))
		w.insert(mail{To: "a"}, unique) // it has failed
	}},
	{"period", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilFailed, TTL: minute})
		w.complete(w.start())
		w.after(minute - time.Millisecond)
		w.enqueue(onceq.Skipped, task(1), key)
		w.after(time.Millisecond)
		w.free(j)
	}},
	{"fields_and_keys", func(w *world) {
		w.insert(mail{To: "a", Body: "1"}, onceq.Unique{By: onceq.ByKind | onceq.ByArgs, Fields: []string{"to"}})
		w.enqueue(onceq.Skipped, mail{To: "a", Body: "2"}, onceq.Unique{By: onceq.ByKind | onceq.ByArgs,
			Fields: []string{"to"}}, onceq.Queue("other"))
		w.insert(mail{To: "b", Body: "1"}, onceq.Unique{By: onceq.ByKind | onceq.ByArgs, Fields: []string{"to"}})

		byTenant := onceq.Unique{By: onceq.ByKind | onceq.ByMeta, Fields: []string{"tenant"}}
		w.insert(task(1), byTenant, onceq.Meta(map[string]any{"tenant": 7, "trace": "x"}))
		w.enqueue(onceq.Skipped, task(2), byTenant, onceq.Meta(map[string]any{"tenant": 7, "trace": "y"}))
		w.insert(task(1), byTenant, onceq.Meta(map[string]any{"tenant": 8, "trace": "x"}))

		// keys of args and meta together
		both := onceq.Unique{By: onceq.ByKind | onceq.ByArgs | onceq.ByMeta, Fields: []string{"to"},
			MetaFields: []string{"tenant"}}
		w.insert(mail{To: "c", Body: "1"}, both, onceq.Meta(map[string]any{"tenant": 7, "trace": "x"}))
		w.enqueue(onceq.Skipped, mail{To: "c", Body: "2"}, both, onceq.Meta(map[string]any{"tenant": 7, "trace": "y"}))
		w.insert(mail{To: "c", Body: "1"}, both, onceq.Meta(map[string]any{"tenant": 8}))
		w.insert(mail{To: "d", Body: "1"}, both, onceq.Meta(map[string]any{"tenant": 7}))

		byQueue := onceq.Unique{By: onceq.ByQueue}
		w.insert(task(1), byQueue, onceq.Queue("single"))
		w.enqueue(onceq.Skipped, mail{To: "x"}, byQueue, onceq.Queue("single"))

		nested := onceq.Unique{Fields: []string{"/owner/login"}}
		w.insert(onceq.JSON("push", []byte(`{"owner":{"login":"a","id":1}}`)), nested)
		w.enqueue(onceq.Skipped, onceq.JSON("push", []byte(`{"owner":{"login":"a","id":2}}`)), nested)
		w.insert(onceq.JSON("push", []byte(`{"owner":{"login":"b","id":1}}`)), nested)
	}},
	{"group_all", func(w *world) {
		group(w, onceq.UntilDeleted, "scheduled available running retryable completed discarded cancelled")
	}},
	{"group_incomplete", func(w *world) { group(w, onceq.UntilFinished, "scheduled available running retryable") }},
	{"group_scheduled", func(w *world) { group(w, onceq.UntilDue, "scheduled") }},
	{"group_successful", func(w *world) {
		group(w, onceq.UntilFailed, "scheduled available running retryable completed")
	}},
	{"conflicted_existing_job_returned", func(w *world) {
		j := w.insert(task(1), key)
		r := w.enqueue(onceq.Skipped, task(2), key)
		equal(w, "duplicate", r.Duplicate(), true)
		equal(w, "job", show(r.Job), show(w.job(j.ID)))
	}},
	{"insert_all", func(w *world) {
		unique := onceq.Unique{Until: onceq.UntilFailed}
		w.insert(task(2), unique)
		w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Skipped, onceq.Inserted},
			onceq.NewItem(task(1), unique), onceq.NewItem(task(2), unique),
			onceq.NewItem(task(1), unique), onceq.NewItem(task(3), unique))
	}},
	{"worker_level_and_call_level_options", func(w *world) {
		j := w.insert(report{Account: 1, Format: "pdf"})
		equal(w, "queue", j.Queue, "reports")
		w.enqueue(onceq.Skipped, report{Account: 1, Format: "csv"})
		// The call overrides field by field: the TTL is still an hour, the
		// fields are others.
		other := w.insert(report{Account: 1, Format: "csv"}, onceq.Unique{Fields: []string{"format"}})
		w.sameTime("frees at", w.holds(other).FreesAt, start.Add(time.Hour))
		w.insert(report{Account: 1, Format: "csv"}, onceq.NotUnique)
		w.insert(report{Account: 2, Format: "csv"}, onceq.Unique{TTL: onceq.Forever})
		w.enqueue(onceq.Skipped, report{Account: 2, Format: "pdf"})
		w.after(time.Hour)
		w.free(j)
		w.enqueue(onceq.Skipped, report{Account: 2, Format: "pdf"})
	}},
	{"replace_per_state", func(w *world) {
		scheduled := replace(onceq.Replace{Args: true, RunAt: true, Only: []onceq.State{onceq.Scheduled}})
		j := w.insert(task(1), key, onceq.Delay(time.Hour))
		w.enqueue(onceq.Replaced, task(2), key, scheduled, onceq.Delay(minute))
		w.sameTime("run at", w.has(j.ID, 2).RunAt, start.Add(minute))
		w.after(minute)
		w.enqueue(onceq.Skipped, task(3), key, scheduled)
		w.starts(j.ID)
		w.enqueue(onceq.Skipped, task(4), key, scheduled)
		w.has(j.ID, 2)
	}},
	{"uniqueness_has_no_bearing_on_concurrency", func(w *world) {
		for i := range 10 {
			w.insert(mail{To: fmt.Sprint(i)}, onceq.Unique{Until: onceq.UntilFailed}, onceq.Queue("emails"))
		}
		equal(w, "running at once", len(w.fetch("w", "emails", 10)), 10)
	}},
	{"difference_arrays_are_lists_and_not_sets", func(w *world) {
		for _, list := range []string{`[1,2]`, `[2,1]`, `[1,1,2]`, `[1,2,3]`, `[1]`, `[]`} {
			w.insert(onceq.JSON("sum", []byte(`{"of":`+list+`}`)), onceq.Unique{})
		}
		w.insert(onceq.JSON("sum", []byte(`{"of":{"id":1}}`)), onceq.Unique{})
		w.insert(onceq.JSON("sum", []byte(`{"of":{"id":1,"x":2}}`)), onceq.Unique{})
	}},
	{"difference_an_absent_field_is_not_null_either_way", func(w *world) {
		byA := onceq.Unique{Fields: []string{"a", "b"}}
		w.insert(onceq.JSON("t", []byte(`{"b":1}`)), byA)
		w.insert(onceq.JSON("t", []byte(`{"a":null,"b":1}`)), byA)
		w.enqueue(onceq.Skipped, onceq.JSON("t", []byte(`{"b":1,"c":2}`)), byA)
		_, err := w.client.Enqueue(w.ctx, onceq.JSON("t", []byte(`{"c":1}`)), byA)
		w.refused(err)
	}},
	{"difference_only_jobs_enqueued_as_unique_are_met_on_the_holders_terms", func(w *world) {
		w.insert(task(1))
		j := w.insert(task(1), onceq.Unique{TTL: minute})
		w.after(minute)
		w.insert(task(1), onceq.Unique{TTL: 24 * time.Hour}) // it does not look back over the jobs of a day
		w.is(j.ID, onceq.Available)
	}},
	{"difference_a_retry_takes_the_key_again", func(w *world) {
		j := w.insert(task(1), key, until(onceq.UntilFailed))
		w.discard(w.start())
		w.free(j)
		w.retry(j.ID)
		w.enqueue(onceq.Skipped, task(2), key)
	}},
	{"difference_no_transition_meets_a_conflict", func(w *world) {
		// A job whose key has another holder by now is fetched, fails,
		// waits and ends like any other, and stops nobody.
		j := w.insert(task(1), key, until(onceq.UntilDue), onceq.Delay(minute))
		w.after(minute)
		second := w.insert(task(2), key, until(onceq.UntilDue), onceq.Delay(minute))
		w.fail(w.starts(j.ID), 30*time.Second)
		w.after(30 * time.Second)
		w.snooze(w.starts(j.ID), time.Second)
		w.holds(second)
		w.after(time.Second)
		w.complete(w.starts(j.ID))
		w.holds(second)
	}},
}

// group wants a key to be held in exactly these states of its holder.
func group(w *world, u onceq.Until, states string) {
	w.Helper()
	seen := ""
	look := func(j *onceq.JobRow) {
		if w.holder(*j.Key) != nil {
			if seen != "" {
				seen += " "
			}
			seen += string(w.job(j.ID).State)
		}
	}
	n := 0
	insert := func() *onceq.JobRow {
		n++
		return w.insert(task(n), onceq.UniqueKey(fmt.Sprint(n)), until(u), onceq.Delay(time.Second))
	}
	j := insert()
	look(j)
	w.after(time.Second)
	look(j)
	run := w.starts(j.ID)
	look(j)
	w.fail(run, time.Second)
	look(j)
	w.after(time.Second)
	for i, end := range []func(*onceq.JobRow) onceq.FinishResult{w.complete, w.discard, w.cancelled} {
		if i > 0 {
			j = insert()
			w.after(time.Second)
		}
		end(w.starts(j.ID))
		look(j)
	}
	equal(w, "held in the states", seen, states)
}
