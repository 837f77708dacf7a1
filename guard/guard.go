package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/batch"
	"github.com/onceq/onceq/internal/reserved"
)

// Config says how a guard works. The zero value is ready to use.
type Config struct {
	// Name keeps guards apart: claims stand in the queue "onceq.guard/" + Name,
	// and guards of different names never share a key. The default is "default".
	Name string
	// Defaults hold for every message. They come over Unique{}, the default:
	// each message is unique by its kind and args until it was handled. Say
	// onceq.NotUnique to make it the choice of each kind or call.
	Defaults []onceq.Option
	Kinds    map[string][]onceq.Option // for one kind
	// InDoubt is how long a claim holds its key while nobody has said that its
	// message was sent: so long does a producer that dies block the key. The
	// default is a minute.
	InDoubt time.Duration
	// Lease is how long a consumer that dies keeps its runs. It is renewed at a
	// third, with one call for all runs of the process. The default is 30
	// seconds.
	Lease time.Duration
	// OnLapsed says what becomes of a message that has lost its claim.
	OnLapsed Lapsed
	// OnStoreDown says what becomes of a message when the store does not answer.
	OnStoreDown StoreDown

	Logger *slog.Logger // nil = slog.Default()
	// DuplicateLevel is the level at which a duplicate is logged. Its zero value
	// means slog.LevelDebug.
	DuplicateLevel slog.Level
	MeterProvider  metric.MeterProvider // nil = the global one
	TracerProvider trace.TracerProvider // of the spans of claims; nil = the global one
	ID             string               // of this process, for people; default host-pid
}

// Lapsed says what becomes of a message whose claim has lapsed: another message
// has its key, or the claim is gone. A claim whose key is still free is taken
// back, and the message runs like any other.
type Lapsed uint8

const (
	// RunAnyway runs the message, beside the one that has its key, if there is
	// one. Nothing is lost. It is the default.
	RunAnyway Lapsed = iota
	// DropLapsed does not run it, and answers with a [*LapsedError].
	DropLapsed
)

// StoreDown says what becomes of a message that cannot be guarded, because the
// store does not answer.
type StoreDown uint8

const (
	// Refuse does not send it, and answers with the error of the store. It is
	// the default.
	Refuse StoreDown = iota
	// SendUnguarded sends it with the token "". That is logged and counted.
	SendUnguarded
)

// patience is how long a message may be silent if no level says Delay.
const patience = 24 * time.Hour

// Guard makes and ends the claims of messages. It is safe for concurrent use.
type Guard struct {
	store   onceq.Store
	client  *onceq.Client
	config  Config
	queue   string
	worker  string // the name of this guard, as a worker that runs claims
	log     *slog.Logger
	metrics metrics

	starts   *batch.Batcher[*start, onceq.ChangeResult]
	ends     *batch.Batcher[*onceq.Finish, onceq.FinishResult]
	confirms *batch.Batcher[confirm, struct{}]

	life    context.Context // ends when Close is through
	end     context.CancelFunc
	loops   sync.WaitGroup
	beating sync.Mutex // one Extend at a time

	mu       sync.Mutex
	runs     map[onceq.Run]*Run
	starting map[string]int // calls of OpStart without an answer, by token
	no       int64          // the number of the latest OpStart
	beats    bool           // the heartbeat was started
	leaseEnd time.Time      // by our own clock
	lapse    *time.Timer    // fires at leaseEnd
	doubts   int            // looks for stray runs that are still to come
	unsure   int            // messages that were sent and are not confirmed yet
	changed  chan struct{}  // closed when one of the above becomes less; nil = nobody waits
	closed   bool           // Close was called
	over     bool           // nothing may start any more
}

// What the root package does for this one.
var (
	acquireOne = reserved.Acquire.(func(context.Context, *onceq.Client, onceq.Args, []onceq.Option) (onceq.NewRow,
		onceq.Receipt, error))
	acquireMany = reserved.AcquireMany.(func(context.Context, *onceq.Client, []onceq.Item) ([]onceq.NewRow,
		[]onceq.Receipt, error))
	uncertainOf = reserved.Uncertain.(func(*onceq.NewRow, error) error)
	patienceOf  = reserved.Patience.(func(*onceq.JobRow) (time.Duration, bool))
	decide      = reserved.Decide.(func(*onceq.JobRow, error, error, onceq.RetryPolicy) onceq.Finish)
)

// New makes a guard on a store, which the caller opens and closes. nil config =
// defaults. The guard tidies up in the background; Close ends that.
func New(store onceq.Store, config *Config) (*Guard, error) {
	if config == nil {
		config = &Config{}
	}
	g := &Guard{store: store, config: *config, runs: map[onceq.Run]*Run{}, starting: map[string]int{}}
	c := &g.config
	c.Name = cmp.Or(c.Name, "default")
	c.InDoubt, c.Lease = cmp.Or(c.InDoubt, time.Minute), cmp.Or(c.Lease, 30*time.Second)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"InDoubt", c.InDoubt}, {"Lease", c.Lease}} {
		if d.value < 10*time.Millisecond || d.value > 24*time.Hour {
			return nil, &onceq.InvalidError{Field: "Config." + d.name, Value: d.value.String(),
				Rule: "must be 10ms to 24h"}
		}
	}
	if c.OnLapsed > DropLapsed || c.OnStoreDown > SendUnguarded {
		return nil, &onceq.InvalidError{Field: "Config", Rule: "has an OnLapsed or OnStoreDown that is none"}
	}
	g.log = reserved.Logger(cmp.Or(c.Logger, slog.Default()))
	var err error
	if g.client, err = onceq.NewClient(store, &onceq.Config{
		Defaults: append([]onceq.Option{g.claim(reserved.Claim{Patience: patience}), onceq.Unique{}},
			c.Defaults...),
		Kinds: c.Kinds, Logger: g.log, DuplicateLevel: c.DuplicateLevel, MeterProvider: c.MeterProvider,
		TracerProvider: c.TracerProvider,
	}); err != nil {
		return nil, err
	}
	if g.metrics, err = newMetrics(c.MeterProvider); err != nil {
		return nil, err
	}
	g.queue = "onceq.guard/" + c.Name
	if c.ID == "" {
		host, _ := os.Hostname()
		c.ID = fmt.Sprintf("%s-%d", cmp.Or(host, "unknown"), os.Getpid())
	}
	g.worker = fmt.Sprintf("guard-%s-%016x", c.ID[:min(len(c.ID), 100)], rand.Uint64())
	g.log = g.log.With("guard", c.Name)
	traits := store.Traits()
	g.starts = trips(traits, g.sendStarts)
	g.ends = trips(traits, g.sendEnds)
	g.confirms = trips(traits, g.sendConfirms)
	g.life, g.end = context.WithCancel(context.Background())
	g.loops.Go(g.sweepLoop)
	return g, nil
}

// trips is group commit of calls to a store.
func trips[Q, A any](t onceq.Traits, send func(context.Context, []Q) ([]A, []error)) *batch.Batcher[Q, A] {
	return batch.New(batch.Config[Q]{InFlight: max(1, t.InFlight), Join: cmp.Or(t.Join, 64), Calls: 500}, send)
}

// claim is the option that makes an enqueue a claim of this guard.
func (g *Guard) claim(c reserved.Claim) onceq.Option {
	c.Guard, c.InDoubt = g.config.Name, g.config.InDoubt
	return reserved.Guarded(c).(onceq.Option)
}

var errClosed = fmt.Errorf("guard: the guard is %w", onceq.ErrClosed)

// errShutdown ends the context of a run that Close cuts short.
var errShutdown = errors.New("guard: the guard is closing")

// closeTime is how long Close waits at most for what is under way.
const closeTime = 10 * time.Second

// Explain is a dry run of Acquire, as [onceq.Client.Explain] is of an enqueue.
func (g *Guard) Explain(ctx context.Context, args onceq.Args, opts ...onceq.Option) (onceq.Explanation, error) {
	return g.client.Explain(ctx, args, opts...)
}

// Flush waits until all messages that were sent are confirmed.
func (g *Guard) Flush(ctx context.Context) error {
	return g.await(ctx, func() bool { return g.unsure == 0 })
}

// await waits until done returns true; done is called under the lock.
func (g *Guard) await(ctx context.Context, done func() bool) error {
	for {
		g.mu.Lock()
		if done() {
			g.mu.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lessLocked tells those who await something that something became less.
func (g *Guard) lessLocked() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// Close ends the contexts of the runs, waits up to ten seconds for them, and
// for what was sent to be confirmed, and stops what the guard started. A run
// that ends in time keeps its key, and its message may come again at once. A run
// that does not end in time is left to its lease. Close never closes the store.
func (g *Guard) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	g.closed = true
	for _, r := range g.runs {
		r.cancel(errShutdown)
	}
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := g.await(ctx, func() bool { return g.unsure+len(g.runs)+len(g.starting) == 0 })
	g.mu.Lock()
	left := len(g.runs) + len(g.starting)
	clean := left == 0 && g.beats && g.doubts == 0
	g.over = true
	if g.lapse != nil {
		g.lapse.Stop()
	}
	g.mu.Unlock()
	g.end()
	g.loops.Wait()
	if clean { // nothing runs for this guard, so that nothing is handed back
		g.leave(ctx)
	}
	g.client.Close()
	if err != nil {
		return fmt.Errorf("guard: closed with %d runs that are left to their lease, and messages whose send may "+
			"not be confirmed: %w", left, err)
	}
	return nil
}

func sortedRuns(runs map[onceq.Run]*Run) []onceq.Run {
	list := make([]onceq.Run, 0, len(runs))
	for run := range runs {
		list = append(list, run)
	}
	slices.SortFunc(list, func(a, b onceq.Run) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
