package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// A worker runs jobs until its context ends. Here it is told to stop when
// nothing is due.
func ExampleWorker() {
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
	if _, err := client.Enqueue(context.Background(), Reindex{Repo: 42}); err != nil {
		log.Fatal(err)
	}

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 10}},
		Drain:  true,
	})
	if err != nil {
		log.Fatal(err)
	}
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Reindex]) error {
		fmt.Println("reindex repository", job.Args.Repo, "attempt", job.Attempt)
		return nil
	})
	if err := worker.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: reindex repository 42 attempt 1
}

// What a handler may return, besides nil and an ordinary error.
func ExampleSnooze() {
	handle := func(ctx context.Context, job *onceq.Job[Reindex]) error {
		switch {
		case job.Args.Repo == 0:
			return onceq.Discard(errors.New("no such repository")) // whatever attempts are left
		case job.Args.Reason == "busy":
			return onceq.Snooze(time.Minute) // later, and the attempt is not spent
		}
		return nil
	}
	fmt.Println(handle(context.Background(), &onceq.Job[Reindex]{Args: Reindex{Repo: 1, Reason: "busy"}}))
	// Output: snoozed for 1m0s
}

// Enqueue inside your own transaction: the job exists, and holds its key,
// if and only if you commit.
func ExampleClient_WithTx() {
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
	ctx := context.Background()

	for _, commit := range []bool{false, true} {
		tx, err := store.Begin(ctx)
		if err != nil {
			log.Fatal(err)
		}
		receipt, err := client.WithTx(store.Tx(tx)).Enqueue(ctx, Reindex{Repo: 42}, onceq.Unique{})
		if err != nil {
			log.Fatal(err)
		}
		if commit {
			err = tx.Commit()
		} else {
			err = tx.Rollback()
		}
		if err != nil {
			log.Fatal(err)
		}
		_, err = client.Job(ctx, receipt.Job.ID)
		fmt.Println(receipt.Outcome, "and kept:", err == nil)
	}
	// Output:
	// inserted and kept: false
	// inserted and kept: true
}

// A schedule makes one job at each of its ticks, however many workers serve
// it. The clocks of New York are put forward on 8 March 2026.
func ExampleNextTicks() {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		log.Fatal(err)
	}
	from := time.Date(2026, 3, 7, 0, 0, 0, 0, newYork)
	ticks, err := onceq.NextTicks("30 2 * * *", newYork, from, 3)
	if err != nil {
		log.Fatal(err)
	}
	for _, tick := range ticks {
		fmt.Println(tick)
	}
	// Output:
	// 2026-03-07 02:30:00 -0500 EST
	// 2026-03-08 03:00:00 -0400 EDT
	// 2026-03-09 02:30:00 -0400 EDT
}

// A schedule in the store is served by every worker with ServePeriodic.
func ExampleClient_PutPeriodic() {
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
	ctx := context.Background()
	schedule := onceq.Periodic{Name: "nightly", Schedule: "30 2 * * *", Args: Reindex{Repo: 42},
		Options: []onceq.Option{onceq.Unique{}}} // a tick is skipped while the last job is not finished
	if _, err := client.PutPeriodic(ctx, schedule); err != nil {
		log.Fatal(err)
	}
	schedules, err := client.Periodics(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range schedules {
		fmt.Println(s.Name, s.Kind, s.Next.Format("at 15:04 MST"))
	}
	// Output: nightly reindex at 02:30 UTC
}
