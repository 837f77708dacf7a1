package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/reserved"
)

// Run is one run of a message under its claim.
type Run struct {
	g      *Guard
	t      Token
	job    *onceq.JobRow // nil = there is no claim
	ctx    context.Context
	cancel context.CancelCauseFunc
	free   context.CancelFunc // of the timeout
	final  bool               // an error ends the claim, for nobody brings the message again
	ending bool               // Done was called; guarded by g.mu
	kept   []byte             // what SetResult was given
	state  onceq.State        // how it ends, once Done was called

	once   sync.Once
	result error
}

// Handle runs fn for a message that a broker has brought, under the claim of
// its token. Copies of the message do not run at the same time ([ErrBusy]), and
// one that comes after the end does not run again ([ErrDone]). It returns the
// error of fn, or onceq.ErrLeaseLost if fn returned nil and the result did not
// count. See [Run.Done] for what the error of fn means. A message with the token
// "" is not guarded: fn is called.
func (g *Guard) Handle(ctx context.Context, t Token, fn func(ctx context.Context) error) error {
	r, err := g.Start(ctx, t)
	if err != nil {
		return err
	}
	return r.call(fn)
}

// call runs fn, and ends the run however fn ends.
func (r *Run) call(fn func(ctx context.Context) error) error {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		_ = r.Done(&panicked{p})
		if p != nil {
			panic(p)
		}
	}()
	err := fn(r.ctx)
	returned = true
	if e := r.Done(err); err == nil {
		return e
	}
	return err
}

// Start begins the run of a message: Handle's first part. Whoever starts a run
// must call [Run.Done]. The context of the run is a child of ctx.
func (g *Guard) Start(ctx context.Context, t Token) (*Run, error) {
	if t == "" {
		g.metrics.count(ctx, "handled")
		return g.unguarded(ctx, t)
	}
	if err := checkToken(t); err != nil {
		return nil, err
	}
	return g.start(ctx, t)
}

// checkToken refuses what cannot be the ID of a claim. It comes with a message
// from elsewhere.
func checkToken(t Token) error {
	if len(t) > 255 {
		return &onceq.InvalidError{Field: "token", Value: string(t), Rule: "must be at most 255 bytes"}
	}
	return nil
}

// unguarded is a run without a claim.
func (g *Guard) unguarded(ctx context.Context, t Token) (*Run, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errClosed
	}
	r := &Run{g: g, t: t, free: func() {}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	return r, nil
}

// start starts the claim of a message that has come. If the claim has lapsed,
// it takes its key back first, where that is free.
func (g *Guard) start(ctx context.Context, t Token) (*Run, error) {
	const tries = 4 // each time somebody else was faster
	for try := 1; ; try++ {
		r, c, err := g.startOnce(ctx, t)
		if r != nil || err != nil {
			return r, err
		}
		lapsed := &LapsedError{Token: t}
		var invalid *onceq.InvalidError
		switch {
		case c.Err == nil: // the store had taken this guard for lost
		case errors.Is(c.Err, onceq.ErrNotFound): // the claim is gone
			return g.lapsed(ctx, lapsed)
		case !errors.As(c.Err, &invalid) || c.Job == nil || invalid.Field != "state":
			return nil, fmt.Errorf("guard: start claim %s: %w", t, c.Err)
		case c.Job.Queue != g.queue:
			return nil, notOurs(t)
		case c.Job.State == onceq.Running:
			return nil, ErrBusy
		case c.Job.State != onceq.Cancelled || c.Job.SupersededBy == "":
			if c.Job.State.Finished() {
				return nil, ErrDone
			}
		default: // another claim took its key
			lapsed.By = c.Job.SupersededBy
			back, err := g.takeBack(ctx, t)
			if err != nil {
				return nil, err
			}
			if back != nil {
				if back.Holder != "" {
					lapsed.By = back.Holder
				}
				return g.lapsed(ctx, lapsed)
			}
		}
		if try == tries {
			return nil, ErrBusy
		}
	}
}

// takeBack lets a claim that has lapsed take its key again. It returns who has
// the key, if it is not free.
func (g *Guard) takeBack(ctx context.Context, t Token) (*onceq.DuplicateError, error) {
	rs, err := g.store.Change(ctx, onceq.Change{Op: onceq.OpRetry, IDs: []string{string(t)},
		States: []onceq.State{onceq.Cancelled}})
	if err != nil {
		return nil, fmt.Errorf("guard: take back the key of claim %s: %w", t, err)
	}
	var dup *onceq.DuplicateError
	if errors.As(rs[0].Err, &dup) {
		return dup, nil
	}
	return nil, nil // it is back, or somebody else was faster
}

// lapsed is the run of a message that has lost its claim.
func (g *Guard) lapsed(ctx context.Context, e *LapsedError) (*Run, error) {
	if g.config.OnLapsed == DropLapsed {
		g.log.WarnContext(ctx, "guard: a message is dropped, for its claim has lapsed", "claim", string(e.Token),
			"by", e.By)
		return nil, e
	}
	g.metrics.count(ctx, "lapsed")
	g.log.WarnContext(ctx, "guard: a message runs although its claim has lapsed", "claim", string(e.Token), "by", e.By)
	return g.unguarded(ctx, e.Token)
}

// Context is the context of the run. It ends with onceq.ErrLeaseLost as its
// cause when the run is no longer this process's, and with
// onceq.ErrCancelRequested when an operator cancels the claim.
func (r *Run) Context() context.Context { return r.ctx }

// Token is the token of the message.
func (r *Run) Token() Token { return r.t }

// Attempt is the number of this attempt at the message, from 1; 0 for a run
// without a claim.
func (r *Run) Attempt() int {
	if r.job == nil {
		return 0
	}
	return r.job.Attempt
}

// Done ends the run, as err says:
//
//	nil             the message is done: its key is free, and copies are answered with ErrDone
//	onceq.Discard   it failed for good: its key is free
//	onceq.Cancel    it is not wanted any more: its key is free
//	onceq.Snooze    it comes again after that time: its key is kept, and patience begins then
//	any other       it failed and comes again: its key is kept, and patience begins
//
// It waits until the store has recorded that, and returns nil then.
// onceq.ErrLeaseLost means that the run was no longer this process's, and that
// the result changed nothing. It may also mean that a failure was recorded, the
// answer was lost, and the message runs again already. The second call does
// nothing and returns the same.
func (r *Run) Done(err error) error {
	r.once.Do(func() {
		f := r.outcome(err)
		if r.state = f.State; r.job != nil {
			r.result = r.g.finish(r, &f)
		}
		r.free()
		r.cancel(context.Canceled)
	})
	return r.result
}

// State is how the run ended by what [Run.Done] was told; "" before that.
// onceq.Retryable and onceq.Scheduled mean that the broker should bring the
// message again.
func (r *Run) State() onceq.State { return r.state }

// outcome is how the run ends.
func (r *Run) outcome(err error) onceq.Finish {
	job := r.job
	if job == nil {
		job = &onceq.JobRow{MaxAttempts: 1} // whether it is tried again is for its broker to say
	}
	cause := context.Cause(r.ctx)
	if cause != onceq.ErrCancelRequested { // else the reason is in err, if it is one
		cause = nil
	}
	patience, _ := patienceOf(job)
	f := decide(job, err, cause, func(*onceq.JobRow, error) time.Duration { return patience })
	switch {
	case f.State == onceq.Scheduled:
		f.Delay = min(f.Delay+patience, 100*365*24*time.Hour)
	case f.State == onceq.Retryable && r.final:
		f.State, f.Delay = onceq.Discarded, 0
	}
	f.Worker, f.Result = r.g.worker, r.kept
	return f
}

// Do makes a claim and calls fn here and now: once in a fleet. If another
// process has the key the error is an [*onceq.DuplicateError]. An error of fn
// frees the key at once; Delay means nothing. A process that dies frees it when
// its lease is over. Window and Until count after a success only: with
// Unique{Window: 23 * time.Hour} the next call that runs is 23 hours later.
func (g *Guard) Do(ctx context.Context, args onceq.Args, fn func(ctx context.Context) error,
	opts ...onceq.Option) error {
	row, err := g.acquire(ctx, args, append(opts[:len(opts):len(opts)], g.claim(reserved.Claim{})))
	if err != nil {
		return err
	}
	if row.ID == "" {
		return g.Handle(ctx, "", fn)
	}
	r, err := g.start(ctx, Token(row.ID))
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.callLimit())
		defer cancel()
		_ = g.delete(ctx, []string{row.ID}) // else it stays in doubt
		return err
	}
	r.final = true
	return r.call(fn)
}

// Once runs fn once for a message of this ID: an inbox, for messages whose
// sender knows no guard. The ID is the token, and there is no key: a message
// that was met before is the same message, not a duplicate. It runs if it
// waits or has failed, is [ErrBusy] while it runs, and [ErrDone] afterwards, as
// long as it is kept (onceq.Retention). Handle describes the rest.
func (g *Guard) Once(ctx context.Context, id string, args onceq.Args, fn func(ctx context.Context) error,
	opts ...onceq.Option) error {
	t, _, err := g.acquireID(ctx, id, args, opts)
	if err != nil {
		return err
	}
	return g.Handle(ctx, t, fn)
}
