package model

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// fault is what becomes of a call of a process to the store.
type fault int

const (
	sound      fault = iota
	unanswered       // it arrives, and its answer is lost
	unarrived        // it is lost on its way, and nobody can tell
)

// link is the way of one process to the store. It can be cut, as if the process
// had died, it can lose calls and answers, and it says when a heartbeat is due.
type link struct {
	onceq.Store
	now  func() time.Time // of the store
	wake chan onceq.Wake  // a heartbeat is due

	mu     sync.Mutex
	dead   bool
	faults []fault // of the next calls that write
	lost   func()  // called when an answer was lost; nil = nothing
	chance func() fault

	way    sync.RWMutex // held by calls that are under way
	beats  atomic.Int64 // heartbeats that were answered
	sweeps atomic.Int64 // sweeps that were answered
	beatAt atomic.Int64 // the store's clock at the latest heartbeat
}

func newLink(store onceq.Store, now func() time.Time) *link {
	return &link{Store: store, now: now, wake: make(chan onceq.Wake, 1)}
}

// errCut is final: a process that is dead tries nothing again.
var errCut = fmt.Errorf("the process is dead: %w", onceq.ErrClosed)

// Traits are those of the store. Wake-ups are ours, so that heartbeats come when
// a history says so.
func (l *link) Traits() onceq.Traits {
	t := l.Store.Traits()
	t.Wake = func(context.Context, onceq.WakeRequest) (<-chan onceq.Wake, error) { return l.wake, nil }
	return t
}

// cut waits for the calls that are under way, and lets none through any more.
func (l *link) cut() {
	l.way.Lock()
	defer l.way.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

// plan sets what becomes of the next calls that write.
func (l *link) plan(faults []fault, lost func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults, l.lost = faults, lost
}

// next is what becomes of a call.
func (l *link) next(writes bool) (f fault, dead bool, lost func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !writes:
	case len(l.faults) > 0:
		f, l.faults = l.faults[0], l.faults[1:]
	case l.chance != nil:
		f = l.chance()
	}
	return f, l.dead, l.lost
}

// through makes a call.
func through[A any](l *link, writes bool, call func() (A, error)) (answer A, err error) {
	l.way.RLock()
	defer l.way.RUnlock()
	f, dead, lost := l.next(writes)
	if dead {
		return answer, errCut
	}
	if f != unarrived {
		answer, err = call()
	}
	if f == sound || err != nil {
		return answer, err
	}
	if lost != nil {
		lost()
	}
	return *new(A), fmt.Errorf("connection reset: %w", onceq.ErrUncertain)
}

func (l *link) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	return through(l, true, func() ([]onceq.EnqueueResult, error) { return l.Store.Enqueue(ctx, r) })
}

func (l *link) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	return through(l, true, func() ([]onceq.ChangeResult, error) { return l.Store.Change(ctx, c) })
}

func (l *link) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	return through(l, true, func() ([]onceq.FinishResult, error) { return l.Store.Finish(ctx, r) })
}

func (l *link) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	return through(l, false, func() (onceq.Extended, error) {
		x, err := l.Store.Extend(ctx, r)
		if err == nil {
			l.beatAt.Store(l.now().UnixMilli())
			l.beats.Add(1)
		}
		return x, err
	})
}

func (l *link) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	return through(l, false, func() (onceq.Swept, error) {
		s, err := l.Store.Sweep(ctx, r)
		if err == nil {
			l.sweeps.Add(1)
		}
		return s, err
	})
}
