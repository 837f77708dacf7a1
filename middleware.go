package onceq

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
)

// Enqueuer enqueues jobs, as [Client.EnqueueMany] does: it returns one
// receipt for each item, in their order, or an error. For [Client.Enqueue]
// there is one item, and a duplicate under [Reject] is an error as well.
type Enqueuer func(ctx context.Context, items []Item) ([]Receipt, error)

// EnqueueMiddleware wraps every enqueue of a client, also those in a
// transaction: it can look at the items, add options to copies of them,
// refuse them, and look at the answer. It runs on the goroutine of the
// caller. A panic in it is an error, or is only logged if the jobs were
// sent.
type EnqueueMiddleware func(next Enqueuer) Enqueuer

// through calls last with the items through all middleware.
func (c *Client) through(ctx context.Context, items []Item, last Enqueuer) (receipts []Receipt, err error) {
	type answer struct {
		receipts []Receipt
		err      error
	}
	var sent atomic.Pointer[answer]
	next := Enqueuer(func(ctx context.Context, items []Item) ([]Receipt, error) {
		receipts, err := last(ctx, items)
		sent.Store(&answer{receipts, err})
		return receipts, err
	})
	wrong := func(rule string, attrs ...any) ([]Receipt, error) {
		a := sent.Load()
		if a == nil {
			return nil, invalid("Config.Middleware", "", "%s", rule)
		}
		// What was enqueued is answered for, and no error says otherwise.
		c.config.Logger.ErrorContext(ctx, "onceq: middleware failed after the enqueue",
			append(attrs, "rule", rule)...)
		return a.receipts, a.err
	}
	defer func() {
		if p := recover(); p != nil {
			receipts, err = wrong("must not panic, and did: "+bound(fmt.Sprint(p), 200),
				"stack", panicStack(debug.Stack()))
		}
	}()
	for _, m := range slices.Backward(c.config.Middleware) {
		next = m(next)
	}
	receipts, err = next(ctx, items)
	if err == nil && len(receipts) != len(items) {
		return wrong(fmt.Sprintf("must return one receipt for each of the %d items, or an error", len(items)))
	}
	return receipts, err
}

// throughOne is through for a single enqueue.
func (c *Client) throughOne(ctx context.Context, args Args, opts []Option,
	last func(ctx context.Context, args Args, opts []Option) (Receipt, error)) (Receipt, error) {
	if len(c.config.Middleware) == 0 {
		return last(ctx, args, opts)
	}
	receipts, err := c.through(ctx, []Item{{args, opts}}, func(ctx context.Context, items []Item) ([]Receipt, error) {
		if len(items) != 1 {
			return nil, invalid("Config.Middleware", fmt.Sprintf("%d items", len(items)),
				"must pass on the one item of an Enqueue")
		}
		r, err := last(ctx, items[0].Args, items[0].Options)
		return []Receipt{r}, err
	})
	if len(receipts) == 1 {
		return receipts[0], err
	}
	return Receipt{}, err
}

// throughMany is through for a batch.
func (c *Client) throughMany(ctx context.Context, items []Item, last Enqueuer) ([]Receipt, error) {
	if len(c.config.Middleware) == 0 {
		return last(ctx, items)
	}
	return c.through(ctx, items, last)
}
