package storetest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// sized is args of so many bytes, quotes included.
func sized(n int) onceq.Args {
	return onceq.JSON("sized", []byte(`"`+strings.Repeat("x", n-2)+`"`))
}

// roomy makes the world's client one that takes the largest args.
func roomy(run func(w *world)) func(*world) {
	return func(w *world) {
		w.client.Close()
		w.client = w.clientOf(w.Store, &onceq.Config{MaxArgs: onceq.MaxArgsSize})
		run(w)
	}
}

// fill enqueues n jobs with these args, and returns their IDs.
func (w *world) fill(n int, args onceq.Args, opts ...onceq.Option) (ids []string) {
	w.Helper()
	for len(ids) < n {
		items := make([]onceq.Item, min(n-len(ids), 500))
		for i := range items {
			items[i] = onceq.NewItem(args, opts...)
		}
		receipts, err := w.client.EnqueueMany(w.ctx, items)
		w.must(err)
		for _, r := range receipts {
			ids = append(ids, r.Job.ID)
		}
	}
	return ids
}

// elapsed is how long a step takes.
func elapsed(step func()) time.Duration {
	began := time.Now()
	step()
	return time.Since(began)
}

// within fetches with a bound of bytes.
func (w *world) fetchWithin(bytes int, slots ...onceq.QueueSlots) onceq.Fetched {
	w.Helper()
	w.known("w")
	w.fetches["w"]++
	f, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: "w", No: w.fetches["w"], Queues: slots, MaxBytes: bytes})
	w.must(err)
	return f
}

func ids(jobs []*onceq.JobRow) (all []string) {
	for _, j := range jobs {
		all = append(all, j.ID)
	}
	return all
}

// bounds: what is large is read where it is needed, and in pieces that go
// on where the last one stopped.
var bounds = []scenario{
	{"a_fetch_stops_at_its_bytes_and_the_next_goes_on", func(w *world) {
		var want []string
		for i := range 12 {
			args := sized(1000 + 100*(i%3))
			want = append(want, w.fill(1, args, onceq.Priority(i/6))...)
		}
		var got []string
		for len(got) < len(want) {
			f := w.fetchWithin(3000, onceq.QueueSlots{Queue: "default", Slots: 10})
			bytes := 0
			for _, j := range f.Jobs {
				bytes += len(j.Args)
			}
			if len(f.Jobs) < 2 || bytes > 3000 {
				w.Fatalf("a fetch of at most 3000 bytes brings %d jobs of %d bytes", len(f.Jobs), bytes)
			}
			got = append(got, ids(f.Jobs)...)
			if len(got) < len(want) {
				equal(w, "next due", f.NextDue, 0)
			}
		}
		equal(w, "order", line(got), line(want))
		w.idle()
	}},
	{"a_fetch_gives_one_job_however_large_it_is", func(w *world) {
		large := w.fill(3, sized(5000))
		for _, id := range large {
			f := w.fetchWithin(1, onceq.QueueSlots{Queue: "default", Slots: 10})
			equal(w, "jobs", line(ids(f.Jobs)), line([]string{id}))
			equal(w, "args", len(f.Jobs[0].Args), 5000)
		}
		w.idle()
	}},
	{"a_fetch_without_a_bound_gives_all", func(w *world) {
		w.fill(8, sized(5000))
		equal(w, "jobs", len(w.fetchWithin(0, onceq.QueueSlots{Queue: "default", Slots: 10}).Jobs), 8)
	}},
	{"meta_counts_among_the_bytes_of_a_fetch", func(w *world) {
		w.fill(3, sized(10), onceq.Meta(map[string]any{"m": strings.Repeat("y", 2000)}))
		for range 3 {
			equal(w, "jobs", len(w.fetchWithin(3000, onceq.QueueSlots{Queue: "default", Slots: 10}).Jobs), 1)
		}
	}},
	{"a_fetch_of_many_queues_stops_at_its_bytes_and_reaches_all_of_them", func(w *world) {
		var slots []onceq.QueueSlots
		for i := range 4 {
			name := fmt.Sprint("queue ", i)
			w.fill(3, sized(1000), onceq.Queue(name))
			slots = append(slots, onceq.QueueSlots{Queue: name, Slots: 2})
		}
		left := 12
		for range 12 {
			f := w.fetchWithin(2500, slots...)
			if n := len(f.Jobs); n == 0 || n > 2 {
				w.Fatalf("a fetch of at most 2500 bytes brings %d jobs of 1000 bytes", n)
			}
			if left -= len(f.Jobs); left == 0 {
				return
			}
			equal(w, "next due", f.NextDue, 0)
		}
		w.Fatalf("%d jobs are left after 12 fetches", left)
	}},
	{"a_fetch_with_a_bound_takes_only_the_kinds_that_are_asked_for", func(w *world) {
		w.fill(3, sized(1000))
		mine := w.insert(task(1))
		w.known("w")
		w.fetches["w"]++
		f, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: "w", No: w.fetches["w"],
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}, Kinds: []string{"task"}, MaxBytes: 100})
		w.must(err)
		equal(w, "jobs", line(ids(f.Jobs)), line([]string{mine.ID}))
	}},
	{"a_page_with_args_ends_at_its_bytes_and_the_next_goes_on", roomy(func(w *world) {
		want := w.fill(5, sized(1_500_000))
		var got []string
		for after, pages := "", 1; ; pages++ {
			page, err := w.Store.List(w.ctx, onceq.ListRequest{Args: true,
				Cursor: after, Limit: 100})
			w.must(err)
			bytes := 0
			for _, j := range page.Jobs {
				bytes += len(j.Args)
				equal(w, "args", len(j.Args), 1_500_000)
			}
			if bytes > onceq.MaxPageBytes {
				w.Fatalf("a page of %d bytes, want at most %d", bytes, onceq.MaxPageBytes)
			}
			got = append(got, ids(page.Jobs)...)
			if after = page.Next; after == "" {
				break
			}
			if pages > 20 {
				w.Fatal("the pages have no end")
			}
		}
		equal(w, "jobs", len(got), 5)
		for i, id := range got {
			equal(w, "job", id, want[len(want)-1-i])
		}
		page, err := w.Store.List(w.ctx, onceq.ListRequest{Limit: 100})
		w.must(err)
		equal(w, "a page without args", line(len(page.Jobs), page.Next == ""), "5 true")
	})},
	{"a_page_with_args_has_one_job_however_large_it_is", roomy(func(w *world) {
		w.fill(2, sized(onceq.MaxPageBytes+1000))
		page, err := w.Store.List(w.ctx, onceq.ListRequest{Args: true, Limit: 100})
		w.must(err)
		equal(w, "jobs", line(len(page.Jobs), page.Next != ""), "1 true")
	})},
	{"nothing_but_a_fetch_pays_for_large_args", roomy(func(w *world) {
		// The tests of each store count what these and other steps read. Here a step is tried
		// until it is as cheap as with small args: one that reads 16 MiB never is.
		const n = 16
		var beats [2]onceq.ExtendRequest
		var some [2][]string
		var queues [2]string
		for i, size := range []int{100, 1 << 20} {
			queue, worker := fmt.Sprint("queue ", i), fmt.Sprint("worker ", i)
			queues[i], some[i] = queue, w.fill(n, sized(size), onceq.Queue(queue))
			beats[i] = onceq.ExtendRequest{Worker: worker, Lease: time.Minute}
			for len(beats[i].Runs) < n {
				for _, j := range w.fetch(worker, queue, n-len(beats[i].Runs)) {
					beats[i].Runs = append(beats[i].Runs, onceq.Run{ID: j.ID, Run: j.Run})
				}
			}
			beats[i].FetchesDone = w.fetches[worker]
		}
		list := func(i int, states ...onceq.State) {
			page, err := w.Store.List(w.ctx, onceq.ListRequest{Queue: queues[i], States: states, Limit: 100})
			w.must(err)
			equal(w, "jobs", len(page.Jobs), n)
		}
		for name, step := range map[string]func(i int){
			"a heartbeat":         func(i int) { w.extend(beats[i]) },
			"a list":              func(i int) { list(i) },
			"a list of what runs": func(i int) { list(i, onceq.Running) },
			"a request to stop": func(i int) {
				_, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpCancel, IDs: some[i]})
				w.must(err)
			},
		} {
			least := [2]time.Duration{math.MaxInt64, math.MaxInt64}
			for try := 0; least[1] > 2*least[0]+time.Millisecond; try++ {
				if try == 200 {
					w.Errorf("%s takes %v with args of 100 bytes and %v with args of 1 MiB", name, least[0], least[1])
					break
				}
				for i := range least {
					least[i] = min(least[i], elapsed(func() { step(i) }))
				}
			}
		}
	})},
	{"a_worker_of_some_kinds_finds_its_job_behind_many_of_others", func(w *world) {
		n := scaled(6000)
		w.fill(n, task(0))
		mine := w.insert(mail{To: "a"})
		got := w.fetch("w", "default", 10, "mail")
		equal(w, "jobs", line(ids(got)), line([]string{mine.ID}))
		w.fill(1, task(1), onceq.Delay(time.Minute))
		w.insert(mail{To: "later"}, onceq.Delay(time.Hour))
		f := w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: 10}}, "mail")
		equal(w, "jobs and next due", line(len(f.Jobs), f.NextDue), line(0, time.Hour))
		if f := w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: 10}}, "nobody's"); len(f.Jobs) != 0 ||
			f.NextDue >= 0 {
			w.Fatalf("a fetch of a kind that nobody enqueued: %d jobs, next due in %v, want none and never",
				len(f.Jobs), f.NextDue)
		}
		equal(w, "others", len(w.fetch("w", "default", 10, "task", "mail")), 10)
	}},
	{"after_a_fetch_by_kind_the_next_is_due_when_one_of_its_kinds_is", func(w *world) {
		w.fill(scaled(500), task(0))
		w.insert(mail{To: "a"})
		w.fill(1, task(1), onceq.Delay(time.Minute))
		w.insert(mail{To: "later"}, onceq.Delay(time.Hour))
		f := w.fetched("w", []onceq.QueueSlots{{Queue: "default", Slots: 10}}, "mail")
		equal(w, "jobs and next due", line(len(f.Jobs), f.NextDue), line(1, time.Hour))
	}},
	{"a_fetch_by_kind_does_not_pay_for_jobs_of_other_kinds", func(w *world) {
		w.fill(10, task(0), onceq.Queue("few"))
		w.fill(9000, task(0), onceq.Queue("many")) // queues count exactly up to 10,000
		// The two take turns, so that a busy machine is busy for both, until the bound is met:
		// a fetch that pays for the others never meets it.
		few, many := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
		for range 200 {
			fetch := func(queue string) time.Duration {
				return elapsed(func() { equal(w, "jobs", len(w.fetch("w", queue, 10, "mail")), 0) })
			}
			few, many = min(few, fetch("few")), min(many, fetch("many"))
			if many <= 4*few+time.Millisecond/2 {
				return
			}
		}
		w.Errorf("a fetch that finds nothing takes %v beside 10 jobs of another kind and %v beside 9000", few, many)
	}},
}
