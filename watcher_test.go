package onceq_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

const notTaken = "onceq: no handler for a due job"

func fax(opts ...onceq.Option) (onceq.Args, []onceq.Option) {
	return onceq.JSON("fax", []byte("{}")), opts
}

func TestADueJobThatNoHandlerTakesIsWarnedOfOnceAnHour(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		log := newLog()
		b.serve(onceq.WorkerConfig{Logger: log.logger(), PollInterval: time.Minute}, fine)
		pass(time.Minute)
		var first string
		for range 20 {
			args, opts := fax()
			id := b.enqueue(args, opts...)
			if first == "" {
				first = id
			}
			b.enqueue(mail{})
			pass(100 * time.Millisecond)
		}
		pass(20 * time.Second)
		if n := strings.Count(log.String(), notTaken); n != 1 || !log.has("kind=fax") || !log.has("handlers=[mail]") ||
			!log.has("job=") {
			t.Errorf("%d warnings:\n%s", n, log)
		}
		pass(4 * time.Hour)
		if n := strings.Count(log.String(), notTaken); n < 3 || n > 5 {
			t.Errorf("%d warnings in 4 hours", n)
		}
		b.wants(first, onceq.Available)
	})
}

func TestJobsOfOtherKindsAreNoWarningWhereTheyAreTakenCareOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		config onceq.WorkerConfig
		others func(b *bubble) // other workers, and jobs
		any    bool
	}{
		{"another worker takes them", onceq.WorkerConfig{}, func(b *bubble) {
			w := b.worker(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}})
			w.HandleKind("fax", func(context.Context, *onceq.JobRow) error {
				time.Sleep(100 * time.Millisecond)
				return nil
			})
			b.start(w)
			for range 5 { // some are always due
				args, opts := fax()
				b.enqueue(args, opts...)
			}
		}, false},
		{"they are not due", onceq.WorkerConfig{}, func(b *bubble) {
			args, opts := fax(onceq.Delay(time.Hour))
			b.enqueue(args, opts...)
		}, false},
		{"another queue", onceq.WorkerConfig{}, func(b *bubble) {
			args, opts := fax(onceq.Queue("other"))
			b.enqueue(args, opts...)
		}, false},
		{"Kinds were chosen", onceq.WorkerConfig{Kinds: []string{"mail"}}, func(b *bubble) {
			args, opts := fax()
			b.enqueue(args, opts...)
		}, false},
		{"any kind is taken", onceq.WorkerConfig{}, func(b *bubble) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				log := newLog()
				c.config.Logger = log.logger()
				w := b.worker(c.config)
				onceq.Handle(w, fine)
				if c.any {
					w.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
				}
				b.start(w)
				c.others(b)
				for range 300 {
					if c.name != "Kinds were chosen" && c.name != "another queue" && c.name != "they are not due" {
						args, opts := fax()
						b.enqueue(args, opts...)
					}
					pass(100 * time.Millisecond)
				}
				if log.has(notTaken) {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
}

func TestADrainNamesTheKindsThatItLeaves(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		log := newLog()
		args, opts := fax()
		id := b.enqueue(args, opts...)
		b.enqueue(mail{})
		b.drain(onceq.WorkerConfig{Logger: log.logger()})
		b.wants(id, onceq.Available)
		if !log.has(notTaken) || !log.has("kind=fax") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// lister counts the lists of a store.
type lister struct {
	*memstore.Store
	lists atomic.Int64
}

func (s *lister) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	s.lists.Add(1)
	if r.Args {
		panic("args are not needed")
	}
	return s.Store.List(ctx, r)
}

func TestLooksForJobsOfOtherKindsAreFewWhereThereAreAlwaysSome(t *testing.T) {
	store := &lister{}
	inBubble(t, func() onceq.Store { store.Store = memstore.New(nil); return store }, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{PollInterval: time.Minute}, fine)
		pass(time.Hour)
		if n := store.lists.Load(); n > 0 {
			t.Errorf("%d lists where nothing was due", n)
		}
		args, opts := fax()
		b.enqueue(args, opts...)
		pass(2 * time.Hour)
		if n := store.lists.Load(); n > 30 {
			t.Errorf("%d lists in two hours", n)
		}
	})
}

// A kind per tenant must not make a worker larger with each tenant.
func TestAWorkerForgetsTheKindsItWarnedOfLongAgo(t *testing.T) {
	if n := onceq.KindsThatAreRemembered(10_000, time.Minute); n > 61 {
		t.Errorf("%d kinds are remembered: want those of the last hour", n)
	}
}
