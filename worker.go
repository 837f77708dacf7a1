package onceq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Why the context of a run ended, besides the timeout of the job:
// context.Cause returns one of these.
var (
	// ErrShutdown means that the worker shuts down and ShutdownTimeout is
	// over. If the handler then returns an error, the job is handed back
	// and the attempt is not spent.
	ErrShutdown = errors.New("the worker is shutting down")
	// ErrCancelRequested means that an operator, or a job that supersedes
	// this one, asked the run to stop. The job ends as cancelled unless the
	// handler returns nil.
	ErrCancelRequested = errors.New("cancelled by request")
)

// Handler runs one job. If it returns nil the job is completed. [Cancel],
// [Discard] and [Snooze] make errors that say what else should happen. Any
// other error, or a panic, makes the job retryable while attempts are left.
// Execution is at least once: if a worker dies or loses its lease, the job
// runs again elsewhere.
//
// The context ends with the timeout of the job, with the lease
// ([ErrLeaseLost]), soon after the job was asked to stop
// ([ErrCancelRequested]), and at the end of a shutdown ([ErrShutdown]).
// [ClientFrom] returns a client from it. A handler that ignores its context
// keeps its slot until it returns.
type Handler func(ctx context.Context, job *JobRow) error

// Middleware wraps the handling of every job that is fetched. The first in
// a list is the outermost.
type Middleware func(next Handler) Handler

// QueueConfig says how a worker serves a queue.
type QueueConfig struct {
	Concurrency int // jobs of the queue that run at once in this worker: 1 to 10,000
}

// WorkerConfig says what a [Worker] does. The zero value is ready to use:
// ten jobs of the queue "default" at once.
type WorkerConfig struct {
	// Queues are the queues to serve; empty = the queue "default" with
	// Concurrency 10.
	Queues map[string]QueueConfig
	// Kinds are the only kinds to fetch. nil = those that have a handler
	// here, or any kind once there is a handler for any
	// ([Worker.HandleAny]). A job of another kind waits and spends no
	// attempt. A job of a kind that is named here and has no handler fails.
	Kinds []string
	// Lease is how long the store waits for a heartbeat before other
	// workers may take over the runs of this one. It is renewed at a third
	// of its length. 0 = 30s; 100ms to 24h. A call to the store is given up
	// after a third of the lease, and after 10s at the latest. The workers
	// of a store should use about the same length.
	Lease time.Duration
	// ShutdownTimeout is how long running handlers may continue when Run is
	// to end. Then their contexts are cancelled, handlers have 3s to
	// return, and the jobs that are not completed are handed back with
	// their keys. Run returns 5s after ShutdownTimeout at the latest,
	// however slow handlers and the store are. 0 = 20s, which fits into the
	// 30s that Kubernetes gives.
	ShutdownTimeout time.Duration
	// PollInterval is how often an idle worker looks for jobs that no
	// wake-up announced, give or take a fifth. 0 = 1s; 1ms to 1h. If the
	// worker knows of a job that is due earlier, it looks then.
	PollInterval time.Duration
	// Periodic are the schedules that the program has in its code. They are
	// put into the store when Run begins; see [Client.PutPeriodic]. One that
	// is taken out of the code makes no jobs from then on, and is removed
	// after a day.
	Periodic []Periodic
	// ServePeriodic makes the worker serve the schedules of the store also if
	// Periodic is empty. A worker needs no handlers for that.
	ServePeriodic bool
	// Retry is the backoff after failures; nil = [DefaultRetry].
	Retry RetryPolicy
	// Middleware wraps the handling of every job.
	Middleware []Middleware
	// OnFinish is called after a run whose result is in the store: State is
	// what became of the job, err what the handler returned, with the reason
	// if its context ended. It is called too for a run whose worker was lost
	// and that this worker ended in its place; err is then [ErrLeaseLost]. It
	// is not called for a run that a shutdown handed back, nor for a result
	// that came too late.
	//
	// It is called at most once for a run: if the process dies in between,
	// never. What must happen belongs into the handler, or into a job.
	//
	// There is one call at a time, in the order of the results, on a
	// goroutine of its own. While 2,000 wait the worker fetches no more. Run
	// waits 5s for the last calls, then ctx ends. [ClientFrom] works. A
	// panic is logged.
	OnFinish func(ctx context.Context, job *JobRow, err error)
	// Drain makes Run return by itself as soon as nothing is due in the
	// queues and nothing runs here. It does not wait for jobs that are due
	// later. Before Run returns it sweeps the store as any worker does, for
	// 30s at most: it prunes finished jobs whose retention is over, and if
	// a worker seems to have died, it waits until that is certain (half a
	// lease) and rescues its runs.
	Drain bool
	// Client is what [ClientFrom] returns inside handlers; nil = a client
	// of the store with the default [Config].
	Client *Client
	// Logger gets failures, rescues and trouble with the store; nil =
	// slog.Default(). Args are never logged.
	Logger *slog.Logger
	// MeterProvider gets the metrics of runs (docs/metrics.md); nil = the
	// global one.
	MeterProvider metric.MeterProvider
	// TracerProvider gets the spans of runs (docs/tracing.md); nil = the global
	// one.
	TracerProvider trace.TracerProvider
	// ID names the worker in the store, in logs and on pages; each Run adds
	// a suffix. "" = host-pid-random; at most 100 printable bytes.
	ID string
}

// Worker runs jobs: make it, register handlers, call Run. It is safe for
// concurrent use, but handlers are registered before Run.
type Worker struct {
	store   Store
	config  WorkerConfig
	queues  []QueueSlots
	client  *Client
	own     bool // the client was made here, and is closed here
	handle  Handler
	metrics *metrics
	tracing *tracing

	periodic bool                     // it serves schedules
	mine     map[string]*periodicSpec // those of its code, by name

	mu       sync.Mutex
	handlers map[string]Handler // not changed after the first Run
	fallback Handler
	ran      bool
	closed   bool
	current  *session
}

// NewWorker makes a worker on a store. The caller opens the store, and
// closes it after Run has returned. nil config = defaults. It checks
// everything in config: the error is an [*InvalidError] that names the
// field.
func NewWorker(store Store, config *WorkerConfig) (*Worker, error) {
	if store == nil {
		return nil, invalid("store", "nil", "must not be nil: open one, for instance with sqlitestore.Open")
	}
	w := &Worker{store: store, handlers: map[string]Handler{}}
	if config != nil {
		w.config = *config
	}
	c := &w.config
	if err := c.complete(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Queues)) {
		w.queues = append(w.queues, QueueSlots{Queue: name, Slots: c.Queues[name].Concurrency})
	}
	w.handle = w.dispatch
	for i, m := range slices.Backward(c.Middleware) {
		if m != nil {
			w.handle = m(w.handle)
		}
		if m == nil || w.handle == nil {
			return nil, invalid(fmt.Sprintf("WorkerConfig.Middleware[%d]", i), "nil",
				"must be a function that returns a handler")
		}
	}
	var err error
	if w.client = c.Client; w.client == nil {
		w.own = true
		w.client, err = NewClient(store, &Config{Logger: c.Logger, MeterProvider: c.MeterProvider,
			TracerProvider: c.TracerProvider})
	}
	if err != nil {
		return nil, err
	}
	w.tracing = newTracing(c.TracerProvider)
	if w.metrics, err = newMetrics(c.MeterProvider, w.client.metrics.labels); err == nil {
		err = w.servePeriodic()
	}
	if err != nil {
		if w.own {
			w.client.Close()
		}
		return nil, err
	}
	return w, nil
}

// complete checks a configuration and fills in the defaults.
func (c *WorkerConfig) complete() error {
	if len(c.Queues) == 0 {
		c.Queues = map[string]QueueConfig{"default": {Concurrency: 10}}
	}
	for name, q := range c.Queues {
		if err := checkQueue("WorkerConfig.Queues", name); err != nil {
			return err
		}
		if q.Concurrency < 1 || q.Concurrency > 10_000 {
			return invalid(fmt.Sprintf("WorkerConfig.Queues[%q].Concurrency", name), q.Concurrency,
				"must be 1 to 10,000: to leave a queue alone, leave it away")
		}
	}
	if c.Kinds != nil && len(c.Kinds) == 0 {
		return invalid("WorkerConfig.Kinds", "[]", "must name a kind, or be nil for any")
	}
	c.Kinds, c.Queues = slices.Clone(c.Kinds), maps.Clone(c.Queues)
	for _, kind := range c.Kinds {
		if err := checkName("WorkerConfig.Kinds", kind); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field                   string
		value                   *time.Duration
		usual, smallest, widest time.Duration
	}{
		{"Lease", &c.Lease, 30 * time.Second, 100 * time.Millisecond, 24 * time.Hour},
		{"ShutdownTimeout", &c.ShutdownTimeout, 20 * time.Second, 1, maxDuration},
		{"PollInterval", &c.PollInterval, time.Second, time.Millisecond, time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
		if *d.value < d.smallest || *d.value > d.widest {
			return invalid("WorkerConfig."+d.field, *d.value, "must be %v to %v, or 0 for %v", d.smallest,
				d.widest, d.usual)
		}
	}
	if c.Retry == nil {
		c.Retry = DefaultRetry
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.ID == "" {
		host, _ := os.Hostname()
		host = strings.Map(func(r rune) rune {
			if r > ' ' && r <= '~' {
				return r
			}
			return -1
		}, host)
		c.ID = fmt.Sprintf("%s-%d-%s", bound(host, 60), os.Getpid(), randomName(4))
	}
	if len(c.ID) > 100 {
		return invalid("WorkerConfig.ID", c.ID, "must be at most 100 bytes long, not %d", len(c.ID))
	}
	return checkName("WorkerConfig.ID", c.ID)
}

func randomName(n int) string {
	name := make([]byte, n)
	for i := range name {
		name[i] = IDAlphabet[rand.IntN(len(IDAlphabet))] | 0x20 // makes letters small; digits have that bit already
	}
	return string(name)
}

// Handle registers the handler for jobs of the kind of T. The kind is that
// of the zero value of T; if T is a pointer, that of a new T. Args are
// decoded as JSON. If they do not decode, the run fails as any other, and h
// is not called. Members that T does not have are ignored, unless an option
// says [Strict].
//
// Handle panics if the kind is registered twice or invalid, if the handler
// is nil, and after Run or Close: these are mistakes of the program.
func Handle[T Args](w *Worker, h func(ctx context.Context, job *Job[T]) error, opts ...HandleOption) {
	typ := reflect.TypeFor[T]()
	if typ.Kind() == reflect.Interface {
		panic(fmt.Sprintf("onceq: Handle needs a concrete type of args, not %v: use HandleKind", typ))
	}
	var zero T
	if typ.Kind() == reflect.Pointer {
		zero = reflect.New(typ.Elem()).Interface().(T)
	}
	kind := zero.Kind()
	if err := checkKind("kind", kind); err != nil {
		panic(fmt.Sprintf("onceq: Handle of %v: %v (Kind is asked of the zero value: it must not depend on the value)",
			typ, err))
	}
	if h == nil {
		w.register(kind, nil)
		return
	}
	args := decodingOf(typ, opts)
	w.register(kind, func(ctx context.Context, row *JobRow) error {
		job := &Job[T]{JobRow: row}
		target := any(&job.Args)
		if typ.Kind() == reflect.Pointer { // decoded in place, so that a JSON null leaves no nil pointer
			job.Args = reflect.New(typ.Elem()).Interface().(T)
			target = job.Args
		}
		if err := args.decode(ctx, row, target); err != nil {
			return err
		}
		return h(ctx, job)
	})
}

// HandleKind registers the handler for jobs of a kind. It gets the args
// undecoded. It panics as [Handle] does.
//
// Handlers share goroutines. A handler that changes its goroutine
// (runtime.LockOSThread, pprof labels) must undo that before it returns.
func (w *Worker) HandleKind(kind string, h func(ctx context.Context, job *JobRow) error) {
	w.register(kind, h)
}

// HandleAny registers the handler for jobs of every kind that has no
// handler of its own. It panics as [Handle] does.
func (w *Worker) HandleAny(h func(ctx context.Context, job *JobRow) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mustRegisterLocked("any kind", h, w.fallback != nil)
	w.fallback = h
}

func (w *Worker) register(kind string, h Handler) {
	if err := checkKind("kind", kind); err != nil {
		panic("onceq: handler: " + err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mustRegisterLocked(fmt.Sprintf("kind %q", kind), h, w.handlers[kind] != nil)
	w.handlers[kind] = h
}

func (w *Worker) mustRegisterLocked(what string, h Handler, twice bool) {
	switch {
	case h == nil:
		panic("onceq: handler of " + what + " is nil")
	case twice:
		panic("onceq: " + what + " has a handler already")
	case w.ran || w.closed:
		panic("onceq: handler of " + what + " registered after Run or Close")
	}
}

// kinds are the kinds to fetch: those of WorkerConfig.Kinds, else those
// with a handler; nil = any.
func (w *Worker) kinds() []string {
	kinds := w.config.Kinds
	switch {
	case kinds == nil && w.fallback != nil:
		return nil
	case kinds == nil:
		kinds = slices.Sorted(maps.Keys(w.handlers))
	}
	if w.periodic {
		kinds = append(slices.Clip(kinds), periodicKind)
	}
	return kinds
}

// dispatch calls the handler for the kind of a job. Handlers no longer
// change once it is called.
func (w *Worker) dispatch(ctx context.Context, job *JobRow) error {
	if h := w.handlers[job.Kind]; h != nil {
		return h(ctx, job)
	}
	if w.fallback != nil {
		return w.fallback(ctx, job)
	}
	known := "has none at all"
	if len(w.handlers) > 0 {
		known = "has handlers of " + strings.Join(slices.Sorted(maps.Keys(w.handlers)), ", ")
	}
	return fmt.Errorf("no handler of kind %q: this worker %s (register one, or name in WorkerConfig.Kinds what this "+
		"worker is to fetch)",
		job.Kind, bound(known, 512))
}

// Run runs jobs until ctx ends, Close is called, or nothing is due and
// WorkerConfig.Drain is set. Then it fetches no more and waits
// ShutdownTimeout for the running handlers. It cancels the contexts of
// those that still run, and hands their jobs back with their keys, without
// spending the attempt.
//
// It returns nil after a clean drain. An error says what was left:
//
//   - handlers that ignored their context. Their jobs were handed back, and
//     what they return later is dropped;
//   - results that were dropped since the end began, because the store did
//     not take them or another worker had taken over;
//   - that the store did not hear that the worker leaves. Other workers take
//     over when the lease is over;
//   - an OnFinish that did not return, or was not called for all runs;
//   - that the store was closed meanwhile ([ErrClosed]).
//
// Run waits for a store that cannot be reached: that is no error. When Run
// has returned nothing of the worker runs or logs any more, except for the
// handlers and the OnFinish that the error names.
//
// Only one Run at a time. Another may follow, under a new name in the
// store. After Close it returns [ErrClosed].
func (w *Worker) Run(ctx context.Context) error {
	_, err := w.run(ctx, w.config.Drain, false)
	return err
}

// run is Run; it returns the session that has ended.
func (w *Worker) run(ctx context.Context, drains, keeps bool) (*session, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := w.begin(ctx, stop)
	if err != nil {
		return nil, err
	}
	defer w.end(s)
	s.drains, s.keeps = drains, keeps
	return s, s.serve(ctx)
}

func (w *Worker) begin(ctx context.Context, stop func()) (*session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, ErrClosed
	case w.current != nil:
		return nil, invalid("Run", w.config.ID, "is under way already: make another worker to run more at once")
	case len(w.handlers) == 0 && w.fallback == nil && !w.periodic:
		return nil, invalid("Run", w.config.ID, "needs a handler: register one with Handle, HandleKind or HandleAny "+
			"first")
	}
	w.ran = true
	w.current = newSession(w, ctx, stop)
	return w.current, nil
}

func (w *Worker) end(s *session) {
	w.mu.Lock()
	w.current = nil
	w.mu.Unlock()
	close(s.done)
}

// Close ends a Run as the end of its context would, waits until it has
// returned, and lets no other begin. A handler must not call it, because it
// would wait for itself. It does not close the store. A second Close
// returns [ErrClosed].
func (w *Worker) Close() error {
	w.mu.Lock()
	closed, s := w.closed, w.current
	w.closed = true
	w.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if s != nil {
		s.stop()
		<-s.done
	}
	if w.own {
		return w.client.Close()
	}
	return nil
}
