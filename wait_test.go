package onceq_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// looker counts the looks at jobs.
type looker struct {
	onceq.Store
	gets, most, down atomic.Int64
}

func (l *looker) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	l.gets.Add(1)
	l.most.Store(max(l.most.Load(), int64(len(ids))))
	if l.down.Add(-1) >= 0 {
		return nil, errors.New("the store is away")
	}
	return l.Store.Get(ctx, ids)
}

func TestAThousandWaitsShareOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &looker{Store: memstore.New(nil)}
		client, err := onceq.NewClient(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 1000 {
			r, err := client.Enqueue(ctx, onceq.JSON("k", []byte(`1`)))
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if _, err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// An eighth of the time that has passed apart, at least 2ms and at most
		// 250ms, and for some of the waits a little earlier. Each by itself
		// they would look some 70,000 times.
		if n := store.gets.Load(); n > 1000 || store.most.Load() != 1000 {
			t.Errorf("%d looks, the largest at %d jobs", n, store.most.Load())
		}
		client.Close()
	})
}

// weighed notes the most bytes of args that one Get has read.
type weighed struct {
	onceq.Store
	most atomic.Int64
}

func (s *weighed) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	jobs, err := s.Store.Get(ctx, ids)
	n := int64(0)
	for _, j := range jobs {
		n += int64(len(j.Args))
	}
	s.most.Store(max(s.most.Load(), n))
	return jobs, err
}

func TestALookOfManyWaitsIsBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &weighed{Store: memstore.New(nil)}
		client, err := onceq.NewClient(store, &onceq.Config{MaxArgs: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		big := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 1<<20)...), '"')
		var all sync.WaitGroup
		for range 30 {
			r, err := client.Enqueue(t.Context(), onceq.JSON("k", big))
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if _, err := r.Wait(t.Context()); !errors.Is(err, onceq.ErrFailed) {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		if n, err := client.CancelAll(t.Context(), onceq.JobFilter{All: true}); n != 30 || err != nil {
			t.Fatal(n, err)
		}
		all.Wait()
		if n := store.most.Load(); n > onceq.MaxPageBytes {
			t.Errorf("one look read %d bytes of args", n)
		}
		client.Close()
	})
}

func TestNobodyWhoDoesNotWaitPays(t *testing.T) {
	store := &looker{Store: memstore.New(nil)}
	before := runtime.NumGoroutine()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Enqueue(t.Context(), onceq.JSON("k", []byte(`1`)))
	if err != nil {
		t.Fatal(err)
	}
	if n := store.gets.Load(); n != 0 || runtime.NumGoroutine() > before {
		t.Errorf("%d looks, %d goroutines more", n, runtime.NumGoroutine()-before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := r.Wait(ctx); done <- err }()
	for store.gets.Load() == 0 {
		runtime.Gosched()
	}
	cancel()
	<-done
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Sleep(time.Millisecond); time.Now().After(deadline) {
			t.Fatal("the goroutine of a wait that is over goes on")
		}
	}
}

func TestAStoreThatIsAwayDoesNotEndAWait(t *testing.T) {
	store := &looker{Store: memstore.New(nil)}
	store.down.Store(3)
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Enqueue(t.Context(), onceq.JSON("k", []byte(`1`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Cancel(t.Context(), r.Job.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(t.Context()); !errors.Is(err, onceq.ErrFailed) || store.gets.Load() != 4 {
		t.Errorf("after %d looks: %v", store.gets.Load(), err)
	}
}

func TestAClosedClientEndsItsWaits(t *testing.T) {
	client, err := onceq.NewClient(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Enqueue(t.Context(), onceq.JSON("k", []byte(`1`)))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := r.Wait(t.Context()); done <- err }()
	client.Close()
	if err := <-done; !errors.Is(err, onceq.ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Wait(t.Context()); !errors.Is(err, onceq.ErrClosed) {
		t.Error(err)
	}
	var invalid *onceq.InvalidError
	if _, err := (onceq.Receipt{Job: r.Job}).Wait(t.Context()); !errors.As(err, &invalid) {
		t.Error(err)
	}
}

type sum struct{ A, B int }

func (sum) Kind() string { return "sum" }

func TestAHandlerGivesAResult(t *testing.T) {
	store := memstore.New(nil)
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true})
	if err != nil {
		t.Fatal(err)
	}
	onceq.HandleResult(worker, func(ctx context.Context, job *onceq.Job[sum]) (any, error) {
		switch job.Args.A {
		case 0:
			return func() {}, nil // cannot be encoded
		case 1:
			return nil, onceq.Discard(errors.New("one"))
		}
		return job.Args.A + job.Args.B, nil
	})
	c, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var receipts []onceq.Receipt
	for a := range 3 {
		r, err := c.Enqueue(t.Context(), sum{a, 5})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	if err := worker.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"result", "one"} {
		if _, err := onceq.WaitFor[int](t.Context(), receipts[i]); !errors.Is(err, onceq.ErrFailed) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("job %d: %v", i, err)
		}
	}
	if got, err := onceq.WaitFor[int](t.Context(), receipts[2]); got != 7 || err != nil {
		t.Errorf("the sum is %d, %v", got, err)
	}
	if _, err := onceq.WaitFor[[]int](t.Context(), receipts[2]); err == nil {
		t.Error("a number was decoded as a list")
	}
	if _, err := onceq.ResultOf[int](&onceq.JobRow{}); !errors.Is(err, onceq.ErrNotFound) {
		t.Error(err)
	}
	if err := onceq.SetResult(t.Context(), 1); err == nil {
		t.Error("a result was set outside a handler")
	}
}
