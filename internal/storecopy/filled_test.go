package storecopy

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// fill brings a store into every state that a copy has to carry, and returns how
// many jobs wait, how many are kept finished or gone, and how many keys are held.
func fill(t *testing.T, store onceq.Store) (waiting, finished, keys int) {
	t.Helper()
	ctx := t.Context()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	put := func(kind, args string, opts ...onceq.Option) *onceq.JobRow {
		t.Helper()
		r, err := client.Enqueue(ctx, onceq.JSON(kind, []byte(args)), opts...)
		if err != nil || r.Outcome != onceq.Inserted {
			t.Fatal(r.Outcome, err)
		}
		return r.Job
	}
	put("fails", `{"n":1}`, onceq.Unique{}, onceq.MaxAttempts(5))
	put("fails", `{"n":2}`, onceq.Unique{Until: onceq.UntilStarted})
	put("fails", `{"n":3}`, onceq.Unique{Until: onceq.UntilStarted, Window: time.Hour})
	put("works", `{"n":1}`, onceq.ID("done"))
	put("works", `{"n":2}`, onceq.Unique{Until: onceq.UntilDeleted})
	put("works", `{"n":3}`, onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour})
	put("works", `{"n":4}`, onceq.Unique{Window: 2 * time.Hour}, onceq.Retention(0))
	put("works", `{"n":5}`, onceq.Unique{Until: onceq.UntilDeleted, TTL: 2 * time.Hour})
	put("ends", `{"n":1}`, onceq.Unique{Until: onceq.UntilSucceeded})
	put("ends", `{"n":2}`, onceq.ID("discarded"), onceq.RetentionFailed(3*time.Hour))
	drain(t, store)

	put("waits", `{"n":0}`, onceq.Unique{TTL: 2 * time.Hour})
	put("waits", `{"n":1}`, onceq.Unique{Window: time.Hour}, onceq.Delay(3*time.Hour))
	put("waits", `{"n":2}`, onceq.Unique{Window: time.Hour, FromEnqueue: true}, onceq.Delay(3*time.Hour))
	put("waits", `{"n":3}`, onceq.Unique{Until: onceq.UntilDue}, onceq.Delay(3*time.Hour))
	put("waits", `{"n":4}`, onceq.Unique{Fields: []string{"n"}}, onceq.Tags("a", "b"), onceq.Priority(2),
		onceq.Meta(map[string]any{"big": 12345678901234567, "text": "<&>"}), onceq.Timeout(time.Minute),
		onceq.Backoff{Initial: time.Minute})
	put("waits", `{"n":5}`, onceq.UniqueKey("mine"), onceq.SecretKey)
	released := put("waits", `{"n":6}`, onceq.Unique{})
	if err := client.ReleaseKey(ctx, *released.Key); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		put("plain", fmt.Sprintf(`{"n":%d}`, n), onceq.Queue("stopped"))
	}
	if _, err := client.Enqueue(ctx, onceq.Bytes("raw", []byte{0, 255})); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Cancel(ctx, put("waits", `{"n":7}`, onceq.Unique{}).ID); err != nil {
		t.Fatal(err)
	}
	if err := client.Pause(ctx, "stopped"); err != nil {
		t.Fatal(err)
	}
	put("plain", `{}`, onceq.Queue("stopped for a while"))
	if err := client.PauseFor(ctx, "stopped for a while", 3*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nightly", "paused"} {
		if _, err := client.PutPeriodic(ctx, onceq.Periodic{Name: name, Schedule: "0 2 * * *",
			Args: onceq.JSON("tick", []byte(`{}`))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.PausePeriodic(ctx, "paused"); err != nil {
		t.Fatal(err)
	}
	return 3 + 7 + 8 + 1 + 1 + 2, 8, 1 + 1 + 5 + 6 + 2 // of the finished, one is gone and seven are kept
}

// drain runs what is due, once.
func drain(t *testing.T, store onceq.Store) {
	t.Helper()
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true,
		Retry: func(*onceq.JobRow, error) time.Duration { return 3 * time.Hour }})
	if err != nil {
		t.Fatal(err)
	}
	worker.HandleKind("fails", func(context.Context, *onceq.JobRow) error { return errors.New("not now") })
	worker.HandleKind("ends", func(context.Context, *onceq.JobRow) error { return onceq.Discard(errors.New("never")) })
	worker.HandleKind("works", func(ctx context.Context, _ *onceq.JobRow) error { return onceq.SetResult(ctx, "fine") })
	if err := worker.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) onceq.Store {
	t.Helper()
	store := memstore.New(nil)
	t.Cleanup(func() { store.Close() })
	return store
}
