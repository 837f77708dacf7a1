package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// link is the way of one process to the store. It can be cut, as if the process
// had died, and it can lose answers.
type link struct {
	onceq.Store
	mu   sync.Mutex
	dead bool
	way  sync.RWMutex // held by calls that are under way
	lose int          // answers to the next calls that write
	lost func()       // called when an answer is lost; or nil

	beats   atomic.Int64 // heartbeats that were sent
	unknown atomic.Int64 // starts that the store refused, for it had taken the process for lost
}

// errCut is final: a process that is dead tries nothing again.
var errCut = fmt.Errorf("the process is dead, for this test: %w", onceq.ErrClosed)

// cut waits for the calls that are under way: one that arrived after the clock
// was moved would renew a lease.
func (l *link) cut() {
	l.way.Lock()
	defer l.way.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *link) loseNext(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = n
}

// through makes a call, unless the link is cut, and loses its answer if it is
// to.
func through[A any](l *link, call func() (A, error)) (answer A, err error) {
	l.way.RLock()
	defer l.way.RUnlock()
	l.mu.Lock()
	dead, lost := l.dead, l.lose > 0
	if lost {
		l.lose--
	}
	l.mu.Unlock()
	if dead {
		return answer, errCut
	}
	if answer, err = call(); lost && err == nil {
		if l.lost != nil {
			l.lost()
		}
		return *new(A), fmt.Errorf("connection reset: %w", onceq.ErrUncertain)
	}
	return answer, err
}

func (l *link) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	return through(l, func() ([]onceq.EnqueueResult, error) { return l.Store.Enqueue(ctx, r) })
}

func (l *link) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	return through(l, func() ([]onceq.ChangeResult, error) {
		results, err := l.Store.Change(ctx, c)
		for _, r := range results {
			if c.Op == onceq.OpStart && errors.Is(r.Err, onceq.ErrLeaseLost) {
				l.unknown.Add(1)
			}
		}
		return results, err
	})
}

func (l *link) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	return through(l, func() ([]onceq.FinishResult, error) { return l.Store.Finish(ctx, r) })
}

func (l *link) Extend(ctx context.Context, r onceq.ExtendRequest) (x onceq.Extended, err error) {
	l.beats.Add(1)
	l.way.RLock()
	defer l.way.RUnlock()
	l.mu.Lock()
	dead := l.dead
	l.mu.Unlock()
	if dead {
		return x, errCut
	}
	return l.Store.Extend(ctx, r)
}

func (l *link) Sweep(ctx context.Context, r onceq.SweepRequest) (s onceq.Swept, err error) {
	l.way.RLock()
	defer l.way.RUnlock()
	l.mu.Lock()
	dead := l.dead
	l.mu.Unlock()
	if dead {
		return s, errCut
	}
	return l.Store.Sweep(ctx, r)
}

// guarded is what a case about guards works with: the guard of one process.
type guarded struct {
	*world
	*guard.Guard
	link *link
}

// guard makes a guard, as another process would have it.
func (w *world) guard(config guard.Config) *guarded {
	w.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	l := &link{Store: w.Store}
	g, err := guard.New(l, &config)
	w.must(err)
	w.stops = append(w.stops, func() { g.Close() })
	return &guarded{w, g, l}
}

// byGuard is a case with a guard of this configuration.
func byGuard(config guard.Config, run func(g *guarded)) func(*world) {
	return func(w *world) { run(w.guard(config)) }
}

// sends sends a message, and returns its token.
func (g *guarded) sends(args onceq.Args, opts ...onceq.Option) guard.Token {
	g.Helper()
	var sent guard.Token
	c, err := g.Send(g.ctx, args, func(_ context.Context, t guard.Token) error { sent = t; return nil }, opts...)
	g.must(err)
	equal(g.world, "token", c.Token, sent)
	g.must(g.Flush(g.ctx))
	return sent
}

// dup wants a message to be refused, and returns the conflict.
func (g *guarded) dup(args onceq.Args, opts ...onceq.Option) onceq.Conflict {
	g.Helper()
	_, err := g.Send(g.ctx, args, func(context.Context, guard.Token) error {
		g.Error("a duplicate was sent")
		return nil
	}, opts...)
	return g.isDup(err)
}

func (g *guarded) isDup(err error) onceq.Conflict {
	g.Helper()
	var dup *onceq.DuplicateError
	if !errors.As(err, &dup) || !errors.Is(err, onceq.ErrDuplicate) {
		g.Fatalf("got error %v, want a *DuplicateError", err)
	}
	return dup.Conflict
}

// heldBy wants a message to be refused because of this claim, which is in this
// state.
func (g *guarded) heldBy(t guard.Token, s onceq.State, args onceq.Args, opts ...onceq.Option) {
	g.Helper()
	c := g.dup(args, opts...)
	equal(g.world, "holder", line(c.Holder, c.State), line(t, s))
}

// handles handles a message whose handler returns err, and wants the result.
func (g *guarded) handles(t guard.Token, err, want error) {
	g.Helper()
	ran := false
	got := g.Handle(g.ctx, t, func(context.Context) error { ran = true; return err })
	if !errors.Is(got, want) || want == nil && got != nil {
		g.Fatalf("handle: %v, want %v", got, want)
	}
	equal(g.world, "ran", ran, !errors.Is(want, guard.ErrBusy) && !errors.Is(want, guard.ErrDone))
}

// begins starts the run of a message.
func (g *guarded) begins(t guard.Token) *guard.Run {
	g.Helper()
	r, err := g.Start(g.ctx, t)
	g.must(err)
	return r
}

// ending waits until a run's context has ended, and returns why.
func (g *guarded) ending(r *guard.Run) error {
	g.Helper()
	select {
	case <-r.Context().Done():
	case <-g.ctx.Done():
		g.Fatal("the context of the run does not end")
	}
	return context.Cause(r.Context())
}

// soon is a guard whose leases are short, so that what happens after them can
// be waited for.
var soon = guard.Config{Lease: 200 * time.Millisecond}

var errNo = errors.New("no luck")

// silent is a log that nobody reads.
var silent = slog.New(slog.DiscardHandler)

// errgroup runs calls at the same time, and has the first error.
type errgroup struct {
	all sync.WaitGroup
	mu  sync.Mutex
	err error
}

func (e *errgroup) do(call func() error) {
	e.all.Go(func() {
		if err := call(); err != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.err = err
		}
	})
}

func (e *errgroup) wait() error {
	e.all.Wait()
	return e.err
}
