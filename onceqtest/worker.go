package onceqtest

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// NewWorker makes a worker for the named queues, or for "default". Register
// handlers, then call [Drain]. Retries are due at once, so a job that fails
// runs until its attempts are spent.
func NewWorker(t testing.TB, store onceq.Store, queues ...string) *onceq.Worker {
	t.Helper()
	if len(queues) == 0 {
		queues = []string{"default"}
	}
	config := &onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{}, Drain: true, Logger: logger(t),
		Retry: func(*onceq.JobRow, error) time.Duration { return 0 }}
	for _, q := range queues {
		config.Queues[q] = onceq.QueueConfig{Concurrency: 10}
	}
	worker, err := onceq.NewWorker(store, config)
	if err != nil {
		t.Fatalf("onceqtest: %v", err)
	}
	t.Cleanup(func() { worker.Close() })
	return worker
}

// logger writes to the log of the test.
func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// DrainOption changes what [Drain] does.
type DrainOption uint8

// AllowDiscarded makes [Drain] not fail when a job is discarded.
const AllowDiscarded DrainOption = 1

// Drain runs every job that is due, and the jobs that those enqueue, until none
// is left. Jobs that are due later stay. It returns what was run: one row for
// each run, as the run left it, in the order in which they ended.
//
// It fails the test if a job was discarded, unless [AllowDiscarded] is given.
// Due jobs of queues and kinds that the worker does not serve are named in the
// log of the test.
//
// Every worker can be drained, also one that the program makes for its own
// use. Its retries are due when its WorkerConfig.Retry says.
func Drain(t testing.TB, worker *onceq.Worker, opts ...DrainOption) []*onceq.JobRow {
	t.Helper()
	ran, err := worker.Drain(t.Context())
	if err != nil {
		t.Fatalf("onceqtest: drain: %v", err)
	}
	if left := leftDue(t, worker.Client()); left != "" {
		t.Logf("onceqtest: these jobs are due, and the drained worker does not serve them:%s", left)
	}
	var discarded strings.Builder
	for _, job := range ran {
		if job.State == onceq.Discarded {
			fmt.Fprintf(&discarded, "\n  %s kind %q queue %q after %d of %d attempts: %s", job.ID, job.Kind, job.Queue,
				job.Attempt, job.MaxAttempts, lastError(job))
		}
	}
	if discarded.Len() > 0 && !slices.Contains(opts, AllowDiscarded) {
		t.Fatalf("onceqtest: discarded (if the test is about that, say AllowDiscarded):%s", discarded.String())
	}
	return ran
}

func lastError(job *onceq.JobRow) string {
	if len(job.Errors) == 0 {
		return "no error is recorded"
	}
	return job.Errors[len(job.Errors)-1].Error
}

// leftDue lists the jobs that are due, by queue and kind.
func leftDue(t testing.TB, client *onceq.Client) string {
	t.Helper()
	counts := map[string]int{}
	for job, err := range client.Jobs(t.Context(), onceq.JobFilter{States: []onceq.State{onceq.Available}}) {
		if err != nil {
			t.Fatalf("onceqtest: %v", err)
		}
		if job.Behind == "" {
			counts[fmt.Sprintf("kind %q queue %q", job.Kind, job.Queue)]++
		}
	}
	return lines(counts)
}

// lines lists what was counted, each on a line of its own.
func lines(counts map[string]int) string {
	var all []string
	for what, n := range counts {
		all = append(all, fmt.Sprintf("\n  %d of %s", n, what))
	}
	slices.Sort(all)
	return strings.Join(all, "")
}
