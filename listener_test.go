package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// promptly is within what a stop may take to reach a running handler.
const promptly = 100 * time.Millisecond

// waits is a handler that runs until its context ends, and notes why and when.
type waits struct {
	cause error
	at    time.Time
}

func (h *waits) handle(ctx context.Context, _ *onceq.Job[mail]) error {
	<-ctx.Done()
	h.cause, h.at = context.Cause(ctx), time.Now()
	return ctx.Err()
}

func TestAStopReachesARunningHandlerPromptly(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(b *bubble, id string) error
	}{
		{"cancel", func(b *bubble, id string) error { _, err := b.client.Cancel(b.t.Context(), id); return err }},
		{"cancel of all that match", func(b *bubble, id string) error {
			_, err := b.client.CancelAll(b.t.Context(), onceq.JobFilter{Kind: "mail"})
			return err
		}},
		{"supersede", func(b *bubble, id string) error {
			_, err := b.client.Enqueue(b.t.Context(), mail{}, onceq.Unique{}, onceq.OnConflict(onceq.Supersede),
				onceq.Delay(time.Hour))
			return err
		}},
	} {
		for _, lease := range []time.Duration{30 * time.Second, 24 * time.Hour} {
			t.Run(fmt.Sprint(c.name, ", lease ", lease), func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, b *bubble) {
					h := &waits{}
					b.serve(onceq.WorkerConfig{Lease: lease, PollInterval: time.Hour}, h.handle)
					id := b.enqueue(mail{}, onceq.Unique{})
					pass(time.Second)
					began := time.Now()
					if err := c.stop(b, id); err != nil {
						t.Fatal(err)
					}
					pass(promptly)
					if took := h.at.Sub(began); !errors.Is(h.cause, onceq.ErrCancelRequested) || took > promptly {
						t.Errorf("after %v: cause %v", took, h.cause)
					}
					b.wants(id, onceq.Cancelled)
				})
			})
		}
	}
}

func TestAStopReachesAHandlerWhileTheWorkerDoesOtherThings(t *testing.T) {
	for _, c := range []struct {
		name  string
		while func(b *bubble, store *flaky, stop func() error)
	}{
		{"a fetch hangs", func(b *bubble, store *flaky, stop func() error) {
			store.from(always(failsLate, "fetch"))
			b.enqueue(mail{}, onceq.Delay(time.Millisecond))
			pass(100 * time.Millisecond)
		}},
		{"fetches fail", func(b *bubble, store *flaky, stop func() error) {
			store.from(always(failsClean, "fetch"))
			b.enqueue(mail{}, onceq.Delay(time.Millisecond))
			pass(time.Minute)
		}},
		{"a sweep hangs", func(b *bubble, store *flaky, stop func() error) {
			store.from(always(failsLate, "sweep"))
			pass(10 * time.Second)
		}},
		{"a result is not taken", func(b *bubble, store *flaky, stop func() error) {
			store.from(always(failsClean, "finish"))
			b.enqueue(mail{To: "quick"})
			pass(10 * time.Second)
		}},
		{"it shuts down", func(b *bubble, store *flaky, stop func() error) {
			go stop()
			pass(10 * time.Second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				h := &waits{}
				stop := b.serve(onceq.WorkerConfig{Lease: 24 * time.Hour},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						if job.Args.To == "quick" {
							return nil
						}
						return h.handle(ctx, job)
					})
				id := b.enqueue(mail{})
				synctest.Wait()
				c.while(b, store, stop)
				began := time.Now()
				if _, err := b.client.Cancel(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				pass(promptly)
				if took := h.at.Sub(began); !errors.Is(h.cause, onceq.ErrCancelRequested) || took > promptly {
					t.Errorf("after %v: cause %v", took, h.cause)
				}
				store.heal()
			})
		})
	}
}

func TestAStopIsHeardByTheNextHeartbeatWhereTheStoreHasNoWakeUps(t *testing.T) {
	inBubble(t, func() onceq.Store { return deaf{memstore.New(nil)} }, func(t *testing.T, b *bubble) {
		h := &waits{}
		b.serve(onceq.WorkerConfig{Lease: 30 * time.Second}, h.handle)
		id := b.enqueue(mail{})
		pass(2 * time.Second)
		if _, err := b.client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		if !errors.Is(h.cause, onceq.ErrCancelRequested) {
			t.Errorf("cause %v", h.cause)
		}
		b.wants(id, onceq.Cancelled)
	})
}

func TestManyStopsAtOnceAreAnsweredByAFewHeartbeats(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var beats atomic.Int64
		store.extend = func(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
			beats.Add(1)
			return store.Store.Extend(ctx, r)
		}
		b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 500}}},
			func(ctx context.Context, job *onceq.Job[mail]) error { <-ctx.Done(); return ctx.Err() })
		var ids []string
		for range 500 {
			ids = append(ids, b.enqueue(mail{}))
		}
		pass(time.Second)
		beats.Store(0)
		for _, id := range ids {
			if _, err := b.client.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		pass(promptly)
		for _, id := range ids {
			b.wants(id, onceq.Cancelled)
		}
		if n := beats.Load(); n > 80 {
			t.Errorf("%d heartbeats for 500 stops in half a second", n)
		}
	})
}

// crier is a store whose wake-ups end now and then.
type crier struct {
	*memstore.Store
	cut atomic.Pointer[context.CancelFunc]
}

func (s *crier) Traits() onceq.Traits {
	traits := s.Store.Traits()
	wake := traits.Wake
	traits.Wake = func(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
		ctx, cancel := context.WithCancel(ctx)
		s.cut.Store(&cancel)
		return wake(ctx, r)
	}
	return traits
}

func TestWakeUpsThatEndAreAskedForAgainAndWhatWasMissedIsLookedFor(t *testing.T) {
	var store *crier
	inBubble(t, func() onceq.Store { store = &crier{Store: memstore.New(nil)}; return store },
		func(t *testing.T, b *bubble) {
			h := &waits{}
			b.serve(onceq.WorkerConfig{Lease: 24 * time.Hour, PollInterval: time.Hour},
				func(ctx context.Context, job *onceq.Job[mail]) error {
					if job.Args.To == "quick" {
						return nil
					}
					return h.handle(ctx, job)
				})
			id := b.enqueue(mail{})
			synctest.Wait()
			(*store.cut.Load())()
			synctest.Wait()
			if _, err := b.client.Cancel(t.Context(), id); err != nil { // nobody hears of it
				t.Fatal(err)
			}
			missed := b.enqueue(mail{To: "quick"})
			pass(2 * time.Second)
			b.wants(id, onceq.Cancelled)
			b.wants(missed, onceq.Completed)
			began := time.Now()
			b.wants(b.enqueueAndWait(mail{To: "quick"}), onceq.Completed)
			if took := time.Since(began); took > 0 {
				t.Errorf("a job started %v after it was enqueued", took)
			}
		})
}
