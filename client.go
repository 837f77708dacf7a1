package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/onceq/onceq/internal/batch"
	"github.com/onceq/onceq/internal/fingerprint"
)

// Config says what a [Client] does unless an enqueue says otherwise. The
// zero value is ready to use.
type Config struct {
	Defaults []Option            // for every job, e.g. Unique{TTL: 5*time.Minute}, OnConflict(Reject)
	Kinds    map[string][]Option // for one kind, e.g. where args are JSON(...)
	MaxArgs  int                 // bytes of args; 0 = DefaultMaxArgs; at most MaxArgsSize

	Logger *slog.Logger // nil = slog.Default()
	// DuplicateLevel is the level at which a duplicate is logged. Its zero
	// value means slog.LevelDebug. (The number of slog.LevelInfo is zero
	// too: to log at that level say LevelInfo+1.)
	DuplicateLevel slog.Level
	MeterProvider  metric.MeterProvider // nil = the global one
}

// Client enqueues jobs and looks after them. It is safe for concurrent use:
// calls that meet share a trip to the store.
type Client struct {
	store  Store
	config Config
	ids    idSource
	batch  *batch.Batcher[NewRow, EnqueueResult]
	blocks bool // Traits.Blocks of the store
	place  func(id string, key *Key) string
	data   string // Traits.Data

	contested contested
	closed    atomic.Bool
	watch     duplicates
}

// NewClient makes a client of a store, which the caller opens and closes.
// nil config = defaults. Values out of bounds in config are refused here.
// Combinations of options are checked at each enqueue, when all levels are
// known.
func NewClient(store Store, config *Config) (*Client, error) {
	if store == nil {
		return nil, invalid("store", "nil", "must not be nil: open one, for instance with sqlitestore.Open")
	}
	c := &Client{store: store}
	if config != nil {
		c.config = config.clone()
	}
	c.config.Logger = safeLogger(cmp.Or(c.config.Logger, slog.Default()))
	if c.config.MaxArgs < 0 || c.config.MaxArgs > MaxArgsSize {
		return nil, invalid("Config.MaxArgs", c.config.MaxArgs, "must be 0 (%d bytes) to %d bytes",
			DefaultMaxArgs, MaxArgsSize)
	}
	if err := c.config.check(); err != nil {
		return nil, err
	}
	var err error
	if c.watch, err = newDuplicates(c.config); err != nil {
		return nil, err
	}
	traits := store.Traits()
	c.blocks, c.place, c.data = traits.Blocks, traits.Place, traits.Data
	var rivals func(*NewRow) uint64
	if traits.Blocks {
		rivals = (*NewRow).rival
	}
	c.batch = batch.New(batch.Config[NewRow]{
		InFlight: max(1, traits.InFlight), Join: cmp.Or(traits.Join, 64), Calls: 1000,
		Weight: 4 << 20, Weigh: (*NewRow).size, Rivals: rivals,
	}, c.send)
	return c, nil
}

// clone makes a copy that belongs to the client.
func (c *Config) clone() Config {
	own := *c
	own.Defaults, own.Kinds = slices.Clone(c.Defaults), maps.Clone(c.Kinds)
	for kind, opts := range own.Kinds {
		own.Kinds[kind] = slices.Clone(opts)
	}
	return own
}

// check refuses values that are out of bounds at any level. A later level
// could override them, but they are a mistake wherever they are.
func (c *Config) check() error {
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

// send is one trip of the group commit, with equal keys folded. It may run
// on a goroutine of the client's own. If the store panics (a decorator
// may), the answer counts as lost.
func (c *Client) send(ctx context.Context, rows []*NewRow) (results []EnqueueResult, errs []error) {
	defer func() {
		if p := recover(); p != nil {
			results, errs = nil, slices.Repeat([]error{fmt.Errorf("%w: the store panicked: %v", ErrUncertain, p)},
				len(rows))
		}
	}()
	sent, of := fold(rows)
	answers, failed := c.trip(ctx, sent)
	if of == nil {
		return answers, failed
	}
	results, errs, again := unfoldAll(rows, sent, of, answers, failed)
	if len(again) == 0 {
		return results, errs
	}
	rest := make([]NewRow, len(again))
	for n, i := range again {
		rest[n] = *rows[i]
	}
	answers, failed = c.trip(ctx, rest)
	for n, i := range again {
		if failed != nil && failed[n] != nil {
			errs[i] = failed[n]
		} else {
			results[i] = answers[n]
		}
	}
	return results, errs
}

// trip sends rows of different callers. If the store refuses them together,
// one row may be at fault, or would have to wait: then each is sent alone,
// by its own caller and under its own context.
func (c *Client) trip(ctx context.Context, rows []NewRow) ([]EnqueueResult, []error) {
	noWait := c.blocks || len(rows) > 1
	results, err := c.store.Enqueue(ctx, EnqueueRequest{Rows: rows, NoWait: noWait})
	if err == nil {
		return results, nil
	}
	if noWait && !errors.Is(err, ErrUncertain) && !errors.Is(err, ErrClosed) && ctx.Err() == nil {
		results, err = nil, errAlone
	}
	errs := make([]error, len(rows))
	for i := range errs {
		errs[i] = err
	}
	return results, errs
}

// errAlone tells a caller of the group commit to send its row by itself.
var errAlone = errors.New("onceq: to be sent alone")

// enqueue sends a row with the group commit, or alone if that fails.
func (c *Client) enqueue(ctx context.Context, row NewRow) (EnqueueResult, error) {
	key := uint64(0)
	if c.blocks {
		key = row.rival()
	}
	result, err := EnqueueResult{}, errAlone
	switch {
	case !c.contested.has(key):
		result, err = c.batch.Do(ctx, row)
	case c.closed.Load():
		err = batch.ErrClosed
	}
	switch {
	case errors.Is(err, errAlone):
	case errors.Is(err, batch.ErrClosed):
		return EnqueueResult{}, errClosed
	case errors.Is(err, batch.ErrSent):
		return EnqueueResult{}, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	default:
		return result, err
	}
	var results []EnqueueResult
	c.contested.watch(key, func() {
		results, err = c.store.Enqueue(ctx, EnqueueRequest{Rows: []NewRow{row}})
	})
	if err != nil {
		return EnqueueResult{}, err
	}
	return results[0], nil
}

// Enqueue accepts one job, or answers with the job that is there. An error
// means that nothing happened, except for [*UncertainError]: the answer was
// lost, and [Resend] finds out. Under [Reject] a duplicate is a
// [*DuplicateError], and the receipt is filled too.
func (c *Client) Enqueue(ctx context.Context, args Args, opts ...Option) (Receipt, error) {
	row, result, err := c.answer(ctx, args, opts)
	if err != nil {
		return Receipt{}, stillUncertain(err, opts)
	}
	return c.receipt(ctx, &row, result)
}

func (c *Client) answer(ctx context.Context, args Args, opts []Option) (row NewRow, result EnqueueResult, err error) {
	if err := c.usable(ctx); err != nil {
		return row, result, err
	}
	if row, err = c.rowOf(args, opts, newNonce(), 0); err != nil {
		return row, result, err
	}
	if ctx.Done() != nil {
		row.own(args) // the trip may continue after this caller has given up
	}
	err = untilAnswered(ctx, row.Retention > 0, func() (err error) {
		result, err = c.enqueue(ctx, row)
		row.again = true
		return err
	})
	switch {
	case errors.Is(err, ErrUncertain):
		err = &UncertainError{ID: row.ID, IDs: []string{row.ID}, nonce: row.Nonce, cause: err}
	case err != nil && !errors.Is(err, ErrClosed):
		err = fmt.Errorf("onceq: enqueue %s: %w", row.Kind, err)
	}
	return row, result, err
}

// receipt turns the answer of the store into a receipt, and logs and counts
// a duplicate.
func (c *Client) receipt(ctx context.Context, row *NewRow, r EnqueueResult) (Receipt, error) {
	if r.Conflict != nil && r.Conflict.By == "id" {
		r.Conflict.ArgsDiffer = argsDiffer(row, r.Job)
	}
	receipt := Receipt{Job: r.Job, Outcome: r.Outcome, Conflict: r.Conflict}
	if r.Conflict != nil {
		r.Conflict.tell(r.Job)
		c.watch.note(ctx, row, receipt)
	}
	if r.Outcome == Rejected {
		return receipt, &DuplicateError{Kind: row.Kind, Queue: row.Queue, Conflict: *r.Conflict}
	}
	return receipt, nil
}

func argsDiffer(row *NewRow, job *JobRow) bool {
	if row.Encoding != job.Encoding {
		return true
	}
	a, errA := fingerprint.Digest(row.Args, row.Encoding == EncodingJSON)
	b, errB := fingerprint.Digest(job.Args, job.Encoding == EncodingJSON)
	return errA != nil || errB != nil || a != b
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Item is one enqueue of a batch.
type Item struct {
	Args    Args     // what the job is about
	Options []Option // those of this item; they override Config and the args type
}

// NewItem makes an [Item].
func NewItem(args Args, opts ...Option) Item { return Item{args, opts} }

// EnqueueMany accepts up to 10,000 jobs ([MaxBatch]) of 64 MiB in all
// ([MaxBatchBytes]) in one step and answers in their order, as if they were
// enqueued one after another. It finds duplicates inside the batch too. A
// rejected item says so in its receipt, not by an error. One invalid item
// refuses the whole batch before anything is sent, and the error has its
// index.
func (c *Client) EnqueueMany(ctx context.Context, items []Item) ([]Receipt, error) {
	receipts, err := c.enqueueAll(ctx, items)
	return receipts, stillUncertain(err, optionsOf(items)...)
}

func (c *Client) enqueueAll(ctx context.Context, items []Item) ([]Receipt, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := c.rowsOf(items)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	results, open := make([]EnqueueResult, len(rows)), places(len(rows))
	err = untilAnswered(ctx, keepsAll(rows), func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		answers, err := enqueueMany(ctx, c.enqueueRows, pick(rows, open))
		if open = fill(results, open, answers); len(open) == 0 {
			return nil
		}
		for i := range rows {
			rows[i].again = true
		}
		return err
	})
	switch {
	case errors.Is(err, ErrUncertain):
		err = uncertainBatch(rows, open, err)
	case err != nil:
		if !errors.Is(err, ErrClosed) {
			err = fmt.Errorf("onceq: enqueue %d jobs: %w", len(rows), err)
		}
		return nil, err
	}
	return c.receipts(ctx, rows, results), err
}

// places returns the indexes of n rows.
func places(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// pick returns the rows with these indexes.
func pick(rows []NewRow, at []int) []NewRow {
	if len(at) == len(rows) {
		return rows
	}
	some := make([]NewRow, len(at))
	for n, i := range at {
		some[n] = rows[i]
	}
	return some
}

// fill puts the answers for the open places where they belong. It returns
// the places that stay open: a store may answer only some of the rows.
func fill(results []EnqueueResult, open []int, answers []EnqueueResult) (rest []int) {
	for n, i := range open {
		if n < len(answers) && answers[n].Job != nil {
			results[i] = answers[n]
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// enqueueRows enqueues rows of one caller, and waits for open transactions.
func (c *Client) enqueueRows(ctx context.Context, rows []NewRow) ([]EnqueueResult, error) {
	return c.store.Enqueue(ctx, EnqueueRequest{Rows: rows})
}

// enqueueMany enqueues the items of one call in one step, with equal keys
// folded.
func enqueueMany(ctx context.Context, enqueue func(context.Context, []NewRow) ([]EnqueueResult, error),
	rows []NewRow) ([]EnqueueResult, error) {
	sent, of := foldBatch(rows)
	answers, err := enqueue(ctx, sent)
	if of == nil || len(answers) == 0 {
		return answers, err
	}
	all := make([]*NewRow, len(rows))
	for i := range rows {
		all[i] = &rows[i]
	}
	results, _, again := unfoldAll(all, sent, of, answers, nil)
	if err != nil || len(again) == 0 {
		return results, err
	}
	// Only in a resend: the job that was inserted then has released its key
	// meanwhile, and these come after it.
	rest := make([]NewRow, len(again))
	for n, i := range again {
		rest[n] = rows[i]
	}
	if answers, err = enqueue(ctx, rest); err != nil {
		return results, fmt.Errorf("%w: the rest of a batch: %w", ErrUncertain, err)
	}
	for n, i := range again {
		results[i] = answers[n]
	}
	return results, nil
}

func keepsAll(rows []NewRow) bool {
	for i := range rows {
		if rows[i].Retention == 0 {
			return false
		}
	}
	return true
}

func (c *Client) rowsOf(items []Item) ([]NewRow, error) {
	if len(items) > MaxBatch {
		return nil, invalid("items", len(items), "must be at most %d in one batch: send several", MaxBatch)
	}
	rows := make([]NewRow, len(items))
	nonce := newNonce()
	size := 0
	for i, item := range items {
		var err error
		if rows[i], err = c.rowOf(item.Args, item.Options, nonce, i); err != nil {
			var inv *InvalidError
			if errors.As(err, &inv) {
				return nil, &InvalidError{Field: fmt.Sprintf("item %d: %s", i, inv.Field), Value: inv.Value,
					Rule: inv.Rule}
			}
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		if size += rows[i].size(); size > MaxBatchBytes {
			return nil, invalid("items", fmt.Sprintf("%d bytes up to item %d", size, i),
				"must be at most %d bytes of args, meta and tags in one batch: send several", MaxBatchBytes)
		}
	}
	return rows, nil
}

func (c *Client) receipts(ctx context.Context, rows []NewRow, results []EnqueueResult) []Receipt {
	receipts := make([]Receipt, len(results))
	for i, r := range results {
		if r.Job != nil { // else there is no answer
			receipts[i], _ = c.receipt(ctx, &rows[i], r)
		}
	}
	return receipts
}

// WithTx returns a client that enqueues inside the caller's transaction. tx
// comes from the method Tx of the store. The jobs exist, and their keys are
// held, if and only if the transaction commits.
func (c *Client) WithTx(tx Tx) *TxClient { return &TxClient{c, tx} }

// TxClient enqueues inside one transaction of the caller. Like the
// transaction it is not for concurrent use.
type TxClient struct {
	client *Client
	tx     Tx
}

// Enqueue is [Client.Enqueue] inside the transaction.
func (t *TxClient) Enqueue(ctx context.Context, args Args, opts ...Option) (Receipt, error) {
	row, result, err := t.answer(ctx, args, opts)
	if err != nil {
		return Receipt{}, stillUncertain(err, opts)
	}
	return t.client.receipt(ctx, &row, result)
}

// usable returns the error of a call that cannot be made, because of the
// client, its context or the transaction.
func (t *TxClient) usable(ctx context.Context) error {
	if isNil(t.tx) {
		return invalid("Tx", "nil", "must not be nil: pass what the store's Tx method made of your transaction")
	}
	if on := t.tx.Data(); on != "" && on != t.client.data {
		return invalid("Tx", on, "is not on the data of this client (%s): make a client of the store that made the Tx",
			cmp.Or(t.client.data, "its store has no transactions"))
	}
	return t.client.usable(ctx)
}

func (t *TxClient) answer(ctx context.Context, args Args, opts []Option) (row NewRow, result EnqueueResult, err error) {
	if err := t.usable(ctx); err != nil {
		return row, result, err
	}
	if row, err = t.client.rowOf(args, opts, newNonce(), 0); err != nil {
		return row, result, err
	}
	results, err := t.tx.Enqueue(ctx, []NewRow{row})
	if err != nil {
		return row, result, fmt.Errorf("onceq: enqueue %s in a transaction: %w", row.Kind, err)
	}
	return row, results[0], nil
}

// EnqueueMany is [Client.EnqueueMany] inside the transaction.
func (t *TxClient) EnqueueMany(ctx context.Context, items []Item) ([]Receipt, error) {
	rows, results, err := t.answers(ctx, items)
	if err != nil {
		return nil, stillUncertain(err, optionsOf(items)...)
	}
	return t.client.receipts(ctx, rows, results), nil
}

func (t *TxClient) answers(ctx context.Context, items []Item) ([]NewRow, []EnqueueResult, error) {
	if err := t.usable(ctx); err != nil {
		return nil, nil, err
	}
	rows, err := t.client.rowsOf(items)
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	results, err := enqueueMany(ctx, t.tx.Enqueue, rows)
	if err != nil {
		return nil, nil, fmt.Errorf("onceq: enqueue %d jobs in a transaction: %w", len(rows), err)
	}
	return rows, results, nil
}

// Close sends what is waiting and stops what the client started. It never
// closes the store.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return errClosed
	}
	c.batch.Close()
	return nil
}

type clientKey struct{}

// ClientFrom returns, inside a handler, a client of the worker's store;
// elsewhere nil.
func ClientFrom(ctx context.Context) *Client {
	c, _ := ctx.Value(clientKey{}).(*Client)
	return c
}

// Job returns one job, or [ErrNotFound].
func (c *Client) Job(ctx context.Context, id string) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	jobs, err := c.store.Get(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("onceq: get job %s: %w", id, err)
	}
	if jobs[0] == nil {
		return nil, fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	return jobs[0], nil
}

// page is how many rows a list reads at once.
const page = 200

// Jobs lists jobs by ID, the largest (of generated IDs: the newest) first.
func (c *Client) Jobs(ctx context.Context, f JobFilter) iter.Seq2[*JobRow, error] {
	return func(yield func(*JobRow, error) bool) {
		if err := cmp.Or(c.usable(ctx), f.validate()); err != nil {
			yield(nil, err)
			return
		}
		n, after := 0, ""
		for {
			p, err := c.store.List(ctx, ListRequest{Filter: f, After: after, Limit: page})
			if err != nil {
				yield(nil, fmt.Errorf("onceq: list jobs: %w", err))
				return
			}
			for _, j := range p.Jobs {
				if !yield(j, nil) {
					return
				}
				if n++; n == f.Limit {
					return
				}
			}
			if after = p.Next; after == "" {
				return
			}
		}
	}
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

// RetryOption changes what [Client.Retry] does.
type RetryOption interface{ retry(*Change) }

// RetryFlag is a [RetryOption] without a value.
type RetryFlag uint8

// WithoutKey lets a job be retried although another job holds its key by
// now. It then runs without the key.
const WithoutKey RetryFlag = 1

func (RetryFlag) retry(c *Change) { c.WithoutKey = true }

// Cancel cancels a waiting job at once. For a running job it is a request:
// the context of the run is cancelled, and when the run reports, or its
// lease is over, the job is cancelled (completed if it returned nil).
// Cancelling a cancelled job changes nothing. A completed or discarded job
// is refused.
func (c *Client) Cancel(ctx context.Context, id string) (*JobRow, error) {
	return c.changeOne(ctx, Change{Op: OpCancel}, id)
}

// Retry makes a finished job due now, with at least one more attempt, and
// takes its key again. If another job holds the key by now, the retry is
// refused with a [*DuplicateError] (see [WithoutKey]). A retryable job
// becomes due now. Any other is refused.
func (c *Client) Retry(ctx context.Context, id string, opts ...RetryOption) (*JobRow, error) {
	ch := Change{Op: OpRetry}
	for _, o := range opts {
		o.retry(&ch)
	}
	return c.changeOne(ctx, ch, id)
}

// RunNow makes a waiting job due now. It refuses a job that stands behind
// another, and a job that does not wait.
func (c *Client) RunNow(ctx context.Context, id string) (*JobRow, error) {
	return c.changeOne(ctx, Change{Op: OpRunNow}, id)
}

// Delete removes a job. Its key goes with it, except for what is left of a
// Window. A running job is refused: cancel it first.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.changeOne(ctx, Change{Op: OpDelete}, id)
	return err
}

func (c *Client) changeOne(ctx context.Context, ch Change, id string) (*JobRow, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	ch.IDs = []string{id}
	results, err := c.store.Change(ctx, ch)
	if err != nil {
		return nil, fmt.Errorf("onceq: change job %s: %w", id, err)
	}
	if err := told(results[0].Err); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("job %q: %w", id, ErrNotFound)
		}
		return nil, err
	}
	return results[0].Job, nil
}

// CancelAll cancels every matching job that can be cancelled, and returns
// how many. An empty filter is refused unless its All is set.
func (c *Client) CancelAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpCancel, Filter: f})
	return r.Changed, err
}

// RetryAll retries every matching job that can be retried, and returns how
// many. An empty filter is refused unless its All is set.
func (c *Client) RetryAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpRetry, Filter: f})
	return r.Changed, err
}

// RunAll makes every matching job that waits due now, and returns how many.
// An empty filter is refused unless its All is set.
func (c *Client) RunAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpRunNow, Filter: f})
	return r.Changed, err
}

// DeleteAll deletes every matching job that does not run, and returns how
// many. An empty filter is refused unless its All is set.
func (c *Client) DeleteAll(ctx context.Context, f JobFilter) (int, error) {
	r, err := c.Bulk(ctx, Bulk{Op: OpDelete, Filter: f})
	return r.Changed, err
}

// Keys lists held keys in the order of the keys.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[*HeldKey, error] {
	return func(yield func(*HeldKey, error) bool) {
		if err := c.usable(ctx); err != nil {
			yield(nil, err)
			return
		}
		n, after := 0, ""
		for {
			p, err := c.store.Keys(ctx, KeysRequest{Filter: f, After: after, Limit: page})
			if err != nil {
				yield(nil, fmt.Errorf("onceq: list keys: %w", err))
				return
			}
			for _, k := range p.Keys {
				k.tell()
				if !yield(k, nil) {
					return
				}
				if n++; n == f.Limit {
					return
				}
			}
			if after = p.Next; after == "" {
				return
			}
		}
	}
}

// Key returns who holds a key, or [ErrNotFound] when it is free.
func (c *Client) Key(ctx context.Context, key Key) (*HeldKey, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	held, err := lookUp(ctx, c.store, key)
	switch {
	case err != nil:
	case held == nil:
		err = fmt.Errorf("key %s is free: %w", key, ErrNotFound)
	default:
		held.tell()
	}
	return held, err
}

func lookUp(ctx context.Context, store Store, key Key) (*HeldKey, error) {
	p, err := store.Keys(ctx, KeysRequest{Key: &key, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("onceq: look up key %s: %w", key, err)
	}
	if len(p.Keys) == 0 {
		return nil, nil
	}
	return p.Keys[0], nil
}

// ReleaseKey frees a key by hand, and its holder goes on without it. If a
// waiter stands behind the holder, the key passes to the waiter.
// [ErrNotFound] means that it is free.
func (c *Client) ReleaseKey(ctx context.Context, key Key) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	results, err := c.store.Change(ctx, Change{Op: OpRelease, Key: key})
	if err != nil {
		return fmt.Errorf("onceq: release key %s: %w", key, err)
	}
	if errors.Is(results[0].Err, ErrNotFound) {
		return fmt.Errorf("key %s is free: %w", key, ErrNotFound)
	}
	return results[0].Err
}

// Queues lists every queue that has a job or is paused, by name.
func (c *Client) Queues(ctx context.Context) ([]QueueInfo, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	return c.store.Queues(ctx)
}

// Pause keeps every worker from starting jobs of a queue until Resume.
// Running jobs go on, and enqueues are accepted.
//
// A queue can be paused before its first job. A name that no job has is logged
// as a warning all the same, for it may be mistyped: [Client.Queues] tells which
// names there are.
func (c *Client) Pause(ctx context.Context, queue string) error {
	if err := cmp.Or(c.usable(ctx), checkName("queue", queue)); err != nil {
		return err
	}
	queues, lookErr := c.store.Queues(ctx)
	if err := c.changeQueue(ctx, OpPause, queue); err != nil {
		return err
	}
	names := make([]string, 0, len(queues))
	for _, q := range queues {
		names = append(names, q.Name)
	}
	if lookErr == nil && !slices.Contains(names, queue) {
		c.config.Logger.WarnContext(ctx, "onceq: a queue without a job is paused; is its name right?",
			"queue", queue, "queues", names[:min(len(names), 20)])
	}
	return nil
}

// Resume undoes Pause.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.changeQueue(ctx, OpResume, queue)
}

func (c *Client) changeQueue(ctx context.Context, op Op, queue string) error {
	if err := cmp.Or(c.usable(ctx), checkName("queue", queue)); err != nil {
		return err
	}
	if _, err := c.store.Change(ctx, Change{Op: op, Queue: queue}); err != nil {
		return fmt.Errorf("onceq: change queue %s: %w", queue, err)
	}
	return nil
}
