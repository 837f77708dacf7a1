package onceq

import (
	"context"
	"encoding/json"
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
)

// Why the context of a run ended, besides the job's timeout: context.Cause says which.
var (
	// ErrShutdown: the worker shuts down and ShutdownTimeout is over. An error that the handler returns then hands the job back without
	// spending the attempt.
	ErrShutdown = errors.New("the worker is shutting down")
	// ErrCancelRequested: an operator, or a job that supersedes this one, asked the run to stop. The job ends as cancelled unless the
	// handler returns nil.
	ErrCancelRequested = errors.New("cancelled by request")
)

// Handler runs one job: nil completes it, [Cancel], [Discard] and [Snooze] say what else, and any
// other error (a panic too) makes it retryable while attempts are left. Execution is at least once:
// a worker that dies or loses its lease has the job run again elsewhere.
//
// The context ends with the job's timeout, with the lease ([ErrLeaseLost]), soon after the job was
// asked to stop ([ErrCancelRequested]) and at the end of a shutdown ([ErrShutdown]); [ClientFrom]
// finds a client in it. A handler that does not heed its context keeps its slot until it returns.
//
// Handlers share goroutines. A handler that changes its goroutine (runtime.LockOSThread, pprof
// labels) must undo that before it returns.
type Handler func(ctx context.Context, job *JobRow) error

// Middleware wraps the handling of every job that is fetched. The first of a list is the outermost.
type Middleware func(next Handler) Handler

// QueueConfig is how a worker serves a queue.
type QueueConfig struct {
	Concurrency int // how many jobs of the queue run at once here: 1 to 10,000
}

// WorkerConfig is what a Worker does. The zero value is ready to use: ten jobs of the queue "default" at once.
type WorkerConfig struct {
	// Queues are those to serve; empty = {"default": {Concurrency: 10}}.
	Queues map[string]QueueConfig
	// Kinds are the only ones to fetch. nil = those that have a handler here, or any kind once there
	// is a handler of any (HandleAny). A job of another kind waits and spends no attempt; one of a
	// kind that is named here and has no handler fails.
	Kinds []string
	// Lease is how long the store waits for a sign of life before other workers may take over what
	// this one runs; it is renewed at a third. 0 = 30s; 100ms to 24h. A call to the store is given
	// up after a third of it, and after 10s at the latest. The workers of a store should agree on it
	// to within a factor of a few.
	Lease time.Duration
	// ShutdownTimeout is how long running handlers may go on when Run is to end. Then their contexts
	// are cancelled, handlers have 3s to return, and the jobs of all that had not completed are
	// handed back with their keys. Run has returned 5s after ShutdownTimeout at the latest, however
	// slow handlers and the store are. 0 = 20s, which fits into the 30s that Kubernetes gives.
	ShutdownTimeout time.Duration
	// PollInterval is how often an idle worker looks for jobs that no wake-up announced, give or take a fifth. 0 = 1s; 1ms to 1h. Jobs
	// known to become due earlier are looked for then.
	PollInterval time.Duration
	// Retry is the backoff after failures; nil = [DefaultRetry].
	Retry RetryPolicy
	// Middleware wraps the handling of every job.
	Middleware []Middleware
	// Drain makes Run return by itself as soon as nothing is due in the queues and nothing runs here.
	// Jobs due later are not waited for. Before it returns the store is swept as any worker sweeps
	// it, for 30s at the most: finished jobs past their retention go, and the runs of a worker that
	// seems to have died are waited for until that is certain (half a lease) and then rescued.
	Drain bool
	// Client is what ClientFrom finds inside handlers; nil = one is made of the store, with the default Config.
	Client *Client
	// Logger is told of failures, rescues and trouble with the store; nil = slog.Default(). Args are never logged.
	Logger *slog.Logger
	// MeterProvider counts the runs that ended (onceq.runs by queue, kind and state); nil = the global one.
	MeterProvider metric.MeterProvider
	// ID names the worker in the store, in logs and on pages; each Run adds a suffix of its own. "" = host-pid-random; at most 100
	// printable bytes.
	ID string
}

// Worker runs jobs. Make it, register handlers, Run it. It is safe for concurrent use, but handlers are registered before Run.
type Worker struct {
	store   Store
	config  WorkerConfig
	queues  []QueueSlots
	client  *Client
	own     bool // the client was made here
	handle  Handler
	metrics workerMetrics

	mu       sync.Mutex
	handlers map[string]Handler // frozen by the first Run
	fallback Handler
	ran      bool
	closed   bool
	current  *session
}

// NewWorker makes a worker on a store that the caller has opened, and closes after Run has returned. nil config = defaults. Everything
// in config is checked here: an error is an *InvalidError that names the field.
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
			return nil, invalid(fmt.Sprintf("WorkerConfig.Middleware[%d]", i), "nil", "must be a function that returns a handler")
		}
	}
	var err error
	if w.metrics, err = newWorkerMetrics(c.MeterProvider); err != nil {
		return nil, err
	}
	if w.client = c.Client; w.client == nil {
		w.own = true
		w.client, err = NewClient(store, &Config{Logger: c.Logger, MeterProvider: c.MeterProvider})
	}
	return w, err
}

// complete checks a configuration and fills in the defaults.
func (c *WorkerConfig) complete() error {
	if len(c.Queues) == 0 {
		c.Queues = map[string]QueueConfig{"default": {Concurrency: 10}}
	}
	for name, q := range c.Queues {
		if err := checkName("WorkerConfig.Queues", name); err != nil {
			return err
		}
		if q.Concurrency < 1 || q.Concurrency > 10_000 {
			return invalid(fmt.Sprintf("WorkerConfig.Queues[%q].Concurrency", name), q.Concurrency, "must be 1 to 10,000: to leave a queue alone, leave it away")
		}
	}
	if c.Kinds != nil && len(c.Kinds) == 0 {
		return invalid("WorkerConfig.Kinds", "[]", "must name a kind, or be nil for any")
	}
	c.Kinds = slices.Clone(c.Kinds)
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
			return invalid("WorkerConfig."+d.field, *d.value, "must be %v to %v, or 0 for %v", d.smallest, d.widest, d.usual)
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
		name[i] = idAlphabet[rand.IntN(len(idAlphabet))] | 0x20 // digits have that bit already
	}
	return string(name)
}

// Handle registers the handler of the jobs of T's kind, which is asked of T's zero value (where T is a pointer, of a new T). Args are
// decoded as JSON; where that fails the run is an ordinary failure, and h is not called.
//
// It panics on a kind registered twice, an invalid kind, a nil handler, and after Run or Close: these are slips of the program.
func Handle[T Args](w *Worker, h func(ctx context.Context, job *Job[T]) error) {
	typ := reflect.TypeFor[T]()
	if typ.Kind() == reflect.Interface {
		panic(fmt.Sprintf("onceq: Handle needs a concrete type of args, not %v: use HandleKind", typ))
	}
	var zero T
	if typ.Kind() == reflect.Pointer {
		zero = reflect.New(typ.Elem()).Interface().(T)
	}
	kind := zero.Kind()
	if h == nil {
		w.register(kind, nil)
		return
	}
	w.register(kind, func(ctx context.Context, row *JobRow) error {
		job := &Job[T]{JobRow: row}
		if row.Encoding != EncodingJSON {
			return fmt.Errorf("args of kind %q are opaque bytes, not JSON: this worker decodes them as %v (use HandleKind for bytes)", row.Kind, typ)
		}
		target := any(&job.Args)
		if typ.Kind() == reflect.Pointer { // decoded in place, so that a JSON null leaves no nil pointer
			job.Args = reflect.New(typ.Elem()).Interface().(T)
			target = job.Args
		}
		if err := json.Unmarshal(row.Args, target); err != nil {
			return fmt.Errorf("args of kind %q do not decode as %v: %w", row.Kind, typ, err)
		}
		return h(ctx, job)
	})
}

// HandleKind registers the handler of the jobs of a kind, which gets the args undecoded. It panics as Handle does.
func (w *Worker) HandleKind(kind string, h func(ctx context.Context, job *JobRow) error) {
	w.register(kind, h)
}

// HandleAny registers the handler of the jobs of every kind that has none of its own. It panics as Handle does.
func (w *Worker) HandleAny(h func(ctx context.Context, job *JobRow) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mustRegister("any kind", h, w.fallback != nil)
	w.fallback = h
}

func (w *Worker) register(kind string, h Handler) {
	if err := checkName("kind", kind); err != nil {
		panic("onceq: handler: " + err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mustRegister(fmt.Sprintf("kind %q", kind), h, w.handlers[kind] != nil)
	w.handlers[kind] = h
}

func (w *Worker) mustRegister(what string, h Handler, twice bool) {
	switch {
	case h == nil:
		panic("onceq: handler of " + what + " is nil")
	case twice:
		panic("onceq: " + what + " has a handler already")
	case w.ran || w.closed:
		panic("onceq: handler of " + what + " registered after Run or Close")
	}
}

// kinds are those to fetch: what WorkerConfig.Kinds says, else those with a handler; nil = any.
func (w *Worker) kinds() []string {
	if w.config.Kinds != nil || w.fallback != nil {
		return w.config.Kinds
	}
	return slices.Sorted(maps.Keys(w.handlers))
}

// dispatch calls the handler of a job's kind. Handlers do not change any more once it is called.
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
	return fmt.Errorf("no handler of kind %q: this worker %s (register one, or name in WorkerConfig.Kinds what this worker is to fetch)",
		job.Kind, bound(known, 512))
}

// Run runs jobs until ctx ends (or Close is called, or nothing is due under WorkerConfig.Drain). Then it fetches no more, lets the
// running handlers go on for ShutdownTimeout, cancels the contexts of those that still run, and hands their jobs back with their keys
// and without spending the attempt.
//
// It returns nil after a clean drain. An error says what was left: handlers that did not heed their
// context (their jobs were handed back, and what they return later is dropped); results that were
// dropped since the end began, because the store did not take them or another worker had taken
// over; a leave that the store did not take (other workers take over when the lease is over); or a
// store that was closed meanwhile (ErrClosed). A store that cannot be reached is waited for, and is
// no error. When Run has returned nothing of the worker runs or logs any more, but for the handlers
// that the error names.
//
// One Run at a time; another may follow, under a new identity. After Close it is ErrClosed.
func (w *Worker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := w.begin(ctx, stop)
	if err != nil {
		return err
	}
	defer w.end(s)
	return s.serve(ctx)
}

func (w *Worker) begin(ctx context.Context, stop func()) (*session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, ErrClosed
	case w.current != nil:
		return nil, invalid("Run", w.config.ID, "is under way already: make another worker to run more at once")
	case len(w.handlers) == 0 && w.fallback == nil:
		return nil, invalid("Run", w.config.ID, "needs a handler: register one with Handle, HandleKind or HandleAny first")
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

// Close ends a Run that is under way as the end of its context would, waits until it has returned, and lets no other begin. Called from
// a handler it would wait for itself. It does not close the store. A second Close says ErrClosed.
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
