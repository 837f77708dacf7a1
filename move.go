package onceq

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Move gives a waiting job another run time: [Delay] from now, or [RunAt] an
// instant (one that has passed means now). Until the first fetch Window and
// TTL of its key count from the new run time, as they do with Replace. A
// retryable job is moved too: its next attempt is due then. A job that
// stands behind another, runs or is finished is refused.
func (c *Client) Move(ctx context.Context, id string, when Option) (*JobRow, error) {
	ch, err := moveTo(when)
	if err != nil {
		return nil, err
	}
	return c.changeOne(ctx, ch, id)
}

// moveTo is the change that moves a job.
func moveTo(when Option) (Change, error) {
	s := newSettings()
	switch when.(type) {
	case delayOption, runAtOption:
		s.at = ofCall
		s.apply(when)
	default:
		return Change{}, invalid("when", fmt.Sprintf("%T", when), "must be Delay or RunAt")
	}
	if err := s.checkTimes(); err != nil {
		return Change{}, err
	}
	return Change{Op: OpMove, Delay: ceilMilli(s.delay), RunAt: s.runAt}, nil
}

// checkTimes checks when a job is to run.
func (s *settings) checkTimes() error {
	if s.delayAt != unsaid && s.delay != 0 {
		if s.delay < 0 {
			return invalid("delay", s.delay, "must not be negative")
		}
		if err := checkDuration("delay", s.delay); err != nil {
			return err
		}
	}
	if s.runAtAt != unsaid {
		if now := time.Now(); s.runAt.IsZero() || s.runAt.After(now.Add(maxDuration)) ||
			s.runAt.Before(now.Add(-maxDuration)) {
			return invalid("run at", s.runAt, "must be an instant within 100 years from now or ago")
		}
	}
	return nil
}

// ReleaseOption limits what [Client.ReleaseKey] does.
type ReleaseOption interface{ release(*Change) error }

// Holder limits the release of a key to this job: if another job holds it by
// now, nothing is released, and the error is [ErrNotFound]. So nobody frees
// a key that a newer job has taken since they looked.
func Holder(id string) ReleaseOption { return holderOption(id) }

type holderOption string

func (o holderOption) release(c *Change) error {
	c.Holder = string(o)
	return checkID(c.Holder)
}

// ReleaseKey frees a key by hand, and its holder goes on without it. If a
// waiter stands behind the holder, the key passes to the waiter.
// [ErrNotFound] means that it is free, or that the job of [Holder] does not
// hold it.
func (c *Client) ReleaseKey(ctx context.Context, key Key, opts ...ReleaseOption) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	ch := Change{Op: OpRelease, Key: key}
	for _, o := range opts {
		if o == nil {
			return invalid("option", "nil", "must not be nil")
		}
		if err := o.release(&ch); err != nil {
			return err
		}
	}
	results, err := c.store.Change(ctx, ch)
	if err != nil {
		return fmt.Errorf("onceq: release key %s: %w", key, err)
	}
	switch err := results[0].Err; {
	case errors.Is(err, ErrNotFound) && ch.Holder != "":
		return fmt.Errorf("key %s is not held by job %q: %w", key, ch.Holder, ErrNotFound)
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("key %s is free: %w", key, ErrNotFound)
	default:
		return err
	}
}

// ReleaseKeys frees every matching key, as [Client.ReleaseKey] does, and
// returns how many. Each is released in a step of its own, and only from the
// job that held it when it was listed. A key whose holder stands behind the
// run of another job stays. An empty filter is refused unless its All is
// set.
func (c *Client) ReleaseKeys(ctx context.Context, f KeyFilter) (int, error) {
	if f.empty() && !f.All {
		return 0, invalid("filter", "", "is empty, which would mean every key: say what to match, or All")
	}
	n, limit := 0, f.Limit
	f.Limit, f.Inert = 0, false
	for k, err := range c.Keys(ctx, f) {
		if err == nil {
			err = c.ReleaseKey(ctx, k.Key, Holder(k.Holder))
		}
		var stays *InvalidError
		switch {
		case err == nil:
			n++
		case errors.Is(err, ErrNotFound) || errors.As(err, &stays):
		default:
			return n, fmt.Errorf("after %d keys: %w", n, err)
		}
		if n == limit && limit > 0 {
			break
		}
	}
	return n, nil
}

// empty reports whether the filter matches every key.
func (f KeyFilter) empty() bool {
	f.All, f.Limit, f.Inert, f.Reserved = false, 0, false, false
	return f == KeyFilter{}
}
