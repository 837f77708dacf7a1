package pgstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
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
	args := append(b.arrays(b.open).all([]any{nil}), s.waker.channelInTx()...)
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
	if err := runSQL(ctx, t.tx, s.sql.actText, func(r *record) { b.note(r) }, args); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	if err := b.settle(); err != nil {
		return nil, s.wrap("enqueue in a transaction", err)
	}
	return b.results, nil
}

func runSQL(ctx context.Context, tx *sql.Tx, text string, each func(*record), args []any) (err error) {
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
		if each(r); r.err != nil {
			return r.err
		}
	}
	return rows.Err()
}

// caller is a transaction of a caller's, in which statements of ours run: pgx
// takes the one, and database/sql the other.
type caller interface {
	run(ctx context.Context, ours, text string, each func(*record), args []any) error
	raise(ctx context.Context, channel, payload string) error
}

func (t *pgxTx) run(ctx context.Context, ours, _ string, each func(*record), args []any) error {
	return query(ctx, t.tx, t.store.config.ExecMode, ours, each, append([]any{nil}, args...))
}

func (t *pgxTx) raise(ctx context.Context, channel, payload string) error {
	return query(ctx, t.tx, t.store.config.ExecMode, sqlRaise, nil, []any{channel, payload})
}

func (t *sqlTx) run(ctx context.Context, _, text string, each func(*record), args []any) error {
	return runSQL(ctx, t.tx, text, each, textArgs(args))
}

func (t *sqlTx) raise(ctx context.Context, channel, payload string) error {
	return runSQL(ctx, t.tx, sqlRaise, func(*record) {}, []any{channel, payload})
}

const sqlRaise = "select pg_catalog.pg_notify($1::pg_catalog.text, $2::pg_catalog.text)::pg_catalog.text"

// Finish ends runs inside the transaction.
func (t *pgxTx) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	return t.store.finishIn(ctx, t, r.Runs)
}

// Finish ends runs inside the transaction.
func (t *sqlTx) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	return t.store.finishIn(ctx, t, r.Runs)
}

// Change is an operator's step on jobs, inside the transaction.
func (t *pgxTx) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	return t.store.changeIn(ctx, t, c)
}

// Change is an operator's step on jobs, inside the transaction.
func (t *sqlTx) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	return t.store.changeIn(ctx, t, c)
}

// finishIn ends runs one after another. A job that another transaction has
// locked is waited for, outside the server.
func (s *Store) finishIn(ctx context.Context, in caller, runs []onceq.Finish) ([]onceq.FinishResult, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("finish in a transaction", err)
	}
	defer leave()
	results, wake := make([]onceq.FinishResult, len(runs)), map[work]bool{}
	for _, i := range answerable(runs, results) {
		for n := 0; ; n++ {
			results[i] = onceq.FinishResult{State: onceq.Completed}
			busy := false
			err := in.run(ctx, s.sql.finish, s.sql.finishText, func(r *record) {
				_, isBusy := noteFinish(r, runs, []int{i}, results, wake)
				busy = busy || isBusy
			}, finishArgs(runs, []int{i}))
			if err == nil && busy {
				if err = s.pause(ctx, backoff(n)); err == nil {
					continue
				}
			}
			if err != nil {
				return nil, s.wrap("finish in a transaction", isolated(err))
			}
			break
		}
	}
	return results, s.raiseAll(ctx, in, wake, nil)
}

func (s *Store) changeIn(ctx context.Context, in caller, c onceq.Change) ([]onceq.ChangeResult, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("change in a transaction", err)
	}
	defer leave()
	if ops[c.Op] == 0 {
		return nil, &onceq.InvalidError{Field: "op", Value: fmt.Sprint(c.Op), Rule: "must be a step on jobs"}
	}
	results, wake := make([]onceq.ChangeResult, len(c.IDs)), map[work]bool{}
	if len(c.IDs) == 0 {
		return results, nil
	}
	err = in.run(ctx, s.sql.change, s.sql.changeText, func(r *record) { noteChange(r, c, results, wake) },
		changeArgs(c))
	if err != nil {
		return nil, s.wrap("change in a transaction", isolated(err))
	}
	return results, s.raiseAll(ctx, in, wake, halted(c, results))
}

// isolated says what to do where a transaction is above READ COMMITTED. The
// text of the server is for programs whose every statement is; any driver's
// error has it.
func isolated(err error) error {
	if !strings.Contains(err.Error(), "onceq: this ran above READ COMMITTED") {
		return err
	}
	return &problem{"runs end and jobs change only in a transaction that is READ COMMITTED: begin it with " +
		"that isolation level (pgx.TxOptions, sql.TxOptions); to enqueue in it, any level will do", err}
}

// raiseAll tells listeners of work, and of workers that have a run to stop,
// when the transaction has committed.
func (s *Store) raiseAll(ctx context.Context, in caller, wake map[work]bool, stops []string) error {
	where := s.waker.channelInTx()
	channel, listened := where[0].(string)
	if !listened {
		return nil
	}
	var reasons []reason
	for w := range wake {
		reasons = append(reasons, reason{work: w})
	}
	for _, worker := range stops {
		reasons = append(reasons, reason{worker: worker})
	}
	for _, r := range reasons {
		if err := in.raise(ctx, channel, r.payload(strings.TrimSpace(where[1].(string)))); err != nil {
			return s.wrap("notify in a transaction", err)
		}
	}
	return nil
}

// textArgs are arguments as text.
func textArgs(args []any) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case []string:
			all[i] = textArray(v)
		case [][]byte:
			all[i] = byteaArray(v)
		case []int64:
			all[i] = numberArray(v)
		case []int16:
			if v != nil {
				all[i] = arrayOf(v)
			}
		case []bool:
			all[i] = arrayOf(v)
		case *int64:
			if v != nil {
				all[i] = strconv.FormatInt(*v, 10)
			}
		default:
			all[i] = fmt.Sprint(v)
		}
	}
	return all
}

// arrayOf writes an array of numbers or booleans.
func arrayOf[T any](all []T) string {
	text := make([]string, len(all))
	for i, v := range all {
		text[i] = fmt.Sprint(v)
	}
	return "{" + strings.Join(text, ",") + "}"
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
