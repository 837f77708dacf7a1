package pgstore_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestModel(t *testing.T) { model.Run(t, open) }

// All batches try insert_alike_v1 first, which a store that was just opened
// does not do.
func TestStoreThatHopes(t *testing.T) {
	storetest.Run(t, openHopeful, "identity", "holding", "batches", "uncertain", "doubt", "extra")
}

func TestModelThatHopes(t *testing.T) { model.RunJobs(t, openHopeful) }

func openHopeful(t *testing.T) storetest.Harness {
	h := open(t)
	h.Store.(*pgstore.Store).Hope()
	return h
}

var schemas atomic.Int64

// database is a schema of a test's own.
type database struct {
	url, schema string
	admin       *pgxpool.Pool // a way round the store
}

func newDatabase(t testing.TB, url string) *database {
	t.Helper()
	d := makeDatabase(t, url)
	t.Cleanup(func() {
		if err := d.drop(); err != nil {
			t.Log(err)
		}
	})
	return d
}

func makeDatabase(t testing.TB, url string) *database {
	t.Helper()
	d := &database{url: url, schema: fmt.Sprintf("t%d_%d", time.Now().UnixNano(), schemas.Add(1))}
	d.admin = d.connect(t, func(c *pgxpool.Config) { c.MaxConns = 10 })
	return d
}

// connect makes a pool of the caller's own, which nobody closes.
func (d *database) connect(t testing.TB, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(d.url)
	if err != nil {
		t.Fatal(err)
	}
	change(config)
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// pool is a pool of the caller's own that is closed when the test ends.
func (d *database) pool(t testing.TB, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	pool := d.connect(t, change)
	t.Cleanup(pool.Close)
	return pool
}

func (d *database) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer d.admin.Close()
	_, err := d.admin.Exec(ctx, "drop schema if exists "+d.quoted()+" cascade")
	return err
}

func (d *database) quoted() string { return pgx.Identifier{d.schema}.Sanitize() }

func (d *database) open(t testing.TB, change ...func(*pgstore.Config)) *pgstore.Store {
	t.Helper()
	config := &pgstore.Config{Namespace: d.schema}
	for _, c := range change {
		c(config)
	}
	s, err := pgstore.Open(context.Background(), d.url, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// with is the URL with one more parameter; a server that was given may be
// named without any.
func with(t testing.TB, server, name, value string) string {
	t.Helper()
	at, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	query := at.Query()
	query.Set(name, value)
	at.RawQuery = query.Encode()
	return at.String()
}

// exec runs SQL in the schema, past the store: {ns} is the schema.
func (d *database) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := d.admin.Exec(context.Background(), strings.ReplaceAll(sql, "{ns}", d.quoted()), args...); err != nil {
		t.Fatal(err)
	}
}

// one reads one value.
func one[T any](t testing.TB, d *database, sql string, args ...any) (v T) {
	t.Helper()
	if err := d.admin.QueryRow(context.Background(), strings.ReplaceAll(sql, "{ns}", d.quoted()),
		args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// setClock makes the clock of every handle stand still; the zero time lets
// it run.
func (d *database) setClock(t testing.TB, at time.Time) {
	var ms *int64
	if !at.IsZero() {
		n := at.UnixMilli()
		ms = &n
	}
	d.exec(t, "update {ns}.test_clock set still = $1", ms)
}

func (d *database) giveClock(t testing.TB) {
	d.exec(t, `create table {ns}.test_clock (still bigint); insert into {ns}.test_clock values (null);
		create or replace function {ns}.clock_v1() returns bigint language sql volatile as $$
			select coalesce((select still from {ns}.test_clock),
				floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) $$`)
}

// empty makes it as it was when its schema had been made.
func (d *database) empty(t testing.TB) {
	t.Helper()
	d.exec(t, "truncate {ns}.jobs, {ns}.keys, {ns}.workers, {ns}.paused, {ns}.notes")
}

// spare are schemas of tests that have ended, empty again, each with
// connections that have made their plans: to make them takes longer than
// most tests.
var spare struct {
	sync.Mutex
	all, free []*database
}

// borrow returns an empty schema with a clock that can stand still.
func borrow(t testing.TB) *database {
	t.Helper()
	url := pgtest.URL(t)
	spare.Lock()
	var d *database
	if n := len(spare.free); n > 0 {
		d, spare.free = spare.free[n-1], spare.free[:n-1]
	}
	spare.Unlock()
	if d == nil {
		d = makeDatabase(t, url)
		if err := pgstore.Migrate(context.Background(), d.admin, &pgstore.Config{Namespace: d.schema}); err != nil {
			t.Fatal(err)
		}
		d.giveClock(t)
		spare.Lock()
		spare.all = append(spare.all, d)
		spare.Unlock()
	}
	t.Cleanup(func() {
		// A statement whose caller has given up may still be about to commit.
		for range 500 {
			if !one[bool](t, d, "select exists (select from pg_stat_activity where pid <> pg_backend_pid() and state "+
				"<> 'idle' and query like '%' || $1 || '%')", d.schema) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		d.empty(t)
		d.setClock(t, time.Time{})
		spare.Lock()
		defer spare.Unlock()
		spare.free = append(spare.free, d)
	})
	return d
}

// store returns a store on the connections that are there.
func (d *database) store(t testing.TB) *pgstore.Store {
	t.Helper()
	s, err := pgstore.New(d.admin, &pgstore.Config{Namespace: d.schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func open(t *testing.T) storetest.Harness {
	d := borrow(t)
	s := d.store(t)
	return storetest.Harness{
		Store:    s,
		SetClock: func(at time.Time) { d.setClock(t, at) },
		Open:     func() onceq.Store { return d.open(t) },
		Begin: func(ctx context.Context) (storetest.Tx, error) {
			tx, err := d.admin.Begin(ctx)
			if err != nil {
				return storetest.Tx{}, err
			}
			return storetest.Tx{
				Tx:       s.Tx(tx),
				Commit:   func() error { return tx.Commit(context.Background()) },
				Rollback: func() error { return tx.Rollback(context.Background()) },
			}, nil
		},
		Bytes: func() []byte {
			return []byte(one[string](t, d, `select string_agg(query_to_xml(format('select t::text from %I.%I t',
				schemaname, tablename), true, false, '')::text, '') from pg_tables where schemaname = $1`, d.schema))
		},
	}
}
