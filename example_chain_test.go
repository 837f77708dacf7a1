package onceq_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

type Encode struct {
	Film string `json:"film"`
}

func (Encode) Kind() string { return "encode" }

type Publish struct {
	Film string `json:"film"`
}

func (Publish) Kind() string { return "publish" }

// A chain: each step enqueues the next one before it ends, under an ID that
// follows from its own. A step that runs twice enqueues it once.
func Example_chain() {
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
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client, Drain: true})
	if err != nil {
		log.Fatal(err)
	}
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Encode]) error {
		fmt.Println("encode", job.Args.Film)
		_, err := client.Enqueue(ctx, Publish(job.Args), onceq.ID(job.ID+"/publish"))
		return err // an error runs the step again, and nothing is lost
	})
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Publish]) error {
		fmt.Println("publish", job.Args.Film)
		return nil
	})

	if _, err := client.Enqueue(context.Background(), Encode{Film: "metropolis"}); err != nil {
		log.Fatal(err)
	}
	if err := worker.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// encode metropolis
	// publish metropolis
}

type Split struct {
	Film  string `json:"film"`
	Parts int    `json:"parts"`
}

func (Split) Kind() string { return "split" }

type EncodePart struct {
	Film string `json:"film"`
	Part int    `json:"part"`
}

func (EncodePart) Kind() string { return "encode-part" }

// A batch: a parent enqueues its children under IDs that it knows, and snoozes
// until all of them have ended. A snooze spends no attempt.
func Example_batch() {
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
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[EncodePart]) error { return nil })
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Split]) error {
		id := func(part int) string { return fmt.Sprintf("%s/%d", job.ID, part) }
		var children []onceq.Item
		for part := range job.Args.Parts {
			children = append(children, onceq.NewItem(EncodePart{job.Args.Film, part}, onceq.ID(id(part))))
		}
		if _, err := client.EnqueueMany(ctx, children); err != nil { // those that are there are skipped
			return err
		}
		for part := range job.Args.Parts {
			child, err := client.Job(ctx, id(part))
			switch {
			case err != nil:
				return err
			case !child.State.Finished():
				return onceq.Snooze(20 * time.Millisecond)
			case child.State != onceq.Completed:
				return onceq.Discard(fmt.Errorf("part %d is %s", part, child.State))
			}
		}
		fmt.Println(job.Args.Parts, "parts are encoded; join them")
		stop()
		return nil
	})

	if _, err := client.Enqueue(ctx, Split{Film: "metropolis", Parts: 3}, onceq.ID("metropolis")); err != nil {
		log.Fatal(err)
	}
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 3 parts are encoded; join them
}
