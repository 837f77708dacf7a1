package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// flaky is a store whose connection fails on purpose. It says so as a store
// must: uncertain where the step may have happened.
type flaky struct {
	onceq.Store

	mu    sync.Mutex
	calls int              // of Enqueue
	fate  func(n int) fate // of the nth call of Enqueue, counted from 1; nil = all is well
	lost  func()           // called when an answer is lost, after the step; or nil
	trip  time.Duration    // how long the way to the store takes: calls that come meanwhile share the next trip
}

type fate uint8

const (
	fine       fate = iota
	answerLost      // the step happened
	neverSent       // the step did not happen; nobody can know
	refused         // a definite error: nothing happened
	hangs           // the step happened, and the answer does not come before the context ends
	half            // of a batch the first half happened, and that is all the answer tells
)

var errRefused = errors.New("refused by the store, for this test")

func (f *flaky) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	f.mu.Lock()
	f.calls++
	what := fine
	if f.fate != nil {
		what = f.fate(f.calls)
	}
	lost := f.lost
	f.mu.Unlock()
	if what != fine && lost != nil {
		defer lost()
	}
	time.Sleep(f.trip)
	switch what {
	case refused:
		return nil, errRefused
	case neverSent:
		return nil, fmt.Errorf("connection reset: %w", onceq.ErrUncertain)
	}
	if what == half {
		rows = rows[:len(rows)/2]
	}
	results, err := f.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows, NoWait: r.NoWait})
	switch {
	case err != nil:
		return results, err
	case what == answerLost:
		return nil, fmt.Errorf("connection reset: %w", onceq.ErrUncertain)
	case what == half:
		return results, fmt.Errorf("connection reset: %w", onceq.ErrUncertain)
	case what == hangs:
		<-ctx.Done()
		return nil, errors.Join(onceq.ErrUncertain, ctx.Err())
	}
	return results, nil
}

// set makes a fate the one of all calls from now on.
func (f *flaky) set(what fate) { f.setFor(1<<30, what) }

// setFor makes a fate the one of the next n calls; all is well after them.
func (f *flaky) setFor(n int, what fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.calls + n
	f.fate = func(call int) fate {
		if call <= last {
			return what
		}
		return fine
	}
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
