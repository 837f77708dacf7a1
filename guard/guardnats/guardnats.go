// Package guardnats keeps duplicates out of a stream of NATS JetStream:
//
//	_, err := guardnats.Publish(ctx, g, js, nats.NewMsg("mails.welcome"))
//	if errors.Is(err, onceq.ErrDuplicate) {
//		// that message is on its way, or being worked on
//	}
//
//	consumer.Consume(guardnats.Handler(g, nil, func(ctx context.Context, m jetstream.Msg) error {
//		return welcome(ctx, m.Data())
//	}))
//
// The key of a message is held from before it is published until it was
// handled. JetStream's own deduplication is a window of time at the producer,
// and knows nothing of the handling.
package guardnats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// Header is the header of a message that has the token of its claim.
const Header = "Onceq-Claim"

// Publish publishes a message, unless an equal one has not ended yet. Then the
// error is an [*onceq.DuplicateError]. Two messages are the same if their
// subjects and data are, unless options say otherwise: data that are JSON are
// compared by value, others as bytes.
//
// The token is the message's ID for JetStream too, so a message that is
// published again after an [*onceq.UncertainError], with onceq.Resend(err), is
// one message within the window of the stream, and one run after it. m is not
// changed.
func Publish(ctx context.Context, g *guard.Guard, js jetstream.Publisher, m *nats.Msg,
	opts ...onceq.Option) (ack *jetstream.PubAck, err error) {
	args := onceq.Bytes(m.Subject, m.Data)
	if json.Valid(m.Data) {
		args = onceq.JSON(m.Subject, m.Data)
	}
	_, err = g.Send(ctx, args, func(ctx context.Context, t guard.Token) error {
		out := nats.NewMsg(m.Subject)
		out.Reply, out.Data = m.Reply, m.Data
		for name, values := range m.Header {
			out.Header[name] = append([]string(nil), values...)
		}
		var once []jetstream.PublishOpt
		if t != "" {
			out.Header.Set(Header, string(t))
			once = append(once, jetstream.WithMsgID(string(t)))
		}
		ack, err = js.PublishMsg(ctx, out, once...)
		if lost(err) {
			err = guard.Uncertain(err)
		}
		return err
	}, opts...)
	return ack, err
}

// lost reports whether a message may have been published although there is an
// error: anything but a refusal of the server, or of the client before it sent.
func lost(err error) bool {
	var refused *jetstream.APIError
	return err != nil && !errors.As(err, &refused) && !errors.Is(err, nats.ErrNoResponders) &&
		!errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrMaxPayload) &&
		!errors.Is(err, nats.ErrBadSubject)
}

// Config says how messages are handled. The zero value is ready to use.
type Config struct {
	// AckWait is that of the consumer. A run tells the server at a third of it
	// that it is still in progress. The default is 30 seconds, as it is there.
	AckWait time.Duration
	// Busy is when a copy should come again of a message that runs just now, or
	// whose claim cannot be read. The default is 15 seconds. Busy times the
	// consumer's MaxDeliver should be longer than two leases of the guard.
	Busy time.Duration
	// Retry is when a message that failed should come again. deliveries is how
	// often it was delivered, from 1. nil = when the consumer's BackOff or
	// AckWait says.
	Retry func(deliveries int, err error) time.Duration
	// MaxDeliver is that of the consumer: a failure in the last delivery ends
	// the claim and frees its key. 0 = the server delivers for ever.
	MaxDeliver int
	// Logger gets what could not be told to the server. nil = slog.Default().
	Logger *slog.Logger
}

// Handler makes a handler of a consumer with AckPolicy explicit, which calls fn
// under the claim of the message. It returns at once: fn runs on a goroutine of
// its own, so MaxAckPending of the consumer bounds how many run at once. nil
// config = defaults.
//
// The message is acknowledged when fn has returned nil and the store has
// recorded that, or when a copy of it was done before. A copy of a message that
// runs just now comes again later. onceq.Discard and onceq.Cancel end the
// message (Term) and free its key. After any other error it comes again, as
// Config.Retry says, and keeps its key, unless this was its last delivery.
func Handler(g *guard.Guard, config *Config, fn func(ctx context.Context, m jetstream.Msg) error,
) jetstream.MessageHandler {
	c := Config{}
	if config != nil {
		c = *config
	}
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.Busy <= 0 {
		c.Busy = 15 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return func(m jetstream.Msg) {
		go func() {
			if err := c.handle(g, m, fn); err != nil {
				c.Logger.Warn("onceq: message not acknowledged",
					"subject", m.Subject(), "claim", m.Headers().Get(Header), "error", err)
			}
		}()
	}
}

func (c *Config) handle(g *guard.Guard, m jetstream.Msg, fn func(context.Context, jetstream.Msg) error) error {
	run, err := g.Start(context.Background(), guard.Token(m.Headers().Get(Header)))
	var lapsed *guard.LapsedError
	switch {
	case errors.Is(err, guard.ErrDone), errors.As(err, &lapsed):
		return m.Ack()
	case err != nil:
		return m.NakWithDelay(c.Busy)
	}
	deliveries := 1
	if about, err := m.Metadata(); err == nil {
		deliveries = int(about.NumDelivered)
	}
	stop := make(chan struct{})
	go c.alive(m, stop)
	err = call(run, func() error { return fn(run.Context(), m) })
	result := err
	if err != nil && c.MaxDeliver > 0 && deliveries >= c.MaxDeliver {
		result = onceq.Discard(err)
	}
	done := run.Done(result)
	close(stop)
	switch {
	case done != nil: // it was not recorded: the next delivery finds out
		return m.NakWithDelay(c.Busy)
	case run.State() == onceq.Completed:
		return m.Ack()
	case run.State() == onceq.Discarded, run.State() == onceq.Cancelled:
		return m.TermWithReason(result.Error())
	case c.Retry != nil:
		return m.NakWithDelay(c.Retry(deliveries, err))
	}
	return m.Nak()
}

// call calls fn, and makes an error of a panic.
func call(run *guard.Run, fn func() error) (err error) {
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		} else if !returned {
			_ = run.Done(errors.New("it ended its goroutine without returning (runtime.Goexit)"))
		}
	}()
	err = fn()
	returned = true
	return err
}

// alive tells the server that a message is still being handled.
func (c *Config) alive(m jetstream.Msg, stop <-chan struct{}) {
	t := time.NewTicker(c.AckWait / 3)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := m.InProgress(); err != nil {
				c.Logger.Warn("onceq: message not kept alive",
					"subject", m.Subject(), "error", err)
			}
		case <-stop:
			return
		}
	}
}
