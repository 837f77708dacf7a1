package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

func in(states ...onceq.State) onceq.JobFilter { return onceq.JobFilter{States: states} }

// pages: what a page of a list looks at, and how a caller goes on.
var pages = []scenario{
	{"a_page_that_finds_nothing_in_its_budget_says_how_far_it_looked", func(w *world) {
		for i := range 40 {
			w.insert(task(i), onceq.ID(fmt.Sprintf("job %02d", i)), onceq.UniqueKey(fmt.Sprint(i)))
		}
		w.insert(mail{To: "a"}, onceq.ID("a mail"), onceq.UniqueKey("mail"))
		f := onceq.JobFilter{Kind: "mail"}
		var found []string
		pages, looked := 0, 0
		for r := f.Request("", 10); ; pages++ {
			r.Look = 15
			page, err := w.Store.List(w.ctx, r)
			w.must(err)
			found, looked = append(found, ids(page.Jobs)...), looked+page.Looked
			if page.Looked > r.Look {
				w.Fatalf("a page looked at %d jobs, want at most %d", page.Looked, r.Look)
			}
			if r.Cursor = page.Next; r.Cursor == "" {
				break
			}
			if pages == 0 {
				equal(w, "the first page", line(len(page.Jobs), page.Looked, page.Next), "0 15 job 25")
			}
		}
		equal(w, "found, looked, pages", line(found, looked, pages+1), "[a mail] 41 3")

		kf := onceq.KeyFilter{Kind: "mail"}
		var holders []string
		pages, looked = 0, 0
		for r := kf.Request("", 10); ; pages++ {
			r.Look = 15
			page, err := w.Store.Keys(w.ctx, r)
			w.must(err)
			for _, k := range page.Keys {
				holders = append(holders, k.Holder)
			}
			looked += page.Looked
			if r.Cursor = page.Next; r.Cursor == "" {
				break
			}
		}
		equal(w, "holders, looked, pages", line(holders, looked, pages+1), "[a mail] 41 3")
	}},
	{"a_budget_of_one_job_lists_every_job_once", func(w *world) {
		populate(w)
		all := w.jobs()
		slices.Reverse(all)
		for _, f := range []onceq.JobFilter{{}, {Tag: "odd"}, in(onceq.Running), in(onceq.Scheduled, onceq.Available),
			in(onceq.Completed, onceq.Retryable), in(onceq.Discarded, onceq.Cancelled)} {
			var got, want []string
			r := f.Request("", 5)
			r.Look = 1
			for {
				page, err := w.Store.List(w.ctx, r)
				w.must(err)
				got = append(got, ids(page.Jobs)...)
				if r.Cursor = page.Next; r.Cursor == "" {
					break
				}
			}
			for _, j := range all {
				if r.Matches(j) {
					want = append(want, j.ID)
				}
			}
			equal(w, fmt.Sprintf("jobs of %+v", f), line(got), line(want))
		}
	}},
	{"running_and_waiting_jobs_are_found_without_a_look_at_the_others", func(w *world) {
		w.fill(300, task(0), onceq.Queue("done"))
		for n := 0; n < 300; {
			for _, j := range w.fetch("w", "done", 100) {
				w.complete(j)
				n++
			}
		}
		w.insert(task(1), onceq.Queue("runs"))
		running := w.startAs("other", "runs")
		due := w.insert(task(2), onceq.Queue("a"))
		later := w.insert(task(3), onceq.Queue("b"), onceq.Delay(time.Hour))
		w.insert(task(4), onceq.Queue("c"))
		failed := w.startAs("w", "c")
		w.fail(failed, time.Hour)
		cost := func(f onceq.JobFilter, want ...*onceq.JobRow) {
			w.Helper()
			page, err := w.Store.List(w.ctx, f.Request("", 10))
			w.must(err)
			slices.SortFunc(want, func(a, b *onceq.JobRow) int { return strings.Compare(b.ID, a.ID) })
			equal(w, "jobs", line(ids(page.Jobs)), line(ids(want)))
			if page.Looked > 10 {
				w.Errorf("%+v: %d jobs were looked at to find %d", f, page.Looked, len(want))
			}
		}
		cost(in(onceq.Running), running)
		cost(in(onceq.Available), due)
		cost(in(onceq.Scheduled), later)
		cost(in(onceq.Retryable), failed)
		cost(in(onceq.Discarded))
		cost(in(onceq.Running, onceq.Available, onceq.Scheduled, onceq.Retryable), running, due, later, failed)
		cost(onceq.JobFilter{States: []onceq.State{onceq.Available, onceq.Scheduled}, Queue: "b"}, later)
		cost(onceq.JobFilter{States: []onceq.State{onceq.Running}, Worker: "other"}, running)
		cost(onceq.JobFilter{States: []onceq.State{onceq.Running}, Worker: "w"})
	}},
	{"a_list_of_scheduled_jobs_has_those_that_stand_behind_another", func(w *world) {
		_, waiter := standing(w)
		later := w.insert(task(3), onceq.Delay(time.Hour))
		for _, f := range []onceq.JobFilter{in(onceq.Scheduled), in(onceq.Scheduled, onceq.Available, onceq.Discarded),
			{States: []onceq.State{onceq.Scheduled}, Queue: "default"}} {
			jobs, err := allJobs(w.ctx, w.Store, f, 1)
			w.must(err)
			equal(w, "jobs", line(ids(jobs)), line([]string{later.ID, waiter.ID}))
		}
	}},
	{"a_list_of_thousands_that_wait_is_complete", func(w *world) {
		want := w.fill(5200, task(0))
		w.fill(2, mail{To: "b"}, onceq.Queue("few"))
		slices.Sort(want)
		slices.Reverse(want)
		f := in(onceq.Available)
		f.Kind = "task"
		jobs, err := allJobs(w.ctx, w.Store, f, 1000)
		w.must(err)
		if got := ids(jobs); !slices.Equal(got, want) {
			w.Fatalf("%d jobs are listed, want %d", len(got), len(want))
		}
		f.Kind, f.Queue = "", "few"
		page, err := w.Store.List(w.ctx, f.Request("", 5))
		w.must(err)
		equal(w, "jobs and looked at", line(len(page.Jobs), page.Looked < 100), "2 true")
	}},
	{"a_page_says_what_the_stores_clock_says", func(w *world) {
		check := func() {
			w.Helper()
			for _, f := range []onceq.JobFilter{{}, in(onceq.Running), in(onceq.Completed)} {
				page, err := w.client.JobsPage(w.ctx, f, "")
				w.must(err)
				w.sameTime("now", page.Now, w.now)
			}
			keys, err := w.client.KeysPage(w.ctx, onceq.KeyFilter{}, "")
			w.must(err)
			w.sameTime("now", keys.Now, w.now)
		}
		w.insert(task(1), key)
		check()
		w.after(time.Hour)
		check()
	}},
	{"a_cursor_of_another_filter_is_refused", func(w *world) {
		for i := range 4 {
			w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.Tags("t"))
		}
		f := onceq.JobFilter{Kind: "task", Limit: 2, States: []onceq.State{onceq.Available, onceq.Running}}
		first, err := w.client.JobsPage(w.ctx, f, "")
		w.must(err)
		f.States = []onceq.State{onceq.Running, onceq.Available} // the same
		f.Limit, f.Args = 3, true                                // as it likes
		second, err := w.client.JobsPage(w.ctx, f, first.Next)
		w.must(err)
		equal(w, "jobs", line(len(first.Jobs), len(second.Jobs), second.Next), "2 2 ")
		for _, other := range []onceq.JobFilter{{}, {Kind: "task"}, {Kind: "task", States: f.States, Tag: "t"},
			{Kind: "task", States: f.States, After: start}, {Kind: "task", States: f.States, Worker: "w"}} {
			_, err := w.client.JobsPage(w.ctx, other, first.Next)
			equal(w, "field", w.refused(err).Field, "cursor")
		}
		keys, err := w.client.KeysPage(w.ctx, onceq.KeyFilter{Kind: "task", Limit: 3}, "")
		w.must(err)
		rest, err := w.client.KeysPage(w.ctx, onceq.KeyFilter{Kind: "task"}, keys.Next)
		w.must(err)
		equal(w, "keys", line(len(keys.Keys), len(rest.Keys), rest.Next), "3 1 ")
		_, err = w.client.KeysPage(w.ctx, onceq.KeyFilter{Kind: "task", Text: "x"}, keys.Next)
		equal(w, "field", w.refused(err).Field, "cursor")
		_, err = w.client.KeysPage(w.ctx, onceq.KeyFilter{}, first.Next)
		equal(w, "field", w.refused(err).Field, "cursor")
		for _, cursor := range []string{"x", "*", first.Next[:8], "AAAAAAAAAAAA", keys.Next + "!"} {
			_, err := w.client.JobsPage(w.ctx, f, cursor)
			equal(w, "field", w.refused(err).Field, "cursor")
			_, err = w.client.KeysPage(w.ctx, onceq.KeyFilter{}, cursor)
			equal(w, "field", w.refused(err).Field, "cursor")
		}
	}},
	{"a_filter_that_can_match_nothing_is_refused", func(w *world) {
		for _, f := range []onceq.JobFilter{in("done"), {Limit: -1}, {After: start, Before: start}} {
			_, err := w.client.JobsPage(w.ctx, f, "")
			w.refused(err)
			_, err = w.client.DeleteAll(w.ctx, f)
			w.refused(err)
		}
		for _, f := range []onceq.KeyFilter{{From: "xyz"}, {From: strings.Repeat("0", 65)}, {Limit: -1},
			{Text: "\xff"}} {
			_, err := w.client.KeysPage(w.ctx, f, "")
			w.refused(err)
			for _, err := range w.client.Keys(w.ctx, f) {
				w.refused(err)
			}
		}
	}},
	{"many_jobs_are_changed_by_states_tag_worker_and_age", func(w *world) {
		old := w.insert(task(1), onceq.Tags("keep"))
		older := w.insert(task(2))
		w.after(time.Hour)
		young := w.insert(task(3), onceq.Tags("keep"))
		w.insert(task(4), onceq.Queue("q"))
		w.complete(w.startAs("one", "q"))
		n, err := w.client.CancelAll(w.ctx, onceq.JobFilter{Before: w.now, Tag: "keep"})
		w.must(err)
		equal(w, "cancelled", n, 1)
		w.is(old.ID, onceq.Cancelled)
		n, err = w.client.DeleteAll(w.ctx, onceq.JobFilter{States: []onceq.State{onceq.Completed, onceq.Available},
			Worker: "one"})
		w.must(err)
		equal(w, "deleted", n, 1)
		n, err = w.client.DeleteAll(w.ctx, onceq.JobFilter{Before: w.now})
		w.must(err)
		equal(w, "deleted", n, 2)
		w.gone(older.ID)
		w.is(young.ID, onceq.Available)
	}},
}
