package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// RetryOption changes what [Client.Retry] does.
type RetryOption interface{ retry(*Change) }

// RetryFlag is a [RetryOption] without a value.
type RetryFlag uint8

// WithoutKey lets a job be retried although another job holds its key by
// now. It then runs without the key.
const WithoutKey RetryFlag = 1

func (RetryFlag) retry(c *Change) { c.WithoutKey = true }

// Cancel cancels a waiting job at once. For a running job it is a request:
// the context of the run is cancelled, and when the run reports, or its
// lease is over, the job is cancelled (completed if it returned nil).
// Cancelling a cancelled job changes nothing. A completed or discarded job
// is refused.
func (c *Client) Cancel(ctx context.Context, id string) (*JobRow, error) {
	return c.changeOne(ctx, Change{Op: OpCancel}, id)
}

// Retry makes a finished job due now, with at least one more attempt, and
// takes its key again. If another job holds the key by now, the retry is
// refused with a [*DuplicateError] (see [WithoutKey]). A retryable job
// becomes due now. Any other is refused.
func (c *Client) Retry(ctx context.Context, id string, opts ...RetryOption) (*JobRow, error) {
	return c.changeOne(ctx, retryOf(opts), id)
}

func retryOf(opts []RetryOption) Change {
	ch := Change{Op: OpRetry}
	for _, o := range opts {
		o.retry(&ch)
	}
	return ch
}

// RunNow makes a waiting job due now. It refuses a job that stands behind
// another, and a job that does not wait.
func (c *Client) RunNow(ctx context.Context, id string) (*JobRow, error) {
	return c.changeOne(ctx, Change{Op: OpRunNow}, id)
}

// Delete removes a job. Its key goes with it, except for what is left of a
// Window. A running job is refused: cancel it first.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.changeOne(ctx, Change{Op: OpDelete}, id)
	return err
}

func (c *Client) changeOne(ctx context.Context, ch Change, id string) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	return changeOne(ctx, c.store.Change, ch, id)
}

// changeOne takes a step with one job, by the Change of a store or of a
// transaction.
func changeOne(ctx context.Context, change func(context.Context, Change) ([]ChangeResult, error), ch Change,
	id string) (*JobRow, error) {
	ch.IDs = []string{id}
	results, err := change(ctx, ch)
	if err != nil {
		return nil, fmt.Errorf("onceq: change job %q: %w", id, err)
	}
	if err := adjusted(results[0].Err); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("job %q: %w", id, ErrNotFound)
		}
		return nil, err
	}
	return results[0].Job, nil
}

// CancelAll cancels every matching job that can be cancelled, and returns
// how many. An empty filter is refused unless its All is set.
func (c *Client) CancelAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpCancel, Filter: f})
	return r.Changed, err
}

// RetryAll retries every matching job that can be retried, and returns how
// many. An empty filter is refused unless its All is set.
func (c *Client) RetryAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpRetry, Filter: f})
	return r.Changed, err
}

// RunAll makes every matching job that waits due now, and returns how many.
// An empty filter is refused unless its All is set.
func (c *Client) RunAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpRunNow, Filter: f})
	return r.Changed, err
}

// DeleteAll deletes every matching job that does not run, and returns how
// many. An empty filter is refused unless its All is set.
func (c *Client) DeleteAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpDelete, Filter: f})
	return r.Changed, err
}

// Pause keeps every worker from starting jobs of a queue until Resume.
// Running jobs go on, and enqueues are accepted.
//
// A queue can be paused before its first job. A name that no job has is logged
// as a warning all the same, for it may be mistyped: [Client.Queues] tells which
// names there are.
func (c *Client) Pause(ctx context.Context, queue string) error {
	return c.pause(ctx, queue, 0)
}

// PauseFor is [Client.Pause] that ends by itself, by the store's clock: 1ms to
// 100 years. Workers that wait start jobs at that time. [Client.Resume] ends it
// earlier. A queue that is paused already is paused for d from now on, whatever
// was said before, and a Pause after it has no end.
func (c *Client) PauseFor(ctx context.Context, queue string, d time.Duration) error {
	if d < time.Millisecond || d > maxDuration {
		return invalid("pause", d, "must be 1ms to 100 years: without a length it lasts until it is resumed")
	}
	return c.pause(ctx, queue, d)
}

func (c *Client) pause(ctx context.Context, queue string, d time.Duration) error {
	if err := cmp.Or(c.usable(ctx), checkName("queue", queue)); err != nil {
		return err
	}
	queues, lookErr := c.store.Queues(ctx, QueuesRequest{Most: 1})
	if err := c.changeQueue(ctx, Change{Op: OpPause, Queue: queue, Delay: d}); err != nil {
		return err
	}
	names := make([]string, 0, len(queues.Queues))
	for _, q := range queues.Queues {
		names = append(names, q.Name)
	}
	if lookErr == nil && !slices.Contains(names, queue) {
		c.config.Logger.WarnContext(ctx, "onceq: paused queue has no job",
			"queue", queue, "queues", names[:min(len(names), 20)])
	}
	return nil
}

// Resume undoes Pause.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.changeQueue(ctx, Change{Op: OpResume, Queue: queue})
}

func (c *Client) changeQueue(ctx context.Context, ch Change) error {
	if err := cmp.Or(c.usable(ctx), checkName("queue", ch.Queue)); err != nil {
		return err
	}
	if _, err := c.store.Change(ctx, ch); err != nil {
		return fmt.Errorf("onceq: change queue %s: %w", ch.Queue, err)
	}
	return nil
}
