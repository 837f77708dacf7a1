package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// identity: every job has an ID, once per store for as long as the job is kept.
var identity = []scenario{
	{"an_id_that_is_a_folder_is_refused", func(w *world) {
		for _, id := range []string{".", ".."} {
			_, err := w.client.Enqueue(w.ctx, task(1), onceq.ID(id))
			equal(w, "field", w.refused(err).Field, "ID")
		}
		for _, id := range []string{"...", ".a", "a/..", "./"} {
			equal(w, "id", w.insert(task(1), onceq.ID(id)).ID, id)
		}
	}},
	{"an_inserted_job_is_what_was_asked_for", func(w *world) {
		r := w.enqueue(onceq.Inserted, mail{To: "a", Body: "é\u2028<&>"}, onceq.Queue("out"), onceq.Priority(2),
			onceq.MaxAttempts(7),
			onceq.Timeout(1500*time.Millisecond), onceq.Retention(90*time.Minute), onceq.Tags("x", "y z"),
			onceq.Delay(1999*time.Millisecond),
			onceq.Meta(map[string]any{"n": int64(12345678901234567),
				"deep": map[string]any{"list": []any{"1", true, nil}}}))
		j := w.job(r.Job.ID)
		equal(w, "the receipt's job", show(r.Job), show(j))
		equal(w, "kind", j.Kind, "mail")
		equal(w, "queue", j.Queue, "out")
		equal(w, "args", string(j.Args), `{"to":"a","body":"é\u2028\u003c\u0026\u003e"}`)
		equal(w, "encoding", j.Encoding, onceq.EncodingJSON)
		equal(w, "meta", fmt.Sprint(j.Meta), "map[deep:map[list:[1 true <nil>]] n:12345678901234567]")
		equal(w, "tags", strings.Join(j.Tags, "|"), "x|y z")
		equal(w, "priority", j.Priority, 2)
		equal(w, "attempts", line(j.Attempt, j.MaxAttempts, j.Run), "0 7 0")
		equal(w, "timeout", j.Timeout, 1500*time.Millisecond)
		equal(w, "retention", j.Retention, 90*time.Minute)
		equal(w, "state", j.State, onceq.Scheduled)
		equal(w, "origin", j.Origin, onceq.Inserted)
		w.sameTime("enqueued at", j.EnqueuedAt, start)
		w.sameTime("run at", j.RunAt, start.Add(1999*time.Millisecond))
		if j.Key != nil || j.Keyless || j.Behind != "" || j.Worker != "" || !j.StartedAt.IsZero() ||
			!j.FinishedAt.IsZero() {
			w.Fatalf("a new job without a key is %s", show(j))
		}
	}},
	{"a_job_without_options_has_the_documented_defaults", func(w *world) {
		j := w.job(w.insert(task(1)).ID)
		equal(w, "defaults", line(j.Queue, j.Priority, j.MaxAttempts, j.Retention, j.Timeout, j.State),
			"default 5 25 24h0m0s 0s available")
		w.sameTime("run at", j.RunAt, start)
	}},
	{"args_come_back_byte_for_byte", func(w *world) {
		for i, raw := range [][]byte{nil, {}, {0}, {0xff, 0xfe, 0}, []byte(`{"a": 1}`),
			bytes.Repeat([]byte{0, 1, 2, 0xff}, 20_000)} {
			j := w.insert(onceq.Bytes("blob", raw))
			if got := w.job(j.ID); !bytes.Equal(got.Args, raw) || got.Encoding != onceq.EncodingBytes {
				w.Fatalf("args %d came back as %d bytes %s", i, len(got.Args), got.Encoding)
			}
		}
		for _, raw := range []string{`1`, "{ \"b\" : 1.0,\n\"a\":\"\\u0041\" }", `null`, `9007199254740993`} {
			j := w.insert(onceq.JSON("blob", []byte(raw)))
			equal(w, "args", string(w.job(j.ID).Args), raw)
		}
	}},
	{"generated_ids_are_26_characters_and_ascend", func(w *world) {
		last := ""
		for i := range 50 {
			id := w.insert(task(i)).ID
			if len(id) != 26 || id <= last {
				w.Fatalf("ID %q after %q", id, last)
			}
			last = id
		}
	}},
	{"an_id_that_exists_answers_with_that_job", func(w *world) {
		first := w.insert(task(1), onceq.ID("welcome:42"))
		equal(w, "ID", first.ID, "welcome:42")
		w.after(time.Second)
		r := w.enqueue(onceq.Skipped, task(1), onceq.ID("welcome:42"))
		equal(w, "the job", show(r.Job), show(w.job(first.ID)))
		c := r.Conflict
		equal(w, "conflict", line(c.By, c.Text, c.Holder, c.State, c.ArgsDiffer),
			"id  welcome:42 available false")
		w.sameTime("since", c.Since, start)
		equal(w, "args differ", w.enqueue(onceq.Skipped, task(2), onceq.ID("welcome:42")).Conflict.ArgsDiffer, true)
		w.unchanged(first)
		equal(w, "jobs", len(w.jobs()), 1)
	}},
	{"an_id_is_taken_in_every_state_of_its_job", func(w *world) {
		again := func(s onceq.State) {
			w.Helper()
			equal(w, "state in the conflict", w.enqueue(onceq.Skipped, task(1), onceq.ID("a")).Conflict.State, s)
		}
		w.insert(task(1), onceq.ID("a"), onceq.Delay(time.Second))
		again(onceq.Scheduled)
		w.after(time.Second)
		again(onceq.Available)
		j := w.start()
		again(onceq.Running)
		w.fail(j, time.Second)
		again(onceq.Retryable)
		w.after(time.Second)
		w.discard(w.start())
		again(onceq.Discarded)
		w.retry("a")
		w.cancelled(w.start())
		again(onceq.Cancelled)
		w.retry("a")
		w.complete(w.start())
		again(onceq.Completed)
	}},
	{"an_id_is_free_again_when_its_job_is_kept_no_longer", func(w *world) {
		w.insert(task(1), onceq.ID("deleted"))
		w.remove("deleted")
		w.insert(task(2), onceq.ID("deleted"))
		w.complete(w.start())

		w.insert(task(1), onceq.ID("pruned"), onceq.Retention(time.Minute))
		w.complete(w.start())
		w.after(time.Minute)
		equal(w, "pruned jobs", w.sweep().Jobs, 1)
		w.insert(task(2), onceq.ID("pruned"))
		w.complete(w.start())

		w.insert(task(1), onceq.ID("unkept"), onceq.Retention(0))
		w.complete(w.start())
		w.insert(task(2), onceq.ID("unkept"), onceq.Retention(0))
		w.has("unkept", 2)
	}},
	{"an_id_under_reject_is_a_duplicate_error", func(w *world) {
		w.insert(task(1), onceq.ID("a"))
		r := w.enqueue(onceq.Rejected, task(1), onceq.ID("a"), reject)
		equal(w, "by", r.Conflict.By, "id")
		equal(w, "job", r.Job.ID, "a")
	}},
	{"an_id_under_another_kind_is_always_a_duplicate_error", func(w *world) {
		first := w.insert(task(1), onceq.ID("a"), key)
		for _, o := range []onceq.Option{onceq.OnConflict(onceq.Skip), coalesce, supersede,
			replace(onceq.Replace{Args: true})} {
			r := w.enqueue(onceq.Rejected, mail{To: "x"}, onceq.ID("a"), key, o)
			equal(w, "by", r.Conflict.By, "id")
		}
		w.unchanged(first)
	}},
	{"every_policy_but_reject_acts_as_skip_on_an_id", func(w *world) {
		first := w.insert(task(1), onceq.ID("a"), key)
		for i, opts := range [][]onceq.Option{{}, {replace(onceq.Replace{Args: true, Priority: true})},
			{coalesce}, {supersede},
			{onceq.OnConflict(onceq.Debounce{MaxWait: time.Hour}), onceq.Delay(time.Minute)}} {
			r := w.enqueue(onceq.Skipped, task(10+i), append(opts, onceq.ID("a"), key, onceq.Priority(1))...)
			equal(w, "by", r.Conflict.By, "id")
			w.unchanged(first)
		}
	}},
	{"an_id_is_answered_before_a_key", func(w *world) {
		a := w.insert(task(1), onceq.ID("a"))
		b := w.insert(task(2), onceq.ID("b"), key)
		for _, o := range []onceq.Option{onceq.OnConflict(onceq.Skip), coalesce, supersede,
			replace(onceq.Replace{Args: true})} {
			r := w.enqueue(onceq.Skipped, task(3), onceq.ID("a"), key, o)
			equal(w, "met", r.Conflict.By+" "+r.Conflict.Holder, "id a")
		}
		r := w.enqueue(onceq.Rejected, task(3), onceq.ID("a"), key, reject)
		equal(w, "met", r.Conflict.By+" "+r.Conflict.Holder, "id a")
		w.unchanged(a)
		w.unchanged(b)
		w.holds(b)
	}},
	{"an_id_met_leaves_no_key_taken", func(w *world) {
		w.insert(task(1), onceq.ID("a"))
		w.enqueue(onceq.Skipped, task(2), onceq.ID("a"), key)
		w.enqueue(onceq.Rejected, task(2), onceq.ID("a"), key, reject)
		if held := w.holder(w.keyOf(task(2), key)); held != nil {
			w.Fatalf("the key is held by %s", held.Holder)
		}
		w.insert(task(2), key)
	}},
	{"an_id_is_the_same_in_every_queue", func(w *world) {
		w.insert(task(1), onceq.ID("a"), onceq.Queue("one"))
		w.enqueue(onceq.Skipped, task(1), onceq.ID("a"), onceq.Queue("two"))
	}},
	{"ids_are_compared_byte_for_byte", func(w *world) {
		ids := []string{"a", "A", "a ", " a", "a\n", "é", "e\u0301", "a%", "a_", "a'b", `a"b`, "a:b", "{a}", "0", "00",
			strings.Repeat("x", 255), strings.Repeat("x", 254)}
		for i, id := range ids {
			w.insert(task(i), onceq.ID(id))
		}
		for i, id := range ids {
			equal(w, "ID", w.has(id, task(i)).ID, id)
			w.enqueue(onceq.Skipped, task(i), onceq.ID(id))
		}
	}},
	{"an_id_that_cannot_be_is_refused_before_anything_is_sent", func(w *world) {
		for _, id := range []string{"", " \t\n", strings.Repeat("x", 256), "a\x00b", "\xff"} {
			_, err := w.client.Enqueue(w.ctx, task(1), onceq.ID(id))
			equal(w, "field", w.refused(err).Field, "ID")
		}
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"a_stranger_under_a_pruned_holders_id_is_not_taken_for_it", func(w *world) {
		j := w.insert(task(1), onceq.ID("a"), key, onceq.Unique{Until: onceq.UntilDeleted, TTL: time.Hour},
			onceq.Retention(time.Minute))
		w.complete(w.start())
		w.after(2 * time.Minute)
		w.sweep()
		w.gone("a")
		stranger := w.insert(mail{To: "x"}, onceq.ID("a"))
		r := w.enqueue(onceq.Skipped, task(2), key)
		equal(w, "holder", line(r.Conflict.Holder, r.Conflict.Gone, r.Conflict.State, r.Job.Kind), "a true  task")
		if held := w.holder(*j.Key); held == nil || !held.Gone {
			w.Fatalf("the key is held by %+v, want a holder that is gone", held)
		}
		w.enqueue(onceq.Skipped, task(2), key, replace(onceq.Replace{Args: true}))
		w.enqueue(onceq.Skipped, task(2), key, coalesce)
		w.unchanged(stranger)
		w.remove("a")
		w.enqueue(onceq.Skipped, task(2), key)
	}},
	{"a_stranger_under_a_finished_holders_id_ends_without_its_key", func(w *world) {
		j := w.insert(task(1), onceq.ID("a"), key, onceq.Unique{Until: onceq.UntilFinished, Window: time.Hour},
			onceq.Retention(0))
		w.complete(w.start())
		w.insert(task(2), onceq.ID("a"), onceq.UniqueKey("other"))
		w.complete(w.start())
		if held := w.holder(*j.Key); held == nil || !held.Gone {
			w.Fatalf("the key is held by %+v, want what is left of its window", held)
		}
	}},
}
