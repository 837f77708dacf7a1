package onceq_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

type mail struct {
	To string `json:"to"`
}

func (mail) Kind() string { return "mail" }

type report struct {
	Number int64 `json:"number"`
}

func (*report) Kind() string { return "report" }

// office is a store, a client and what a test does with them, inside a synctest bubble: time passes only when all are idle.
type office struct {
	t      *testing.T
	store  onceq.Store
	client *onceq.Client
}

// inOffice runs a test in a bubble of its own.
func inOffice(t *testing.T, store func() onceq.Store, test func(t *testing.T, o *office)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t}
		if store == nil {
			o.store = memstore.New(nil)
		} else {
			o.store = store()
		}
		client, err := onceq.NewClient(o.store, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.client = client
		test(t, o)
	})
}

func (o *office) enqueue(args onceq.Args, opts ...onceq.Option) string {
	o.t.Helper()
	r, err := o.client.Enqueue(o.t.Context(), args, opts...)
	if err != nil {
		o.t.Fatal(err)
	}
	return r.Job.ID
}

func (o *office) job(id string) *onceq.JobRow {
	o.t.Helper()
	job, err := o.client.Job(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return job
}

// wants checks the state of a job.
func (o *office) wants(id string, state onceq.State) *onceq.JobRow {
	o.t.Helper()
	job := o.job(id)
	if job.State != state {
		o.t.Errorf("job is %s, not %s; errors: %v", job.State, state, job.Errors)
	}
	return job
}

// pass lets time pass, and what it brings about happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var quiet = slog.New(slog.DiscardHandler)

func (o *office) worker(config onceq.WorkerConfig) *onceq.Worker {
	o.t.Helper()
	if config.Logger == nil {
		config.Logger = quiet
	}
	w, err := onceq.NewWorker(o.store, &config)
	if err != nil {
		o.t.Fatal(err)
	}
	return w
}

// start runs a worker; stop ends it and returns what Run returned.
func (o *office) start(w *onceq.Worker) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	synctest.Wait()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	o.t.Cleanup(func() { stop() })
	return stop
}

// serve makes a worker that handles mail, and starts it.
func (o *office) serve(config onceq.WorkerConfig, h func(ctx context.Context, job *onceq.Job[mail]) error) (stop func() error) {
	w := o.worker(config)
	onceq.Handle(w, h)
	return o.start(w)
}

func fine(context.Context, *onceq.Job[mail]) error { return nil }

func clean(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}
