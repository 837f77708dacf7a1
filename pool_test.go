package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// weighted are queues that share slots by weight.
func weighted(weights map[string]int) map[string]onceq.QueueConfig {
	queues := map[string]onceq.QueueConfig{}
	for name, w := range weights {
		queues[name] = onceq.QueueConfig{Weight: w}
	}
	return queues
}

// pooled runs a worker with a pool in a bubble. Each run takes a second of the
// bubble's clock, so that each batch of starts is seen by itself.
func pooled(t *testing.T, slots int, weights map[string]int, then func(b *bubble, p *poolWatch)) {
	t.Helper()
	inSlots(t, slots, func(t *testing.T, b *bubble, store *hooked) {
		p := &poolWatch{}
		store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
			if r.No > 0 {
				p.fetches.Add(1)
			}
			f, err := store.Store.Fetch(ctx, r)
			for _, j := range f.Jobs {
				p.count(j.Queue)
			}
			return f, err
		}
		stop := b.serve(
			onceq.WorkerConfig{Queues: weighted(weights), Concurrency: slots, PollInterval: 20 * time.Second},
			func(ctx context.Context, _ *onceq.Job[mail]) error {
				p.most.Store(max(p.most.Load(), p.running.Add(1)))
				defer p.running.Add(-1)
				time.Sleep(time.Second)
				return nil
			},
		)
		synctest.Wait()
		then(b, p)
		if most := p.most.Load(); most > int64(slots) {
			t.Errorf("%d ran at once in a pool of %d", most, slots)
		}
		clean(t, stop)
	})
}

// inSlots is a bubble with the name of the number of slots.
func inSlots(t *testing.T, slots int, f func(t *testing.T, b *bubble, store *hooked)) {
	t.Helper()
	t.Run(fmt.Sprint(slots, " slots"), func(t *testing.T) { inHookedBubble(t, f) })
}

type poolWatch struct {
	mu            sync.Mutex
	starts        map[string]int // by queue
	fetches       atomic.Int64
	running, most atomic.Int64
}

func (p *poolWatch) count(queue string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.starts == nil {
		p.starts = map[string]int{}
	}
	p.starts[queue]++
}

// started is how many jobs of each queue have started since it was asked last.
func (p *poolWatch) started() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	starts := p.starts
	p.starts = nil
	return starts
}

// fill enqueues n jobs of a queue in one call, so that the worker meets all.
func fill(b *bubble, n int, queue string) {
	items := make([]onceq.Item, n)
	for i := range items {
		items[i] = onceq.NewItem(mail{}, onceq.Queue(queue))
	}
	if _, err := b.client.EnqueueMany(b.t.Context(), items); err != nil {
		b.t.Fatal(err)
	}
}

func TestSharesOfAPoolAreAsTheWeights(t *testing.T) {
	for _, slots := range []int{1, 2, 5, 9, 20, 100} {
		pooled(t, slots, map[string]int{"a": 6, "b": 3, "c": 1}, func(b *bubble, p *poolWatch) {
			for queue := range map[string]int{"a": 0, "b": 0, "c": 0} {
				fill(b, 30*slots+1000, queue)
			}
			pass(50*time.Millisecond + time.Second) // what was alone there at first
			p.started()
			pass(30 * time.Second)
			started := p.started()
			all := float64(started["a"] + started["b"] + started["c"])
			if all < float64(29*slots) {
				t.Errorf("%d slots: %v started in 30 seconds: a slot was idle", slots, started)
			}
			for queue, want := range map[string]float64{"a": 0.6, "b": 0.3, "c": 0.1} {
				if got := float64(started[queue]) / all; got < want-1.5/float64(all)-0.02 || got > want+1.5/all+0.02 {
					t.Errorf(
						"%d slots: queue %s has %.3f of the starts, want %.1f: %v",
						slots,
						queue,
						got,
						want,
						started,
					)
				}
			}
		})
	}
}

func TestAnEmptyQueuesShareGoesToTheOthers(t *testing.T) {
	for _, slots := range []int{1, 3, 20} {
		pooled(t, slots, map[string]int{"critical": 60, "default": 3, "low": 1}, func(b *bubble, p *poolWatch) {
			fill(b, 10*slots, "default")
			pass(10*time.Second + 500*time.Millisecond)
			if started := p.started(); started["default"] != 10*slots || p.running.Load() != 0 {
				t.Errorf("%d slots: after 10 seconds %v have started and %d run", slots, started, p.running.Load())
			}
		})
	}
}

func TestAJobThatComesToABusyPoolHasItsShareOfTheNextSlots(t *testing.T) {
	pooled(t, 4, map[string]int{"critical": 9, "default": 1}, func(b *bubble, p *poolWatch) {
		for range 4 { // they end one after another, so that some always run
			b.enqueue(mail{}, onceq.Queue("default"))
			pass(250 * time.Millisecond)
		}
		fill(b, 100, "default")
		pass(3 * time.Second)
		p.started()
		b.enqueue(mail{}, onceq.Queue("critical"))
		b.enqueue(mail{}, onceq.Queue("critical"), onceq.Delay(2*time.Second)) // nothing wakes for this one
		pass(300 * time.Millisecond)
		if started := p.started(); started["critical"] != 1 {
			t.Errorf("soon after %v have started", started)
		}
		pass(2 * time.Second)
		if started := p.started(); started["critical"] != 1 {
			t.Errorf("two seconds later %v more have started", started)
		}
	})
}

func TestAnIdlePoolCostsNoMoreFetchesThanOneQueue(t *testing.T) {
	for _, slots := range []int{1, 2, 20} {
		for _, weights := range []map[string]int{{"a": 1}, {"a": 1, "b": 2, "c": 3, "d": 40}} {
			pooled(t, slots, weights, func(b *bubble, p *poolWatch) {
				pass(time.Second / 2)
				p.fetches.Store(0)
				pass(100 * time.Second)
				if n := p.fetches.Swap(0); n > 7 {
					t.Errorf("%d slots, %d queues: %d fetches in 100 idle seconds", slots, len(weights), n)
				}
				b.enqueue(mail{}, onceq.Queue("a"))
				synctest.Wait()
				if n := p.fetches.Load(); n != 1 {
					t.Errorf("%d slots, %d queues: %d fetches for a job", slots, len(weights), n)
				}
			})
		}
	}
}

func TestADrainOfAPoolLeavesNothing(t *testing.T) {
	for _, slots := range []int{1, 2, 20} {
		inSlots(t, slots, func(t *testing.T, b *bubble, store *hooked) {
			for i := range 5 {
				b.enqueue(mail{}, onceq.Queue(string(rune('a'+i))))
			}
			worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Concurrency: slots,
				Queues: weighted(map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6})})
			if err != nil {
				t.Fatal(err)
			}
			var last atomic.Bool
			onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Queue == "a" && last.CompareAndSwap(false, true) {
					_, err := onceq.ClientFrom(ctx).Enqueue(ctx, mail{}, onceq.Queue("f"))
					return err
				}
				return nil
			})
			ran, err := worker.Drain(t.Context())
			if err != nil || len(ran) != 6 {
				t.Errorf("%d slots: %d jobs were run, want 6: %v", slots, len(ran), err)
			}
			worker.Close()
		})
	}
}

func TestSlotsOfAPoolAndOfAQueueAreApart(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var own, shared atomic.Int64
		stop := b.serve(onceq.WorkerConfig{Concurrency: 2, Queues: map[string]onceq.QueueConfig{"own": {Concurrency: 3},
			"a": {Weight: 2}, "b": {}}}, func(_ context.Context, j *onceq.Job[mail]) error {
			at := &shared
			if j.Queue == "own" {
				at = &own
			}
			at.Add(1)
			time.Sleep(time.Minute)
			at.Add(-1)
			return nil
		})
		for _, queue := range []string{"own", "a", "b"} {
			fill(b, 10, queue)
		}
		pass(10 * time.Second)
		if own.Load() != 3 || shared.Load() != 2 {
			t.Errorf("%d run of the queue with slots of its own, %d of those that share", own.Load(), shared.Load())
		}
		pass(10 * time.Minute)
		clean(t, stop)
	})
}

func TestAPausedQueueOfAPoolGivesItsShareToTheOthers(t *testing.T) {
	pooled(t, 10, map[string]int{"a": 9, "b": 1}, func(b *bubble, p *poolWatch) {
		if err := b.client.PauseFor(t.Context(), "a", time.Minute); err != nil {
			t.Fatal(err)
		}
		fill(b, 1000, "a")
		fill(b, 1000, "b")
		pass(20500 * time.Millisecond)
		if started := p.started(); started["a"] != 0 || started["b"] < 200 {
			t.Errorf("while a is paused %v have started", started)
		}
		pass(41 * time.Second)
		p.started()
		pass(10 * time.Second)
		if started := p.started(); started["a"] != 90 || started["b"] != 10 {
			t.Errorf("after the pause %v have started in 10 seconds, want 90 and 10", started)
		}
	})
}

func TestPoolsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config onceq.WorkerConfig
		field  string
	}{
		{onceq.WorkerConfig{Queues: weighted(map[string]int{"a": 1})}, `WorkerConfig.Queues["a"].Concurrency`},
		{onceq.WorkerConfig{Queues: weighted(map[string]int{"a": -1}), Concurrency: 1},
			`WorkerConfig.Queues["a"].Weight`},
		{onceq.WorkerConfig{Queues: weighted(map[string]int{"a": 1001}), Concurrency: 1},
			`WorkerConfig.Queues["a"].Weight`},
		{onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 1, Weight: 1}}, Concurrency: 1},
			`WorkerConfig.Queues["a"].Weight`},
		{onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 1}}, Concurrency: 1},
			"WorkerConfig.Concurrency"},
		{onceq.WorkerConfig{Concurrency: -1}, "WorkerConfig.Concurrency"},
		{onceq.WorkerConfig{Concurrency: 10_001}, "WorkerConfig.Concurrency"},
		{onceq.WorkerConfig{Concurrency: 10_000}, ""},
		{onceq.WorkerConfig{Queues: weighted(map[string]int{"a": 0, "b": 1000}), Concurrency: 1}, ""},
	} {
		worker, err := onceq.NewWorker(memstore.New(nil), &c.config)
		var invalid *onceq.InvalidError
		if errors.As(err, &invalid); c.field == "" && err != nil ||
			c.field != "" && (invalid == nil || invalid.Field != c.field) {
			t.Errorf("%+v: %v, want field %q", c.config.Queues, err, c.field)
		}
		if worker != nil {
			worker.Close()
		}
	}
}
