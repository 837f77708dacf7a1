package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// WithTx returns a client that works inside the caller's transaction. tx
// comes from the method Tx of the store. What it does has happened if and only
// if the transaction commits: the jobs exist and their keys are held, the job
// is completed.
func (c *Client) WithTx(tx Tx) *TxClient { return &TxClient{c, tx} }

// TxClient enqueues, and changes jobs, inside one transaction of the caller. Like the
// transaction it is not for concurrent use.
type TxClient struct {
	client *Client
	tx     Tx
}

// Enqueue is [Client.Enqueue] inside the transaction. After an
// [*UncertainError] the job is part of the transaction or not. Commit and
// enqueue again with [Resend], or roll back, and there is no job.
func (t *TxClient) Enqueue(ctx context.Context, args Args, opts ...Option) (Receipt, error) {
	return t.client.throughOne(ctx, args, opts, t.enqueueOne)
}

func (t *TxClient) enqueueOne(ctx context.Context, args Args, opts []Option) (Receipt, error) {
	row, result, err := t.answer(ctx, args, opts)
	if err != nil {
		return Receipt{}, stillUncertain(err, opts)
	}
	receipt, err := t.client.receipt(ctx, &row, result)
	receipt.inTx = true
	return receipt, err
}

// EnqueueMany is [Client.EnqueueMany] inside the transaction.
func (t *TxClient) EnqueueMany(ctx context.Context, items []Item) ([]Receipt, error) {
	return t.client.throughMany(ctx, items, t.enqueueAll)
}

func (t *TxClient) enqueueAll(ctx context.Context, items []Item) ([]Receipt, error) {
	receipts, err := t.answers(ctx, items)
	if err != nil {
		return nil, stillUncertain(err, optionsOf(items)...)
	}
	for i := range receipts {
		receipts[i].inTx = true
	}
	return receipts, nil
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
	if err = t.client.rowOf(ctx, &row, args, opts, newNonce(), 0); err != nil {
		return row, result, err
	}
	ctx = t.client.tracing.enqueue(ctx, &row)
	defer func() {
		if err != nil {
			row.failed(err)
		}
	}()
	results, err := t.tx.Enqueue(ctx, []NewRow{row})
	switch {
	case errors.Is(err, ErrUncertain):
		return row, result, uncertainOne(&row, err)
	case err != nil:
		return row, result, fmt.Errorf("onceq: enqueue %s in a transaction: %w", row.Kind, err)
	}
	return row, results[0], nil
}

func (t *TxClient) answers(ctx context.Context, items []Item) (receipts []Receipt, err error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := t.client.rowsOf(ctx, items)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	ctx, span := t.client.tracing.enqueueMany(ctx, rows)
	results, err := enqueueMany(ctx, t.tx.Enqueue, rows)
	switch {
	case errors.Is(err, ErrUncertain):
		err = uncertainBatch(rows, places(len(rows)), err)
	case err != nil:
		err = fmt.Errorf("onceq: enqueue %d jobs in a transaction: %w", len(rows), err)
	default:
		receipts = t.client.receipts(ctx, rows, results)
	}
	endMany(span, receipts, err)
	return receipts, err
}
