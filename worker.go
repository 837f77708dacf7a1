package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
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
		w.queues = append(w.queues, QueueSlots{Queue: name, Slots: cmp.Or(c.Queues[name].Concurrency, c.Concurrency)})
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
