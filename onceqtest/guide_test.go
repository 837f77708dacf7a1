package onceqtest_test

// The code that docs/testing.md shows.

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
	"github.com/onceq/onceq/sqlitestore"
)

type Welcome struct {
	User int `json:"user"`
}

func (Welcome) Kind() string { return "mail:welcome" }

// Shop is the program under test.
type Shop struct {
	client *onceq.Client
	mailed []int
}

func (s *Shop) SignUp(ctx context.Context, user int) error {
	_, err := s.client.Enqueue(ctx, Welcome{User: user}, onceq.Unique{}, onceq.Queue("mail"), onceq.Delay(time.Hour))
	return err
}

func (s *Shop) SendWelcome(ctx context.Context, job *onceq.Job[Welcome]) error {
	if job.Args.User < 0 {
		return errors.New("no such user")
	}
	s.mailed = append(s.mailed, job.Args.User)
	return nil
}

func TestSignUpEnqueuesAWelcome(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	shop := &Shop{client: client}

	if err := shop.SignUp(t.Context(), 42); err != nil {
		t.Fatal(err)
	}

	onceqtest.RequireEnqueued(t, client, Welcome{User: 42})
	onceqtest.RequireEnqueued(t, client, Welcome{User: 42}, onceq.Queue("mail"), onceq.Delay(time.Hour))
	onceqtest.RequireEnqueuedCount(t, client, Welcome{User: 42}, 1)
	onceqtest.RequireNotEnqueued(t, client, Welcome{User: 43})
}

func TestASecondSignUpIsADuplicate(t *testing.T) {
	client := onceqtest.NewClient(t, onceqtest.NewStore(t))
	shop := &Shop{client: client}
	if err := errors.Join(shop.SignUp(t.Context(), 42), shop.SignUp(t.Context(), 42)); err != nil {
		t.Fatal(err)
	}

	onceqtest.RequireEnqueuedCount(t, client, Welcome{User: 42}, 1)
	onceqtest.RequireDuplicate(t, client, Welcome{User: 42}, onceq.Unique{}, onceq.Queue("mail"))
}

func TestSendWelcome(t *testing.T) {
	store, shop := onceqtest.NewStore(t), &Shop{}

	job := onceqtest.Run(t, store, shop.SendWelcome, Welcome{User: 42})
	if job.State != onceq.Completed || len(shop.mailed) != 1 {
		t.Errorf("the job is %s: %v", job.State, job.Errors)
	}

	job = onceqtest.Run(t, store, shop.SendWelcome, Welcome{User: -1})
	if job.State != onceq.Retryable || job.Errors[0].Error != "no such user" {
		t.Errorf("the job is %s: %v", job.State, job.Errors)
	}
}

func TestAWelcomeIsSentAnHourLater(t *testing.T) {
	store := onceqtest.NewStore(t)
	shop := &Shop{client: onceqtest.NewClient(t, store)}
	worker := onceqtest.NewWorker(t, store, "mail")
	onceq.Handle(worker, shop.SendWelcome)
	if err := shop.SignUp(t.Context(), 42); err != nil {
		t.Fatal(err)
	}

	onceqtest.Drain(t, worker)
	if len(shop.mailed) > 0 {
		t.Error("it is sent too early")
	}
	store.Advance(time.Hour)
	if ran := onceqtest.Drain(t, worker); len(ran) != 1 || len(shop.mailed) != 1 {
		t.Errorf("%d runs, mailed to %v", len(ran), shop.mailed)
	}
}

func TestAnUnknownUserIsGivenUp(t *testing.T) {
	store := onceqtest.NewStore(t)
	client, shop := onceqtest.NewClient(t, store), &Shop{}
	worker := onceqtest.NewWorker(t, store)
	onceq.Handle(worker, shop.SendWelcome)
	if _, err := client.Enqueue(t.Context(), Welcome{User: -1}, onceq.MaxAttempts(3)); err != nil {
		t.Fatal(err)
	}

	ran := onceqtest.Drain(t, worker, onceqtest.AllowDiscarded)
	if len(ran) != 3 || ran[2].State != onceq.Discarded {
		t.Errorf("%d runs, the last is %s", len(ran), ran[len(ran)-1].State)
	}
}

func TestSendWelcomeAlone(t *testing.T) {
	shop := &Shop{}
	job := onceqtest.NewJob(t, Welcome{User: 42})
	if err := shop.SendWelcome(onceqtest.Context(t, nil, job.JobRow), job); err != nil {
		t.Error(err)
	}
}

// Till is a program with a table of its own beside the jobs.
type Till struct{ store *sqlitestore.Store }

type Pay struct {
	Order int `json:"order"`
}

func (Pay) Kind() string { return "pay" }

func (p *Till) Pay(ctx context.Context, job *onceq.Job[Pay]) error {
	tx, err := p.store.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO payments VALUES (?)", job.Args.Order); err != nil {
		return err
	}
	if err := onceq.ClientFrom(ctx).WithTx(p.store.Tx(tx)).Complete(ctx, job.JobRow); err != nil {
		return err
	}
	return tx.Commit()
}

func TestAPaymentIsWrittenOnce(t *testing.T) {
	var clock onceqtest.Clock
	store, err := sqlitestore.Open(":memory:", &sqlitestore.Config{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.DB().ExecContext(t.Context(), "CREATE TABLE payments (id PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	till := &Till{store}

	if job := onceqtest.Run(t, store, till.Pay, Pay{Order: 1}); job.State != onceq.Completed {
		t.Errorf("the job is %s: %v", job.State, job.Errors)
	}
	if job := onceqtest.Run(t, store, till.Pay, Pay{Order: 1}); job.State != onceq.Retryable {
		t.Errorf("the second job of the order is %s", job.State)
	}
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := onceqtest.NewStore(t)
		shop := &Shop{client: onceqtest.NewClient(t, store)}
		worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{
			Queues: map[string]onceq.QueueConfig{"mail": {Concurrency: 10}}})
		if err != nil {
			t.Fatal(err)
		}
		onceq.Handle(worker, shop.SendWelcome)
		if err := shop.SignUp(t.Context(), 42); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour) // which takes no time here
		defer stop()
		if err := worker.Run(ctx); err != nil || len(shop.mailed) != 1 {
			t.Errorf("mailed to %v: %v", shop.mailed, err)
		}
		worker.Close()
	})
}

func TestTheCodeOfThePageIsThatOfTheseTests(t *testing.T) {
	page, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) < 6 {
		t.Errorf("the page has %d pieces of code", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(unindented(string(tests)), unindented(code)) {
			t.Errorf("not in guide_test.go:\n%s", code)
		}
	}
}

// unindented is the lines of a text without what stands before them.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t ")
	}
	return strings.Join(lines, "\n")
}
