package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

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

func tamper[A any](s *flaky, op string, call func() (A, error)) (none A, _ error) {
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
		call()
		return none, fmt.Errorf("%w: answer cut", onceq.ErrUncertain)
	}
	return call()
}

func (s *flaky) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	return tamper(s, "fetch", func() (onceq.Fetched, error) { return s.Store.Fetch(ctx, r) })
}

func (s *flaky) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	op := "extend"
	if r.Lease == 0 {
		op = "leave"
	}
	return tamper(s, op, func() (onceq.Extended, error) { return s.Store.Extend(ctx, r) })
}

func (s *flaky) Finish(ctx context.Context, f []onceq.Finish) ([]onceq.FinishResult, error) {
	return tamper(s, "finish", func() ([]onceq.FinishResult, error) { return s.Store.Finish(ctx, f) })
}

func (s *flaky) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	return tamper(s, "sweep", func() (onceq.Swept, error) { return s.Store.Sweep(ctx, r) })
}
