package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// Two stores share a pool of one connection, with clients, workers,
// handlers that enqueue and cancel, and transactions: everybody gets their
// turn, and nobody waits for a connection with one in hand.
func TestAPoolOfOneConnectionServesClientsAndWorkers(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	pool := d.pool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	var stores [2]*pgstore.Store
	var clients [2]*onceq.Client
	for i := range stores {
		var err error
		if stores[i], err = pgstore.New(pool, &pgstore.Config{Namespace: d.schema}); err != nil {
			t.Fatal(err)
		}
		defer stores[i].Close()
		if clients[i], err = onceq.NewClient(stores[i], nil); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var workers, callers sync.WaitGroup
	for range 2 {
		w, err := onceq.NewWorker(stores[0], &onceq.WorkerConfig{Logger: slog.New(slog.DiscardHandler),
			PollInterval: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		w.HandleKind("task", func(ctx context.Context, j *onceq.JobRow) error {
			c := onceq.ClientFrom(ctx)
			switch j.Run {
			case 1:
				_, err := c.Enqueue(ctx, task(rand.N(20)), onceq.Unique{})
				if err != nil && ctx.Err() == nil { // else this run was superseded
					t.Error("enqueue of a handler:", err)
				}
				return errors.New("once more")
			case 2:
				if _, err := c.Cancel(ctx, j.ID); err != nil && ctx.Err() == nil {
					t.Error("cancel of a handler:", err)
				}
			}
			return nil
		})
		workers.Go(func() {
			if err := w.Run(working); err != nil {
				t.Error(err)
			}
		})
	}
	policies := []onceq.ConflictPolicy{onceq.Skip, onceq.Coalesce, onceq.Supersede, onceq.Replace{Args: true}}
	for i := range 8 {
		callers.Go(func() {
			for n := range 25 {
				_, err := clients[i%2].Enqueue(ctx, task(n%20), onceq.Unique{}, onceq.OnConflict(policies[(i+n)%4]))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Go(func() {
		for n := range 10 {
			if err := inTransaction(ctx, pool, stores[1], clients[1], n); err != nil {
				t.Error("in a transaction:", err)
				return
			}
		}
	})
	callers.Wait()
	stop()
	workers.Wait()
	if report, err := clients[0].Doctor(ctx, nil); err != nil || !report.OK() {
		t.Error(report, err)
	}
}

func inTransaction(ctx context.Context, pool *pgxpool.Pool, s *pgstore.Store, c *onceq.Client, n int) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := c.WithTx(s.Tx(tx)).Enqueue(ctx, onceq.JSON("task", fmt.Append(nil, n)), onceq.Unique{}); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
