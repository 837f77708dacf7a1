package storetest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// populate makes jobs in every state, in three queues and two kinds.
func populate(w *world) {
	w.Helper()
	for _, queue := range []string{"a", "b", "c d"} {
		for i := range 14 {
			opts := []onceq.Option{onceq.Queue(queue), onceq.UniqueKey(fmt.Sprint(queue, i), onceq.ByKind,
				onceq.ByQueue)}
			if i%7 == 6 {
				opts = append(opts, onceq.Delay(time.Hour))
			}
			if i%2 == 1 {
				opts = append(opts, onceq.Tags(queue, "odd"))
			}
			if i%2 == 0 {
				w.insert(mail{To: fmt.Sprint(i)}, opts...)
			} else {
				w.insert(task(i), opts...)
			}
			w.after(time.Millisecond)
		}
		for i, j := range w.fetch("w", queue, 10) {
			switch i % 5 {
			case 0:
				w.complete(j)
			case 1:
				w.discard(j)
			case 2:
				w.cancelled(j)
			case 3:
				w.fail(j, time.Hour)
			}
		}
	}
}

// listing: reading jobs, keys and queues.
var listing = []scenario{
	{"get_answers_in_order_with_nil_for_what_is_not_there", func(w *world) {
		a, b := w.insert(task(1)), w.insert(task(2))
		jobs, err := w.Store.Get(w.ctx, []string{b.ID, "x", a.ID, b.ID})
		w.must(err)
		equal(w, "jobs", line(len(jobs), jobs[0].ID == b.ID, jobs[1] == nil, jobs[2].ID == a.ID, jobs[3].ID == b.ID),
			"4 true true true true")
		jobs, err = w.Store.Get(w.ctx, nil)
		w.must(err)
		equal(w, "jobs", len(jobs), 0)
	}},
	{"a_list_has_args_only_when_they_are_asked_for_and_all_else_always", func(w *world) {
		w.insert(mail{To: "a", Body: "one"}, onceq.Unique{}, onceq.Meta(map[string]any{"m": 1}), onceq.Tags("t"))
		w.insert(task(2), onceq.Delay(time.Hour), onceq.UniqueKey("mine"))
		w.fail(w.start(), time.Hour)
		with, err := w.Store.List(w.ctx, onceq.ListRequest{Limit: 10, Args: true})
		w.must(err)
		without, err := w.Store.List(w.ctx, onceq.ListRequest{Limit: 10})
		w.must(err)
		equal(w, "jobs", line(len(with.Jobs), len(without.Jobs)), "2 2")
		for i, j := range with.Jobs {
			equal(w, "args asked for", len(j.Args) > 0, true)
			equal(w, "args not asked for", without.Jobs[i].Args == nil, true)
			j.Args = nil
			if !reflect.DeepEqual(without.Jobs[i], j) {
				w.Fatalf("without args %+v, with args %+v", without.Jobs[i], j)
			}
		}
	}},
	{"jobs_are_listed_by_id_the_largest_first", func(w *world) {
		for i, id := range []string{"b", "a", "é", "B", "a b", "~", "aa", "\x7f"} {
			w.insert(task(i), onceq.ID(id))
		}
		jobs, err := allJobs(w.ctx, w.Store, onceq.JobFilter{}, 3)
		w.must(err)
		var ids []string
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		equal(w, "order", strings.Join(ids, "|"), "é|\x7f|~|b|aa|a b|a|B")
	}},
	{"pages_of_any_size_list_every_job_once", func(w *world) {
		populate(w)
		all := w.jobs()
		equal(w, "jobs", len(all), 42)
		slices.Reverse(all)
		for _, limit := range []int{1, 2, 5, 41, 42, 43, 1000} {
			jobs, err := allJobs(w.ctx, w.Store, onceq.JobFilter{}, limit)
			w.must(err)
			equal(w, "jobs", len(jobs), len(all))
			for i, j := range jobs {
				equal(w, "job", show(j), show(all[i]))
			}
		}
	}},
	{"filters_choose_what_matches_all_of_them", func(w *world) {
		populate(w)
		all := w.jobs()
		slices.Reverse(all)
		k := *all[0].Key
		filters := []onceq.JobFilter{{Queue: "a"}, {Queue: "c d"}, {Queue: "no such"}, {Kind: "mail"},
			{Kind: "task", Queue: "b"}, {Key: &k}, {Key: &k, Queue: "a"}, {Key: &onceq.Key{1}},
			{Tag: "odd"}, {Tag: "a", Queue: "a"}, {Tag: "od"}, {Worker: "w"}, {Worker: "nobody"},
			{Worker: "w", States: []onceq.State{onceq.Running}},
			{After: all[30].EnqueuedAt}, {Before: all[30].EnqueuedAt},
			{After: all[30].EnqueuedAt.Add(1), Before: all[10].EnqueuedAt, Tag: "odd"}}
		for i, s := range onceq.States() {
			and := onceq.States()[(i+3)%7]
			filters = append(filters, onceq.JobFilter{States: []onceq.State{s}},
				onceq.JobFilter{States: []onceq.State{s}, Queue: "b"}, onceq.JobFilter{States: []onceq.State{and, s}},
				onceq.JobFilter{States: []onceq.State{s, and, s}, Kind: "mail", Queue: "a"},
				onceq.JobFilter{States: slices.DeleteFunc(onceq.States(), func(x onceq.State) bool { return x == s })})
		}
		for _, f := range filters {
			r := f.Request("", 1)
			var want []string
			for _, j := range all {
				if r.Matches(j) {
					want = append(want, j.ID)
				}
			}
			for _, limit := range []int{1, 3, 100} {
				jobs, err := allJobs(w.ctx, w.Store, f, limit)
				w.must(err)
				if got := ids(jobs); !slices.Equal(got, want) {
					w.Errorf("filter %+v in pages of %d: %d jobs, want %d", f, limit, len(got), len(want))
				}
			}
		}
	}},
	{"a_job_that_becomes_due_is_filtered_as_available_without_a_sweep", func(w *world) {
		j := w.insert(task(1), onceq.Delay(minute))
		listed := func(s onceq.State) bool {
			jobs, err := allJobs(w.ctx, w.Store, onceq.JobFilter{States: []onceq.State{s}}, 10)
			w.must(err)
			return len(jobs) == 1 && jobs[0].ID == j.ID
		}
		equal(w, "scheduled, available", line(listed(onceq.Scheduled), listed(onceq.Available)), "true false")
		w.after(minute)
		equal(w, "scheduled, available", line(listed(onceq.Scheduled), listed(onceq.Available)), "false true")
		w.fail(w.start(), minute)
		equal(w, "retryable, available", line(listed(onceq.Retryable), listed(onceq.Available)), "true false")
		w.after(minute)
		equal(w, "retryable, available", line(listed(onceq.Retryable), listed(onceq.Available)), "false true")
	}},
	{"a_waiter_is_listed_as_scheduled_however_late_it_is", func(w *world) {
		_, waiter := standing(w)
		w.after(time.Hour)
		jobs, err := allJobs(w.ctx, w.Store, onceq.JobFilter{States: []onceq.State{onceq.Scheduled}}, 10)
		w.must(err)
		equal(w, "scheduled", len(jobs), 1)
		equal(w, "job", jobs[0].ID, waiter.ID)
	}},
	{"jobs_that_are_there_throughout_are_listed_once_while_others_come_and_go", func(w *world) {
		for i := range 20 {
			w.insert(task(i), onceq.ID(fmt.Sprintf("keep %02d", i)))
			w.insert(task(i), onceq.ID(fmt.Sprintf("drop %02d", i)))
		}
		seen := map[string]int{}
		for after, n := "", 0; ; n++ {
			page, err := w.Store.List(w.ctx, onceq.ListRequest{Cursor: after, Limit: 4})
			w.must(err)
			for _, j := range page.Jobs {
				seen[j.ID]++
			}
			if n < 20 {
				w.remove(fmt.Sprintf("drop %02d", 19-n))
				w.insert(task(n), onceq.ID(fmt.Sprintf("new %02d", n)))
			}
			if after = page.Next; after == "" {
				break
			}
		}
		for i := range 20 {
			equal(w, "times listed", seen[fmt.Sprintf("keep %02d", i)], 1)
		}
	}},
	{"the_clients_list_stops_at_its_limit", func(w *world) {
		for i := range 10 {
			w.insert(task(i))
		}
		n := 0
		for _, err := range w.client.Jobs(w.ctx, onceq.JobFilter{Limit: 7}) {
			w.must(err)
			n++
		}
		equal(w, "jobs", n, 7)
		for range w.client.Jobs(w.ctx, onceq.JobFilter{}) {
			break
		}
	}},
	{"keys_are_listed_in_order_in_pages_of_any_size", func(w *world) {
		populate(w)
		all, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, 1000)
		w.must(err)
		for i, k := range all {
			if i > 0 && bytes.Compare(all[i-1].Key[:], k.Key[:]) >= 0 {
				w.Fatalf("key %s after %s", k.Key, all[i-1].Key)
			}
			equal(w, "the key alone", *w.holder(k.Key), *k)
		}
		for _, limit := range []int{1, 4, len(all), 1000} {
			keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, limit)
			w.must(err)
			equal(w, "keys", len(keys), len(all))
			for i, k := range keys {
				equal(w, "key", *k, *all[i])
			}
		}
		hex := all[len(all)/2].Key.String()
		for _, f := range []onceq.KeyFilter{{Queue: "a"}, {Kind: "mail"}, {Queue: "b", Kind: "task"}, {Queue: "none"},
			{From: hex[:1]}, {From: hex[:2], Kind: "mail"}, {From: strings.ToUpper(hex[:9])}, {From: hex}, {From: "0"},
			{From: "f"}, {From: strings.Repeat("f", 64)}, {Text: "a1"}, {Text: "kind=mail"}, {Text: "Kind"},
			{Text: "queue=c d", From: hex[:1]}} {
			want := 0
			for _, k := range all {
				if (f.Queue == "" || f.Queue == k.Queue) && (f.Kind == "" || f.Kind == k.Kind) &&
					strings.HasPrefix(k.Key.String(), strings.ToLower(f.From)) && strings.Contains(k.Text, f.Text) {
					want++
				}
			}
			keys, err := allKeys(w.ctx, w.Store, f, 2)
			w.must(err)
			equal(w, fmt.Sprintf("keys of %+v", f), len(keys), want)
		}
	}},
	{"keys_that_hold_no_longer_are_listed_on_request_only", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.after(minute)
		w.free(j)
		keys, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{Inert: true}, 10)
		w.must(err)
		if len(keys) > 0 && (!keys[0].Inert || keys[0].Holder != j.ID) { // a store may have dropped it
			w.Fatalf("an inert key is listed as %+v", keys[0])
		}
		for _, err := range w.client.Keys(w.ctx, onceq.KeyFilter{}) {
			w.Fatalf("a key is listed that holds no longer (error %v)", err)
		}
	}},
	{"queues_count_every_state", func(w *world) {
		populate(w)
		w.must(w.client.Pause(w.ctx, "b"))
		w.must(w.client.Pause(w.ctx, "empty"))
		queues, err := w.client.Queues(w.ctx)
		w.must(err)
		var got []string
		for _, q := range queues {
			n := 0
			for _, c := range q.Counts {
				n += c
			}
			got = append(got, fmt.Sprint(q.Name, " ", q.Paused, " ", n))
		}
		equal(w, "queues", strings.Join(got, ", "), "a false 14, b true 14, c d false 14, empty true 0")
		// populate fetched 10 of 12 that were due in each queue.
		equal(w, "counts", line(queues[0].Counts[onceq.Scheduled], queues[0].Counts[onceq.Available],
			queues[0].Counts[onceq.Running], queues[0].Counts[onceq.Retryable],
			queues[0].Counts[onceq.Completed], queues[0].Counts[onceq.Discarded], queues[0].Counts[onceq.Cancelled]),
			"2 2 2 2 2 2 2")
	}},
	{"a_queue_without_jobs_is_not_listed", func(w *world) {
		j := w.insert(task(1), onceq.Queue("q"))
		w.must(w.client.Pause(w.ctx, "p"))
		w.remove(j.ID)
		w.must(w.client.Resume(w.ctx, "p"))
		queues, err := w.client.Queues(w.ctx)
		w.must(err)
		equal(w, "queues", len(queues), 0)
	}},
	{"reading_changes_nothing", func(w *world) {
		populate(w)
		before := w.jobs()
		w.after(100 * 24 * time.Hour)
		for range 2 {
			w.jobs()
			_, err := w.Store.Queues(w.ctx, onceq.QueuesRequest{})
			w.must(err)
			_, err = allKeys(w.ctx, w.Store, onceq.KeyFilter{Inert: true}, 5)
			w.must(err)
		}
		equal(w, "jobs", len(w.jobs()), len(before))
	}},
}
