package guardrecipes

import (
	"context"
	"errors"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// PublishRabbit publishes a message to a queue, unless an equal one has not
// ended yet, and waits until RabbitMQ has confirmed it. The channel is in confirm
// mode (ch.Confirm). Two messages are the same if their queues and bodies are,
// unless opts say otherwise.
func PublishRabbit(ctx context.Context, g *guard.Guard, ch *amqp.Channel, queue string, m amqp.Publishing,
	opts ...onceq.Option) error {
	_, err := g.Send(ctx, argsOf(queue, m.Body), func(ctx context.Context, t guard.Token) error {
		headers := amqp.Table{"onceq-claim": string(t)}
		for name, value := range m.Headers {
			headers[name] = value
		}
		m.Headers, m.DeliveryMode = headers, amqp.Persistent
		confirmed, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false, m)
		if err != nil {
			return guard.Uncertain(err) // it may be on its way
		}
		ok, err := confirmed.WaitContext(ctx)
		if err == nil && !ok {
			err = errors.New("RabbitMQ did not confirm the message")
		}
		return guard.Uncertain(err) // nil stays nil
	}, opts...)
	return err
}

// HandleRabbit handles one delivery of a consumer without autoAck. tries is how
// often a message may fail: then it is rejected, which brings it to the dead
// letter exchange of the queue, and its key is free. busy is how long a delivery
// is kept back that cannot run just now: half a lease of the guard, or more.
func HandleRabbit(ctx context.Context, g *guard.Guard, d amqp.Delivery, tries int, busy time.Duration,
	fn func(ctx context.Context, d amqp.Delivery) error) error {
	token, _ := d.Headers["onceq-claim"].(string)
	run, err := g.Start(ctx, guard.Token(token))
	var lapsed *guard.LapsedError
	switch {
	case errors.Is(err, guard.ErrDone), errors.As(err, &lapsed):
		return d.Ack(false)
	case err != nil: // ErrBusy, or the store does not answer
		select { // RabbitMQ has no delay: what is requeued comes back at once, and counts
		case <-time.After(busy):
		case <-ctx.Done():
		}
		return d.Nack(false, true)
	}
	err = fn(run.Context(), d)
	if err != nil && run.Attempt() >= tries {
		err = onceq.Discard(err)
	}
	switch done := run.Done(err); {
	case done != nil: // it was not recorded: the next delivery finds out
		return d.Nack(false, true)
	case run.State() == onceq.Discarded:
		return d.Reject(false) // to the dead letter exchange
	case run.State().Finished():
		return d.Ack(false)
	}
	return d.Nack(false, true)
}
