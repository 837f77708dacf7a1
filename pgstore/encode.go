package pgstore

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// arguments are those of one statement in PostgreSQL's binary form. pgx would
// write each array into a buffer that grows and is thrown away after the
// call, which is more than half of all memory that many enqueues allocate.
type arguments struct {
	buf    []byte // never nil: a part of nil would be NULL
	ends   []int  // where each one ends in buf; -1 = NULL
	values [][]byte
}

// encoded has arguments for reuse. Those beyond keptArguments bytes are not
// kept: a batch of large args is rare.
var encoded = sync.Pool{New: func() any { return &arguments{buf: make([]byte, 0, 1024)} }}

const keptArguments = 1 << 20

func (a *arguments) free() {
	if cap(a.buf) > keptArguments {
		return
	}
	clear(a.values)
	encoded.Put(a)
}

// encode writes the arguments as values of these types. It reports false if
// there is one that pgx has to write.
func (a *arguments) encode(types []uint32, args []any) bool {
	if len(types) != len(args) {
		return false
	}
	a.buf, a.ends, a.values = a.buf[:0], a.ends[:0], a.values[:0]
	for i, arg := range args {
		end := -1
		if arg != nil {
			before := len(a.buf)
			switch isNull, ok := a.add(types[i], arg); {
			case !ok:
				return false
			case isNull:
				a.buf = a.buf[:before]
			default:
				end = len(a.buf)
			}
		}
		a.ends = append(a.ends, end)
	}
	at := 0
	for _, end := range a.ends { // now that buf no longer moves
		if end < 0 {
			a.values = append(a.values, nil)
			continue
		}
		a.values = append(a.values, a.buf[at:end:end])
		at = end
	}
	return true
}

// add writes one argument. A nil slice is NULL.
func (a *arguments) add(as uint32, arg any) (isNull, ok bool) {
	switch v := arg.(type) {
	case string:
		a.buf = append(a.buf, v...)
		return false, as == pgtype.TextOID
	case []byte:
		a.buf = append(a.buf, v...)
		return v == nil, as == pgtype.ByteaOID
	case bool:
		a.buf = append(a.buf, byte(flag(v)))
		return false, as == pgtype.BoolOID
	case int:
		a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(v))
		return false, as == pgtype.Int4OID
	case int64:
		a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
		return false, as == pgtype.Int8OID
	case []string:
		array(a, pgtype.TextOID, v, func(b []byte, s string) []byte { return append(b, s...) })
		return v == nil, as == pgtype.TextArrayOID
	case [][]byte:
		if slices.ContainsFunc(v, func(b []byte) bool { return b == nil }) {
			return false, false
		}
		array(a, pgtype.ByteaOID, v, func(b, s []byte) []byte { return append(b, s...) })
		return v == nil, as == pgtype.ByteaArrayOID
	case []int64:
		array(a, pgtype.Int8OID, v, func(b []byte, n int64) []byte {
			return binary.BigEndian.AppendUint64(b, uint64(n))
		})
		return v == nil, as == pgtype.Int8ArrayOID
	case []int32:
		array(a, pgtype.Int4OID, v, func(b []byte, n int32) []byte {
			return binary.BigEndian.AppendUint32(b, uint32(n))
		})
		return v == nil, as == pgtype.Int4ArrayOID
	}
	return false, false
}

// array writes the number of dimensions, whether there are NULLs, the type of
// the elements, their number, the index of the first, and then each element
// with its length before it. No element is NULL.
func array[T any](a *arguments, of uint32, all []T, write func([]byte, T) []byte) {
	be := binary.BigEndian
	dimensions := uint32(min(len(all), 1))
	b := be.AppendUint32(be.AppendUint32(be.AppendUint32(a.buf, dimensions), 0), of)
	if dimensions > 0 {
		b = be.AppendUint32(be.AppendUint32(b, uint32(len(all))), 1)
	}
	for _, v := range all {
		at := len(b)
		b = write(be.AppendUint32(b, 0), v)
		be.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	a.buf = b
}

// prepared runs a statement that the connection keeps prepared. One that it
// keeps and the server has lost, or whose tables have changed since, has not
// run: it is prepared anew, once.
func (s *Store) prepared(ctx context.Context, conn *pgx.Conn, sql string, each func(*record), args []any) error {
	a := encoded.Get().(*arguments)
	defer a.free()
	for again := false; ; again = true {
		statement, err := conn.Prepare(ctx, sql, sql)
		if err != nil {
			return err
		}
		if !a.encode(statement.ParamOIDs, args) {
			return query(ctx, conn, s.config.ExecMode, sql, each, args)
		}
		if err = s.run(ctx, conn, statement, each, a, args); again || !isStale(err) {
			return err
		}
		if failed := conn.Deallocate(ctx, sql); failed != nil {
			return err
		}
	}
}

func isStale(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "26000" || pg.Code == "0A000")
}

// run runs a prepared statement, and shows it to the tracer of the pool.
func (s *Store) run(ctx context.Context, conn *pgx.Conn, statement *pgconn.StatementDescription,
	each func(*record), a *arguments, args []any) (err error) {
	var tag pgconn.CommandTag
	if s.tracer != nil {
		ctx = s.tracer.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: statement.SQL, Args: args})
		defer func() { s.tracer.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err}) }()
	}
	answer := conn.PgConn().ExecStatement(ctx, statement, a.values, inBinary, inBinary)
	r := record{fields: answer.FieldDescriptions()}
	for answer.NextRow() {
		if each != nil {
			r.raw, r.at = answer.Values(), 0
			each(&r)
		}
	}
	if tag, err = answer.Close(); err != nil {
		return err
	}
	if r.err != nil {
		return &garbled{r.err}
	}
	return nil
}
