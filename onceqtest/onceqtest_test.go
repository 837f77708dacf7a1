package onceqtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
)

type welcome struct {
	User int    `json:"user"`
	Text string `json:"text,omitempty"`
}

func (welcome) Kind() string { return "welcome" }

func TestDrainRunsWhatIsDueAndWhatThatEnqueues(t *testing.T) {
	store := onceqtest.NewStore(t)
	client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
	var users []int
	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[welcome]) error {
		users = append(users, job.Args.User)
		if job.Args.User == 1 {
			_, err := onceq.ClientFrom(ctx).Enqueue(ctx, welcome{User: 2})
			return err
		}
		if job.Args.User == 3 && job.Attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	for _, opts := range [][]onceq.Option{nil, {onceq.Delay(time.Hour)}} {
		if _, err := client.Enqueue(t.Context(), welcome{User: 1 + 2*len(opts)}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	onceqtest.RequireEnqueued(t, client, welcome{User: 1})
	onceqtest.Drain(t, worker)
	if len(users) != 2 || users[0] != 1 || users[1] != 2 {
		t.Fatalf("ran %v, want 1 and then 2", users)
	}
	onceqtest.RequireNotEnqueued(t, client, welcome{User: 1})
	onceqtest.RequireEnqueued(t, client, onceq.JSON("welcome", []byte(` {"user": 3.0} `)))

	store.Advance(time.Hour)
	onceqtest.Drain(t, worker)
	if len(users) != 5 {
		t.Fatalf("ran %v, want three attempts of 3 besides", users)
	}
	onceqtest.RequireNotEnqueued(t, client, welcome{User: 3})
}

// TestDrainLogsNothingOnceItHasReturned makes many short tests whose last act is a run that fails,
// which is logged. A line that came after such a test had ended would end this program.
func TestDrainLogsNothingOnceItHasReturned(t *testing.T) {
	for range 500 {
		t.Run("", func(t *testing.T) {
			store := onceqtest.NewStore(t)
			client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
			onceq.Handle(worker, func(context.Context, *onceq.Job[welcome]) error { return errors.New("failed") })
			if _, err := client.Enqueue(t.Context(), welcome{User: 1}, onceq.MaxAttempts(1)); err != nil {
				t.Fatal(err)
			}
			onceqtest.Drain(t, worker, onceqtest.AllowDiscarded)
		})
	}
}
