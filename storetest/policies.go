package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// phase brings a holder of the key k into one phase of its life.
type phase struct {
	name  string
	state onceq.State // of the holder
	bring func(w *world, opts ...onceq.Option) *onceq.JobRow
}

// phases of a holder with args 1.
var phases = []phase{
	{name: "scheduled", state: onceq.Scheduled, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		return w.insert(task(1), append(opts, key, onceq.Delay(time.Hour))...)
	}},
	{name: "available", state: onceq.Available, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		return w.insert(task(1), append(opts, key)...)
	}},
	{name: "running", state: onceq.Running, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		j := w.insert(task(1), append(opts, key)...)
		w.starts(j.ID)
		return j
	}},
	{name: "retryable", state: onceq.Retryable, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		j := w.insert(task(1), append(opts, key)...)
		w.fail(w.starts(j.ID), time.Hour)
		return j
	}},
	{name: "finished", state: onceq.Completed, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		j := w.insert(task(1), append(opts, key, until(onceq.UntilDeleted))...)
		w.complete(w.starts(j.ID))
		return j
	}},
	{name: "gone", state: onceq.Completed, bring: func(w *world, opts ...onceq.Option) *onceq.JobRow {
		j := w.insert(task(1), append(opts, key, onceq.Unique{Window: time.Hour}, onceq.Retention(0))...)
		w.complete(w.starts(j.ID))
		w.gone(j.ID)
		return j
	}},
}

// inPhase is the holder of the key k in the phase of that name.
func inPhase(w *world, name string, opts ...onceq.Option) *onceq.JobRow {
	w.Helper()
	for _, p := range phases {
		if p.name == name {
			return p.bring(w, opts...)
		}
	}
	w.Fatalf("no phase %q", name)
	return nil
}

// answersIn is a case in which a policy answers with the holder and writes
// nothing.
func answersIn(name string, want onceq.Outcome, opts ...onceq.Option) func(*world) {
	return func(w *world) {
		j := inPhase(w, name)
		before := w.look(j.ID)
		w.after(time.Second)
		for i := range 2 {
			r := w.enqueue(want, task(2+i), append(opts, key)...)
			equal(w, "by", r.Conflict.By, "key")
			equal(w, "holder", r.Conflict.Holder, j.ID)
			equal(w, "job", r.Job.ID, j.ID)
			equal(w, "args differ", r.Conflict.ArgsDiffer, true)
			equal(w, "text", r.Conflict.Text, j.KeyText)
			w.sameTime("since", r.Conflict.Since, start)
			for _, p := range phases {
				if p.name == name {
					if equal(w, "gone", r.Conflict.Gone, name == "gone"); name != "gone" {
						equal(w, "state", r.Conflict.State, p.state)
					}
					equal(w, "the job's state", r.Job.State, p.state)
				}
			}
		}
		if before != nil {
			w.unchanged(before)
			equal(w, "the receipt's job", show(w.enqueue(want, task(2), append(opts, key)...).Job), show(before))
		}
		want := 1
		if before == nil {
			want = 0
		}
		equal(w, "jobs", len(w.jobs()), want)
		w.holds(j)
	}
}

// policies: Skip and Reject, and what every conflict says.
var policies = []scenario{
	{"skip_answers_with_a_scheduled_holder", answersIn("scheduled", onceq.Skipped)},
	{"skip_answers_with_an_available_holder", answersIn("available", onceq.Skipped)},
	{"skip_answers_with_a_running_holder", answersIn("running", onceq.Skipped)},
	{"skip_answers_with_a_retryable_holder", answersIn("retryable", onceq.Skipped)},
	{"skip_answers_with_a_finished_holder", answersIn("finished", onceq.Skipped)},
	{"skip_answers_with_a_holder_that_is_gone", answersIn("gone", onceq.Skipped)},
	{"reject_refuses_with_a_scheduled_holder", answersIn("scheduled", onceq.Rejected, reject)},
	{"reject_refuses_with_an_available_holder", answersIn("available", onceq.Rejected, reject)},
	{"reject_refuses_with_a_running_holder", answersIn("running", onceq.Rejected, reject)},
	{"reject_refuses_with_a_retryable_holder", answersIn("retryable", onceq.Rejected, reject)},
	{"reject_refuses_with_a_finished_holder", answersIn("finished", onceq.Rejected, reject)},
	{"reject_refuses_with_a_holder_that_is_gone", answersIn("gone", onceq.Rejected, reject)},

	{"a_job_without_unique_holds_nothing_and_is_met_by_nobody", func(w *world) {
		w.insert(task(1))
		w.insert(task(1), onceq.Unique{})
		w.insert(task(1))
		w.insert(task(1), onceq.Unique{}, onceq.NotUnique)
		keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, 10)
		w.must(err)
		equal(w, "keys", len(keys), 1)
	}},
	{"the_default_key_is_kind_queue_and_args_by_value", func(w *world) {
		first := w.insert(onceq.JSON("order", []byte(`{"a":1,"b":[1,2]}`)), onceq.Unique{})
		for _, same := range []string{`{"b":[1,2],"a":1}`, `{ "a": 1.0, "b": [1e0, 2] }`, `{"\u0061":1,"b":[1,2.00]}`} {
			r := w.enqueue(onceq.Skipped, onceq.JSON("order", []byte(same)), onceq.Unique{})
			equal(w, "holder", r.Job.ID, first.ID)
			equal(w, "args differ", r.Conflict.ArgsDiffer, false)
		}
		for _, other := range []string{`{"a":1,"b":[2,1]}`, `{"a":"1","b":[1,2]}`, `{"a":1}`,
			`{"a":1,"b":[1,2],"c":null}`, `{"a":1,"b":[1,2,2]}`} {
			w.insert(onceq.JSON("order", []byte(other)), onceq.Unique{})
		}
		w.insert(onceq.JSON("other", []byte(`{"a":1,"b":[1,2]}`)), onceq.Unique{})
		w.insert(onceq.JSON("order", []byte(`{"a":1,"b":[1,2]}`)), onceq.Unique{}, onceq.Queue("other"))
		w.insert(onceq.Bytes("order", []byte(`{"a":1,"b":[1,2]}`)), onceq.Unique{})
	}},
	{"numbers_beyond_two_to_the_53_are_different_keys", func(w *world) {
		w.insert(onceq.JSON("n", []byte(`9007199254740993`)), onceq.Unique{})
		w.insert(onceq.JSON("n", []byte(`9007199254740992`)), onceq.Unique{})
	}},
	{"fields_narrow_the_key_and_the_conflict_says_that_args_differ", func(w *world) {
		byTo := onceq.Unique{Fields: []string{"to"}}
		j := w.insert(mail{To: "a", Body: "one"}, byTo)
		r := w.enqueue(onceq.Skipped, mail{To: "a", Body: "two"}, byTo)
		equal(w, "met", line(r.Job.ID == j.ID, r.Conflict.ArgsDiffer), "true true")
		equal(w, "args differ", w.enqueue(onceq.Skipped, mail{To: "a", Body: "one"}, byTo).Conflict.ArgsDiffer, false)
		w.insert(mail{To: "b", Body: "one"}, byTo)
	}},
	{"what_happens_is_the_newcomers_policy", func(w *world) {
		w.insert(task(1), key, reject)
		w.enqueue(onceq.Skipped, task(2), key)
		w.enqueue(onceq.Rejected, task(2), key, reject)
		w.enqueue(onceq.Replaced, task(2), key, coalesce)
	}},
	{"how_long_is_the_holders_terms", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.enqueue(onceq.Skipped, task(2), key, onceq.Unique{Until: onceq.UntilDeleted})
		w.after(minute)
		w.free(j)
	}},
	{"a_duplicate_never_extends_a_window_or_a_ttl", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: 10 * minute, TTL: 20 * minute})
		for range 5 {
			w.after(minute)
			w.enqueue(onceq.Skipped, task(2), key, onceq.Unique{Window: 10 * minute, TTL: 20 * minute})
			w.enqueue(onceq.Rejected, task(2), key, reject, onceq.Unique{Window: 10 * minute, TTL: 20 * minute})
		}
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(20*minute))
		w.complete(w.start())
		w.enqueue(onceq.Skipped, task(2), key)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(10*minute))
		w.at(start.Add(10 * minute))
		w.insert(task(2), key)
	}},
	{"a_conflict_says_since_when_until_when_and_on_what", func(w *world) {
		for _, c := range []struct {
			u     onceq.Unique
			when  string
			after time.Duration // until a clock frees it; 0 = none
		}{
			{onceq.Unique{Until: onceq.UntilDue}, "due", time.Hour},
			{onceq.Unique{Until: onceq.UntilDue, Window: minute}, "due", time.Hour + minute},
			{onceq.Unique{Until: onceq.UntilDue, Window: minute, FromEnqueue: true}, "due", time.Hour},
			{onceq.Unique{Until: onceq.UntilStarted}, "started", 0},
			{onceq.Unique{}, "finished", 0},
			{onceq.Unique{Window: minute}, "finished", 0},
			{onceq.Unique{TTL: 2 * time.Hour}, "finished", 3 * time.Hour},
			{onceq.Unique{TTL: 2 * time.Hour, FromEnqueue: true}, "finished", 2 * time.Hour},
			{onceq.Unique{Until: onceq.UntilSucceeded}, "succeeded", 0},
			{onceq.Unique{Until: onceq.UntilFailed}, "failed", 0},
			{onceq.Unique{Until: onceq.UntilDeleted, Window: minute, TTL: time.Hour}, "deleted", 2 * time.Hour},
			{onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute}, "", time.Hour + minute},
			{onceq.Unique{Until: onceq.UntilWindowEnds, Window: minute, FromEnqueue: true}, "", minute},
		} {
			k := onceq.UniqueKey(fmt.Sprintf("%+v", c.u))
			w.at(start)
			w.insert(task(1), k, c.u, onceq.Delay(time.Hour))
			w.after(time.Second)
			got := w.enqueue(onceq.Skipped, task(2), k).Conflict
			equal(w, "event", got.FreesWhen, c.when)
			w.sameTime("since", got.Since, start)
			if c.after == 0 {
				w.sameTime("frees at", got.FreesAt, time.Time{})
			} else {
				w.sameTime("frees at", got.FreesAt, start.Add(c.after))
			}
			held, err := w.client.Key(w.ctx, got.Key)
			w.must(err)
			got.HolderDue = time.Time{} // a key does not say when its holder is due
			equal(w, "the key's own answer", *held.Conflict([16]byte{}), *got)
		}
	}},
	{"since_is_when_the_key_was_taken", func(w *world) {
		w.complete(w.starts(w.insert(task(1), key).ID))
		w.after(minute)
		j := w.insert(task(2), key)
		w.sameTime("since", w.holds(j).Since, start.Add(minute))
		w.after(minute)
		w.fail(w.start(), 0)
		w.sameTime("since", w.holds(j).Since, start.Add(minute))
	}},
	{"the_readable_key_is_bounded", func(w *world) {
		long := make([]byte, 900)
		for i := range long {
			long[i] = 'x'
		}
		j := w.insert(mail{To: string(long), Body: string(long)}, onceq.Unique{})
		if n := len(w.job(j.ID).KeyText); n == 0 || n > onceq.MaxKeySize {
			w.Fatalf("a readable key of %d bytes", n)
		}
	}},
	{"the_readable_key_is_the_same_wherever_it_is_shown", func(w *world) {
		all := onceq.ByKind | onceq.ByQueue | onceq.ByArgs | onceq.ByMeta
		for i, c := range []struct {
			u    onceq.Unique
			want string
		}{
			{onceq.Unique{}, `kind=push queue=q args={"id":1,"to":"a"}`},
			{onceq.Unique{By: all}, `kind=push queue=q args={"id":1,"to":"a"} meta={"t":"x","u":[1,null]}`},
			{onceq.Unique{By: onceq.ByMeta}, `meta={"t":"x","u":[1,null]}`},
			{onceq.Unique{By: onceq.ByMeta, Fields: []string{"t"}}, `meta fields /t="x"`},
			{onceq.Unique{Fields: []string{"to", "no"}}, `kind=push queue=q fields /no=absent /to="a"`},
			{onceq.Unique{By: all, MetaFields: []string{"t"}},
				`kind=push queue=q args={"id":1,"to":"a"} meta fields /t="x"`},
			{onceq.Unique{By: all, Fields: []string{"id"}, MetaFields: []string{"/u/0", "t"}},
				`kind=push queue=q fields /id=1 meta fields /t="x" /u/0=1`},
			{onceq.Unique{By: onceq.ByKind | onceq.ByArgs | onceq.ByMeta, Fields: []string{"id"},
				MetaFields: []string{"/u/1", "t"}},
				`kind=push fields /id=1 meta fields /t="x" /u/1=null`},
		} {
			c.u.Window = time.Hour // so that the key is held when its holder is gone
			enqueue := func(want onceq.Outcome) onceq.Receipt {
				return w.enqueue(want, onceq.JSON("push", []byte(`{"to":"a","id":1.0}`)), c.u, onceq.Queue("q"),
					onceq.Meta(map[string]any{"u": []any{1, nil}, "t": "x"}))
			}
			id := enqueue(onceq.Inserted).Job.ID
			equal(w, fmt.Sprint("text ", i), w.job(id).KeyText, c.want)
			equal(w, fmt.Sprint("text of the key ", i), w.holder(*w.job(id).Key).Text, c.want)
			r := enqueue(onceq.Skipped)
			equal(w, fmt.Sprint("text of a duplicate ", i), line(r.Job.KeyText, r.Conflict.Text), line(c.want, c.want))
			w.must(w.client.Delete(w.ctx, id))
			r = enqueue(onceq.Skipped)
			equal(w, fmt.Sprint("text when the holder is gone ", i), line(r.Job.KeyText, r.Conflict.Text),
				line(c.want, c.want))
		}
	}},
	{"every_policy_is_skip_where_the_holder_is_finished_and_its_key_held", func(w *world) {
		endedIsSkip(w, "finished")
	}},
	{"every_policy_is_skip_where_the_holder_is_gone_and_its_key_held", func(w *world) { endedIsSkip(w, "gone") }},
}

func endedIsSkip(w *world, name string) {
	j := inPhase(w, name)
	before := w.look(j.ID)
	for i, o := range []onceq.Option{coalesce, supersede,
		replace(onceq.Replace{Args: true, RunAt: true, Priority: true, Meta: true, Tags: true, MaxAttempts: true}),
		onceq.OnConflict(onceq.Debounce{MaxWait: time.Hour})} {
		r := w.enqueue(onceq.Skipped, task(2+i), key, o, onceq.Delay(minute))
		equal(w, "holder", r.Conflict.Holder, j.ID)
	}
	if before != nil {
		w.unchanged(before)
	}
	w.idle()
}
