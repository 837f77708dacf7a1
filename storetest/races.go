package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// handles returns n handles on the data, each as another process would have
// it, or the same one n times if the data is in this process.
func (w *world) handles(n int) []onceq.Store {
	stores := []onceq.Store{w.Store}
	for len(stores) < n {
		if w.Open != nil {
			stores = append(stores, w.Open())
		} else {
			stores = append(stores, w.Store)
		}
	}
	return stores
}

// clients returns a client for each of n handles, closed with the case.
func (w *world) clients(n int) []*onceq.Client {
	var all []*onceq.Client
	for _, s := range w.handles(n) {
		c := w.clientOf(s, nil)
		w.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

// late lets others go first, for every second i.
func late(i int) {
	for range 100 * (i % 2) {
		runtime.Gosched()
	}
}

// together runs n functions at once, and returns when all are done.
func together(n int, run func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			run(i)
		})
	}
	done.Wait()
}

// stampede makes 64 enqueues at once through 4 handles, and returns their
// receipts and errors.
func (w *world) stampede(opts func(i int) []onceq.Option) ([]onceq.Receipt, []error) {
	clients := w.clients(4)
	receipts, errs := make([]onceq.Receipt, 64), make([]error, 64)
	together(64, func(i int) {
		receipts[i], errs[i] = clients[i%4].Enqueue(w.ctx, task(i), opts(i)...)
	})
	return receipts, errs
}

// oneOf wants exactly one receipt to be a new job with this outcome, and
// all others to be duplicates of it.
func (w *world) oneOf(new, dup onceq.Outcome, receipts []onceq.Receipt, errs []error) string {
	w.Helper()
	id := ""
	for i, r := range receipts {
		if errs[i] != nil && !(dup == onceq.Rejected && errors.Is(errs[i], onceq.ErrDuplicate)) {
			w.Fatalf("enqueue %d: %v", i, errs[i])
		}
		if r.Outcome == new {
			if id != "" {
				w.Fatalf("two jobs are %s: %s and %s", new, id, r.Job.ID)
			}
			id = r.Job.ID
		}
	}
	if id == "" {
		w.Fatalf("no job is %s: %s …", new, receipts[0].Outcome)
	}
	for i, r := range receipts {
		if r.Outcome != new && (r.Outcome != dup || r.Job.ID != id) {
			w.Fatalf("enqueue %d: %s by %s, want %s by %s", i, r.Outcome, r.Job.ID, dup, id)
		}
	}
	return id
}

// workers starts workers that complete, fail and snooze whatever they can
// fetch until stop is closed, and then drain the store.
func (w *world) workers(stores []onceq.Store, stop <-chan struct{},
	verdict func(j *onceq.JobRow) onceq.Finish) (wait func() (runs int)) {
	w.Helper()
	var done sync.WaitGroup
	var runs atomic.Int64
	for i, s := range stores {
		done.Go(func() {
			name := fmt.Sprint("crew ", i)
			if _, err := s.Extend(w.ctx, onceq.ExtendRequest{Worker: name, Lease: time.Hour}); err != nil {
				w.Errorf("extend: %v", err)
				return
			}
			idle := 0
			for no := int64(1); idle < 3; no++ {
				f, err := s.Fetch(w.ctx, onceq.FetchRequest{Worker: name, No: no,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 4}}})
				if err != nil {
					w.Errorf("fetch: %v", err)
					return
				}
				var fs []onceq.Finish
				for _, j := range f.Jobs {
					runs.Add(1)
					v := verdict(j)
					v.ID, v.Run, v.Worker = j.ID, j.Run, name
					fs = append(fs, v)
				}
				results, err := s.Finish(w.ctx, onceq.FinishRequest{Runs: fs})
				if err != nil {
					w.Errorf("finish: %v", err)
					return
				}
				for i, r := range results {
					if r.Status != onceq.FinishDone {
						w.Errorf("finish of %s, run %d: status %d", fs[i].ID, fs[i].Run, r.Status)
					}
				}
				if len(f.Jobs) > 0 {
					idle = 0
					continue
				}
				select {
				case <-stop:
					idle++
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	return func() int { done.Wait(); return int(runs.Load()) }
}

func completes(*onceq.JobRow) onceq.Finish { return onceq.Finish{State: onceq.Completed} }

// races: many at once.
var races = []scenario{
	{"sixty_four_enqueues_of_one_key_make_one_job", func(w *world) {
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key} })
		id := w.oneOf(onceq.Inserted, onceq.Skipped, receipts, errs)
		equal(w, "jobs", len(w.jobs()), 1)
		for generation := range 3 {
			w.complete(w.starts(id))
			receipts, errs = w.stampede(func(int) []onceq.Option { return []onceq.Option{key} })
			id = w.oneOf(onceq.Inserted, onceq.Skipped, receipts, errs)
			equal(w, "jobs", len(w.jobs()), generation+2)
		}
	}},
	{"sixty_four_enqueues_under_reject_make_one_job", func(w *world) {
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key, reject} })
		w.oneOf(onceq.Inserted, onceq.Rejected, receipts, errs)
	}},
	{"sixty_four_enqueues_of_one_id_make_one_job", func(w *world) {
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{onceq.ID("a")} })
		w.oneOf(onceq.Inserted, onceq.Skipped, receipts, errs)
	}},
	{"sixty_four_enqueues_of_one_lapsed_key_make_one_job", func(w *world) {
		w.insert(task(0), key, onceq.Unique{TTL: minute})
		w.after(minute)
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key} })
		w.oneOf(onceq.Inserted, onceq.Skipped, receipts, errs)
	}},
	{"sixty_four_coalesces_of_a_running_job_make_one_waiter", func(w *world) {
		w.insert(task(0), key, coalesce)
		holder := w.start()
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key, coalesce} })
		id := w.oneOf(onceq.Coalesced, onceq.Replaced, receipts, errs)
		w.waits(w.job(id), holder)
	}},
	{"sixty_four_replaces_of_one_key_make_one_job", func(w *world) {
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key, replace(replaceAll)} })
		w.oneOf(onceq.Inserted, onceq.Replaced, receipts, errs)
	}},
	{"sixty_four_supersedes_leave_one_job", func(w *world) {
		receipts, errs := w.stampede(func(int) []onceq.Option { return []onceq.Option{key, supersede} })
		inserted, live := 0, 0
		for i, r := range receipts {
			w.must(errs[i])
			if r.Outcome == onceq.Inserted {
				inserted++
			} else if r.Outcome != onceq.Superseded {
				w.Fatalf("enqueue %d: %s", i, r.Outcome)
			}
			if w.job(r.Job.ID).State != onceq.Cancelled {
				live++
			}
		}
		equal(w, "inserted and live", line(inserted, live), "1 1")
	}},
	{"enqueuers_and_completers_of_fifty_keys_never_meet_neither", func(w *world) {
		w.real()
		stop := make(chan struct{})
		wait := w.workers(w.handles(3), stop, completes)
		clients := w.clients(4)
		var inserted atomic.Int64
		together(8, func(n int) {
			for i := range scaled(120) {
				r, err := clients[n%4].Enqueue(w.ctx, task(i), onceq.UniqueKey(fmt.Sprint(rand.IntN(50))))
				switch {
				case err != nil:
					w.Errorf("enqueue: %v", err)
				case r.Outcome == onceq.Inserted:
					inserted.Add(1)
				case r.Outcome != onceq.Skipped || r.Conflict.Holder == "" || r.Job.ID != r.Conflict.Holder:
					w.Errorf("enqueue: %s by %+v", r.Outcome, r.Conflict)
				}
			}
		})
		close(stop)
		equal(w, "runs", wait(), int(inserted.Load()))
		equal(w, "jobs", len(w.jobs()), int(inserted.Load()))
	}},
	{"all_policies_at_once_on_few_keys_lose_no_job", func(w *world) {
		w.real()
		stop := make(chan struct{})
		var n atomic.Int64
		wait := w.workers(w.handles(3), stop, func(j *onceq.JobRow) onceq.Finish {
			if j.Run > 3 {
				return onceq.Finish{State: onceq.Completed}
			}
			return []onceq.Finish{{State: onceq.Completed}, {State: onceq.Retryable, Error: "e"},
				{State: onceq.Scheduled, GiveBack: true}, {State: onceq.Discarded}}[n.Add(1)%4]
		})
		clients := w.clients(4)
		var accepted atomic.Int64
		together(8, func(g int) {
			for i := range scaled(80) {
				r, err := clients[g%4].Enqueue(w.ctx, task(i), onceq.UniqueKey(fmt.Sprint(rand.IntN(6))),
					[]onceq.Option{coalesce, supersede, onceq.OnConflict(onceq.Skip),
						replace(onceq.Replace{Args: true, Priority: true})}[rand.IntN(4)])
				if err != nil {
					w.Errorf("enqueue: %v", err)
				} else if !r.Duplicate() {
					accepted.Add(1)
				}
			}
		})
		close(stop)
		wait()
		ended := 0
		for _, j := range w.jobs() {
			if !j.State.Finished() {
				w.Errorf("left over: %s", show(j))
			}
			ended++
		}
		equal(w, "ended", ended, int(accepted.Load()))
	}},
	{"workers_that_fetch_at_once_share_the_jobs", func(w *world) {
		var items []onceq.Item
		for i := range 200 {
			items = append(items, onceq.NewItem(task(i)))
		}
		w.many(each(onceq.Inserted, 200), items...)
		stores := w.handles(4)
		for i := range 8 {
			w.known(fmt.Sprint("worker ", i))
		}
		var mu sync.Mutex
		seen := map[string]int{}
		together(8, func(i int) {
			for no := int64(1); no <= 12; no++ {
				f, err := stores[i%4].Fetch(w.ctx, onceq.FetchRequest{Worker: fmt.Sprint("worker ", i), No: no,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 5}}})
				if err != nil {
					w.Errorf("fetch: %v", err)
				}
				mu.Lock()
				for _, j := range f.Jobs {
					seen[j.ID]++
				}
				mu.Unlock()
			}
		})
		for id, n := range seen {
			if n != 1 {
				w.Errorf("%s was fetched %d times", id, n)
			}
		}
		equal(w, "fetched", len(seen)+len(w.fetch("w", "default", 200)), 200)
	}},
	{"a_coalesce_that_meets_the_end_of_the_run_is_never_stranded", func(w *world) {
		c := w.clients(2)[1]
		for i := range scaled(40) {
			k := onceq.UniqueKey(fmt.Sprint(i))
			run := w.starts(w.insert(task(1), k, coalesce).ID)
			var r onceq.Receipt
			var err error
			together(2, func(n int) {
				late(i + n)
				if n == 0 {
					w.Store.Finish(w.ctx,
						onceq.FinishRequest{
							Runs: []onceq.Finish{{ID: run.ID, Run: run.Run, Worker: "w", State: onceq.Completed}}})
				} else {
					r, err = c.Enqueue(w.ctx, task(2), k, coalesce)
				}
			})
			w.must(err)
			w.is(run.ID, onceq.Completed)
			second := w.starts(r.Job.ID)
			equal(w, "args", string(second.Args), "2")
			w.complete(second)
			w.free(second)
		}
	}},
	{"a_supersede_that_meets_the_end_of_the_run_is_never_stranded", func(w *world) {
		c := w.clients(2)[1]
		for i := range scaled(40) {
			k := onceq.UniqueKey(fmt.Sprint(i))
			run := w.starts(w.insert(task(1), k).ID)
			var r onceq.Receipt
			var err error
			together(2, func(n int) {
				late(i + n)
				if n == 0 {
					w.Store.Finish(w.ctx,
						onceq.FinishRequest{
							Runs: []onceq.Finish{{ID: run.ID, Run: run.Run, Worker: "w",
								State: onceq.Retryable, Error: "e"}}})
				} else {
					r, err = c.Enqueue(w.ctx, task(2), k, supersede)
				}
			})
			w.must(err)
			w.is(run.ID, onceq.Cancelled)
			w.complete(w.starts(r.Job.ID))
		}
	}},
	{"a_run_ends_once_however_many_say_so", func(w *world) {
		for i := range 20 {
			run := w.starts(w.insert(task(i), key).ID)
			stores := w.handles(2)
			var done atomic.Int64
			together(6, func(n int) {
				results, err := stores[n%2].Finish(w.ctx,
					onceq.FinishRequest{
						Runs: []onceq.Finish{{ID: run.ID, Run: run.Run, Worker: fmt.Sprint("rescuer ", n), Rescue: true,
							State: onceq.Discarded}}})
				if err != nil {
					w.Errorf("finish: %v", err)
				} else if results[0].Status == onceq.FinishDone {
					done.Add(1)
				}
			})
			equal(w, "finishes that counted", done.Load(), 1)
			w.free(run)
		}
	}},
	{"batches_over_the_same_keys_in_any_order_do_not_deadlock", func(w *world) {
		clients := w.clients(4)
		var inserted atomic.Int64
		together(12, func(n int) {
			for range 3 {
				var items []onceq.Item
				for _, k := range rand.Perm(scaled(120))[:scaled(60)] {
					o := onceq.OnConflict(onceq.Skip)
					if n%2 == 0 {
						o = replace(onceq.Replace{Args: true})
					}
					items = append(items, onceq.NewItem(task(n), onceq.UniqueKey(fmt.Sprint(k)), o))
				}
				receipts, err := clients[n%4].EnqueueMany(w.ctx, items)
				if err != nil {
					w.Errorf("batch: %v", err)
				}
				for _, r := range receipts {
					if r.Outcome == onceq.Inserted {
						inserted.Add(1)
					}
				}
			}
		})
		equal(w, "inserted", int(inserted.Load()), len(w.jobs()))
	}},
	{"operators_workers_and_enqueuers_in_each_others_way_break_nothing", func(w *world) {
		w.real()
		ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
		defer cancel()
		stores, clients := w.handles(3), w.clients(4)
		together(8, func(n int) {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			id := func() string { return fmt.Sprint("job ", r.IntN(12)) }
			c, s, name := clients[n%4], stores[n%3], fmt.Sprint("worker ", n)
			s.Extend(ctx, onceq.ExtendRequest{Worker: name, Lease: time.Hour})
			for i := range scaled(60) {
				var err error
				switch r.IntN(9) {
				case 0, 1, 2:
					_, err = c.Enqueue(ctx, task(i), onceq.ID(id()), onceq.UniqueKey(fmt.Sprint(r.IntN(4))),
						[]onceq.Option{coalesce, supersede, onceq.OnConflict(onceq.Skip)}[r.IntN(3)],
						onceq.Unique{TTL: time.Duration(1+r.IntN(50)) * time.Millisecond})
				case 3, 4:
					var f onceq.Fetched
					f, err = s.Fetch(ctx, onceq.FetchRequest{Worker: name, No: int64(i) + 1,
						Queues: []onceq.QueueSlots{{Queue: "default", Slots: 2}}})
					for _, j := range f.Jobs {
						if r.IntN(4) > 0 {
							_, err = s.Finish(ctx,
								onceq.FinishRequest{
									Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: name,
										State: []onceq.State{onceq.Completed, onceq.Retryable,
											onceq.Discarded}[r.IntN(3)]}}})
						}
					}
				case 5:
					_, err = s.Change(ctx,
						onceq.Change{Op: []onceq.Op{onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow,
							onceq.OpDelete}[r.IntN(4)], IDs: []string{id(), id(), id()}})
				case 6:
					if keys, _ := allKeys(ctx, s, onceq.KeyFilter{}, 10); len(keys) > 0 {
						_, err = s.Change(ctx, onceq.Change{Op: onceq.OpRelease, Key: keys[r.IntN(len(keys))].Key})
					}
				case 7:
					_, err = s.Sweep(ctx, onceq.SweepRequest{Limit: 5})
				case 8:
					_, err = s.Extend(ctx, onceq.ExtendRequest{Worker: name, Lease: time.Hour, FetchesDone: int64(i)})
				}
				if err != nil {
					w.Errorf("%v", err)
				}
			}
		})
	}},
}
