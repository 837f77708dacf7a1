package onceqtest_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
)

// line is a line of a table about whole programs in docs/coming-from.md: what
// its first cell says, and what shows that the others are true.
type line struct {
	there string
	try   func(*testing.T)
}

func TestEveryLineOfComingFromIsTried(t *testing.T) {
	page, err := os.ReadFile("../docs/coming-from.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, lines := range map[string][]line{
		"Whole programs on Asynq": fromAsynq,
		"Whole programs on River": fromRiver,
	} {
		t.Run(heading, func(t *testing.T) {
			var tried []string
			for _, l := range lines {
				tried = append(tried, l.there)
				t.Run(l.there, l.try)
			}
			if there := firstCells(string(page), heading); !slices.Equal(there, tried) {
				t.Errorf("the page has the lines\n%s\nand these are tried\n%s", strings.Join(there, "\n"),
					strings.Join(tried, "\n"))
			}
		})
	}
}

// firstCells are the first cells of the lines of the table under a heading.
func firstCells(page, heading string) (cells []string) {
	_, section, _ := strings.Cut(page, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for row := range strings.Lines(section) {
		if cell, isRow := strings.CutPrefix(row, "| "); isRow {
			cell, _, _ = strings.Cut(cell, " | ")
			cells = append(cells, cell)
		}
	}
	if len(cells) > 0 {
		cells = cells[1:] // "there"
	}
	return cells
}

// trial is a store, a client of it, and a bubble whose time costs nothing.
type trial struct {
	*testing.T
	store  *onceqtest.Store
	client *onceq.Client
}

func inBubble(f func(*trial)) func(*testing.T) {
	return func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := onceqtest.NewStore(t)
			f(&trial{t, store, onceqtest.NewClient(t, store)})
		})
	}
}

// mail is the args of most trials.
type mail struct {
	To string `json:"to"`
}

func (mail) Kind() string { return "mail" }

func (t *trial) enqueue(args onceq.Args, opts ...onceq.Option) *onceq.JobRow {
	t.Helper()
	receipt, err := t.client.Enqueue(t.Context(), args, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Job
}

// worker makes a worker as a program does; the zero config will do.
func (t *trial) worker(config onceq.WorkerConfig) *onceq.Worker {
	t.Helper()
	if config.Client == nil {
		config.Client = t.client
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	w, err := onceq.NewWorker(t.store, &config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// handles makes a worker that handles mail.
func (t *trial) handles(config onceq.WorkerConfig, f func(context.Context, *onceq.Job[mail]) error) *onceq.Worker {
	t.Helper()
	w := t.worker(config)
	onceq.Handle(w, f)
	return w
}

// runs runs a worker until stop, which waits for its end.
func (t *trial) runs(w *onceq.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (t *trial) drain(w *onceq.Worker) []*onceq.JobRow {
	t.Helper()
	return onceqtest.Drain(t, w, onceqtest.AllowDiscarded)
}

func (t *trial) job(id string) *onceq.JobRow {
	t.Helper()
	job, err := t.client.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func (t *trial) is(id string, want onceq.State) {
	t.Helper()
	if job := t.job(id); job.State != want {
		t.Errorf("job %s is %s, want %s", id, job.State, want)
	}
}

// ran runs one job of the handler, and returns what became of it.
func (t *trial) ran(f func(context.Context, *onceq.Job[mail]) error, opts ...onceq.Option) *onceq.JobRow {
	t.Helper()
	return onceqtest.Run(t, t.store, f, mail{"a@b"}, opts...)
}

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var errMail = errors.New("no such address")

func bounces(context.Context, *onceq.Job[mail]) error { return errMail }
func arrives(context.Context, *onceq.Job[mail]) error { return nil }

// untilItEnds waits for its end, so that what runs meanwhile can be looked at.
func untilItEnds(ctx context.Context, _ *onceq.Job[mail]) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// What the page says of the time in which old and new run side by side.
func TestATaskThatTheOldSystemForwardsTwiceIsOneJob(t *testing.T) {
	inBubble(func(t *trial) {
		forward := func(taskID, to string) error {
			_, err := t.client.Enqueue(t.Context(), mail{to}, onceq.ID("asynq:"+taskID), onceq.Unique{})
			return err
		}
		t.must(forward("1", "a"))
		t.must(forward("1", "a")) // the old system runs it again
		t.enqueue(mail{"a"}, onceq.Unique{})
		t.must(forward("2", "a")) // another task for the same work, which waits already
		t.must(forward("3", "b"))
		if ran := t.drain(t.handles(onceq.WorkerConfig{}, arrives)); len(ran) != 2 {
			t.Errorf("%d runs, want one for each address", len(ran))
		}
		t.must(forward("1", "a")) // and again, when its job is done
		if ran := t.drain(t.handles(onceq.WorkerConfig{}, arrives)); len(ran) != 0 {
			t.Errorf("a task that was done runs again")
		}
	})(t)
}
