package onceq_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// occupied is a store in which somebody's open transaction holds the key of one job: who enqueues it waits.
type occupied struct {
	*memstore.Store
	id   string
	over chan struct{} // closed when the transaction ends
}

func (s *occupied) EnqueueAtOnce(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	if slices.ContainsFunc(rows, func(r onceq.NewRow) bool { return r.ID == s.id }) {
		time.Sleep(20 * time.Millisecond)
		return nil, errors.New("occupied")
	}
	return s.Store.Enqueue(ctx, rows)
}

func (s *occupied) Enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	if rows[0].ID == s.id {
		select {
		case <-s.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Enqueue(ctx, rows)
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
		if _, err := client.Enqueue(short, job{}, onceq.ID("late")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, onceq.ErrUncertain) {
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

type job struct{}

func (job) Kind() string { return "job" }
