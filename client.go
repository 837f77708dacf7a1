package onceq

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceq/onceq/internal/batch"
)

// Config says what a [Client] does unless an enqueue says otherwise. The
// zero value is ready to use.
type Config struct {
	Defaults []Option            // for every job, e.g. Unique{TTL: 5*time.Minute}, OnConflict(Reject)
	Kinds    map[string][]Option // for one kind, e.g. where args are JSON(...)
	MaxArgs  int                 // bytes of args as they are stored; 0 = DefaultMaxArgs; at most MaxArgsSize
	// MaxResult is how many bytes a result may have as JSON (see [SetResult]),
	// for handlers that have this client; 0 = DefaultMaxResult; at most
	// MaxResultSize.
	MaxResult int

	// Codec encodes args at rest; nil = they are stored as they are. A worker
	// uses that of WorkerConfig.Client.
	Codec Codec

	// NoTally keeps the client from counting for [Client.Stats]. Otherwise the
	// store is told what was enqueued, and what workers with this client ran:
	// 2s after the first event, then once a minute while there is something to
	// tell, when a worker's Run ends, and by Close.
	NoTally bool

	// Middleware wraps every enqueue, the first outermost. [Client.Explain]
	// and [Client.Prepare] do not go through it.
	Middleware []EnqueueMiddleware

	Logger *slog.Logger // nil = slog.Default()
	// DuplicateLevel is the level at which a duplicate is logged. Its zero
	// value means slog.LevelDebug. (The number of slog.LevelInfo is zero
	// too: to log at that level say LevelInfo+1.)
	DuplicateLevel slog.Level
	// MeterProvider gets the metrics of enqueues (docs/metrics.md); nil = the
	// global one.
	MeterProvider metric.MeterProvider
	// TracerProvider gets the spans of enqueues (docs/tracing.md); nil = the
	// global one.
	TracerProvider trace.TracerProvider
}

// Client enqueues jobs and looks after them. It is safe for concurrent use:
// calls that meet share a trip to the store.
type Client struct {
	store  Store
	config Config
	ids    idSource
	batch  *batch.Batcher[*NewRow, EnqueueResult]
	blocks bool // Traits.Blocks of the store
	place  func(id string, key *Key) string
	data   string // Traits.Data

	codecName string // of Config.Codec

	contested contested
	waits     *waits
	closed    atomic.Bool
	watch     duplicates
	metrics   *metrics
	tracing   *tracing
	tally     *tally // nil = Config.NoTally
}

// NewClient makes a client of a store, which the caller opens and closes.
// nil config = defaults. Values out of bounds in config are refused here.
// Combinations of options are checked at each enqueue, when all levels are
// known.
func NewClient(store Store, config *Config) (*Client, error) {
	if store == nil {
		return nil, invalid("store", "nil", "must not be nil: open one, for instance with sqlitestore.Open")
	}
	c := &Client{store: store, waits: newWaits(store)}
	if config != nil {
		c.config = config.clone()
	}
	c.config.Logger = safeLogger(cmp.Or(c.config.Logger, slog.Default()))
	if c.config.MaxArgs < 0 || c.config.MaxArgs > MaxArgsSize {
		return nil, invalid("Config.MaxArgs", c.config.MaxArgs, "must be 0 (%d bytes) to %d bytes",
			DefaultMaxArgs, MaxArgsSize)
	}
	if c.config.MaxResult < 0 || c.config.MaxResult > MaxResultSize {
		return nil, invalid("Config.MaxResult", c.config.MaxResult, "must be 0 (%d bytes) to %d bytes",
			DefaultMaxResult, MaxResultSize)
	}
	if err := c.config.check(); err != nil {
		return nil, err
	}
	c.watch = newDuplicates(&c.config)
	var err error
	if c.codecName, err = checkCodec(c.config.Codec); err != nil {
		return nil, err
	}
	if c.metrics, err = newMetrics(c.config.MeterProvider, newLabels()); err != nil {
		return nil, err
	}
	c.tracing = newTracing(c.config.TracerProvider)
	if !c.config.NoTally {
		c.tally = newTally(store, c.config.Logger)
	}
	traits := store.Traits()
	c.blocks, c.place, c.data = traits.Blocks, traits.Place, traits.Data
	var rivals func(*NewRow) uint64
	if traits.Blocks {
		rivals = (*NewRow).rival
	}
	c.batch = batch.New(batch.Config[*NewRow]{
		InFlight: max(1, traits.InFlight), Join: cmp.Or(traits.Join, 64), Calls: 1000,
		Weight: 4 << 20, Weigh: (*NewRow).size, Rivals: rivals,
	}, c.send)
	return c, nil
}

// clone makes a copy that belongs to the client.
func (c *Config) clone() Config {
	own := *c
	own.Defaults, own.Kinds = slices.Clone(c.Defaults), maps.Clone(c.Kinds)
	own.Middleware = slices.Clone(c.Middleware)
	for kind, opts := range own.Kinds {
		own.Kinds[kind] = slices.Clone(opts)
	}
	return own
}

// check refuses values that are out of bounds at any level. A later level
// could override them, but they are a mistake wherever they are.
func (c *Config) check() error {
	for i, m := range c.Middleware {
		if m == nil {
			return invalid(fmt.Sprintf("Config.Middleware[%d]", i), "nil", "must not be nil")
		}
	}
	for kind := range c.Kinds {
		if err := checkName("Config.Kinds", kind); err != nil {
			return err
		}
	}
	for _, opts := range append(slices.Collect(maps.Values(c.Kinds)), c.Defaults) {
		s := newSettings()
		s.applyAll(ofDefaults, opts)
		if s.err != nil {
			return s.err
		}
		if err := s.checkBounds(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) maxArgs() int {
	if c.config.MaxArgs == 0 {
		return DefaultMaxArgs
	}
	return c.config.MaxArgs
}

// Close sends what is waiting, notes what was counted (see Config.NoTally; 2s
// at most), and stops what the client started. It never closes the store: that
// is to be closed after it.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return errClosed
	}
	c.batch.Close()
	c.waits.close()
	c.tally.close()
	return nil
}

type clientKey struct{}

// ClientFrom returns, inside a handler, a client of the worker's store;
// elsewhere nil.
func ClientFrom(ctx context.Context) *Client {
	c, _ := ctx.Value(clientKey{}).(*Client)
	return c
}

// HandlerContext returns a context such as a handler gets for a job: ClientFrom
// returns the client, and [SetResult] and [TxClient.Complete] take the job for
// the one that runs. It is for code that calls handlers itself, such as tests
// (see package onceqtest). What SetResult sets is kept by Complete only.
func HandlerContext(ctx context.Context, client *Client, job *JobRow) context.Context {
	return context.WithValue(context.WithValue(ctx, clientKey{}, client), outcomeKey{},
		&outcomeOfRun{of: Run{job.ID, job.Run}})
}

// usable returns the error of a call that cannot be made, because of the
// client or its context.
func (c *Client) usable(ctx context.Context) error {
	if ctx == nil {
		return invalid("context", "nil", "must not be nil: pass context.Background() where there is no other")
	}
	if c.closed.Load() {
		return errClosed
	}
	return nil
}
