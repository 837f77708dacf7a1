package onceq_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// treadmill is a store that always has one more job and keeps none: what is
// left is the worker's own cost. With a cost of a step and of a row it
// keeps its one writer busy, as a file does.
type treadmill struct {
	onceq.Store
	left      atomic.Int64
	finished  atomic.Int64
	fetches   atomic.Int64
	finishes  atomic.Int64
	writer    sync.Mutex
	step, row time.Duration
}

func (s *treadmill) busy(rows int) {
	if s.step == 0 {
		return
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	for until := time.Now().Add(s.step + time.Duration(rows)*s.row); time.Now().Before(until); {
	}
}

func (s *treadmill) Traits() onceq.Traits { return onceq.Traits{} }

func (s *treadmill) Extend(context.Context, onceq.ExtendRequest) (onceq.Extended, error) {
	return onceq.Extended{}, nil
}

func (s *treadmill) Sweep(context.Context, onceq.SweepRequest) (onceq.Swept, error) {
	return onceq.Swept{}, nil
}

func (s *treadmill) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	s.fetches.Add(1)
	f := onceq.Fetched{NextDue: -1}
	for range r.Queues[0].Slots {
		n := s.left.Add(-1)
		if n < 0 {
			break
		}
		f.Jobs = append(f.Jobs, &onceq.JobRow{ID: fmt.Sprint(n), Run: 1, Attempt: 1, MaxAttempts: 25, Kind: "mail",
			Queue: "default",
			State: onceq.Running, Args: []byte(`{"to":"ada"}`), Encoding: onceq.EncodingJSON})
	}
	s.busy(len(f.Jobs))
	return f, nil
}

func (s *treadmill) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	f := r.Runs
	s.finishes.Add(1)
	s.busy(len(f))
	s.finished.Add(int64(len(f)))
	results := make([]onceq.FinishResult, len(f))
	for i := range f {
		results[i].State = f[i].State
	}
	return results, nil
}

func BenchmarkWorker(b *testing.B) {
	for _, c := range []struct {
		name      string
		step, row time.Duration
	}{{"store=free", 0, 0}, {"store=file", 150 * time.Microsecond, 20 * time.Microsecond}} {
		b.Run(c.name, func(b *testing.B) {
			store := &treadmill{step: c.step, row: c.row}
			store.left.Store(int64(b.N))
			w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true,
				Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 100}}, Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			onceq.Handle(w, fine)
			b.ReportAllocs()
			b.ResetTimer()
			if err := w.Run(context.Background()); err != nil {
				b.Fatal(err)
			}
			if int(store.finished.Load()) != b.N {
				b.Fatalf("%d of %d", store.finished.Load(), b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(b.N)/float64(store.fetches.Load()), "jobs/fetch")
			b.ReportMetric(float64(b.N)/float64(store.finishes.Load()), "jobs/finish")
		})
	}
}
