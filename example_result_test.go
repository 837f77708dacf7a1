package onceq_test

import (
	"context"
	"fmt"
	"log"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

type Payment struct {
	Order int `json:"order"`
}

func (Payment) Kind() string { return "payment" }

// What the handler writes in the transaction that completes its job happens
// exactly once, although the job may run more than once.
func ExampleTxClient_Complete() {
	ctx := context.Background()
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := store.DB().ExecContext(ctx, "CREATE TABLE payments (of_order)"); err != nil {
		log.Fatal(err)
	}
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Enqueue(ctx, Payment{Order: 7}); err != nil {
		log.Fatal(err)
	}

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client, Drain: true})
	if err != nil {
		log.Fatal(err)
	}
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Payment]) error {
		tx, err := store.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO payments VALUES (?)", job.Args.Order); err != nil {
			return err
		}
		if err := client.WithTx(store.Tx(tx)).Complete(ctx, job.JobRow); err != nil {
			return err
		}
		return tx.Commit() // the payment is written and the job completed, or neither
	})
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
	var payments int
	if err := store.DB().QueryRowContext(ctx, "SELECT count(*) FROM payments").Scan(&payments); err != nil {
		log.Fatal(err)
	}
	fmt.Println("payments:", payments)
	// Output: payments: 1
}

// A duplicate waits for the holder of its key: both callers get the result of
// one run.
func ExampleWaitFor() {
	ctx := context.Background()
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var receipts []onceq.Receipt
	for range 2 {
		receipt, err := client.Enqueue(ctx, Payment{Order: 7}, onceq.Unique{})
		if err != nil {
			log.Fatal(err)
		}
		receipts = append(receipts, receipt)
	}

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client, Drain: true})
	if err != nil {
		log.Fatal(err)
	}
	runs := 0
	onceq.HandleResult(worker, func(ctx context.Context, job *onceq.Job[Payment]) (string, error) {
		runs++
		return fmt.Sprintf("receipt of order %d", job.Args.Order), nil
	})
	if err := worker.Run(ctx); err != nil { // elsewhere, as a rule
		log.Fatal(err)
	}
	for _, receipt := range receipts {
		text, err := onceq.WaitFor[string](ctx, receipt)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(receipt.Outcome, text)
	}
	fmt.Println("runs:", runs)
	// Output:
	// inserted receipt of order 7
	// skipped receipt of order 7
	// runs: 1
}
