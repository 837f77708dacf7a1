package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// statement is one file of sql/.
type statement struct {
	no   int
	text string
}

var statements int

// load reads sql/<name>.sql. {job} and {full} stand for the columns that
// scanJob reads, without and with the args; {key} for those that scanKey
// reads.
func load(name string) *statement {
	b, err := sqlFiles.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	r := strings.NewReplacer("{job}", jobColumns, "{full}", fullColumns, "{key}", keyColumns)
	return newStatement(limit.ReplaceAllString(r.Replace(string(b)), "$0 + 0"))
}

func newStatement(text string) *statement {
	s := &statement{no: statements, text: text}
	statements++
	return s
}

// limit is a LIMIT that is a parameter. SQLite plans by its value, and so
// prepares the statement anew each time that it is bound, which takes several
// times as long as running it. By the value of a sum it does not plan.
var limit = regexp.MustCompile(`LIMIT \?\d+`)

// forJobs is a statement about the jobs whose numbers a JSON array has, and the
// same for a single job, which needs no array.
type forJobs struct{ many, one *statement }

func loadForJobs(name string) forJobs {
	q := load(name)
	return forJobs{q, newStatement(jsonArray.ReplaceAllString(q.text, "= $1"))}
}

// of returns the statement for so many jobs, and its last argument.
func (q forJobs) of(jobs []*job) (*statement, any) {
	if len(jobs) == 1 {
		return q.one, jobs[0].Seq
	}
	return q.many, seqs(jobs)
}

var jsonArray = regexp.MustCompile(`IN \(SELECT value FROM json_each\((\?\d+)\)\)`)

// repeated is an INSERT of so many rows in place of one.
func (q *statement) repeated(n int) *statement {
	before, after, _ := strings.Cut(q.text, "VALUES ")
	row, after, _ := strings.Cut(after, "\n")
	return newStatement(before + "VALUES " + strings.Repeat(row+", ", n-1) + row + "\n" + after)
}

// preparer is a *sql.Conn or a *sql.Tx.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// conn is a connection, or a caller's transaction, and the statements
// that are prepared on it. It is not for concurrent use.
//
// Statements run under a background context. They are short, the contexts
// of their callers are checked before they begin, and database/sql starts a
// goroutine for every statement whose context can end.
type conn struct {
	on          preparer
	raw         *sql.Conn // nil on a caller's transaction
	lazy        bool      // it commits without a sync
	broken      bool      // it must not be used again
	busyTimeout int64     // its original busy_timeout, in milliseconds
	direct      *direct   // nil: statements go through database/sql
	prepared    []*sql.Stmt
	row         []any // the values of a row
	into        []any // pointers to row

	forKeys, forJobs []any // memory for the values of statements that insert many rows
}

func newConn(on preparer) *conn {
	c := &conn{on: on, prepared: make([]*sql.Stmt, statements), row: make([]any, 16), into: make([]any, 16)}
	for i := range c.row {
		c.into[i] = &c.row[i]
	}
	c.raw, _ = on.(*sql.Conn)
	return c
}

// querier is a *sql.Conn or a *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// impatient makes the connection report at once that the file is busy. The
// store waits in Go, as long as a context allows; SQLite's own wait does
// not know contexts.
func (c *conn) impatient() error {
	on := c.on.(querier)
	if err := on.QueryRowContext(context.Background(), "PRAGMA busy_timeout").Scan(&c.busyTimeout); err != nil ||
		c.busyTimeout == 0 {
		return err
	}
	_, err := on.ExecContext(context.Background(), "PRAGMA busy_timeout = 0")
	return err
}

// restore gives the connection its original busy_timeout again. on is the
// connection, or the transaction on it.
func (c *conn) restore(on querier) error {
	if c.busyTimeout == 0 {
		return nil
	}
	_, err := on.ExecContext(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", c.busyTimeout))
	c.busyTimeout = 0
	return err
}

// close gives the connection back as it was.
func (c *conn) close() {
	for _, p := range c.prepared {
		if p != nil {
			p.Close()
		}
	}
	if c.direct != nil {
		_ = c.raw.Raw(func(any) error { c.direct.close(); return nil })
	}
	if c.raw != nil {
		_ = c.restore(c.raw)
		c.raw.Close()
	}
}

func (c *conn) prepare(q *statement) (*sql.Stmt, error) {
	if p := c.prepared[q.no]; p != nil {
		return p, nil
	}
	p, err := c.on.PrepareContext(context.Background(), q.text)
	c.prepared[q.no] = p
	return p, err
}

// setSync switches whether commits on this connection are synced. It is not
// a prepared statement, because SQLite runs it when it is prepared.
func (c *conn) setSync(sync bool) error {
	level := "NORMAL"
	if sync {
		level = "FULL"
	}
	_, err := c.raw.ExecContext(context.Background(), "PRAGMA synchronous="+level)
	c.lazy = !sync
	return err
}

// exec runs a statement that returns nothing.
func (c *conn) exec(q *statement, args ...any) error {
	_, err := c.affect(q, args...)
	return err
}

// affect runs a statement and returns how many rows it wrote.
func (c *conn) affect(q *statement, args ...any) (n int64, err error) {
	if c.direct != nil {
		err = c.raw.Raw(func(on any) (err error) {
			n, err = c.direct.exec(on, q, args)
			return err
		})
		return n, err
	}
	p, err := c.prepare(q)
	if err != nil {
		return 0, err
	}
	r, err := p.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// errEnough ends a query early. It is not an error.
var errEnough = errors.New("enough")

// each runs a query with so many columns. The slice that row gets is reused
// for the next row; its values are not. row runs no statement itself.
func (c *conn) each(q *statement, width int, row func(v []any) error, args ...any) (err error) {
	if c.direct != nil {
		err = c.raw.Raw(func(on any) error { return c.direct.each(on, q, c.row[:width], row, args) })
	} else {
		err = c.eachRow(q, width, row, args)
	}
	if err == errEnough {
		return nil
	}
	return err
}

func (c *conn) eachRow(q *statement, width int, row func(v []any) error, args []any) error {
	p, err := c.prepare(q)
	if err != nil {
		return err
	}
	rows, err := p.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(c.into[:width]...); err != nil {
			return err
		}
		if err := row(c.row[:width]); err != nil {
			return err
		}
	}
	return rows.Err()
}

// number runs a query with one integer as its result; 0 if there is no row.
func (c *conn) number(q *statement, args ...any) (n int64, err error) {
	err = c.each(q, 1, func(v []any) error { n = integer(v[0]); return nil }, args...)
	return n, err
}
