package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// fault is what goes wrong with one call to a store.
type fault int

const (
	goesWell     fault = iota
	failsClean         // nothing happens, and the error says so
	failsUnsent        // nothing happens, and the error is uncertain
	failsUnheard       // it happens, but the answer is lost
	failsUnknown       // nothing happens: ErrLeaseLost
	goesLate           // it happens, and is answered, when the caller's context has ended
	failsLate          // it happens when the caller's context has ended, and the answer is lost
	goesSlowly         // it happens at once, and is answered 5 seconds later
)

var errDown = errors.New("the store is down")

// flaky is a store whose calls go wrong as told.
type flaky struct {
	*memstore.Store
	fate  atomic.Pointer[func(op string) fault]
	calls atomic.Int64
}

func newFlaky() *flaky { return &flaky{Store: memstore.New(nil)} }

// from here on each call goes wrong as f says.
func (s *flaky) from(f func(op string) fault) { s.fate.Store(&f) }

func (s *flaky) heal() { s.from(func(string) fault { return goesWell }) }

func tamper[A any](ctx context.Context, s *flaky, op string,
	call func(ctx context.Context) (A, error)) (none A, _ error) {
	s.calls.Add(1)
	what := goesWell
	if f := s.fate.Load(); f != nil {
		what = (*f)(op)
	}
	switch what {
	case failsClean:
		return none, errDown
	case failsUnsent:
		return none, fmt.Errorf("%w: connection cut", onceq.ErrUncertain)
	case failsUnknown:
		return none, onceq.ErrLeaseLost
	case failsUnheard:
		call(ctx)
		return none, fmt.Errorf("%w: answer cut", onceq.ErrUncertain)
	case goesLate, failsLate:
		<-ctx.Done()
		a, err := call(context.WithoutCancel(ctx))
		if what == failsLate {
			return none, fmt.Errorf("%w: %w", onceq.ErrUncertain, ctx.Err())
		}
		return a, err
	case goesSlowly:
		a, err := call(ctx)
		time.Sleep(5 * time.Second)
		return a, err
	}
	return call(ctx)
}

func (s *flaky) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	return tamper(ctx, s, "enqueue", func(ctx context.Context) ([]onceq.EnqueueResult, error) {
		return s.Store.Enqueue(ctx, r)
	})
}

func (s *flaky) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	return tamper(ctx, s, "fetch", func(ctx context.Context) (onceq.Fetched, error) { return s.Store.Fetch(ctx, r) })
}

func (s *flaky) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	op := "extend"
	if r.Lease == 0 {
		op = "leave"
	}
	return tamper(ctx, s, op, func(ctx context.Context) (onceq.Extended, error) { return s.Store.Extend(ctx, r) })
}

func (s *flaky) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	f := r.Runs
	return tamper(ctx, s, "finish", func(ctx context.Context) ([]onceq.FinishResult, error) {
		return s.Store.Finish(ctx, onceq.FinishRequest{Runs: f})
	})
}

func (s *flaky) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	return tamper(ctx, s, "sweep", func(ctx context.Context) (onceq.Swept, error) { return s.Store.Sweep(ctx, r) })
}
