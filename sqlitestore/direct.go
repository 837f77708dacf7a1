package sqlitestore

import (
	"context"
	"database/sql/driver"
	"io"
)

// direct runs statements on the driver, without database/sql between them.
// Its bookkeeping for each statement costs as much as reading a row. Only
// connections of a database that Open opened have it, because there the
// driver is known: it copies what it is given, and what it returns is ours.
type direct struct {
	prepared []driver.Stmt
	args     []driver.NamedValue
	row      []driver.Value
}

func newDirect() *direct {
	return &direct{prepared: make([]driver.Stmt, statements), row: make([]driver.Value, 16)}
}

// prepare returns a statement that is prepared on the connection.
func (d *direct) prepare(on any, q *statement) (driver.Stmt, error) {
	if p := d.prepared[q.no]; p != nil {
		return p, nil
	}
	p, err := on.(driver.ConnPrepareContext).PrepareContext(context.Background(), q.text)
	if err == nil {
		d.prepared[q.no] = p
	}
	return p, err
}

// values are args as the driver takes them, until the next statement.
func (d *direct) values(args []any) []driver.NamedValue {
	d.args = d.args[:0]
	for i, a := range args {
		d.args = append(d.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return d.args
}

// exec runs a statement and returns how many rows it wrote.
func (d *direct) exec(on any, q *statement, args []any) (int64, error) {
	p, err := d.prepare(on, q)
	if err != nil {
		return 0, err
	}
	r, err := p.(driver.StmtExecContext).ExecContext(context.Background(), d.values(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// each passes the rows of a query to row, in the slice v.
func (d *direct) each(on any, q *statement, v []any, row func(v []any) error, args []any) (err error) {
	p, err := d.prepare(on, q)
	if err != nil {
		return err
	}
	rows, err := p.(driver.StmtQueryContext).QueryContext(context.Background(), d.values(args))
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	read := d.row[:len(v)]
	for {
		if err := rows.Next(read); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		for i := range v {
			v[i] = read[i]
		}
		if err := row(v); err != nil {
			return err
		}
	}
}

func (d *direct) close() {
	for _, p := range d.prepared {
		if p != nil {
			p.Close()
		}
	}
	clear(d.prepared)
}
