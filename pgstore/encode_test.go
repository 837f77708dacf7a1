package pgstore

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq/internal/pgtest"
)

// oneConnection is a pool of one, so that a test knows what it has prepared.
func oneConnection(t *testing.T) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// textOf is what the server makes of an argument.
func textOf(t *testing.T, s *Store, as string, arg any) (text string) {
	t.Helper()
	err := s.query(t.Context(), "select quote_nullable($1::"+as+"::text), array_ndims(array[$1::"+as+"])",
		func(r *record) { text = r.string() }, arg)
	if err != nil {
		t.Fatalf("%#v as %s: %v", arg, as, err)
	}
	return text
}

func TestArgumentsArriveAsThoseThatPgxWrites(t *testing.T) {
	pool := oneConnection(t)
	own, err := New(pool, &Config{NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	theirs, err := New(pool, &Config{NoListen: true, ExecMode: pgx.QueryExecModeDescribeExec})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, c := range []struct {
		as      string
		arg     any
		foreign bool // pgx writes it here too
	}{
		{"text", "", false}, {"text", `ä "b" \ ,{}`, false}, {"text", nil, false},
		{"bytea", []byte{}, false}, {"bytea", []byte{0, 255}, false}, {"bytea", []byte(nil), false},
		{"boolean", true, false}, {"boolean", false, false},
		{"integer", -7, false}, {"bigint", int64(-1) << 62, false}, {"bigint", 7, true},
		{"text[]", []string{}, false}, {"text[]", []string(nil), false},
		{"text[]", []string{"", "NULL", `a,"b\`}, false},
		{"bytea[]", [][]byte{}, false}, {"bytea[]", [][]byte(nil), false}, {"bytea[]", [][]byte{{}, {1, 2}}, false},
		{"bytea[]", [][]byte{nil, {1}}, true},
		{"bigint[]", []int64{}, false}, {"bigint[]", []int64{-1, 1 << 60}, false},
		{"integer[]", []int32{}, false}, {"integer[]", []int32{-1, 1 << 30}, false},
		{"smallint[]", []int16{-1, 7}, true}, {"json", `{"a": 1}`, true},
	} {
		if got, want := textOf(t, own, c.as, c.arg), textOf(t, theirs, c.as, c.arg); got != want {
			t.Errorf("%#v as %s arrives as %s, want %s", c.arg, c.as, got, want)
		}
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		statement, err := conn.Conn().Prepare(t.Context(), "", "select $1::"+c.as)
		conn.Release()
		if err != nil {
			t.Fatal(err)
		}
		if encoded.Get().(*arguments).encode(statement.ParamOIDs, []any{c.arg}) == c.foreign {
			t.Errorf("%#v as %s: pgx writes it: %v, want %v", c.arg, c.as, !c.foreign, c.foreign)
		}
	}
}

// A pooler, or a "discard all" of the caller's own, may take prepared
// statements away, and a table may change below one.
func TestAStatementThatIsStaleIsPreparedAnew(t *testing.T) {
	pool := oneConnection(t)
	s, err := New(pool, &Config{NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	run := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	run("create temporary table wide (a integer); insert into wide values (1)")
	columns := func() (n int) {
		t.Helper()
		if err := s.query(ctx, "select * from wide where a = $1", func(r *record) { n = len(r.raw) }, 1); err != nil {
			t.Fatal(err)
		}
		return n
	}
	columns()
	run("deallocate all")
	columns()
	run("alter table wide add column b integer")
	if n := columns(); n != 2 {
		t.Errorf("%d columns, want 2", n)
	}
	// Anything else that fails, fails.
	run("drop table wide")
	if err := s.query(ctx, "select * from wide where a = $1", nil, 1); err == nil {
		t.Error("no error without the table")
	}
}
