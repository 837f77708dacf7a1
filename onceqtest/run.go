package onceqtest

import (
	"context"
	"errors"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// Run enqueues one job, runs it once with the handler as a worker does, and
// returns the job as the run left it: State, Errors, Result. What the handler
// returns does not fail the test. Other jobs of the store are left alone. The
// job is run at once, also if it is due later. The test fails if the enqueue
// makes no job that can run, for instance because it is a duplicate.
func Run[T onceq.Args](t testing.TB, store onceq.Store, handler func(context.Context, *onceq.Job[T]) error, args T,
	opts ...onceq.Option) *onceq.JobRow {
	t.Helper()
	return run(t, store, func(w *onceq.Worker) { onceq.Handle(w, handler) }, args, opts)
}

// RunResult is [Run] for a handler that gives a result, as [onceq.HandleResult]
// takes it. [onceq.ResultOf] reads the result from the row.
func RunResult[T onceq.Args, R any](t testing.TB, store onceq.Store,
	handler func(context.Context, *onceq.Job[T]) (R, error), args T, opts ...onceq.Option) *onceq.JobRow {
	t.Helper()
	return run(t, store, func(w *onceq.Worker) { onceq.HandleResult(w, handler) }, args, opts)
}

func run(t testing.TB, store onceq.Store, handle func(*onceq.Worker), args onceq.Args,
	opts []onceq.Option) *onceq.JobRow {
	t.Helper()
	receipt, err := NewClient(t, store).Enqueue(t.Context(), args, opts...)
	switch {
	case err != nil:
		t.Fatalf("onceqtest: Run: %v", err)
	case receipt.Duplicate() || receipt.Outcome == onceq.Coalesced:
		t.Fatalf("onceqtest: Run needs a job of its own to run, and the enqueue was %s: %v", receipt.Outcome,
			receipt.Conflict)
	}
	one := &oneJob{Store: store, id: receipt.Job.ID}
	worker, err := onceq.NewWorker(one, &onceq.WorkerConfig{Logger: logger(t),
		Queues: map[string]onceq.QueueConfig{receipt.Job.Queue: {Concurrency: 1}}})
	if err != nil {
		t.Fatalf("onceqtest: Run: %v", err)
	}
	defer worker.Close()
	handle(worker)
	ran, err := worker.Drain(t.Context())
	if err := errors.Join(err, one.err); err != nil || len(ran) != 1 {
		t.Fatalf("onceqtest: Run: job %s was run %d times: %v", receipt.Job.ID, len(ran), err)
	}
	return ran[0]
}

// oneJob is a store as a worker sees it that is to run one job and no other.
type oneJob struct {
	onceq.Store
	id    string
	asked bool  // for jobs; a worker asks one time after another
	err   error // why there was none
}

func (s *oneJob) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	none := onceq.Fetched{NextDue: -1}
	if s.asked {
		return none, nil
	}
	results, err := s.Change(ctx, onceq.Change{Op: onceq.OpStart, IDs: []string{s.id}, Worker: r.Worker, No: r.No})
	s.asked = err == nil
	switch {
	case err != nil:
		return onceq.Fetched{}, err
	case results[0].Err != nil:
		s.err = results[0].Err
		return none, nil
	}
	return onceq.Fetched{Jobs: []*onceq.JobRow{results[0].Job}, NextDue: -1}, nil
}

func (*oneJob) Sweep(context.Context, onceq.SweepRequest) (onceq.Swept, error) {
	return onceq.Swept{}, nil
}

// NewJob makes a job as a handler gets it, which is in no store: it runs, on
// its first attempt. With [Context] it is for tests that call a handler
// themselves.
func NewJob[T onceq.Args](t testing.TB, args T, opts ...onceq.Option) *onceq.Job[T] {
	t.Helper()
	store := memstore.New(nil)
	defer store.Close()
	var job *onceq.Job[T]
	run(t, store, func(w *onceq.Worker) {
		onceq.Handle(w, func(_ context.Context, j *onceq.Job[T]) error { job = j; return nil })
	}, args, opts)
	if job == nil {
		t.Fatalf("onceqtest: NewJob: args %T do not decode as they were encoded", args)
	}
	return job
}

// Context returns a context such as a handler gets: [onceq.ClientFrom] returns
// the client, and [onceq.SetResult] can be called. It ends with the test, or
// after the timeout of the job. client nil = one of an empty store; job nil =
// a job that runs.
func Context(t testing.TB, client *onceq.Client, job *onceq.JobRow) context.Context {
	t.Helper()
	if client == nil {
		client = NewClient(t, NewStore(t))
	}
	if job == nil {
		job = NewJob(t, someArgs{}).JobRow
	}
	ctx := t.Context()
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, job.Timeout)
		t.Cleanup(cancel)
	}
	return onceq.HandlerContext(ctx, client, job)
}

type someArgs struct{}

func (someArgs) Kind() string { return "onceqtest" }
