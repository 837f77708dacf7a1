package guardrecipes

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// ProduceKafka produces a record, unless an equal one has not ended yet. Two
// records are the same if their topics and values are, unless opts say
// otherwise. r gets a header.
func ProduceKafka(ctx context.Context, g *guard.Guard, c *kgo.Client, r *kgo.Record, opts ...onceq.Option) error {
	_, err := g.Send(ctx, argsOf(r.Topic, r.Value), func(ctx context.Context, t guard.Token) error {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "onceq-claim", Value: []byte(t)})
		err := c.ProduceSync(ctx, r).FirstErr()
		var refused *kerr.Error
		if errors.As(err, &refused) && !refused.Retriable {
			return err // the broker has said no
		}
		return guard.Uncertain(err) // nil stays nil
	}, opts...)
	return err
}

// ConsumeKafka handles records one after the other until ctx ends. The client
// is a member of a group, with kgo.DisableAutoCommit: a record is committed when
// it has ended. Kafka brings no single record again, so a record that fails is
// tried again here, and those behind it wait. After tries failures it is a dead
// letter: dead gets it, and its key is free.
func ConsumeKafka(ctx context.Context, g *guard.Guard, c *kgo.Client, tries int,
	fn, dead func(ctx context.Context, r *kgo.Record) error) error {
	for {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if fetches.IsClientClosed() {
			return kgo.ErrClientClosed
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			wait := 50 * time.Millisecond
			for !kafkaRecord(ctx, g, r, tries, fn, dead) {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return nil // another member reads it, and all behind it
				}
				wait = min(2*wait, 10*time.Second)
			}
			// Without the commit it is read again, and answered with ErrDone.
			_ = c.CommitRecords(ctx, r)
		}
	}
}

// kafkaRecord reports whether a record has ended, and may be committed.
func kafkaRecord(ctx context.Context, g *guard.Guard, r *kgo.Record, tries int,
	fn, dead func(ctx context.Context, r *kgo.Record) error) bool {
	run, err := g.Start(ctx, kafkaToken(r))
	var lapsed *guard.LapsedError
	switch {
	case errors.Is(err, guard.ErrDone), errors.As(err, &lapsed):
		return true
	case err != nil: // ErrBusy: the member that had this partition before is still at it
		return false
	}
	err = fn(run.Context(), r)
	if err != nil && run.Attempt() >= tries && dead(run.Context(), r) == nil {
		err = onceq.Discard(err)
	}
	if run.Done(err) != nil {
		return false // it was not recorded: the next try finds out
	}
	return run.State().Finished()
}

func kafkaToken(r *kgo.Record) guard.Token {
	for _, h := range r.Headers {
		if h.Key == "onceq-claim" {
			return guard.Token(h.Value)
		}
	}
	return ""
}
