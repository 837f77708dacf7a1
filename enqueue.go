package onceq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/onceq/onceq/internal/batch"
)

// Enqueue accepts one job, or answers with the job that is there. An error
// means that nothing happened, except for [*UncertainError]: the answer was
// lost, and [Resend] finds out. Under [Reject] a duplicate is a
// [*DuplicateError], and the receipt is filled too.
func (c *Client) Enqueue(ctx context.Context, args Args, opts ...Option) (Receipt, error) {
	return c.throughOne(ctx, args, opts, c.enqueueOne)
}

func (c *Client) enqueueOne(ctx context.Context, args Args, opts []Option) (Receipt, error) {
	row := spareRows.Get().(*NewRow)
	result, err := c.answer(ctx, row, args, opts)
	if err != nil {
		return Receipt{}, stillUncertain(err, opts) // a trip may still be under way with the row
	}
	receipt, err := c.receipt(ctx, row, result)
	*row = NewRow{}
	spareRows.Put(row)
	return receipt, err
}

// spareRows is a pool of rows, all zero.
var spareRows = sync.Pool{New: func() any { return new(NewRow) }}

// answer sends one enqueue, and fills row, which is zero before.
func (c *Client) answer(ctx context.Context, row *NewRow, args Args, opts []Option) (result EnqueueResult, err error) {
	if err := c.usable(ctx); err != nil {
		return result, err
	}
	if err = c.rowOf(ctx, row, args, opts, newNonce(), 0); err != nil || row.unguarded {
		return result, err
	}
	ctx = c.tracing.enqueue(ctx, row)
	if ctx.Done() != nil {
		row.own(args) // the trip may continue after this caller has given up
	}
	err = c.untilAnswered(ctx, row.isKept(), func() (err error) {
		if result, err = c.enqueue(ctx, row); err != nil {
			again := *row // the trip may still be under way with that row
			again.again, row = true, &again
		}
		return err
	})
	switch {
	case errors.Is(err, ErrUncertain):
		err = uncertainOne(row, err)
	case err != nil && !errors.Is(err, ErrClosed):
		err = fmt.Errorf("onceq: enqueue %s: %w", row.Kind, err)
	}
	if err != nil {
		row.failed(err)
	}
	return result, err
}

// enqueue sends a row with the group commit, or alone if that fails.
func (c *Client) enqueue(ctx context.Context, row *NewRow) (EnqueueResult, error) {
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
		results, err = c.storeEnqueue(ctx, EnqueueRequest{Rows: []NewRow{*row}})
	})
	if err != nil {
		return EnqueueResult{}, err
	}
	return results[0], nil
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
	spare := spareTrips.Get().(*[]NewRow)
	sent, of := fold((*spare)[:0], rows)
	results, errs = c.sendFolded(ctx, rows, sent, of)
	clear(sent)
	*spare = sent
	spareTrips.Put(spare)
	return results, errs
}

// spareTrips is a pool of the rows of trips, all zero. A store keeps none of
// them.
var spareTrips = sync.Pool{New: func() any { return new([]NewRow) }}

func (c *Client) sendFolded(ctx context.Context, rows []*NewRow, sent []NewRow, of []int) ([]EnqueueResult, []error) {
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
	results, err := c.storeEnqueue(ctx, EnqueueRequest{Rows: rows, NoWait: noWait})
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

// receipt turns the answer of the store into a receipt, and logs and counts
// a duplicate.
func (c *Client) receipt(ctx context.Context, row *NewRow, r EnqueueResult) (Receipt, error) {
	if r.Conflict != nil && r.Conflict.By == "id" {
		r.Conflict.ArgsDiffer = c.argsDiffer(ctx, row, r.Job)
	}
	receipt := Receipt{Job: r.Job, Outcome: r.Outcome, Conflict: r.Conflict, client: c}
	if row.span != nil {
		ctx = trace.ContextWithSpan(ctx, row.span)
		defer row.answered(&receipt)
	}
	row.hide(r.Conflict, r.Job)
	c.metrics.enqueued(ctx, row, receipt)
	if r.Conflict != nil {
		r.Conflict.adjust(r.Job, row.RunAt)
		c.watch.note(ctx, row, receipt)
	}
	c.tally.enqueued(row, &receipt)
	if r.Outcome == Rejected {
		return receipt, &DuplicateError{Kind: row.Kind, Queue: row.Queue, Conflict: *r.Conflict}
	}
	return receipt, nil
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
	return c.throughMany(ctx, items, c.enqueueAll)
}

func (c *Client) enqueueAll(ctx context.Context, items []Item) ([]Receipt, error) {
	receipts, err := c.answers(ctx, items)
	if err != nil {
		err = stillUncertain(err, optionsOf(items)...)
	}
	return receipts, err
}

func (c *Client) answers(ctx context.Context, items []Item) ([]Receipt, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := c.rowsOf(ctx, items)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	receipts, err := c.sendBatch(ctx, rows)
	if err != nil && !errors.Is(err, ErrUncertain) {
		return nil, err
	}
	return receipts, err
}

// sendBatch sends the rows of one caller in a span, and makes their receipts.
func (c *Client) sendBatch(ctx context.Context, rows []NewRow) ([]Receipt, error) {
	ctx, span := c.tracing.enqueueMany(ctx, rows)
	results, err := c.sendRows(ctx, rows)
	receipts := c.receipts(ctx, rows, results)
	endMany(span, receipts, err)
	return receipts, err
}

// sendRows sends the rows of one caller, and sends those again whose answers
// are lost. If some stay without an answer, the error is uncertain.
func (c *Client) sendRows(ctx context.Context, rows []NewRow) ([]EnqueueResult, error) {
	var results []EnqueueResult // nil = nothing was sent yet
	var open []int
	err := c.untilAnswered(ctx, keepsAll(rows), func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		sent := rows
		if results != nil {
			sent = pick(rows, open)
		}
		answers, err := enqueueMany(ctx, c.enqueueRows, sent)
		if results == nil {
			if answersAll(answers, len(rows)) {
				results = answers
				return nil
			}
			results, open = make([]EnqueueResult, len(rows)), places(len(rows))
		}
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
	return results, err
}

// enqueueRows enqueues rows of one caller, and waits for open transactions.
func (c *Client) enqueueRows(ctx context.Context, rows []NewRow) ([]EnqueueResult, error) {
	return c.storeEnqueue(ctx, EnqueueRequest{Rows: rows})
}

func (c *Client) storeEnqueue(ctx context.Context, r EnqueueRequest) ([]EnqueueResult, error) {
	c.metrics.batch(ctx, len(r.Rows))
	return c.store.Enqueue(ctx, r)
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
	results, _, again := unfoldAll(pointers(rows), sent, of, answers, nil)
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
		if !rows[i].isKept() {
			return false
		}
	}
	return true
}

func (c *Client) rowsOf(ctx context.Context, items []Item) ([]NewRow, error) {
	if len(items) > MaxBatch {
		return nil, invalid("items", len(items), "must be at most %d in one batch: send several", MaxBatch)
	}
	rows := make([]NewRow, len(items))
	nonce := newNonce()
	size := 0
	for i, item := range items {
		var err error
		if err = c.rowOf(ctx, &rows[i], item.Args, item.Options, nonce, i); err != nil {
			var inv *InvalidError
			if errors.As(err, &inv) {
				return nil, inv.ofItem(i)
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

// answersAll reports whether a store has answered all of n rows.
func answersAll(answers []EnqueueResult, n int) bool {
	return len(answers) == n && !slices.ContainsFunc(answers, func(r EnqueueResult) bool { return r.Job == nil })
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
