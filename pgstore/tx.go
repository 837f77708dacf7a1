package pgstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
)

// Tx wraps a transaction of pgx on the same database, to enqueue in it: the
// jobs exist, and hold their keys, if and only if it commits. Others who
// enqueue those keys wait for that, as far as their contexts allow, and an
// enqueue here waits in the same way for keys of another transaction. A
// wait that runs out ends the transaction (or its savepoint), as any failed
// statement does. A duplicate leaves it usable.
//
// It is exact under READ COMMITTED. Under REPEATABLE READ and SERIALIZABLE
// a key that has changed since the snapshot of the transaction is a
// serialization failure (40001): begin again. Two transactions that enqueue
// the same keys in opposite orders may deadlock (40P01): one of them fails,
// and may begin again. EnqueueMany takes its keys in order.
func (s *Store) Tx(tx pgx.Tx) onceq.Tx {
	if tx == nil {
		return nil // the client says what is wrong
	}
	return &pgxTx{s, tx}
}

type pgxTx struct {
	store *Store
	tx    pgx.Tx
}

func (t *pgxTx) Data() string { return t.store.data() }

func (t *pgxTx) Enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	s := t.store
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	defer leave()
	if len(rows) == 0 {
		return nil, nil
	}
	b := newBatch(rows)
	b.together()
	args := append(append([]any{nil}, b.arrays(b.open).all()...), s.waker.channelInTx()...)
	if err := query(ctx, t.tx, s.config.ExecMode, s.sql.act, func(r *record) { b.note(r) }, args); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	if err := b.settle(); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	return b.results, nil
}

// SQLTx is [Store.Tx] for a transaction of database/sql, of any driver for
// PostgreSQL.
func (s *Store) SQLTx(tx *sql.Tx) onceq.Tx {
	if tx == nil {
		return nil // the client says what is wrong
	}
	return &sqlTx{s, tx}
}

type sqlTx struct {
	store *Store
	tx    *sql.Tx
}

func (t *sqlTx) Data() string { return t.store.data() }

func (t *sqlTx) Enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	s := t.store
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	defer leave()
	if len(rows) == 0 {
		return nil, nil
	}
	b := newBatch(rows)
	b.together()
	a := b.arrays(b.open)
	args := append([]any{textArray(a.ids), byteaArray(a.nonces), textArray(a.kinds), textArray(a.queues),
		byteaArray(a.args), textArray(a.metas),
		textArray(a.tags), byteaArray(a.keys), textArray(a.texts), byteaArray(a.digests), numberArray(a.nums)},
		s.waker.channelInTx()...)
	if err := b.runSQL(ctx, t.tx, s.sql.actText, args); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	if err := b.settle(); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	return b.results, nil
}

func (b *batch) runSQL(ctx context.Context, tx *sql.Tx, text string, args []any) (err error) {
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, to := make([]any, len(columns)), make([]any, len(columns))
	for i := range to {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		r := &record{values: values}
		if b.note(r); r.err != nil {
			return r.err
		}
	}
	return rows.Err()
}

// textArray writes an array as PostgreSQL reads it; nil is NULL.
func textArray(all []string) any {
	if all == nil {
		return nil
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		quoteElement(&b, s)
	}
	b.WriteByte('}')
	return b.String()
}

func quoteElement(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
}

func byteaArray(all [][]byte) any {
	if all == nil {
		return nil
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"\\x`)
		b.WriteString(hex.EncodeToString(v))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

func numberArray(all []int64) any {
	var b strings.Builder
	b.WriteByte('{')
	for i, n := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	b.WriteByte('}')
	return b.String()
}
