package onceq_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
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

// bubble is a store, a client and what a test does with them, inside a
// synctest bubble: time passes only when all are idle.
type bubble struct {
	t      *testing.T
	store  onceq.Store
	client *onceq.Client
	logs   map[*onceq.Worker]*endLog
}

// endLog is the log of a worker. It fails the test when something is logged
// after Run has returned.
type endLog struct {
	slog.Handler
	t     *testing.T
	takes time.Duration // a call
	over  *atomic.Bool
}

func (l *endLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *endLog) Handle(ctx context.Context, r slog.Record) error {
	if l.over.Load() {
		l.t.Errorf("logged after Run had returned: %s", r.Message)
	}
	if l.takes > 0 {
		time.Sleep(l.takes)
		if l.over.Load() {
			l.t.Errorf("Run returned while this was being logged: %s", r.Message)
		}
	}
	if !l.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (l *endLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.Handler = l.Handler.WithAttrs(attrs)
	return &with
}

func (l *endLog) WithGroup(name string) slog.Handler {
	with := *l
	with.Handler = l.Handler.WithGroup(name)
	return &with
}

// inBubble runs a test in a bubble of its own.
func inBubble(t *testing.T, store func() onceq.Store, test func(t *testing.T, b *bubble)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if store == nil {
			store = func() onceq.Store { return memstore.New(nil) }
		}
		test(t, newBubble(t, store()))
	})
}

func newBubble(t *testing.T, store onceq.Store) *bubble {
	t.Helper()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &bubble{t: t, store: store, client: client, logs: map[*onceq.Worker]*endLog{}}
}

func (b *bubble) enqueue(args onceq.Args, opts ...onceq.Option) string {
	b.t.Helper()
	r, err := b.client.Enqueue(b.t.Context(), args, opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.Job.ID
}

// enqueueAndWait waits until all are idle, without that time passes.
func (b *bubble) enqueueAndWait(args onceq.Args, opts ...onceq.Option) string {
	b.t.Helper()
	id := b.enqueue(args, opts...)
	synctest.Wait()
	return id
}

func (b *bubble) job(id string) *onceq.JobRow {
	b.t.Helper()
	job, err := b.client.Job(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return job
}

// wants checks the state of a job.
func (b *bubble) wants(id string, state onceq.State) *onceq.JobRow {
	b.t.Helper()
	job := b.job(id)
	if job.State != state {
		b.t.Errorf("job is %s, not %s; errors: %v", job.State, state, job.Errors)
	}
	return job
}

// pass lets time pass, and what it brings about happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var quiet = slog.New(slog.DiscardHandler)

// worker makes a worker whose Logger (nil = none) may not be called after Run.
func (b *bubble) worker(config onceq.WorkerConfig) *onceq.Worker {
	b.t.Helper()
	if config.Logger == nil {
		config.Logger = quiet
	}
	log := &endLog{Handler: config.Logger.Handler(), t: b.t, over: &atomic.Bool{}}
	if slow, ok := log.Handler.(slowLog); ok {
		log.takes = slow.takes
	}
	config.Logger = slog.New(log)
	w, err := onceq.NewWorker(b.store, &config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.logs[w] = log
	return w
}

// slowLog is a log that takes its time with each line.
type slowLog struct {
	slog.Handler
	takes time.Duration
}

// run is w.Run, after which w may log no more.
func (b *bubble) run(ctx context.Context, w *onceq.Worker) error {
	log := b.logs[w]
	log.over.Store(false)
	err := w.Run(ctx)
	log.over.Store(true)
	return err
}

// start runs a worker; stop ends it and returns what Run returned.
func (b *bubble) start(w *onceq.Worker) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.run(ctx, w) }()
	synctest.Wait()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	b.t.Cleanup(func() { stop() })
	return stop
}

// serve makes a worker that handles mail, and starts it.
func (b *bubble) serve(config onceq.WorkerConfig, h func(ctx context.Context, job *onceq.Job[mail]) error) (
	stop func() error) {
	w := b.worker(config)
	onceq.Handle(w, h)
	return b.start(w)
}

func fine(context.Context, *onceq.Job[mail]) error { return nil }

func clean(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}
