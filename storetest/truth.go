package storetest

import (
	"errors"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// conflicts is every way to be told of the holder of the key k.
func (w *world) conflicts() map[string]onceq.Conflict {
	w.Helper()
	all := map[string]onceq.Conflict{}
	all["skipped"] = *w.enqueue(onceq.Skipped, task(1), key).Conflict
	all["rejected"] = *w.enqueue(onceq.Rejected, task(1), key, reject).Conflict
	receipts := w.many([]onceq.Outcome{onceq.Skipped, onceq.Rejected, onceq.Skipped},
		onceq.NewItem(task(1), key), onceq.NewItem(task(1), key, reject), onceq.NewItem(task(1), key, coalesce))
	all["first of a batch"], all["second of a batch"] = *receipts[0].Conflict, *receipts[1].Conflict
	all["third of a batch"] = *receipts[2].Conflict
	for _, policy := range []onceq.Option{reject, supersede, replace(onceq.Replace{Args: true})} {
		x, err := w.client.Explain(w.ctx, task(1), key, policy)
		w.must(err)
		all["explained "+string(x.Outcome)] = *x.Conflict
	}
	return all
}

// truth: what is said of a holder is true of it.
var truth = []scenario{
	{"a_holder_that_is_gone_is_called_gone", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: time.Hour})
		w.must(w.client.Delete(w.ctx, j.ID))
		for how, c := range w.conflicts() {
			equal(w, how, line(c.Gone, c.State == "", c.Holder == j.ID, c.FreesWhen == "", c.KeptUntil.IsZero()),
				"true true true true true")
			w.sameTime(how, c.FreesAt, start.Add(time.Hour))
			if text := c.String(); !strings.Contains(text, "(gone)") ||
				strings.Contains(text, string(onceq.Available)) {
				w.Errorf("%s: %s", how, text)
			}
		}
		held, err := w.client.Key(w.ctx, *j.Key)
		w.must(err)
		equal(w, "key", line(held.Gone, held.FreesWhen), "true ")
	}},
	{"a_store_says_what_it_is", func(w *world) {
		info, err := w.client.StoreInfo(w.ctx)
		w.must(err)
		if info.Server == "" {
			w.Errorf("%+v: want it to name the server", info)
		}
		for _, line := range info.Warnings {
			if !strings.HasSuffix(line, ".") {
				w.Errorf("%q: want a sentence that says the way out", line)
			}
		}
	}},
	{"a_retry_that_meets_a_holder_that_is_gone_says_so", func(w *world) {
		old := w.insert(task(1), key)
		w.complete(w.starts(old.ID))
		j := w.insert(task(1), key, onceq.Unique{Window: time.Hour})
		w.must(w.client.Delete(w.ctx, j.ID))
		_, err := w.client.Retry(w.ctx, old.ID)
		var dup *onceq.DuplicateError
		if !errors.As(err, &dup) || !strings.Contains(err.Error(), "(gone)") {
			w.Fatalf("%v: want a *DuplicateError that calls the holder gone", err)
		}
		equal(w, "conflict", line(dup.Gone, dup.State == "", dup.Holder == j.ID), "true true true")
	}},
	{"a_holder_that_is_there_is_not_called_gone", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDeleted})
		says := func(want onceq.State) {
			w.Helper()
			for how, c := range map[string]onceq.Conflict{"skipped": *w.enqueue(onceq.Skipped, task(2), key).Conflict,
				"rejected": *w.enqueue(onceq.Rejected, task(2), key, reject).Conflict} {
				equal(w, how, line(c.Gone, c.State, c.HolderKind), line(false, want, "task"))
			}
		}
		says(onceq.Available)
		run := w.starts(j.ID)
		says(onceq.Running)
		w.complete(run)
		says(onceq.Completed)
	}},
	{"a_first_answer_whose_displaced_job_is_gone_says_so", func(w *world) {
		old := w.insert(task(1), key)
		row := onceq.NewRow(w.row(task(2), key, supersede))
		first, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
		w.must(err)
		equal(w, "first", line(first[0].Outcome, first[0].Conflict.Gone), "superseded false")
		w.must(w.client.Delete(w.ctx, old.ID))
		again, err := w.Store.Enqueue(w.ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
		w.must(err)
		c := again[0].Conflict
		equal(w, "again", line(again[0].Outcome, c.Gone, c.State, c.Holder == old.ID), "superseded true  true")
	}},
	{"an_end_that_can_no_longer_come_frees_nothing", func(w *world) {
		for i, c := range []struct {
			until onceq.Until
			state onceq.State
		}{{onceq.UntilFailed, onceq.Completed}, {onceq.UntilSucceeded, onceq.Discarded},
			{onceq.UntilSucceeded, onceq.Cancelled}, {onceq.UntilDeleted, onceq.Completed}} {
			j := w.insert(task(1), key, onceq.Unique{Until: c.until}, onceq.Retention(time.Duration(1+i)*time.Hour),
				onceq.MaxAttempts(1))
			switch before := w.enqueue(onceq.Skipped, task(1), key).Conflict; c.until {
			case onceq.UntilDeleted:
				equal(w, "before", before.FreesWhen, "deleted")
			default:
				equal(w, "before", before.FreesWhen, c.until.String())
			}
			w.after(minute)
			run := w.starts(j.ID)
			switch c.state {
			case onceq.Completed:
				w.complete(run)
			case onceq.Discarded:
				w.discard(run)
			case onceq.Cancelled:
				w.cancelled(run)
			}
			kept := w.now.Add(time.Duration(1+i) * time.Hour)
			for how, conflict := range w.conflicts() {
				equal(w, how, line(conflict.FreesWhen, conflict.FreesAt.IsZero(), conflict.State),
					line("deleted", true, c.state))
				w.sameTime(how, conflict.KeptUntil, kept)
				if text := conflict.String(); !strings.Contains(text, "deleted or pruned, which a worker does from ") {
					w.Errorf("%s: %s", how, text)
				}
			}
			held, err := w.client.Key(w.ctx, *j.Key)
			w.must(err)
			equal(w, "key", held.FreesWhen, "deleted")
			w.after(kept.Sub(w.now) + time.Millisecond) // and that is true
			w.sweep()
			w.free(j)
		}
	}},
	{"with_a_ttl_the_end_of_the_retention_frees_nothing_and_is_not_named", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDeleted, TTL: 2 * time.Hour},
			onceq.Retention(time.Hour))
		w.complete(w.starts(j.ID))
		for how, c := range w.conflicts() {
			equal(w, how, line(c.FreesWhen, c.KeptUntil.IsZero()), "deleted true")
			w.sameTime(how, c.FreesAt, start.Add(2*time.Hour))
		}
		w.after(time.Hour + time.Millisecond)
		w.sweep()
		for how, c := range w.conflicts() {
			equal(w, how, line(c.Gone, c.FreesWhen), "true ")
		}
	}},
	{"an_id_that_is_taken_says_how_long_and_by_which_kind", func(w *world) {
		j := w.insert(task(1), onceq.ID("a"), onceq.Retention(time.Hour))
		c := w.enqueue(onceq.Rejected, mail{To: "x"}, onceq.ID("a")).Conflict
		equal(w, "waiting", line(c.HolderKind, c.KeptUntil.IsZero()), "task true")
		if !strings.Contains(c.String(), `, of kind "task";`) {
			w.Error(c)
		}
		w.complete(w.starts(j.ID))
		c = w.enqueue(onceq.Skipped, task(1), onceq.ID("a")).Conflict
		w.sameTime("kept until", c.KeptUntil, w.now.Add(time.Hour))
		x, err := w.client.Explain(w.ctx, task(1), onceq.ID("a"))
		w.must(err)
		equal(w, "explained", *x.Conflict, *c)
	}}, {"a_holder_that_waits_says_when_it_is_due_and_whether_that_is_what_was_asked_for", func(w *world) {
		tomorrow := start.Add(24 * time.Hour)
		w.insert(task(1), key, onceq.RunAt(tomorrow))
		for at, want := range map[time.Time]bool{tomorrow: false, tomorrow.Add(time.Hour): true} {
			c := w.enqueue(onceq.Skipped, task(1), key, onceq.RunAt(at)).Conflict
			x, err := w.client.Explain(w.ctx, task(1), key, onceq.RunAt(at))
			w.must(err)
			batch := w.many([]onceq.Outcome{onceq.Skipped, onceq.Skipped},
				onceq.NewItem(task(1), key, onceq.RunAt(at)), onceq.NewItem(task(1), key, onceq.RunAt(at)))
			for _, c := range []*onceq.Conflict{c, x.Conflict, batch[0].Conflict, batch[1].Conflict} {
				w.sameTime("due", c.HolderDue, tomorrow)
				equal(w, "differs", c.RunAtDiffers, want)
				equal(w, "text", strings.Contains(c.String(), "(scheduled, due "), true)
				equal(w, "text", strings.Contains(c.String(), "the run time is another"), want)
			}
		}
		w.insert(task(2), onceq.ID("b"), onceq.RunAt(tomorrow))
		c := w.enqueue(onceq.Skipped, task(2), onceq.ID("b"), onceq.RunAt(tomorrow.Add(time.Minute))).Conflict
		equal(w, "by ID", line(c.HolderDue.IsZero(), c.RunAtDiffers), "false true")
	}},
	{"a_holder_that_is_due_or_runs_says_no_time", func(w *world) {
		j := w.insert(task(1), key)
		for _, step := range []func(){func() { w.starts(j.ID) }, func() {}} {
			c := w.enqueue(onceq.Skipped, task(1), key, onceq.RunAt(start.Add(time.Hour))).Conflict
			equal(w, c.String(), line(c.HolderDue.IsZero(), c.RunAtDiffers), "true false")
			step()
		}
		equal(w, "state", w.job(j.ID).State, onceq.Running)
	}},
}
