package onceqtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
	"github.com/onceq/onceq/sqlitestore"
)

// handle is a handler that does what the text says.
func handle(ctx context.Context, job *onceq.Job[welcome]) error {
	switch job.Args.Text {
	case "fails":
		return errors.New("no such user")
	case "panics":
		panic("no such user")
	case "discards":
		return onceq.Discard(errors.New("no such user"))
	case "snoozes":
		return onceq.Snooze(time.Minute)
	case "ends":
		<-ctx.Done()
		return ctx.Err()
	case "enqueues":
		_, err := onceq.ClientFrom(ctx).Enqueue(ctx, welcome{User: job.Args.User + 1})
		return err
	}
	return onceq.SetResult(ctx, "sent by "+job.ID)
}

func TestRunRunsOneJobOnceAndReturnsItAsTheRunLeftIt(t *testing.T) {
	for _, c := range []struct {
		text    string
		opts    []onceq.Option
		state   onceq.State
		attempt int
		err     string
	}{
		{"", nil, onceq.Completed, 1, ""},
		{"", []onceq.Option{onceq.Delay(time.Hour), onceq.Queue("mail")}, onceq.Completed, 1, ""},
		{"", []onceq.Option{onceq.Retention(0)}, onceq.Completed, 1, ""},
		{"fails", nil, onceq.Retryable, 1, "no such user"},
		{"fails", []onceq.Option{onceq.MaxAttempts(1)}, onceq.Discarded, 1, "no such user"},
		{"panics", nil, onceq.Retryable, 1, "no such user"},
		{"discards", []onceq.Option{onceq.Retention(0)}, onceq.Discarded, 1, "no such user"},
		{"snoozes", nil, onceq.Scheduled, 0, ""},
		{"ends", []onceq.Option{onceq.Timeout(time.Millisecond)}, onceq.Retryable, 1, "timed out"},
	} {
		store := onceqtest.NewStore(t)
		client := onceqtest.NewClient(t, store)
		if _, err := client.Enqueue(t.Context(), welcome{User: 2}, onceq.Priority(0)); err != nil {
			t.Fatal(err)
		}
		job := onceqtest.Run(t, store, handle, welcome{User: 1, Text: c.text}, c.opts...)
		said := ""
		if len(job.Errors) > 0 {
			said = job.Errors[0].Error
		}
		if job.State != c.state || job.Attempt != c.attempt || !strings.Contains(said, c.err) ||
			(said == "") != (c.err == "") {
			t.Errorf("%q: %s, attempt %d, %q; want %s, %d, %q", c.text, job.State, job.Attempt, said, c.state,
				c.attempt, c.err)
		}
		if other := onceqtest.RequireEnqueued(t, client, welcome{User: 2}); other.Attempt != 0 {
			t.Errorf("%q: the other job was run too", c.text)
		}
	}
}

func TestRunKeepsTheResultAndWhatTheHandlerEnqueues(t *testing.T) {
	store := onceqtest.NewStore(t)
	job := onceqtest.Run(t, store, handle, welcome{User: 1}, onceq.ID("w"))
	if got, err := onceq.ResultOf[string](job); got != "sent by w" || err != nil {
		t.Errorf("result %q, %v", got, err)
	}
	onceqtest.Run(t, store, handle, welcome{User: 1, Text: "enqueues"})
	onceqtest.RequireEnqueued(t, onceqtest.NewClient(t, store), welcome{User: 2})

	job = onceqtest.RunResult(t, store, func(_ context.Context, job *onceq.Job[welcome]) (int, error) {
		return job.Args.User, nil
	}, welcome{User: 7})
	if got, err := onceq.ResultOf[int](job); got != 7 || err != nil {
		t.Errorf("result %d, %v", got, err)
	}
}

func TestRunRefusesAnEnqueueThatMakesNoJobToRun(t *testing.T) {
	store := onceqtest.NewStore(t)
	client := onceqtest.NewClient(t, store)
	if _, err := client.Enqueue(t.Context(), welcome{User: 1}, onceq.ID("first"), onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	said := fails(t, func(t testing.TB) { onceqtest.Run(t, store, handle, welcome{User: 1}, onceq.Unique{}) })
	wantLines(t, said, `onceqtest: Run needs a job of its own to run, and the enqueue was skipped: `,
		`held by job first`)
	if err := client.Pause(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	said = fails(t, func(t testing.TB) { onceqtest.Run(t, store, handle, welcome{User: 2}, onceq.ID("second")) })
	wantLines(t, said, `onceqtest: Run: job second was run 0 times: `, `paused`)
	said = fails(t, func(t testing.TB) { onceqtest.Run(t, store, handle, welcome{User: 3}, onceq.Queue("")) })
	wantLines(t, said, `onceqtest: Run: queue`)
}

func TestAHandlerIsCalledByTheTestItself(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	job := onceqtest.NewJob(t, welcome{User: 1, Text: "enqueues"}, onceq.ID("w"), onceq.Queue("mail"),
		onceq.Timeout(time.Hour))
	if job.ID != "w" || job.Queue != "mail" || job.State != onceq.Running || job.Attempt != 1 {
		t.Errorf("job %+v", job.JobRow)
	}
	ctx := onceqtest.Context(t, client, job.JobRow)
	if err := handle(ctx, job); err != nil {
		t.Error(err)
	}
	onceqtest.RequireEnqueued(t, client, welcome{User: 2})
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > time.Hour {
		t.Error("the context does not end with the timeout of the job")
	}
	if err := handle(onceqtest.Context(t, nil, nil), onceqtest.NewJob(t, welcome{User: 1})); err != nil {
		t.Error(err)
	}
}

// pay writes what it does and completes its job in one transaction.
func pay(store *sqlitestore.Store) func(context.Context, *onceq.Job[welcome]) error {
	return func(ctx context.Context, job *onceq.Job[welcome]) error {
		tx, err := store.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO sent VALUES (?)", job.Args.User); err != nil {
			return err
		}
		if job.Args.Text != "" {
			return errors.New(job.Args.Text)
		}
		if err := onceq.ClientFrom(ctx).WithTx(store.Tx(tx)).Complete(ctx, job.JobRow); err != nil {
			return err
		}
		return tx.Commit()
	}
}

func TestTransactionsAreTestedOnSQLiteWithAClockToMove(t *testing.T) {
	var clock onceqtest.Clock
	store, err := sqlitestore.Open(":memory:", &sqlitestore.Config{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.DB().ExecContext(t.Context(), "CREATE TABLE sent (user)"); err != nil {
		t.Fatal(err)
	}
	sent := func() (n int) {
		t.Helper()
		if err := store.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM sent").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	job := onceqtest.Run(t, store, pay(store), welcome{User: 1})
	if job.State != onceq.Completed || sent() != 1 {
		t.Errorf("%s, %d rows; want completed, 1", job.State, sent())
	}
	job = onceqtest.Run(t, store, pay(store), welcome{Text: "declined"})
	if job.State != onceq.Retryable || sent() != 1 {
		t.Errorf("%s, %d rows; want retryable, 1", job.State, sent())
	}
	client := onceqtest.NewClient(t, store)
	receipt, err := client.Enqueue(t.Context(), welcome{User: 2}, onceq.Delay(time.Hour), onceq.UniqueKey("k"))
	if err != nil {
		t.Fatal(err)
	}
	worker := onceqtest.NewWorker(t, store)
	onceq.Handle(worker, pay(store))
	clock.Advance(59 * time.Minute)
	onceqtest.RequireDuplicate(t, client, welcome{User: 2}, onceq.UniqueKey("k"))
	for _, job := range onceqtest.Drain(t, worker, onceqtest.AllowDiscarded) {
		if job.ID == receipt.Job.ID {
			t.Error("a job ran before its time")
		}
	}
	clock.Advance(time.Minute)
	if ran := onceqtest.Drain(t, worker); len(ran) != 1 || ran[0].State != onceq.Completed || sent() != 2 {
		t.Errorf("ran %d, %d rows; want 1, 2", len(ran), sent())
	}
}

func TestEverythingWorksInASynctestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := onceqtest.NewStore(t)
		client := onceqtest.NewClient(t, store)
		worker, err := onceq.NewWorker(store, nil) // as the program makes it
		if err != nil {
			t.Fatal(err)
		}
		defer worker.Close()
		onceq.Handle(worker, handle)
		if _, err := client.Enqueue(t.Context(), welcome{User: 1}, onceq.Delay(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if ran := onceqtest.Drain(t, worker); len(ran) != 0 {
			t.Errorf("ran %d jobs that are due later", len(ran))
		}
		time.Sleep(30 * time.Minute)
		store.Advance(30 * time.Minute)
		if ran := onceqtest.Drain(t, worker); len(ran) != 1 {
			t.Errorf("ran %d, want 1", len(ran))
		}
		job := onceqtest.Run(t, store, handle, welcome{Text: "ends"}, onceq.Timeout(time.Hour))
		if len(job.Errors) != 1 {
			t.Error("the run did not end with its timeout")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- worker.Run(ctx) }()
		receipt, err := client.Enqueue(t.Context(), welcome{User: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := onceq.WaitFor[string](t.Context(), receipt); err != nil || got == "" {
			t.Errorf("result %q, %v", got, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainReturnsARowForEachRun(t *testing.T) {
	store := onceqtest.NewStore(t)
	client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
	onceq.Handle(worker, handle)
	enqueue := func(text string, opts ...onceq.Option) {
		t.Helper()
		if _, err := client.Enqueue(t.Context(), welcome{Text: text}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	enqueue("fails", onceq.ID("a"), onceq.MaxAttempts(2))
	enqueue("", onceq.ID("b"), onceq.Retention(0))
	enqueue("snoozes", onceq.ID("c"))
	states := map[string]string{}
	for _, job := range onceqtest.Drain(t, worker, onceqtest.AllowDiscarded) {
		states[job.ID] += fmt.Sprint(" ", job.State, job.Attempt, len(job.Errors), job.FinishedAt.IsZero())
	}
	for id, want := range map[string]string{"a": " retryable1 1 true discarded2 2 false", "b": " completed1 0 true",
		"c": " scheduled0 0 true"} {
		if states[id] != want {
			t.Errorf("%s: %q, want %q", id, states[id], want)
		}
	}
}

func TestDrainFailsWhenAJobIsDiscarded(t *testing.T) {
	store := onceqtest.NewStore(t)
	client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
	onceq.Handle(worker, handle)
	if _, err := client.Enqueue(t.Context(), welcome{Text: "fails"}, onceq.ID("w"), onceq.MaxAttempts(3)); err != nil {
		t.Fatal(err)
	}
	said := fails(t, func(t testing.TB) { onceqtest.Drain(t, worker) })
	want := `onceqtest: discarded (if the test is about that, say AllowDiscarded):
  w kind "welcome" queue "default" after 3 of 3 attempts: no such user`
	if said != want {
		t.Errorf("said %s\nwant %s", said, want)
	}
}

func TestDrainSaysWhatItDoesNotServe(t *testing.T) {
	store := onceqtest.NewStore(t)
	client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
	onceq.Handle(worker, handle)
	for range 2 {
		if _, err := client.Enqueue(t.Context(), welcome{}, onceq.Queue("bulk")); err != nil {
			t.Fatal(err)
		}
	}
	f := &failing{TB: t}
	onceqtest.Drain(f, worker)
	want := `onceqtest: these jobs are due, and the drained worker does not serve them:
  2 of kind "welcome" queue "bulk"`
	if f.logged != want {
		t.Errorf("logged %s\nwant %s", f.logged, want)
	}
}

func TestDrainShowsARunThatWasFollowedByAnotherAsItLeftTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := onceqtest.NewStore(t)
		client, worker := onceqtest.NewClient(t, store), onceqtest.NewWorker(t, store)
		onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[welcome]) error {
			switch {
			case job.ID == "long":
				time.Sleep(2 * time.Minute) // the other is due again meanwhile
			case job.Run == 1:
				return onceq.Snooze(time.Minute)
			}
			return nil
		})
		for _, id := range []string{"long", "put off"} {
			if _, err := client.Enqueue(t.Context(), welcome{}, onceq.ID(id)); err != nil {
				t.Fatal(err)
			}
		}
		all := ""
		for _, job := range onceqtest.Drain(t, worker) {
			all += fmt.Sprintf("%s %s %d; ", job.ID, job.State, job.Attempt)
		}
		if want := "put off scheduled 0; put off completed 1; long completed 1; "; all != want {
			t.Errorf("%s\nwant %s", all, want)
		}
	})
}
