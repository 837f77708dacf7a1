// Package onceqtest helps to test code that enqueues and handles jobs. It has a
// store in memory whose clock you move, a worker that runs what is due and
// returns, and checks that a job was enqueued.
package onceqtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fingerprint"
	"github.com/onceq/onceq/internal/memstore"
)

// Store is a store in memory. It keeps every promise of the other stores but
// durability, and [Store.Advance] moves its clock.
type Store struct {
	onceq.Store
	clock *clock
}

type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// NewStore makes an empty store, which is closed when the test ends.
func NewStore(t testing.TB) *Store {
	c := &clock{}
	s := &Store{memstore.New(c.now), c}
	t.Cleanup(func() { s.Close() })
	return s
}

// Advance moves the clock of the store forward: delayed jobs become due,
// windows end. It wakes no worker: call [Drain] afterwards.
func (s *Store) Advance(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.ahead += d
}

// NewClient makes a client with the default configuration, which is closed when
// the test ends.
func NewClient(t testing.TB, store onceq.Store) *onceq.Client {
	t.Helper()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatalf("onceqtest: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// NewWorker makes a worker for the named queues, or for "default". Register
// handlers, then call [Drain]. Retries are due at once, so a job that fails
// runs until its attempts are spent.
func NewWorker(t testing.TB, store onceq.Store, queues ...string) *onceq.Worker {
	t.Helper()
	if len(queues) == 0 {
		queues = []string{"default"}
	}
	config := &onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{}, Drain: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Retry:  func(*onceq.JobRow, error) time.Duration { return 0 }}
	for _, q := range queues {
		config.Queues[q] = onceq.QueueConfig{Concurrency: 10}
	}
	worker, err := onceq.NewWorker(store, config)
	if err != nil {
		t.Fatalf("onceqtest: %v", err)
	}
	return worker
}

// Drain runs every job that is due, and the jobs that those enqueue, until none
// is left. Jobs that are due later stay.
func Drain(t testing.TB, worker *onceq.Worker) {
	t.Helper()
	if err := worker.Run(t.Context()); err != nil {
		t.Fatalf("onceqtest: drain: %v", err)
	}
}

// RequireEnqueued fails the test unless a job with this kind and these args,
// compared by value, waits or runs. It returns the job.
func RequireEnqueued(t testing.TB, client *onceq.Client, args onceq.Args) *onceq.JobRow {
	t.Helper()
	found, others := find(t, client, args)
	if found == nil {
		t.Fatalf("onceqtest: no job of kind %q with these args waits or runs; there are:%s", args.Kind(), others)
	}
	return found
}

// RequireNotEnqueued fails the test if a job with this kind and these args,
// compared by value, waits or runs.
func RequireNotEnqueued(t testing.TB, client *onceq.Client, args onceq.Args) {
	t.Helper()
	if found, _ := find(t, client, args); found != nil {
		t.Fatalf("onceqtest: job %s of kind %q with these args is there (%s)", found.ID, found.Kind, found.State)
	}
}

func find(t testing.TB, client *onceq.Client, args onceq.Args) (found *onceq.JobRow, others string) {
	t.Helper()
	want, err := wanted(args)
	if err != nil {
		t.Fatalf("onceqtest: the args cannot be encoded: %v", err)
	}
	var list strings.Builder
	for job, err := range client.Jobs(t.Context(), onceq.JobFilter{Kind: args.Kind(), Args: true}) {
		if err != nil {
			t.Fatalf("onceqtest: %v", err)
		}
		if job.State.Finished() {
			continue
		}
		if got, err := fingerprint.Digest(job.Args, job.Encoding == onceq.EncodingJSON); err == nil && got == want {
			return job, ""
		}
		fmt.Fprintf(&list, "\n  %s (%s) %.200s", job.ID, job.State, job.Args)
	}
	if list.Len() == 0 {
		return nil, " none"
	}
	return nil, list.String()
}

// wanted is the digest that the args would have in a store. How args are
// encoded is the client's business, so the args are enqueued in an empty store.
func wanted(args onceq.Args) ([16]byte, error) {
	client, err := onceq.NewClient(memstore.New(nil), nil)
	if err != nil {
		return [16]byte{}, err
	}
	defer client.Close()
	receipt, err := client.Enqueue(context.Background(), args, onceq.NotUnique, onceq.Queue("default"))
	if err != nil {
		return [16]byte{}, err
	}
	return fingerprint.Digest(receipt.Job.Args, receipt.Job.Encoding == onceq.EncodingJSON)
}
