package guard

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/reserved"
)

// A limit of n is n keys, its slots. Who has one of them may go on. The rows of
// an attempt have one ID and a key each: a store judges them one after another,
// and an ID that it has met answers before a key, so that one free slot is
// taken at the most.

// maxSlots is how many slots a limit has at most.
const maxSlots = 100

// slotArgs are the args of a slot's claim.
type slotArgs struct {
	Limit string `json:"limit"`
}

func (slotArgs) Kind() string { return "guard:slot" }

// takeSlot takes a free one of n slots. token is "" if there is none; wait is
// then how long it takes until a clock frees one of them, or 0.
func (g *Guard) takeSlot(ctx context.Context, key string, n int, own ...onceq.Option) (token Token, wait time.Duration,
	err error) {
	items := make([]onceq.Item, n)
	id, first := onceq.ID("slot-"+crand.Text()), rand.IntN(n)
	for i := range items {
		slot := strconv.Itoa((first + i) % n)
		items[i] = onceq.Item{Args: slotArgs{key}, Options: append(own[:len(own):len(own)], id,
			onceq.UniqueKey(slot+"/"+key), onceq.Retention(0))}
	}
	for len(items) > 0 {
		step := items
		if g.store.Traits().Place != nil { // the keys of a step lie in one place there
			step = items[:1]
		}
		items = items[len(step):]
		rows, receipts, err := acquireMany(ctx, g.client, step)
		if err != nil {
			return "", 0, err
		}
		for i, r := range receipts {
			switch {
			case r.Job != nil && !r.Duplicate(): // free, or of a process that died
				return Token(rows[i].ID), 0, nil
			case r.Conflict == nil || r.Conflict.FreesAt.IsZero():
			case wait == 0 || time.Until(r.Conflict.FreesAt) < wait:
				wait = max(time.Until(r.Conflict.FreesAt), time.Millisecond)
			}
		}
	}
	return "", wait, nil
}

// Limit is a middleware for workers: of the jobs for which of returns the same
// key at most n run at once, in the whole fleet. n is 1 to 100; 0 means that
// this job is not limited. All workers should agree on n.
//
// A job that has to wait is snoozed for 50 to 500 milliseconds, with jitter,
// and longer the more often it was refused. It spends no attempt. When its run
// begins, and when it ends, the store is asked once more than without a limit.
//
// What it does not promise: an order among the jobs of a key, and fairness
// among keys. Each refusal costs a fetch and the end of a run, so use it where
// most keys are free. The limit holds for as long as leases do: a process that
// was taken for dead, and goes on, exceeds it until its handler heeds its
// context, which ends with [onceq.ErrLeaseLost]. A slot of a process that dies
// is free when the Lease of the guard is over.
func Limit(g *Guard, of func(job *onceq.JobRow) (key string, n int)) onceq.Middleware {
	return func(next onceq.Handler) onceq.Handler {
		return func(ctx context.Context, job *onceq.JobRow) error {
			key, n := of(job)
			if n == 0 {
				return next(ctx, job)
			}
			if err := checkSlots("n", n, maxSlots); err != nil {
				return err
			}
			t, _, err := g.takeSlot(ctx, "limit/"+key, n, g.claim(reserved.Claim{}))
			switch {
			case err != nil:
				return fmt.Errorf("guard: limit of %q: %w", key, err)
			case t == "":
				refused := min(max(job.Run-int64(job.Attempt), 0), 3)
				wait := 50 * time.Millisecond << refused
				return onceq.Snooze(wait + rand.N(wait/4))
			}
			return g.inSlot(ctx, t, func(ctx context.Context) error { return next(ctx, job) })
		}
	}
}

// inSlot runs fn while it has a slot.
func (g *Guard) inSlot(ctx context.Context, t Token, fn func(ctx context.Context) error) error {
	r, err := g.start(ctx, t)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.callLimit())
		defer cancel()
		_ = g.delete(ctx, []string{string(t)}) // else it stays in doubt
		return err
	}
	r.final = true
	err = nil
	ended := r.call(func(ctx context.Context) error {
		err = fn(ctx)
		return nil // how fn ends is nothing to the slot
	})
	if ended != nil && !errors.Is(ended, onceq.ErrLeaseLost) {
		g.log.WarnContext(ctx, "guard: a slot could not be given back; it is free when its lease is over",
			"claim", string(t), "error", ended)
	}
	return err
}

func checkSlots(field string, n, most int) error {
	if n < 1 || n > most {
		return &onceq.InvalidError{Field: field, Value: strconv.Itoa(n), Rule: fmt.Sprintf("must be 1 to %d", most)}
	}
	return nil
}

// maxExact is how many slots a rate has at most.
const maxExact = 50

// Rate lets n things happen in any span of a length of time, for each key, in
// the whole fleet. It is safe for concurrent use.
type Rate struct {
	g     *Guard
	slots int
	per   time.Duration // for which a slot is taken
}

// NewRate makes a rate of n in per: n is 1 to 1,000,000, per at least 10
// milliseconds and at most 24 hours. Up to 50 it is exact: n in any span of that
// length, wherever it begins, by the clock of the store. Above it 50 slots are
// each used again after their share of the time, and a span may see up to 50
// more.
func NewRate(g *Guard, n int, per time.Duration) (*Rate, error) {
	if err := checkSlots("n", n, 1_000_000); err != nil {
		return nil, err
	}
	if per < 10*time.Millisecond || per > 24*time.Hour {
		return nil, &onceq.InvalidError{Field: "per", Value: per.String(), Rule: "must be 10ms to 24h"}
	}
	r := &Rate{g: g, slots: min(n, maxExact), per: per}
	if n > maxExact {
		r.per = (per*maxExact + time.Duration(n) - 1) / time.Duration(n)
	}
	if r.per < time.Millisecond {
		return nil, &onceq.InvalidError{Field: "n", Value: strconv.Itoa(n), Rule: fmt.Sprintf(
			"must be at most 50 a millisecond, and is more in %v", per)}
	}
	return r, nil
}

// Allow takes one of the n of this key. wait is 0 if it was allowed, and
// otherwise how long it takes until the next may be. It is one call to the
// store, on a partitioned store up to n. The wait is right if the clock of this
// process is that of the store, and never longer than the whole span.
func (r *Rate) Allow(ctx context.Context, key string) (wait time.Duration, err error) {
	// Nobody runs this claim. It is in doubt for as long as its window lasts, and is tidied up
	// afterwards.
	own := reserved.Guarded(reserved.Claim{Guard: r.g.config.Name, InDoubt: r.per}).(onceq.Option)
	t, wait, err := r.g.takeSlot(ctx, "rate/"+key, r.slots, own,
		onceq.Unique{Until: onceq.UntilWindowEnds, Window: r.per})
	switch {
	case err != nil:
		return 0, fmt.Errorf("guard: rate of %q: %w", key, err)
	case t == "":
		return min(max(wait, min(r.per/20, 100*time.Millisecond)), r.per), nil // clocks may differ
	}
	return 0, nil
}

// Middleware is for workers: a job that is not allowed yet is snoozed until it
// may be, and spends no attempt. A job for which key returns "" is not limited.
// An attempt that fails has used up its turn.
func (r *Rate) Middleware(key func(job *onceq.JobRow) string) onceq.Middleware {
	return func(next onceq.Handler) onceq.Handler {
		return func(ctx context.Context, job *onceq.JobRow) error {
			k := key(job)
			if k == "" {
				return next(ctx, job)
			}
			switch wait, err := r.Allow(ctx, k); {
			case err != nil:
				return err
			case wait > 0:
				return onceq.Snooze(wait + rand.N(wait/10+time.Millisecond))
			}
			return next(ctx, job)
		}
	}
}
