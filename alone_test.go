package onceq_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// occupied is a store in which somebody's open transaction holds the key of
// one job: who enqueues it waits.
type occupied struct {
	*memstore.Store
	id    string
	over  chan struct{} // closed when the transaction ends
	trips atomic.Int64  // that met the job and did not wait
}

func (s *occupied) Traits() onceq.Traits { return onceq.Traits{Blocks: true} }

func (s *occupied) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	if slices.ContainsFunc(r.Rows, func(r onceq.NewRow) bool { return r.ID == s.id }) {
		if r.NoWait {
			s.trips.Add(1)
			time.Sleep(20 * time.Millisecond)
			return nil, errors.New("occupied")
		}
		select {
		case <-s.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Enqueue(ctx, r)
}

func (s *occupied) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	select {
	case <-s.over:
		return s.Store.Finish(ctx, r)
	default:
	}
	var open []onceq.Finish
	results := make([]onceq.FinishResult, len(r.Runs))
	for i, f := range r.Runs {
		if f.ID == s.id {
			results[i].Status = onceq.FinishBusy
			if len(r.Runs) == 1 {
				time.Sleep(20 * time.Millisecond)
			}
			continue
		}
		open = append(open, f)
	}
	done, err := s.Store.Finish(ctx, onceq.FinishRequest{Runs: open})
	for i, n := 0, 0; i < len(results) && err == nil; i++ {
		if r.Runs[i].ID != s.id {
			results[i] = done[n]
			n++
		}
	}
	return results, err
}

func TestACallerThatHasToWaitKeepsNobodyElseWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &occupied{Store: memstore.New(nil), id: "late", over: make(chan struct{})}
		client, err := onceq.NewClient(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx := context.Background()
		began := time.Now()

		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := client.Enqueue(short, job{}, onceq.ID("late")); !errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("after a second of waiting: %v, want its own deadline, and nothing uncertain about it", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want its own second", took)
		}

		var late, others sync.WaitGroup
		late.Go(func() {
			if r, err := client.Enqueue(ctx, job{}, onceq.ID("late")); err != nil || r.Outcome != onceq.Inserted {
				t.Errorf("the late one: %v (%v)", r.Outcome, err)
			}
			if took := time.Since(began); took != 11*time.Second {
				t.Errorf("the late one came after %v, want 11s", took)
			}
		})
		for range 64 {
			others.Go(func() {
				if _, err := client.Enqueue(ctx, job{}); err != nil {
					t.Error(err)
				}
			})
		}
		others.Wait()
		if took := time.Since(began) - time.Second; took > 50*time.Millisecond {
			t.Errorf("the others waited %v", took)
		}
		time.Sleep(time.Until(began.Add(11 * time.Second)))
		close(store.over)
		late.Wait()
	})
}

func TestAKeyThatATransactionHasCostsTheOthersOneTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &occupied{Store: memstore.New(nil), id: "late", over: make(chan struct{})}
		client := clientOf(t, store, nil)
		var all sync.WaitGroup
		ask := func(patience time.Duration) {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := client.Enqueue(ctx, job{}, onceq.ID("late"), onceq.Unique{})
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, onceq.ErrUncertain) {
					t.Errorf("%v: want its own deadline, and nothing uncertain", err)
				}
			})
		}
		for range 100 {
			ask(time.Second)
			for range 10 {
				all.Go(func() {
					began := time.Now()
					if _, err := client.Enqueue(t.Context(), job{}); err != nil {
						t.Error(err)
					}
					if took := time.Since(began); took > 50*time.Millisecond {
						t.Errorf("a bystander waited %v", took)
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
		}
		all.Wait()
		if n := store.trips.Load(); n != 1 {
			t.Errorf("%d trips failed because of the key, want 1", n)
		}
		time.Sleep(time.Second) // the key may be free again by now
		ask(time.Second)
		all.Wait()
		if n := store.trips.Load(); n != 2 {
			t.Errorf("%d trips failed because of the key, want 2: it is not contested for ever", n)
		}
		close(store.over)
		r, err := client.Enqueue(t.Context(), job{}, onceq.ID("late"), onceq.Unique{})
		if err != nil || r.Outcome != onceq.Inserted {
			t.Errorf("%s, %v", r.Outcome, err)
		}
	})
}

func TestAResultThatHasToWaitKeepsNoOtherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &occupied{Store: memstore.New(nil), id: "late", over: make(chan struct{})}
		client, err := onceq.NewClient(store.Store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		worker, err := onceq.NewWorker(store,
			&onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 2}}})
		if err != nil {
			t.Fatal(err)
		}
		onceq.Handle(worker, func(context.Context, *onceq.Job[job]) error { return nil })
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() {
			if err := worker.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		state := func(id string) onceq.State {
			j, err := client.Job(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			return j.State
		}
		for _, id := range []string{"late", "a", "b", "c"} {
			if _, err := client.Enqueue(ctx, job{}, onceq.ID(id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if got := state("late"); got != onceq.Running {
			t.Errorf("late is %s", got)
		}
		for _, id := range []string{"a", "b", "c"} {
			if got := state(id); got != onceq.Completed {
				t.Errorf("%s is %s while another's result waits", id, got)
			}
		}
		close(store.over)
		time.Sleep(time.Second)
		if got := state("late"); got != onceq.Completed {
			t.Errorf("late is %s", got)
		}
		stop()
		running.Wait()
	})
}

type job struct{}

func (job) Kind() string { return "job" }
