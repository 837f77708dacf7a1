package main

import (
	"context"
	"time"

	"github.com/onceq/onceq"
)

type (
	Delivery struct{ ID, Repo, SHA string } // a webhook that tells of a push
	Reindex  struct{ Repo string }
	Digest   struct{ Repo, SHA string }
	Preview  struct{ Repo, SHA string }
	Payment  struct{ Order, Cents string }
)

func (Delivery) Kind() string { return "delivery" }
func (Reindex) Kind() string  { return "reindex" }
func (Digest) Kind() string   { return "digest" }
func (Preview) Kind() string  { return "preview" }
func (Payment) Kind() string  { return "payment" }

var policies = map[string][]onceq.Option{
	// Senders repeat what was not answered: for three days that is a duplicate.
	"delivery": {onceq.Queue("hooks"),
		onceq.Unique{Fields: []string{"ID"}, Until: onceq.UntilWindowEnds, Window: 72 * time.Hour}},
	// One runs at a time. However many pushes come meanwhile, one more run follows.
	"reindex": {onceq.Unique{}, onceq.OnConflict(onceq.Coalesce)},
	// One is sent when there was no push for a while, but after ten minutes at the latest.
	"digest": {onceq.Unique{Fields: []string{"Repo"}}, onceq.OnConflict(onceq.Debounce{MaxWait: 10 * time.Minute})},
	// A newer one stops the one that is rendered.
	"preview": {onceq.Unique{Fields: []string{"Repo"}}, onceq.OnConflict(onceq.Supersede)},
	// An order is paid for once. Whoever asks again gets the job that did it.
	"payment": {onceq.Unique{Fields: []string{"Order"}, Until: onceq.UntilDeleted}, onceq.Retention(72 * time.Hour)},
}

// deliver runs again if its worker dies. What it enqueues is unique, so that
// does no harm.
func (s *service) deliver(ctx context.Context, job *onceq.Job[Delivery]) error {
	d := job.Args
	_, err := s.client.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(Reindex{d.Repo}),
		onceq.NewItem(Digest{d.Repo, d.SHA}, onceq.Delay(s.quiet)), onceq.NewItem(Preview{d.Repo, d.SHA})})
	return err
}

func (s *service) preview(ctx context.Context, _ *onceq.Job[Preview]) error {
	select {
	case <-time.After(s.render):
		return nil
	case <-ctx.Done(): // superseded, or the worker is to end
		return context.Cause(ctx)
	}
}

// pay writes the payment and completes its job in one transaction: both happen,
// or neither, however often it runs.
func (s *service) pay(ctx context.Context, job *onceq.Job[Payment]) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO payments VALUES ($1, $2)",
		job.Args.Order, job.Args.Cents); err != nil {
		return err
	}
	if err := s.client.WithTx(s.tx(tx)).Complete(ctx, job.JobRow); err != nil {
		return err
	}
	return tx.Commit()
}
