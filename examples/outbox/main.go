// Command outbox writes an order and the job that mails it in one transaction:
// both exist, or neither. The handler writes and completes its job in one
// transaction too, so that the row of the mail is written exactly once.
//
//	go run ./outbox # SQLite; with PostgreSQL: see docs/transactions.md
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// Confirm asks for the mail that confirms an order.
type Confirm struct {
	Order int64 `json:"order"`
}

// Kind names the job.
func (Confirm) Kind() string { return "confirm" }

type shop struct {
	store  *sqlitestore.Store
	client *onceq.Client
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	store, err := sqlitestore.Open(":memory:", nil) // a file in a real program
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &shop{store, client}
	for _, table := range []string{"orders (id INTEGER PRIMARY KEY, item TEXT)", "mails (order_id INTEGER)"} {
		if _, err := store.DB().ExecContext(ctx, "CREATE TABLE "+table); err != nil {
			return err
		}
	}

	fmt.Println("paid:", s.order(ctx, "tea", nil))
	fmt.Println("refused:", s.order(ctx, "coffee", errors.New("the card was refused")))

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true})
	if err != nil {
		return err
	}
	onceq.Handle(worker, s.confirm)
	if err := worker.Run(ctx); err != nil {
		return err
	}
	var orders, mails int
	row := store.DB().QueryRowContext(ctx, "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM mails)")
	if err := row.Scan(&orders, &mails); err != nil {
		return err
	}
	fmt.Printf("orders %d, mails %d\n", orders, mails)
	return nil
}

// order writes an order and its job. payment is what the payment ended with.
func (s *shop) order(ctx context.Context, item string, payment error) error {
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, "INSERT INTO orders (item) VALUES (?)", item)
	if err != nil {
		return err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return err
	}
	if _, err := s.client.WithTx(s.store.Tx(tx)).Enqueue(ctx, Confirm{id}, onceq.Unique{}); err != nil {
		return err
	}
	if payment != nil {
		return payment // neither the order nor the job was ever there
	}
	return tx.Commit()
}

// confirm runs again if its worker dies, and still leaves one row.
func (s *shop) confirm(ctx context.Context, job *onceq.Job[Confirm]) error {
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO mails VALUES (?)", job.Args.Order); err != nil {
		return err
	}
	if err := s.client.WithTx(s.store.Tx(tx)).Complete(ctx, job.JobRow); err != nil {
		return err
	}
	return tx.Commit()
}
