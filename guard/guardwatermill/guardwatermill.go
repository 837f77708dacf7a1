// Package guardwatermill keeps duplicates out of a Watermill application,
// whatever its Pub/Sub:
//
//	publisher = guardwatermill.NewPublisher(publisher, g)
//	router.AddMiddleware(guardwatermill.Middleware(g))
//
// The key of a message is held from before it is published until it was
// handled. [Repository] is for those who keep Watermill's own Deduplicator,
// whose memory is of one process: it shares that memory in a fleet.
package guardwatermill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// Metadata is the key of a message's metadata that has the token of its claim.
const Metadata = "onceq-claim"

// Publisher publishes messages through a guard.
type Publisher struct {
	message.Publisher
	g    *guard.Guard
	opts []onceq.Option

	// Drop takes a duplicate for published, for callers that take any error for
	// a failure. false = Publish returns an [*onceq.DuplicateError].
	Drop bool
}

// NewPublisher makes a publisher a guarded one. Two messages are the same if
// their topics and payloads are, unless options say otherwise: payloads that are
// JSON are compared by value, others as bytes. Close closes the publisher, and
// not the guard.
func NewPublisher(p message.Publisher, g *guard.Guard, opts ...onceq.Option) *Publisher {
	return &Publisher{Publisher: p, g: g, opts: opts}
}

// Publish publishes messages, one after the other, but those of which an equal
// one has not been handled yet. All are tried; the error joins those of all that
// were not published.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	var errs []error
	for _, m := range messages {
		args := onceq.Bytes(topic, m.Payload)
		if json.Valid(m.Payload) {
			args = onceq.JSON(topic, m.Payload)
		}
		_, err := p.g.Send(m.Context(), args, func(_ context.Context, t guard.Token) error {
			out := m.CopyWithContext()
			delete(out.Metadata, Metadata) // it may be a copy of one that was guarded
			if t != "" {
				out.Metadata.Set(Metadata, string(t))
			}
			return p.Publisher.Publish(topic, out)
		}, p.opts...)
		if p.Drop && errors.Is(err, onceq.ErrDuplicate) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("message %s: %w", m.UUID, err))
		}
	}
	return errors.Join(errs...)
}

// Middleware runs messages under their claims. A message that fails keeps its
// key, for its Pub/Sub brings it again; onceq.Discard and onceq.Cancel free it.
// A copy of a message that was done is done, and a copy of one that runs just
// now is an error, guard.ErrBusy. Add this middleware before Retry and
// PoisonQueue of Watermill: what they do is a part of the run then.
func Middleware(g *guard.Guard) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) (out []*message.Message, err error) {
			own := m.Context()
			defer m.SetContext(own)
			err = g.Handle(own, guard.Token(m.Metadata.Get(Metadata)), func(ctx context.Context) error {
				m.SetContext(ctx)
				out, err = next(m)
				return err
			})
			var lapsed *guard.LapsedError
			switch {
			case errors.Is(err, guard.ErrDone), errors.As(err, &lapsed):
				return nil, nil
			case err != nil:
				return nil, err
			}
			return out, nil
		}
	}
}

// Repository is an ExpiringKeyRepository, which Watermill's Deduplicator asks
// for: it remembers keys in the store of a guard, so that all processes share
// them and a restart forgets nothing.
//
//	d := middleware.Deduplicator{
//		Timeout:    time.Minute,
//		Repository: guardwatermill.NewRepository(g, time.Hour),
//	}
//
// Say the Timeout, of one look into the store: without it the Deduplicator
// waits for 5 ms.
// A key is remembered from when it is met, not from when its message was
// handled, so a message whose handler fails is lost to the Deduplicator. The
// publisher and [Middleware] have no such gap.
type Repository struct {
	g      *guard.Guard
	window time.Duration
}

// NewRepository makes a repository that remembers a key for so long.
func NewRepository(g *guard.Guard, window time.Duration) *Repository { return &Repository{g, window} }

// IsDuplicate reports whether a key was met within the window, and remembers it.
func (r *Repository) IsDuplicate(ctx context.Context, key string) (bool, error) {
	_, err := r.g.Send(ctx, onceq.Bytes("watermill.deduplicator", []byte(key)),
		func(context.Context, guard.Token) error { return nil }, // it was met
		onceq.Delay(r.window), onceq.Unique{Until: onceq.UntilWindowEnds, Window: r.window})
	if errors.Is(err, onceq.ErrDuplicate) {
		return true, nil
	}
	return false, err
}
