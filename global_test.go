package onceq_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// global is a queue of which n jobs may run at once in the fleet; 0 = any
// number.
func global(own, n int) onceq.WorkerConfig {
	return onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: own, Global: n}}}
}

// crowd counts the handlers that run, and have not been told to stop.
type crowd struct {
	mu   sync.Mutex
	now  map[context.Context]bool
	most int
	all  atomic.Int64
}

// enter notes that a handler runs, until leave is called.
func (c *crowd) enter(ctx context.Context) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		c.now = map[context.Context]bool{}
	}
	c.now[ctx] = true
	n := 0
	for ctx := range c.now {
		if ctx.Err() == nil {
			n++
		}
	}
	c.most = max(c.most, n)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.now, ctx)
		c.all.Add(1)
	}
}

func (c *crowd) run(d time.Duration) func(context.Context, *onceq.Job[mail]) error {
	return func(ctx context.Context, _ *onceq.Job[mail]) error {
		defer c.enter(ctx)()
		time.Sleep(d)
		return nil
	}
}

// until lets time pass until so many runs have ended, and returns how long that
// took.
func (c *crowd) until(runs int) time.Duration {
	began := time.Now()
	for c.all.Load() < int64(runs) {
		pass(10 * time.Millisecond)
	}
	return time.Since(began)
}

func TestNoMoreRunInTheFleetThanTheGlobalLimitSaysAndNoFewer(t *testing.T) {
	for _, n := range []int{1, 3, 7, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				var c crowd
				for range 4 {
					b.serve(global(5, n), c.run(100*time.Millisecond))
				}
				pass(time.Minute)
				fill(b, 100*n, "default")
				if took := c.until(100 * n); took > 10*time.Second+100*time.Millisecond {
					t.Errorf("a hundred jobs of a tenth of a second for each slot took %v", took)
				}
				if c.most != n {
					t.Errorf("%d ran at once, want %d", c.most, n)
				}
			})
		})
	}
}

// callsOf counts the calls to a store.
func callsOf(store *hooked) *atomic.Int64 {
	var calls atomic.Int64
	store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
		calls.Add(1)
		return store.Store.Fetch(ctx, r)
	}
	store.extend = func(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
		calls.Add(1)
		return store.Store.Extend(ctx, r)
	}
	store.finish = func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
		calls.Add(1)
		return store.Store.Finish(ctx, r)
	}
	return &calls
}

func TestAGlobalLimitCostsNothingForEachJob(t *testing.T) {
	const jobs = 500
	for name, enqueue := range map[string]func(*bubble){
		"that wait": func(b *bubble) { fill(b, jobs, "default") },
		"that come one by one": func(b *bubble) {
			for range jobs {
				b.enqueueAndWait(mail{})
				pass(100 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls := map[int]int64{}
			for _, n := range []int{0, 10} {
				t.Run(fmt.Sprint("limit ", n), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						store := &hooked{Store: memstore.New(nil)}
						count := callsOf(store)
						b := newBubble(t, store)
						var c crowd
						stop := b.serve(global(10, n), c.run(50*time.Millisecond))
						pass(time.Minute)
						before := count.Load()
						enqueue(b)
						c.until(jobs)
						calls[n] = count.Load() - before
						clean(t, stop)
					})
				})
			}
			t.Logf("%d jobs: %d calls without a limit, %d with", jobs, calls[0], calls[10])
			// How many jobs a fetch brings is for the scheduler of Go to say, so the
			// calls of both differ by dozens. A look for each job would be 500 more.
			if more := calls[10] - calls[0]; more > jobs/5 {
				t.Errorf("%d jobs took %d calls without a limit, and %d with", jobs, calls[0], calls[10])
			}
		})
	}
}

func TestAnIdleWorkerOfALimitedQueueWritesNothing(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		calls := callsOf(store)
		stop := b.serve(global(10, 3), fine)
		b.enqueueAndWait(mail{})
		pass(time.Minute)
		before := calls.Load()
		pass(time.Hour)
		// polls, give or take a fifth; beats and sweeps
		if got, want := calls.Load()-before, int64(3600+450); got > want*13/10 {
			t.Errorf("an idle hour took %d calls, want about %d", got, want)
		}
		for j := range b.client.Jobs(t.Context(), onceq.JobFilter{Queue: "onceq.slots/default"}) {
			if j.State != onceq.Available || time.Since(j.RunAt) < time.Hour {
				t.Errorf("slot %s is %s since %v", j.Kind, j.State, time.Since(j.RunAt))
			}
		}
		clean(t, stop)
	})
}

func TestSlotsThatAreNotNeededAreGivenBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var c crowd
		b.serve(global(8, 8), c.run(time.Second))
		fill(b, 8, "default")
		for range 20 { // two at once from then on
			pass(500 * time.Millisecond)
			b.enqueue(mail{})
		}
		if got := b.slots(); got < 2 || got > 3 {
			t.Errorf("%d slots for two jobs at once", got)
		}
		pass(4 * time.Second)
		if got := b.slots(); got != 0 {
			t.Errorf("%d slots for no job", got)
		}
	})
}

// slots is how many slots of the queue "default" are taken.
func (b *bubble) slots() (n int) {
	for j, err := range b.client.Jobs(b.t.Context(), onceq.JobFilter{Queue: "onceq.slots/default"}) {
		if err != nil {
			b.t.Fatal(err)
		}
		if j.State == onceq.Running {
			n++
		}
	}
	return n
}

func TestAWorkerThatHasNoSlotIsGivenOneAfterTenSeconds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var c crowd
		busy := global(3, 3)
		b.serve(busy, c.run(100*time.Millisecond))
		fill(b, 2000, "default")
		pass(time.Second)
		other := global(3, 3)
		other.Kinds = []string{"report"}
		w := b.worker(other)
		var waited []time.Duration
		onceq.Handle(w, func(ctx context.Context, j *onceq.Job[*report]) error {
			defer c.enter(ctx)()
			waited = append(waited, time.Since(j.EnqueuedAt))
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		b.start(w)
		for range 5 {
			b.enqueue(&report{})
		}
		pass(30 * time.Second)
		if len(waited) != 5 || waited[0] < 9*time.Second || waited[4] > 13*time.Second {
			t.Errorf("what no other worker takes waited %v", waited)
		}
		if c.most > 3 {
			t.Errorf("%d ran at once", c.most)
		}
		if all := c.all.Load(); all < 30*29 { // a slot was idle for two seconds or so
			t.Errorf("%d have run in 30 seconds", all)
		}
	})
}

func TestADrainWaitsForSlotsOfOthersAndForNothingElse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		began := time.Now()
		b.drain(global(2, 1))
		if took := time.Since(began); took > 0 {
			t.Errorf("a drain of nothing took %v", took)
		}
		w := b.worker(global(1, 1))
		onceq.Handle(w, func(context.Context, *onceq.Job[*report]) error { time.Sleep(10 * time.Second); return nil })
		stop := b.start(w)
		b.enqueueAndWait(&report{})
		id := b.enqueue(mail{})
		began = time.Now()
		b.drain(global(2, 1))
		b.wants(id, onceq.Completed)
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("took %v", took)
		}
		clean(t, stop)
	})
}

func TestAShutdownGivesSlotsBackAsRunsEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		stop := b.serve(global(2, 2), func(ctx context.Context, j *onceq.Job[mail]) error {
			d, _ := time.ParseDuration(j.Args.To)
			time.Sleep(d)
			return nil
		})
		b.enqueue(mail{To: "2s"})
		b.enqueueAndWait(mail{To: "18s"})
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		pass(time.Second)
		b.serve(global(2, 2), fine)
		id := b.enqueueAndWait(mail{})
		b.wants(id, onceq.Available)
		pass(1100 * time.Millisecond)
		b.wants(id, onceq.Completed)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestAPausedQueueKeepsNoSlots(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(global(2, 2), fine)
		b.enqueueAndWait(mail{})
		if err := b.client.Pause(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
		id := b.enqueueAndWait(mail{})
		pass(5 * time.Second)
		if b.slots() != 0 {
			t.Errorf("%d slots of a paused queue", b.slots())
		}
		if err := b.client.Resume(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.wants(id, onceq.Completed)
	})
}

// Of the jobs that share slots in a worker, those of a limited queue leave to
// the others what they may not have.
func TestALimitedQueueOfAPoolLeavesTheOthersTheRest(t *testing.T) {
	for _, weight := range []int{1, 6, 1000} {
		t.Run(fmt.Sprint(weight), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				byQueue := map[string]*crowd{"a": {}, "b": {}, "c": {}}
				var all crowd
				config := onceq.WorkerConfig{Concurrency: 10, Queues: map[string]onceq.QueueConfig{
					"a": {Weight: weight, Global: 2}, "b": {Weight: 2}, "c": {Weight: 2, Global: 100}}}
				b.serve(config, func(ctx context.Context, j *onceq.Job[mail]) error {
					defer all.enter(ctx)()
					defer byQueue[j.Queue].enter(ctx)()
					time.Sleep(time.Second)
					return nil
				})
				for queue := range byQueue {
					fill(b, 500, queue)
				}
				pass(100*time.Second + 500*time.Millisecond)
				if got := all.all.Load(); got < 985 {
					t.Errorf("%d have run in a hundred seconds in ten slots", got)
				}
				if most := byQueue["a"].most; most != 2 && weight > 1 || most > 2 {
					t.Errorf("%d of the limited queue ran at once", most)
				}
				if got := byQueue["b"].all.Load(); weight > 1 && got < 350 {
					t.Errorf("%d of an unlimited queue have run, want about 400", got)
				}
			})
		})
	}
}

func TestTwoLimitedQueuesHaveSlotsOfTheirOwn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var c crowd
		b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 2, Global: 1},
			"b": {Concurrency: 2, Global: 1}}}, c.run(time.Hour))
		fill(b, 2, "a")
		fill(b, 2, "b")
		pass(2*time.Hour + time.Minute)
		if n := c.all.Load(); n != 4 || c.most != 2 {
			t.Errorf("%d have run, and %d at once; want 4, one of each queue at a time", n, c.most)
		}
	})
}

func TestALimitIsCheckedBeforeAWorkerIsMade(t *testing.T) {
	for _, n := range []int{-1, 101} {
		config := global(1, n)
		_, err := onceq.NewWorker(memstore.New(nil), &config)
		want := fmt.Sprintf(`WorkerConfig.Queues["default"].Global "%d" must be 1 to 100, or 0 for no limit: `+
			"for more, give each of the workers a Concurrency that is its part", n)
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// The limit holds whatever goes wrong with the calls of workers, as long as
// handlers heed their contexts: when a lease is over they have ended.
func TestALimitHoldsWhileAnswersAreLostAndWorkersStall(t *testing.T) {
	for round := range 12 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			shared := memstore.New(nil)
			inBubble(t, func() onceq.Store { return shared }, func(t *testing.T, b *bubble) {
				r := rand.New(rand.NewPCG(seed, 0))
				n, jobs := 1+r.IntN(4), 150
				var c crowd
				var links []*flaky
				for range 4 {
					link := &flaky{Store: shared}
					links, b.store = append(links, link), link
					config := global(1+r.IntN(4), n)
					config.Retry = func(*onceq.JobRow, error) time.Duration { return time.Second }
					b.serve(config, func(ctx context.Context, _ *onceq.Job[mail]) error {
						defer c.enter(ctx)()
						select {
						case <-time.After(rand.N(30 * time.Second)):
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					})
				}
				fill(b, jobs, "default")
				for range 60 {
					link := links[r.IntN(len(links))]
					if bad := r.IntN(100); r.IntN(2) == 0 {
						link.from(func(string) fault {
							if rand.IntN(100) < bad {
								return fault(rand.IntN(int(goesSlowly) + 1))
							}
							return goesWell
						})
					} else {
						link.heal()
					}
					pass(time.Duration(r.IntN(30_000)) * time.Millisecond)
				}
				for _, link := range links {
					link.heal()
				}
				pass(time.Hour)
				for j := range b.client.Jobs(t.Context(), onceq.JobFilter{}) {
					if !j.State.Finished() {
						t.Errorf("seed %d: job %s is %s", seed, j.ID, j.State)
					}
				}
				if c.most > n {
					t.Errorf("seed %d: %d ran at once, want %d at most", seed, c.most, n)
				}
				if b.slots() != 0 {
					t.Errorf("seed %d: %d slots are taken at the end", seed, b.slots())
				}
			})
		})
	}
}
