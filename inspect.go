package onceq

import (
	"cmp"
	"context"
	"fmt"
	"iter"
)

// Job returns one job, or [ErrNotFound].
func (c *Client) Job(ctx context.Context, id string) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	jobs, err := c.store.Get(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("onceq: get job %q: %w", id, err)
	}
	if jobs[0] == nil {
		return nil, fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	return jobs[0], nil
}

// JobsByID returns several jobs in one call to the store, in the order of their
// IDs; nil stands for one that is not kept.
func (c *Client) JobsByID(ctx context.Context, ids []string) ([]*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	jobs, err := c.store.Get(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("onceq: get %d jobs: %w", len(ids), err)
	}
	return jobs, nil
}

// page is how many rows a list reads at once.
const page = 200

// Jobs lists jobs by ID, the largest (of generated IDs: the newest) first.
func (c *Client) Jobs(ctx context.Context, f JobFilter) iter.Seq2[*JobRow, error] {
	return func(yield func(*JobRow, error) bool) {
		if err := cmp.Or(c.usable(ctx), f.validate()); err != nil {
			yield(nil, err)
			return
		}
		n, after := 0, ""
		for {
			p, err := c.store.List(ctx, f.Request(after, page))
			if err != nil {
				yield(nil, fmt.Errorf("onceq: list jobs: %w", err))
				return
			}
			for _, j := range p.Jobs {
				if f.hides(j) {
					continue
				}
				if !yield(j, nil) {
					return
				}
				if n++; n == f.Limit {
					return
				}
			}
			if after = p.Next; after == "" {
				return
			}
		}
	}
}

// Keys lists held keys in the order of the keys.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[*HeldKey, error] {
	return func(yield func(*HeldKey, error) bool) {
		if err := cmp.Or(c.usable(ctx), f.validate()); err != nil {
			yield(nil, err)
			return
		}
		n, after := 0, ""
		for {
			p, err := c.store.Keys(ctx, f.Request(after, page))
			if err != nil {
				yield(nil, fmt.Errorf("onceq: list keys: %w", err))
				return
			}
			for _, k := range p.Keys {
				if f.hides(k) {
					continue
				}
				k.adjust()
				if !yield(k, nil) {
					return
				}
				if n++; n == f.Limit {
					return
				}
			}
			if after = p.Next; after == "" {
				return
			}
		}
	}
}

// Key returns who holds a key, or [ErrNotFound] when it is free.
func (c *Client) Key(ctx context.Context, key Key) (*HeldKey, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	held, err := lookUp(ctx, c.store, key)
	switch {
	case err != nil:
	case held == nil:
		err = fmt.Errorf("key %s is free: %w", key, ErrNotFound)
	default:
		held.adjust()
	}
	return held, err
}

func lookUp(ctx context.Context, store Store, key Key) (*HeldKey, error) {
	p, err := store.Keys(ctx, KeysRequest{Key: &key, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("onceq: look up key %s: %w", key, err)
	}
	if len(p.Keys) == 0 {
		return nil, nil
	}
	return p.Keys[0], nil
}

// Queues lists every queue that has a job or is paused, by name.
func (c *Client) Queues(ctx context.Context) ([]QueueInfo, error) {
	all, err := c.QueuesUpTo(ctx, MaxCount)
	return all.Queues, err
}

// QueuesUpTo is [Client.Queues] for callers that look often: it may stop to
// count at so many jobs of a queue and state, which is cheaper the fewer they
// are, and [QueueInfo.AtLeast] then has the state.
func (c *Client) QueuesUpTo(ctx context.Context, most int) (QueueList, error) {
	if err := c.usable(ctx); err != nil {
		return QueueList{}, err
	}
	if most < 1 {
		return QueueList{}, invalid("most", most, "must be 1 or more")
	}
	return c.store.Queues(ctx, QueuesRequest{Most: most})
}
