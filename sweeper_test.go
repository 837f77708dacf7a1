package onceq_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// drain runs a worker of mail until nothing is due.
func (b *bubble) drain(config onceq.WorkerConfig) {
	b.t.Helper()
	config.Drain = true
	w := b.worker(config)
	onceq.Handle(w, fine)
	if err := b.run(b.t.Context(), w); err != nil {
		b.t.Errorf("Run: %v", err)
	}
}

func TestWorkersThatOnlyDrainPruneWhatIsPastItsRetention(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var ids []string
		for range 25 {
			ids = append(ids, b.enqueue(mail{}, onceq.Retention(time.Second),
				onceq.Unique{Until: onceq.UntilDeleted, TTL: 2 * time.Second}))
			b.drain(onceq.WorkerConfig{})
			pass(time.Minute)
		}
		kept := 0
		for _, id := range ids {
			if _, err := b.client.Job(t.Context(), id); err == nil {
				kept++
			}
		}
		if kept > 1 {
			t.Errorf("%d of %d finished jobs are kept beyond their retention", kept, len(ids))
		}
	})
}

func TestADrainPrunesMoreThanOneSweepCan(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		for range 1300 {
			b.enqueue(mail{}, onceq.Retention(time.Second))
		}
		many := map[string]onceq.QueueConfig{"default": {Concurrency: 1000}}
		b.drain(onceq.WorkerConfig{Queues: many})
		pass(time.Minute)
		b.drain(onceq.WorkerConfig{})
		for job := range b.client.Jobs(t.Context(), onceq.JobFilter{}) {
			t.Fatalf("job %s is kept", job.ID)
		}
	})
}

func TestWorkersThatOnlyDrainRescueTheRunsOfOneThatDied(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := b.enqueue(mail{})
		b.deadWorker("died", 30*time.Second, 1)
		pass(time.Minute)
		began := time.Now()
		b.drain(onceq.WorkerConfig{Retry: func(*onceq.JobRow, error) time.Duration { return 0 }})
		if job := b.wants(id, onceq.Completed); job.Attempt != 2 {
			t.Errorf("attempt %d", job.Attempt)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// failing is a store whose first sweeps fail.
type failing struct {
	onceq.Store
	sweeps int
}

func (s *failing) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	if s.sweeps--; s.sweeps >= 0 {
		return onceq.Swept{}, errors.New("the store is busy")
	}
	return s.Store.Sweep(ctx, r)
}

func TestADrainRescuesRunsThoughASweepFails(t *testing.T) {
	inBubble(t, func() onceq.Store { return &failing{memstore.New(nil), 2} }, func(t *testing.T, b *bubble) {
		id := b.enqueue(mail{})
		b.deadWorker("died", time.Second, 1)
		pass(time.Minute)
		b.drain(onceq.WorkerConfig{Lease: time.Second, Retry: func(*onceq.JobRow, error) time.Duration { return 0 }})
		b.wants(id, onceq.Completed)
	})
}

func TestADrainEndsThoughEachSweepFails(t *testing.T) {
	inBubble(t, func() onceq.Store { return &failing{memstore.New(nil), 1 << 30} }, func(t *testing.T, b *bubble) {
		began := time.Now()
		b.wants(b.enqueue(mail{}), onceq.Available)
		b.drain(onceq.WorkerConfig{})
		if took := time.Since(began); took > time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestADrainOnATidyStoreTakesNoTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := b.enqueue(mail{})
		began := time.Now()
		b.drain(onceq.WorkerConfig{})
		b.wants(id, onceq.Completed)
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestADrainIsNotHeldUpByASweepThatDoesNotEnd(t *testing.T) {
	const fails = "it fails"
	for name, sweep := range map[string]func(ctx context.Context) (onceq.Swept, error){
		fails: func(context.Context) (onceq.Swept, error) {
			return onceq.Swept{}, errors.New("permission denied")
		},
		"it hangs": func(ctx context.Context) (onceq.Swept, error) {
			<-ctx.Done()
			return onceq.Swept{}, ctx.Err()
		},
		"there is always more": func(context.Context) (onceq.Swept, error) {
			return onceq.Swept{More: true, Jobs: 1}, nil
		},
		"a worker is always lost": func(context.Context) (onceq.Swept, error) {
			return onceq.Swept{Expired: []onceq.Beat{{Worker: "w", No: time.Now().UnixNano()}}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
				store.sweep = func(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) { return sweep(ctx) }
				id := b.enqueue(mail{})
				began := time.Now()
				b.drain(onceq.WorkerConfig{Lease: 24 * time.Hour, PollInterval: time.Hour})
				b.wants(id, onceq.Completed)
				took := time.Since(began)
				if took > 31*time.Second || name == fails && took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestASweepThatDoesNothingThoughThereIsMoreIsRepeatedLessAndLess(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var sweeps atomic.Int64
		store.sweep = func(context.Context, onceq.SweepRequest) (onceq.Swept, error) {
			sweeps.Add(1)
			return onceq.Swept{More: true}, nil
		}
		b.serve(onceq.WorkerConfig{}, fine)
		pass(10 * time.Minute)
		if n := sweeps.Load(); n > 120 {
			t.Errorf("%d sweeps in ten minutes", n)
		}
	})
}

func TestASweepThatRanOutOfTimeAsksForLess(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		store.sweep = func(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
			if r.Limit > 30 {
				<-ctx.Done()
				return onceq.Swept{}, ctx.Err()
			}
			return store.Store.Sweep(ctx, r)
		}
		b.serve(onceq.WorkerConfig{}, fine)
		id := b.enqueue(mail{}, onceq.Retention(time.Second))
		pass(5 * time.Minute)
		if _, err := b.client.Job(t.Context(), id); !errors.Is(err, onceq.ErrNotFound) {
			t.Errorf("still there: %v", err)
		}
	})
}

func TestAStoreIsSweptOftenHoweverLongTheLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{Lease: 24 * time.Hour}, fine)
		id := b.enqueue(mail{}, onceq.Retention(time.Minute))
		pass(2 * time.Minute)
		if _, err := b.client.Job(t.Context(), id); !errors.Is(err, onceq.ErrNotFound) {
			t.Errorf("still there: %v", err)
		}
	})
}

func TestARunThatCannotBeRescuedDoesNotKeepTheOthersFromIt(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var ids []string
		for _, id := range []string{"bad", "b", "c", "d"} {
			ids = append(ids, b.enqueue(mail{}, onceq.ID(id)))
		}
		b.deadWorker("died", 30*time.Second, 4)
		store.refuseResults(func(f onceq.Finish) bool { return f.ID == "bad" })
		b.serve(onceq.WorkerConfig{}, fine)
		pass(2 * time.Minute)
		for _, id := range ids[1:] {
			b.wants(id, onceq.Completed)
		}
	})
}
