// Package guard keeps duplicates out of a broker that is not ours: NATS,
// Kafka, RabbitMQ, SQS, asynq, or a plain func. The broker stays, and the
// messages in it become unique.
//
// Before a message is sent, the guard makes a claim in a store of onceq. The
// claim holds the key of the message, so a second message of that key is
// refused until the first was handled. The ID of the claim is a [Token], which
// travels with the message:
//
//	g, err := guard.New(store, nil)
//
//	// the producer
//	_, err = g.Send(ctx, Welcome{User: 42}, func(ctx context.Context, t guard.Token) error {
//		return publish(ctx, body, map[string]string{"onceq-claim": string(t)})
//	})
//	if errors.Is(err, onceq.ErrDuplicate) {
//		// that message is already on its way, or being worked on
//	}
//
//	// the consumer
//	err = g.Handle(ctx, guard.Token(headers["onceq-claim"]), func(ctx context.Context) error {
//		return welcome(ctx, body)
//	})
//
// A claim is a job that no worker fetches. It stands in the queue
// "onceq.guard/NAME", and `onceq keys`, `onceq job show` and `onceq doctor` show it
// as they show any job. Keys, options and errors are those of package onceq.
//
// How often a message runs is for the broker to say, at least once as a rule.
// The guard sees to it that copies of one message do not run at the same time,
// that a message which was done is not done again, and that the key is free
// when the message has ended, and not before. docs/guard.md has the words, what
// follows each kind of crash, and how to choose the lengths of time.
package guard
