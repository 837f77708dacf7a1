// Command coalesce indexes a repository after each push: one run at a time, and
// however many pushes come while it runs, exactly one more afterwards, which
// starts after the last of them.
//
//	go run ./coalesce
package main

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// Reindex is about a repository. The commit is not part of the key: the newest
// one is indexed.
type Reindex struct {
	Repo   string `json:"repo" onceq:"unique"`
	Commit int    `json:"commit"`
}

// Kind names the job.
func (Reindex) Kind() string { return "reindex" }

// EnqueueOptions are part of the type, so that nobody who enqueues forgets them.
func (Reindex) EnqueueOptions() []onceq.Option {
	return []onceq.Option{onceq.Unique{}, onceq.OnConflict(onceq.Coalesce)}
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

	var head atomic.Int64 // of the repository
	push := func(ctx context.Context) error {
		commit := int(head.Add(1))
		receipt, err := client.Enqueue(ctx, Reindex{Repo: "web", Commit: commit})
		if err == nil {
			fmt.Printf("push %d: %s\n", commit, receipt.Outcome)
		}
		return err
	}

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true})
	if err != nil {
		return err
	}
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Reindex]) error {
		fmt.Printf("indexing %s at commit %d\n", job.Args.Repo, job.Args.Commit)
		for range 3 { // pushes that come in the middle of the first run
			if head.Load() < 5 {
				if err := push(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for range 2 {
		if err := push(ctx); err != nil {
			return err
		}
	}
	return worker.Run(ctx)
}
