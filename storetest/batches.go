package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// each is the same outcome n times.
func each(o onceq.Outcome, n int) []onceq.Outcome {
	all := make([]onceq.Outcome, n)
	for i := range all {
		all[i] = o
	}
	return all
}

// made are the jobs of some receipts, as the store has them.
func (w *world) made(receipts []onceq.Receipt) []*onceq.JobRow {
	w.Helper()
	all := make([]string, len(receipts))
	for i, r := range receipts {
		all[i] = r.Job.ID
	}
	jobs, err := w.Store.Get(w.ctx, all)
	w.must(err)
	for i, j := range jobs {
		if j == nil {
			w.Fatalf("job %s is not there", all[i])
		}
	}
	return jobs
}

// batches: many enqueues in one step.
var batches = []scenario{
	{"an_empty_batch_is_nothing", func(w *world) {
		w.many(nil)
		equal(w, "jobs", len(w.jobs()), 0)
	}},
	{"receipts_come_in_the_order_of_the_items", func(w *world) {
		var items []onceq.Item
		for i := range 300 {
			items = append(items, onceq.NewItem(task(i), onceq.Unique{}))
		}
		for _, outcome := range []onceq.Outcome{onceq.Inserted, onceq.Skipped} {
			for i, j := range w.made(w.many(each(outcome, 300), items...)) {
				equal(w, "args", string(j.Args), fmt.Sprint(i))
			}
		}
	}},
	{"jobs_of_a_batch_run_in_the_order_of_the_items", func(w *world) {
		var items []onceq.Item
		for i := range 20 {
			items = append(items, onceq.NewItem(task(i)))
		}
		receipts := w.many(each(onceq.Inserted, 20), items...)
		for _, r := range receipts {
			w.starts(r.Job.ID)
		}
	}},
	{"duplicates_inside_a_batch_are_found_and_the_first_wins", func(w *world) {
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Inserted, onceq.Skipped, onceq.Skipped},
			onceq.NewItem(task(1), key), onceq.NewItem(task(2), key), onceq.NewItem(task(3), onceq.UniqueKey("other")),
			onceq.NewItem(task(4), key), onceq.NewItem(task(5), onceq.UniqueKey("other")))
		equal(w, "holders", line(r[1].Job.ID == r[0].Job.ID, r[3].Job.ID == r[0].Job.ID, r[4].Job.ID == r[2].Job.ID),
			"true true true")
		equal(w, "args differ", r[1].Conflict.ArgsDiffer, true)
		w.has(r[0].Job.ID, 1)
		equal(w, "jobs", len(w.jobs()), 2)
	}},
	{"what_a_batch_writes_to_a_holder_is_seen_by_a_later_item_with_its_id_and_not_by_an_earlier_one", func(w *world) {
		w.enqueue(onceq.Inserted, task(1), onceq.ID("a"), key)
		r := w.many([]onceq.Outcome{onceq.Rejected, onceq.Replaced, onceq.Rejected, onceq.Skipped, onceq.Superseded,
			onceq.Skipped},
			onceq.NewItem(task(9), onceq.ID("a"), reject),
			onceq.NewItem(task(2), key, onceq.OnConflict(onceq.Replace{Args: true})),
			onceq.NewItem(task(9), onceq.ID("a"), reject),
			onceq.NewItem(task(9), onceq.ID("a")),
			onceq.NewItem(task(3), key, supersede),
			onceq.NewItem(task(9), onceq.ID("a")))
		equal(w, "args seen by ID", line(string(r[0].Job.Args), string(r[2].Job.Args), string(r[3].Job.Args),
			string(r[5].Job.Args)), "1 2 2 2")
		equal(w, "states", line(r[3].Job.State, r[5].Job.State), "available cancelled")
	}},
	{"items_write_to_the_holders_of_several_keys", func(w *world) {
		var held []*onceq.JobRow
		var items []onceq.Item
		for i := range 4 {
			held = append(held, w.insert(task(i), onceq.UniqueKey(fmt.Sprint("key ", i))))
			items = append(items, onceq.NewItem(task(10+i), onceq.UniqueKey(fmt.Sprint("key ", i)),
				onceq.OnConflict(onceq.Replace{Args: true})))
		}
		items = append(items, onceq.NewItem(task(20), onceq.UniqueKey("free")))
		w.many([]onceq.Outcome{onceq.Replaced, onceq.Replaced, onceq.Replaced, onceq.Replaced, onceq.Inserted},
			items...)
		for i, j := range held {
			w.has(j.ID, task(10+i))
		}
		equal(w, "jobs", len(w.jobs()), 5)
	}},
	{"an_id_twice_in_a_batch_is_one_job_and_one_duplicate", func(w *world) {
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected},
			onceq.NewItem(task(1), onceq.ID("a")),
			onceq.NewItem(task(2), onceq.ID("a")), onceq.NewItem(task(3), onceq.ID("a"), reject))
		equal(w, "by", r[1].Conflict.By+r[2].Conflict.By, "idid")
		w.has("a", 1)
	}},
	{"rejected_items_say_so_in_their_receipt_and_fail_nothing", func(w *world) {
		holder := w.insert(task(0), key)
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Rejected, onceq.Inserted}, onceq.NewItem(task(1)),
			onceq.NewItem(task(2), key, reject), onceq.NewItem(task(3)))
		equal(w, "job", r[1].Job.ID, holder.ID)
		equal(w, "jobs", len(w.jobs()), 3)
	}},
	{"one_invalid_item_refuses_the_whole_batch_naming_its_index", func(w *world) {
		_, err := w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1), key),
			onceq.NewItem(task(2), onceq.Priority(10)), onceq.NewItem(task(3))})
		if invalid := w.refused(err); !strings.HasPrefix(invalid.Field, "item 1: ") {
			w.Fatalf("the error names %q, want item 1", invalid.Field)
		}
		noField := onceq.Unique{Fields: []string{"absent"}} // found out when its key is computed
		_, err = w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1), key), onceq.NewItem(task(2), noField),
			onceq.NewItem(task(3), onceq.Priority(10))})
		if invalid := w.refused(err); !strings.HasPrefix(invalid.Field, "item 1: ") {
			w.Fatalf("the error names %q, want item 1, the first", invalid.Field)
		}
		equal(w, "jobs", len(w.jobs()), 0)
		w.insert(task(1), key)
	}},
	{"a_batch_that_is_too_long_is_refused", func(w *world) {
		_, err := w.client.EnqueueMany(w.ctx, make([]onceq.Item, onceq.MaxBatch+1))
		w.refused(err)
	}},
	{"a_batch_that_is_too_large_is_refused_and_the_largest_is_not", func(w *world) {
		c := w.clientOf(w.Store, &onceq.Config{MaxArgs: onceq.MaxArgsSize})
		defer c.Close()
		item := func(i, size int) onceq.Item {
			return onceq.NewItem(onceq.Bytes("large", bytes.Repeat([]byte{byte(i)}, size)),
				onceq.ID(fmt.Sprint("large", i)))
		}
		var items []onceq.Item
		for i := range onceq.MaxBatchBytes / onceq.MaxArgsSize {
			items = append(items, item(i, onceq.MaxArgsSize))
		}
		_, err := c.EnqueueMany(w.ctx, append(slices.Clip(items), item(99, 1)))
		if invalid := w.refused(err); !strings.Contains(invalid.Rule, "send several") {
			w.Fatal(invalid)
		}
		equal(w, "jobs", len(w.jobs()), 0)
		receipts, err := c.EnqueueMany(w.ctx, items)
		w.must(err)
		for i, r := range receipts {
			equal(w, "outcome", r.Outcome, onceq.Inserted)
			j, err := c.Job(w.ctx, r.Job.ID)
			w.must(err)
			equal(w, "args", len(j.Args) == onceq.MaxArgsSize && j.Args[0] == byte(i), true)
		}
	}},
	{"a_batch_answers_as_if_its_items_came_one_after_another", func(w *world) {
		holder := w.insert(task(1), key)
		w.starts(holder.ID)
		r := w.many([]onceq.Outcome{onceq.Skipped, onceq.Coalesced, onceq.Replaced, onceq.Superseded, onceq.Replaced,
			onceq.Skipped, onceq.Rejected},
			onceq.NewItem(task(2), key),
			onceq.NewItem(task(3), key, coalesce),
			onceq.NewItem(task(4), key, coalesce),
			onceq.NewItem(task(5), key, supersede),
			onceq.NewItem(task(6), key, coalesce),
			onceq.NewItem(task(7), key, replace(onceq.Replace{Args: true})),
			onceq.NewItem(task(8), key, reject))
		w.is(r[1].Job.ID, onceq.Cancelled)
		equal(w, "jobs", line(r[2].Job.ID == r[1].Job.ID, r[4].Job.ID == r[3].Job.ID, r[5].Job.ID == holder.ID),
			"true true true")
		equal(w, "asked to stop", w.job(holder.ID).CancelRequested, true)
		w.waits(w.has(r[3].Job.ID, 6), holder)
	}},
	{"items_replace_what_earlier_items_made", func(w *world) {
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Replaced, onceq.Replaced},
			onceq.NewItem(task(1), key, onceq.Delay(time.Hour)),
			onceq.NewItem(task(2), key, replace(onceq.Replace{Args: true, RunAt: true}), onceq.Delay(minute)),
			onceq.NewItem(task(3), key, coalesce))
		j := w.has(r[0].Job.ID, 3)
		equal(w, "state", j.State, onceq.Available)
	}},
	{"items_supersede_what_earlier_items_made", func(w *world) {
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Superseded, onceq.Superseded},
			onceq.NewItem(task(1), key, supersede),
			onceq.NewItem(task(2), key, supersede), onceq.NewItem(task(3), key, supersede))
		w.is(r[0].Job.ID, onceq.Cancelled)
		w.is(r[1].Job.ID, onceq.Cancelled)
		w.holds(r[2].Job)
		equal(w, "displaced", w.job(r[2].Job.ID).Displaced, r[1].Job.ID)
		w.starts(r[2].Job.ID)
		w.idle()
	}},
	{"a_debounced_batch_is_one_job_with_the_last_args", func(w *world) {
		r := w.many([]onceq.Outcome{onceq.Inserted, onceq.Replaced, onceq.Replaced},
			onceq.NewItem(task(1), debounce(minute, time.Hour)...),
			onceq.NewItem(task(2), debounce(minute, time.Hour)...),
			onceq.NewItem(task(3), debounce(2*minute, time.Hour)...))
		w.sameTime("run at", w.has(r[0].Job.ID, 3).RunAt, start.Add(2*minute))
	}},
	{"an_item_whose_id_is_met_takes_no_key_from_the_next", func(w *world) {
		w.insert(task(0), onceq.ID("a"))
		r := w.many([]onceq.Outcome{onceq.Skipped, onceq.Inserted, onceq.Skipped},
			onceq.NewItem(task(1), onceq.ID("a"), key), onceq.NewItem(task(2), key), onceq.NewItem(task(3), key))
		w.holds(r[1].Job)
	}},
	{"a_long_batch_with_duplicates_is_exact", func(w *world) {
		n := scaled(600)
		var items []onceq.Item
		var want []onceq.Outcome
		for i := range 3 * n {
			items = append(items, onceq.NewItem(task(i%n), onceq.Unique{}))
			want = append(want, map[bool]onceq.Outcome{true: onceq.Inserted, false: onceq.Skipped}[i < n])
		}
		receipts := w.many(want, items...)
		for i, r := range receipts {
			if r.Job.ID != receipts[i%n].Job.ID {
				w.Fatalf("item %d stands as %s, want %s", i, r.Job.ID, receipts[i%n].Job.ID)
			}
		}
		equal(w, "jobs", len(w.jobs()), n)
	}},
	{"a_batch_of_large_args_is_a_batch_like_any", func(w *world) {
		var items []onceq.Item
		for i := range 20 {
			items = append(items, onceq.NewItem(mail{To: strings.Repeat(fmt.Sprint(i%10), 100_000)},
				onceq.UniqueKey(fmt.Sprint(i))))
		}
		for i, r := range w.many(slices.Repeat([]onceq.Outcome{onceq.Inserted}, 20), items...) {
			equal(w, "bytes", len(w.job(r.Job.ID).Args), 100_000+len(`{"to":""}`))
			w.holds(w.job(r.Job.ID))
			equal(w, "first", string(r.Job.Args[7]), fmt.Sprint(i%10))
		}
	}},
	{"a_long_batch_of_jobs_without_keys_finds_the_ids_that_are_there", func(w *world) {
		w.insert(task(0), onceq.ID("there"))
		for place := range 20 {
			var items []onceq.Item
			want := slices.Repeat([]onceq.Outcome{onceq.Inserted}, 20)
			for i := range 20 {
				items = append(items, onceq.NewItem(task(i), onceq.ID(fmt.Sprint(place, " ", i))))
			}
			items[place], want[place] = onceq.NewItem(task(place), onceq.ID("there")), onceq.Skipped
			w.many(want, items...)
		}
		equal(w, "jobs", len(w.jobs()), 1+20*19)
	}},
	{"wherever_in_a_long_batch_an_item_meets_a_job_the_others_are_inserted_and_hold_their_keys", func(w *world) {
		byKey, byID := w.insert(task(0), onceq.UniqueKey("held")), w.insert(task(0), onceq.ID("there"))
		const n = 35
		var made []*onceq.JobRow
		for place := range n {
			var items []onceq.Item
			want := slices.Repeat([]onceq.Outcome{onceq.Inserted}, n)
			for i := range n {
				items = append(items, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(place, i))))
			}
			want[place] = onceq.Skipped
			meets := byKey
			switch place % 3 {
			case 0:
				items[place] = onceq.NewItem(task(place), onceq.UniqueKey("held"))
			case 1: // it takes no key
				items[place] = onceq.NewItem(task(place), onceq.UniqueKey(fmt.Sprint("free ", place)),
					onceq.ID("there"))
				meets = byID
			case 2: // two in one batch
				other := (place + 7) % n
				items[other] = onceq.NewItem(task(other), onceq.UniqueKey(fmt.Sprint("free ", place-1)),
					onceq.ID(fmt.Sprint("id ", place)))
				items[place], want[place], meets = items[other], onceq.Inserted, nil
				want[max(place, other)] = onceq.Skipped
			}
			r := w.many(want, items...)
			for i, j := range w.made(r) {
				if want[i] == onceq.Inserted {
					made = append(made, j)
				} else if meets != nil {
					equal(w, "job", j.ID, meets.ID)
				}
			}
		}
		equal(w, "jobs", line(len(made), len(w.jobs())), line(n*(n-1), 2+n*(n-1)))
		holders := map[onceq.Key]string{}
		for k, err := range w.client.Keys(w.ctx, onceq.KeyFilter{}) {
			w.must(err)
			holders[k.Key] = k.Holder
		}
		for _, j := range made {
			equal(w, "holder", holders[*j.Key], j.ID)
		}
	}},
	{"calls_that_share_a_trip_get_their_own_answers", func(w *world) {
		type got struct {
			i   int
			r   onceq.Receipt
			err error
		}
		answers := make(chan got)
		for i := range 60 {
			go func() {
				opts := []onceq.Option{onceq.UniqueKey(fmt.Sprint(i % 20)), onceq.ID(fmt.Sprint("id", i))}
				if i%3 == 0 {
					opts = append(opts, reject)
				}
				r, err := w.client.Enqueue(w.ctx, task(i), opts...)
				answers <- got{i, r, err}
			}()
		}
		inserted := 0
		for range 60 {
			a := <-answers
			switch a.r.Outcome {
			case onceq.Inserted:
				inserted++
				equal(w, "job", a.r.Job.ID, fmt.Sprint("id", a.i))
			case onceq.Skipped:
				w.must(a.err)
				fallthrough
			case onceq.Rejected:
				var holder int
				fmt.Sscanf(a.r.Job.ID, "id%d", &holder)
				equal(w, "key of the holder", holder%20, a.i%20)
			default:
				w.Errorf("enqueue %d: %s, %v", a.i, a.r.Outcome, a.err)
			}
		}
		equal(w, "inserted", inserted, 20)
	}},
}
