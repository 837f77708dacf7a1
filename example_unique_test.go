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

// Reindex is what the examples are about: reindexing a repository.
type Reindex struct {
	Repo   int64  `json:"repo"`
	Reason string `json:"reason"`
}

func (Reindex) Kind() string { return "reindex" }

// open returns a client of an empty store in memory.
func openExample() (*onceq.Client, func()) {
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		log.Fatal(err)
	}
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	return client, func() { client.Close(); store.Close() }
}

// A unique job holds its key until it is finished. A duplicate is an
// answer, not an error.
func ExampleUnique() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	first, err := client.Enqueue(ctx, Reindex{Repo: 42, Reason: "push"}, onceq.Unique{Fields: []string{"repo"}})
	if err != nil {
		log.Fatal(err)
	}
	second, err := client.Enqueue(ctx, Reindex{Repo: 42, Reason: "tag"}, onceq.Unique{Fields: []string{"repo"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Outcome, second.Outcome, second.Duplicate())
	fmt.Println(second.Job.ID == first.Job.ID, second.Conflict.State, second.Conflict.FreesText(),
		second.Conflict.ArgsDiffer)
	// Output:
	// inserted skipped true
	// true available frees when it is finished true
}

// A key of your own takes the place of the args.
func ExampleUniqueKey() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	for range 2 {
		receipt, err := client.Enqueue(ctx, onceq.JSON("welcome", []byte(`{"user":42}`)), onceq.UniqueKey("welcome:42"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(receipt.Outcome)
	}
	// Output:
	// inserted
	// skipped
}

// At most one per five minutes, whatever became of the job.
func ExampleUnique_throttle() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	window := onceq.Unique{Until: onceq.UntilWindowEnds, Window: 5 * time.Minute}
	if _, err := client.Enqueue(ctx, Reindex{Repo: 42}, window); err != nil {
		log.Fatal(err)
	}
	receipt, err := client.Enqueue(ctx, Reindex{Repo: 42}, window)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Outcome, receipt.Conflict.FreesAt.Sub(receipt.Conflict.Since))
	// Output: skipped 5m0s
}

// Reject makes a duplicate an error that says who holds the key.
func ExampleOnConflict_reject() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	opts := []onceq.Option{onceq.Unique{}, onceq.OnConflict(onceq.Reject)}
	if _, err := client.Enqueue(ctx, Reindex{Repo: 42}, opts...); err != nil {
		log.Fatal(err)
	}
	_, err := client.Enqueue(ctx, Reindex{Repo: 42}, opts...)
	var dup *onceq.DuplicateError
	fmt.Println(errors.Is(err, onceq.ErrDuplicate), errors.As(err, &dup) && dup.Holder != "")
	// Output: true true
}

// Coalesce makes sure that a run starts after each enqueue, with the latest
// args, and that there is no more than one too many.
func ExampleOnConflict_coalesce() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	for _, reason := range []string{"first", "second", "third"} {
		receipt, err := client.Enqueue(ctx, Reindex{Repo: 42, Reason: reason}, onceq.Unique{Fields: []string{"repo"}},
			onceq.OnConflict(onceq.Coalesce))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s\n", receipt.Outcome, receipt.Job.Args)
	}
	// Output:
	// inserted {"repo":42,"reason":"first"}
	// replaced {"repo":42,"reason":"second"}
	// replaced {"repo":42,"reason":"third"}
}

// Debounce waits until things calm down, but no longer than MaxWait.
func ExampleDebounce() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	for _, reason := range []string{"a", "ab", "abc"} {
		receipt, err := client.Enqueue(ctx, Reindex{Repo: 42, Reason: reason}, onceq.Unique{Fields: []string{"repo"}},
			onceq.Delay(2*time.Second), onceq.OnConflict(onceq.Debounce{MaxWait: time.Minute}))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s %s\n", receipt.Outcome, receipt.Job.State, receipt.Job.Args)
	}
	// Output:
	// inserted scheduled {"repo":42,"reason":"a"}
	// replaced scheduled {"repo":42,"reason":"ab"}
	// replaced scheduled {"repo":42,"reason":"abc"}
}

// Explain says what an enqueue would do, and why, without doing it.
func ExampleClient_Explain() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	if _, err := client.Enqueue(ctx, Reindex{Repo: 42}, onceq.Unique{Fields: []string{"repo"}}); err != nil {
		log.Fatal(err)
	}
	e, err := client.Explain(ctx, Reindex{Repo: 42}, onceq.Unique{Fields: []string{"repo"}},
		onceq.OnConflict(onceq.Supersede))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Text)
	fmt.Println(e.Outcome, "a job that is", e.Conflict.State)
	// Output:
	// kind=reindex queue=default fields /repo=42
	// superseded a job that is available
}

// Many at once: answered as if they had been enqueued one after another.
func ExampleClient_EnqueueMany() {
	client, close := openExample()
	defer close()
	ctx := context.Background()

	receipts, err := client.EnqueueMany(ctx, []onceq.Item{
		onceq.NewItem(Reindex{Repo: 1}, onceq.Unique{}),
		onceq.NewItem(Reindex{Repo: 2}, onceq.Unique{}),
		onceq.NewItem(Reindex{Repo: 1}, onceq.Unique{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range receipts {
		fmt.Println(r.Outcome)
	}
	// Output:
	// inserted
	// inserted
	// skipped
}
