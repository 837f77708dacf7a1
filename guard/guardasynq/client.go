package guardasynq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hibiken/asynq"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// Header is the header of a task that has the token of its claim.
const Header = "onceq-claim"

// Client enqueues tasks through a guard. It is safe for concurrent use.
type Client struct {
	*asynq.Client
	g    *guard.Guard
	opts []onceq.Option
}

// NewClient makes a client of asynq a guarded one. Close closes the client of
// asynq, and not the guard.
func NewClient(c *asynq.Client, g *guard.Guard) *Client { return &Client{Client: c, g: g} }

// With is the same client with options of onceq for its calls, for instance
//
//	client.With(onceq.Unique{Fields: []string{"user"}}).Enqueue(task)
func (c *Client) With(opts ...onceq.Option) *Client {
	return &Client{c.Client, c.g, append(c.opts[:len(c.opts):len(c.opts)], opts...)}
}

// Enqueue is EnqueueContext without a context.
func (c *Client) Enqueue(task *asynq.Task, opts ...asynq.Option) (*asynq.TaskInfo, error) {
	return c.EnqueueContext(context.Background(), task, opts...)
}

// EnqueueContext enqueues a task, unless an equal one has not ended yet. Then
// the error is an [*onceq.DuplicateError] and an asynq.ErrDuplicateTask.
//
// An [*onceq.UncertainError] means that the task may have been enqueued. A call
// of client.With(onceq.Resend(err)) enqueues it again, and both are one run.
//
// All options of asynq do what they do there but two, which are refused:
// asynq.Unique, because the guard has the key, and asynq.Group, because tasks
// that are put together lose their claims.
func (c *Client) EnqueueContext(ctx context.Context, task *asynq.Task,
	opts ...asynq.Option) (info *asynq.TaskInfo, err error) {
	p, err := preview(ctx, task, opts)
	if err != nil {
		return nil, err
	}
	args := onceq.Bytes(task.Type(), task.Payload())
	if json.Valid(task.Payload()) {
		args = onceq.JSON(task.Type(), task.Payload())
	}
	own := append([]onceq.Option{guard.NotBefore(p.NextProcessAt)}, c.opts...)
	_, err = c.g.Send(ctx, args, func(ctx context.Context, t guard.Token) error {
		info, err = c.send(ctx, p, task, opts, t)
		return err
	}, own...)
	if errors.Is(err, onceq.ErrDuplicate) {
		return nil, fmt.Errorf("%w: %w", asynq.ErrDuplicateTask, err)
	}
	if err != nil {
		return nil, err
	}
	return info, nil
}

// send enqueues the task with its token in a header. The options that it was
// made with cannot be read, and are those of the preview.
func (c *Client) send(ctx context.Context, p *asynq.TaskInfo, task *asynq.Task, opts []asynq.Option,
	t guard.Token) (*asynq.TaskInfo, error) {
	headers := maps.Clone(task.Headers())
	if t != "" {
		if headers == nil {
			headers = map[string]string{}
		}
		headers[Header] = string(t)
	}
	all := []asynq.Option{asynq.TaskID(p.ID), asynq.Queue(p.Queue), asynq.MaxRetry(p.MaxRetry),
		asynq.Timeout(p.Timeout), asynq.Deadline(p.Deadline), asynq.Retention(p.Retention)}
	if p.NextProcessAt.After(time.Now()) {
		all = append(all, asynq.ProcessAt(p.NextProcessAt))
	}
	info, err := c.Client.EnqueueContext(ctx, asynq.NewTaskWithHeaders(task.Type(), task.Payload(), headers), all...)
	if !errors.Is(err, asynq.ErrTaskIDConflict) {
		return info, err
	}
	again, e := preview(ctx, task, opts)
	if e == nil && again.ID != p.ID { // the ID is random: the task in the way is this one
		// The client of Redis has sent it twice, for the first answer was lost.
		p.Headers = headers
		return p, nil
	}
	return nil, err
}
