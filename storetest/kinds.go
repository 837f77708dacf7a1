package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// kindOf is one of many kinds. Their names differ in length.
func kindOf(i int) string { return fmt.Sprintf("kind %d%s", i, strings.Repeat("x", i%7)) }

// before is the order in which jobs of a queue start.
func before(a, b *onceq.JobRow) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
}

// manyKinds enqueues a job of each of so many kinds into each queue. The
// last kinds have the most urgent jobs. It returns the jobs of each queue
// in the order in which they are to start.
func (w *world) manyKinds(queues map[string]int) map[string][]*onceq.JobRow {
	w.Helper()
	all := map[string][]*onceq.JobRow{}
	for queue, n := range queues {
		for from := 0; from < n; from += 500 {
			var items []onceq.Item
			for i := from; i < min(from+500, n); i++ {
				opts := []onceq.Option{onceq.Queue(queue), onceq.Priority(9 - i*10/n)}
				if i%3 == 0 {
					opts = append(opts, onceq.Delay(time.Duration(n-i)*time.Second))
				}
				items = append(items, onceq.NewItem(onceq.JSON(kindOf(i), []byte("1")), opts...))
			}
			receipts, err := w.client.EnqueueMany(w.ctx, items)
			w.must(err)
			for _, r := range receipts {
				all[queue] = append(all[queue], r.Job)
			}
		}
		slices.SortFunc(all[queue], before)
	}
	return all
}

// kinds: a worker takes some of them.
var kinds = []scenario{
	{"among_thousands_of_kinds_priority_then_run_time_then_id_decide", func(w *world) {
		const n = 2300
		want := w.manyKinds(map[string]int{"default": n, "other": n / 10})
		w.after(24 * time.Hour)
		var names []string
		for i := range n {
			if i%50 != 0 {
				names = append(names, kindOf(i))
			}
		}
		slots := []onceq.QueueSlots{{Queue: "other", Slots: 20}, {Queue: "default", Slots: 30}}
		for round, kinds := range [][]string{nil, names} {
			f := w.fetched("w", slots, kinds...)
			equal(w, "next due", f.NextDue, 0)
			var expected []string
			for _, s := range slots {
				free := s.Slots
				want[s.Queue] = slices.DeleteFunc(want[s.Queue], func(j *onceq.JobRow) bool {
					if free == 0 || kinds != nil && !slices.Contains(kinds, j.Kind) {
						return false
					}
					free--
					expected = append(expected, j.ID)
					return true
				})
			}
			equal(w, fmt.Sprint("jobs of fetch ", round), line(ids(f.Jobs)), line(expected))
		}
		// And thousands of slots reach all the others.
		var got []string
		left := len(want["default"])
		for range 10 { // a store may need several fetches, and says so
			f := w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: left - len(got)}})
			got = append(got, ids(f.Jobs)...)
			if len(f.Jobs) == 0 || len(got) == left {
				break
			}
			equal(w, "next due", f.NextDue, 0)
		}
		equal(w, "the other jobs", line(got), line(ids(want["default"])))
	}},
	{"a_fetch_among_thousands_of_kinds_knows_what_is_due_next", func(w *world) {
		const n = 2300
		for from := 0; from < n; from += 500 {
			var items []onceq.Item
			for i := from; i < min(from+500, n); i++ {
				delay := onceq.Delay(time.Hour - time.Duration(i)*time.Second)
				items = append(items, onceq.NewItem(onceq.JSON(kindOf(i), []byte("1")), delay))
			}
			_, err := w.client.EnqueueMany(w.ctx, items)
			w.must(err)
		}
		f := w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: 5}})
		equal(w, "jobs and next due", line(len(f.Jobs), f.NextDue), line(0, time.Hour-(n-1)*time.Second))
		w.after(time.Hour - (n-2)*time.Second)
		f = w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: 5}})
		equal(w, "jobs and next due", line(len(f.Jobs), f.NextDue), line(2, time.Second))
	}},
	{"who_waits_for_a_kind_is_woken_by_it_whatever_else_becomes_due", func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil || w.Open == nil {
			w.Skip("this store wakes nobody in other processes")
		}
		other := w.clientOf(w.Open(), nil)
		defer other.Close()
		wait := func(kind string) <-chan onceq.Wake {
			wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: []string{"default"}, Kinds: []string{kind}})
			w.must(err)
			return wake
		}
		a, b := wait("a"), wait("b")
		asleep := func() { // both have looked, and found nothing
			w.Helper()
			for _, kind := range []string{"a", "b"} {
				for _, j := range w.fetch("worker of "+kind, "default", 10, kind) {
					w.complete(j)
				}
				equal(w, "jobs", len(w.fetch("worker of "+kind, "default", 10, kind)), 0)
			}
			quiet(a)
			quiet(b)
		}
		put := func(kind string, opts ...onceq.Option) *onceq.JobRow {
			w.Helper()
			r, err := other.Enqueue(w.ctx, onceq.JSON(kind, []byte("1")), opts...)
			w.must(err)
			return r.Job
		}
		for name, step := range map[string]func(){
			"an enqueue of another kind, then of this one": func() {
				put("nobody's")
				put("b")
				w.woken(b, "default")
				put("a")
			},
			"a batch of both kinds": func() {
				_, err := other.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(onceq.JSON("b", []byte("1"))),
					onceq.NewItem(onceq.JSON("a", []byte("1")))})
				w.must(err)
				w.woken(b, "default")
			},
			"run-now of both": func() {
				for _, kind := range []string{"b", "a"} {
					_, err := other.RunNow(w.ctx, put(kind, onceq.Delay(time.Hour)).ID)
					w.must(err)
				}
				w.woken(b, "default")
			},
			"a replaced run time": func() {
				replaced := []onceq.Option{onceq.UniqueKey("replaced"), onceq.OnConflict(onceq.Replace{RunAt: true})}
				for _, kind := range []string{"b", "a"} {
					put(kind, append(replaced, onceq.Delay(time.Hour))...)
					put(kind, replaced...)
				}
				w.woken(b, "default")
			},
			"a waiter whose holder ends": func() {
				waits := []onceq.Option{onceq.UniqueKey("stands"), onceq.OnConflict(onceq.Coalesce)}
				put("a", waits...)
				w.woken(a, "default")
				holder := w.fetch("worker of a", "default", 1, "a")[0]
				put("a", waits...)
				put("b")
				w.woken(b, "default")
				equal(w, "jobs", len(w.fetch("worker of a", "default", 10, "a")), 0)
				quiet(a)
				w.complete(holder)
			},
			"a failure without backoff": func() {
				put("a")
				w.woken(a, "default")
				run := w.fetch("worker of a", "default", 1, "a")[0]
				equal(w, "jobs", len(w.fetch("worker of a", "default", 10, "a")), 0)
				quiet(a)
				w.fail(run, 0)
			},
		} {
			asleep()
			step()
			w.Log(name)
			w.woken(a, "default")
		}
	}},
	{"who_waits_for_very_many_kinds_is_woken_by_the_last_of_them", func(w *world) {
		wakeOf := w.Store.Traits().Wake
		if wakeOf == nil || w.Open == nil {
			w.Skip("this store wakes nobody in other processes")
		}
		other := w.clientOf(w.Open(), nil)
		defer other.Close()
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprintf("%0100d", i))
		}
		wake, err := wakeOf(w.ctx, onceq.WakeRequest{Queues: []string{"default"}, Kinds: many})
		w.must(err)
		for _, kind := range []string{many[0], many[99], many[50]} {
			equal(w, "jobs", len(w.fetch("w", "default", 10, many...)), 0)
			quiet(wake)
			r, err := other.Enqueue(w.ctx, onceq.JSON(kind, []byte("1")))
			w.must(err)
			w.woken(wake, "default")
			w.complete(w.starts(r.Job.ID))
		}
	}},
}
