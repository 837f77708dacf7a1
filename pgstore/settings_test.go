package pgstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// asRole returns the URL of a role that has settings of its own, as a DBA
// gives them: "name = value".
func (d *database) asRole(t testing.TB, settings ...string) string {
	t.Helper()
	role := "r" + d.schema + fmt.Sprint(schemas.Add(1))
	d.exec(t, "create role "+role+" login superuser password 'secret'")
	t.Cleanup(func() { d.exec(t, "drop owned by "+role+" cascade; drop role "+role) })
	for _, s := range settings {
		d.exec(t, "alter role "+role+" set "+s)
	}
	at, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.UserPassword(role, "secret")
	return at.String()
}

// settings are such as have a bearing on how things are sent, read or run,
// one a line.
var settings = []string{
	"bytea_output = escape",
	"standard_conforming_strings = off",
	"array_nulls = off",
	"DateStyle = 'German, DMY'",
	"IntervalStyle = iso_8601",
	"TimeZone = 'Asia/Kathmandu'",
	"client_encoding = LATIN1",
	"extra_float_digits = -15",
	"xmloption = document",
	"search_path = nowhere",
	"search_path = hostile, pg_catalog",
	"lock_timeout = 1",
	"statement_timeout = '20s'",
	"idle_session_timeout = 300",
	"idle_in_transaction_session_timeout = '20s'",
	"default_transaction_isolation = 'repeatable read'",
	"default_transaction_isolation = serializable",
	"default_transaction_deferrable = on",
	"plpgsql.variable_conflict = use_column",
	"plpgsql.variable_conflict = use_variable",
	"plpgsql.extra_errors = 'all'",
	"plan_cache_mode = force_custom_plan",
	"jit = on",
	"jit_above_cost = 0",
	"enable_indexscan = off",
	"enable_nestloop = off",
	"transform_null_equals = on",
	"synchronous_commit = off",
	"row_security = off",
	"default_toast_compression = pglz",
	"escape_string_warning = off",
	"backslash_quote = off",
	"quote_all_identifiers = on",
	"lc_messages = 'C'",
}

// drive uses a store in most ways there are, and returns what it said.
func drive(t testing.TB, d *database, s *pgstore.Store, db *sql.DB) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var said strings.Builder
	failed := func(what string, err error) {
		if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
			fmt.Fprintf(&said, "%s: %v\n", what, err)
		}
	}
	c, err := onceq.NewClient(s, nil)
	failed("client", err)
	defer c.Close()
	show := func(what string, r onceq.Receipt, err error) {
		failed(what, err)
		if j := r.Job; j != nil {
			fmt.Fprintf(&said, "%s: %s %q %s %q %v %q key=%v %q\n", what, r.Outcome, j.ID, j.State, j.Args, j.Meta,
				j.Tags, j.Key, j.KeyText)
		}
	}
	args := onceq.JSON("mail", []byte(`{"to":"a'b\\c\"\u0007é漢"}`))
	raw := onceq.Bytes("blob", []byte{0, 255, '\\', '\'', 'x', 0, '"', ',', '{', '}', '(', ')'})
	opts := func(id string, more ...onceq.Option) []onceq.Option {
		return append(more, onceq.ID(id), onceq.Retention(time.Hour))
	}

	r, err := c.Enqueue(ctx, args, opts(`one "1" \é`, onceq.Unique{}, onceq.Meta(map[string]any{"x": `y\'`, "n": 1}),
		onceq.Tags(`a"b`, `c\d`))...)
	show("enqueue", r, err)
	r, err = c.Enqueue(ctx, args, opts("two", onceq.Unique{}, coalesce)...)
	show("coalesce", r, err)
	many, err := c.EnqueueMany(ctx, []onceq.Item{
		onceq.NewItem(args, opts("with a key", onceq.UniqueKey("k"), onceq.Tags("t"))...),
		onceq.NewItem(raw, opts("without", onceq.Meta(map[string]any{"m": "é"}))...),
		onceq.NewItem(raw, opts("raw", onceq.Unique{}, onceq.Delay(24*time.Hour))...),
		onceq.NewItem(task(1), opts("void")...),
	})
	failed("many", err)
	for _, r := range many {
		show("many", r, nil)
	}
	again, err := c.EnqueueMany(ctx, []onceq.Item{
		onceq.NewItem(args, opts("again", onceq.UniqueKey("k"))...),
		onceq.NewItem(raw, opts("raw too", onceq.Unique{},
			onceq.OnConflict(onceq.Replace{Args: true, RunAt: true}))...),
		onceq.NewItem(task(1), opts("named", onceq.UniqueKey("k2"))...),
		onceq.NewItem(task(2), opts("named too", onceq.UniqueKey("k2"), onceq.OnConflict(onceq.Reject))...),
	})
	failed("again", err)
	for _, r := range again {
		show("again", r, nil)
	}
	tx, err := db.BeginTx(ctx, nil)
	for err != nil && strings.Contains(err.Error(), "57P05") { // idle for too long, on a busy machine: no call of ours
		tx, err = db.BeginTx(ctx, nil)
	}
	failed("begin", err)
	if err == nil {
		inTx := c.WithTx(s.SQLTx(tx))
		txs, err := inTx.EnqueueMany(ctx, []onceq.Item{
			onceq.NewItem(raw, opts("in tx", onceq.UniqueKey("tx"))...), onceq.NewItem(raw, opts("in tx, without")...),
			onceq.NewItem(raw, opts("met in tx", onceq.UniqueKey("k"))...)})
		failed("in a transaction", err)
		for _, r := range txs {
			show("in a transaction", r, nil)
		}
		failed("commit", tx.Commit())
	}
	p, err := s.List(ctx, onceq.ListRequest{Limit: 100, Args: true})
	failed("list", err)
	for _, j := range p.Jobs {
		fmt.Fprintf(&said, "listed %s %s %q %v %q %v %q\n", j.ID, j.State, j.Args, j.Meta, j.Tags, j.Key, j.KeyText)
	}

	// A worker runs what is due. One fails, one is superseded, one is
	// cancelled.
	_, err = s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	failed("extend", err)
	f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 4}}, Kinds: []string{"mail", "blob", "task"}})
	failed("fetch", err)
	var ends []onceq.Finish
	for i, j := range f.Jobs {
		fmt.Fprintf(&said, "fetched %s %q run %d\n", j.ID, j.Args, j.Run)
		end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		if i%2 == 1 {
			end.State, end.Error, end.Stack = onceq.Retryable, `no "\é`+"\n\x00", "stack"
		}
		ends = append(ends, end)
	}
	r, err = c.Enqueue(ctx, args, opts("three", onceq.UniqueKey("tx"), supersede)...)
	show("supersede", r, err)
	_, err = c.Cancel(ctx, "in tx, without")
	failed("cancel", err)
	results, err := s.Finish(ctx, onceq.FinishRequest{Runs: ends})
	failed("finish", err)
	for i, r := range results {
		fmt.Fprintf(&said, "finished %s: %d %s\n", ends[i].ID, r.Status, r.State)
	}
	_, err = s.Sweep(ctx, onceq.SweepRequest{Limit: 10, Lost: []onceq.Beat{{Worker: "nobody", No: 3}}})
	failed("sweep", err)
	for j, err := range c.Jobs(ctx, onceq.JobFilter{}) {
		failed("jobs", err)
		if err == nil {
			fmt.Fprintf(&said, "in the end %s %s %v %v\n", j.ID, j.State, len(j.Errors),
				j.Errors != nil && strings.HasPrefix(j.Errors[0].Error, `no "\é`))
		}
	}
	for k, err := range c.Keys(ctx, onceq.KeyFilter{}) {
		failed("keys", err)
		if err == nil {
			fmt.Fprintf(&said, "key %v %q %q %s\n", k.Key, k.Text, k.Holder, k.State)
		}
	}
	qs, err := c.Queues(ctx)
	failed("queues", err)
	for _, q := range qs {
		fmt.Fprintf(&said, "queue %s %v\n", q.Name, q.Counts)
	}
	_, err = pgstore.Status(ctx, d.admin, &pgstore.Config{Namespace: d.schema})
	failed("status", err)
	report, err := c.Doctor(ctx, nil)
	failed("doctor", err)
	fmt.Fprintf(&said, "violations %v\n", report.Violations)
	return said.String()
}

// ways are how statements are sent.
var ways = []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}

// Whatever a role, a database or a server sets: the store says and does the
// same.
func TestSettingsOfARoleDecideNothing(t *testing.T) {
	plain := newDatabase(t, pgtest.URL(t))
	plainDB, err := sql.Open("pgx", plain.url)
	if err != nil {
		t.Fatal(err)
	}
	defer plainDB.Close()
	want := drive(t, plain, plain.open(t), plainDB)
	if n := strings.Count(want, "\n"); n < 40 || !strings.HasSuffix(want, "violations []\n") {
		t.Fatalf("without any setting:\n%s", want)
	}
	for i, set := range settings {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, pgtest.URL(t))
			set = strings.Replace(set, "hostile", hostile(t, d), 1)
			at := d.asRole(t, set)
			for n := range ways { // the first of them makes the schema
				mode := ways[(i+n)%len(ways)]
				compare(t, mode.String(), want, func() string {
					if n > 0 {
						d.empty(t)
					}
					db, err := sql.Open("pgx", at)
					if err != nil {
						t.Fatal(err)
					}
					defer db.Close()
					s, err := pgstore.Open(context.Background(), at,
						&pgstore.Config{Namespace: d.schema, ExecMode: mode})
					if err != nil {
						return err.Error()
					}
					defer s.Close()
					return drive(t, d, s, db)
				})
			}
		})
	}
}

// hostile makes a schema whose functions and operators are called as those
// of PostgreSQL, and answer nonsense.
func hostile(t testing.TB, d *database) string {
	name := "hostile" + d.schema
	t.Cleanup(func() { d.exec(t, "drop schema "+name+" cascade") })
	d.exec(t, "create schema "+name+";"+strings.ReplaceAll(`
		create function x.clock_timestamp() returns timestamptz language sql as 'select ''2000-01-01''::timestamptz';
		create function x.date_part(text, timestamptz) returns double precision
			language sql as 'select 1::double precision';
		create function x.floor(double precision) returns double precision language sql as 'select 2::double precision';
		create function x.cardinality(anyarray) returns integer language sql as 'select 0';
		create function x.array_length(anyarray, integer) returns integer language sql as 'select 0';
		create function x.replace(text, text, text) returns text language sql as 'select ''z''';
		create function x."right"(text, integer) returns text language sql as 'select ''z''';
		create function x.encode(bytea, text) returns text language sql as 'select ''z''';
		create function x.pg_notify(text, text) returns void language sql as 'select 1/0';
		create function x.set_config(text, text, boolean) returns text language sql as 'select ''z''';
		create function x.current_setting(text) returns text language sql as 'select ''z''';
		create function x.equal(text, text) returns boolean language sql as 'select false';
		create function x.less(bigint, bigint) returns boolean language sql as 'select false';
		create operator x.= (leftarg = text, rightarg = text, function = x.equal);
		create operator x.<= (leftarg = bigint, rightarg = bigint, function = x.less);
		create domain x.json as text; create domain x.bytea as text;`, "x.", name+"."))
	return name
}

func compare(t *testing.T, name, want string, run func() string) {
	t.Helper()
	got := run()
	if got == want {
		return
	}
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Errorf("%s, line %d\n got %.400s\nwant %.400s", name, i+1, y, x)
			return
		}
	}
}

// A statement has one snapshot above READ COMMITTED, and so a key that was
// freed after it began would stay with a holder that is not there.
func TestADefaultIsolationAboveReadCommittedOrphansNoKey(t *testing.T) {
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		for _, mode := range ways {
			for _, own := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/own pool %v", isolation, mode, own), func(t *testing.T) {
					t.Parallel()
					base := borrowHand(t)
					d := base.database
					at := d.asRole(t, "default_transaction_isolation = '"+isolation+"'")
					s := storeAt(t, at, &pgstore.Config{Namespace: d.schema, ExecMode: mode}, own)
					c := base.clientOf(s)
					for round := range 5 {
						key := func(name string) onceq.Option { return onceq.UniqueKey(fmt.Sprint(name, round)) }
						base.enqueue(onceq.Inserted, task(1), key("dup"))
						base.enqueue(onceq.Inserted, task(2), key("ada"), onceq.Priority(0))
						running := base.start()
						// The end of ada's run, as Finish sends it, caught between
						// its statement and its commit.
						tx, _ := base.begin(pgx.TxOptions{})
						_, err := tx.Exec(base.ctx, "select * from "+d.quoted()+
							".finish_v1(null, 'w', false, array[$1::text], array[1::bigint], '{}', '{}', '{}', '{}', "+
							"'{}', '{}')", running.ID)
						base.must(err)
						var receipts []onceq.Receipt
						done := make(chan error, 1)
						go func() {
							var err error
							receipts, err = c.EnqueueMany(base.ctx, []onceq.Item{
								onceq.NewItem(task(1), key("dup")), onceq.NewItem(task(2), key("ada")),
								onceq.NewItem(task(3), key("eve"))})
							done <- err
						}()
						base.soon("the batch waits, or has its answer", func() bool {
							return base.blocked() || len(done) > 0
						})
						base.must(tx.Commit(base.ctx))
						base.must(<-done)
						base.wants(onceq.Skipped, receipts[0], nil)
						base.wants(onceq.Inserted, receipts[2], nil)
						base.sound()
						// Who asked before the end was committed was told of the
						// job that ran.
						next := map[onceq.Outcome]onceq.Outcome{onceq.Inserted: onceq.Skipped,
							onceq.Skipped: onceq.Inserted}[receipts[1].Outcome]
						r, err := c.Enqueue(base.ctx, task(2), key("ada"))
						base.wants(next, r, err)
					}
				})
			}
		}
	}
}

// Whatever a transaction above READ COMMITTED calls, it is refused before it
// decides anything. Only what reads is not, and an enqueue in a caller's
// transaction.
func TestNoFunctionThatWritesRunsAboveReadCommitted(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	reads := regexp.MustCompile(
		`^(look|lookup|get|list|keys|queues|queue_names|waiting|running|workers|about|stats|notes)_v\d+$`)
	calls := table(t, d, `select proname || ' ' || oid::regproc || '(' || array_to_string(array(
			select case when proname = 'act_v1' and n = 1 then '1' else 'null::' || format_type(a, null) end
			from unnest(proargtypes) with ordinality x(a, n)), ', ') || ')'
		from pg_proc where pronamespace = '{ns}'::regnamespace and proconfig is not null order by 1`)
	writers := 0
	for call := range strings.SplitSeq(calls, "\n") {
		name, call, _ := strings.Cut(call, " ")
		if reads.MatchString(name) {
			continue
		}
		writers++
		err := pgx.BeginTxFunc(context.Background(), d.admin, pgx.TxOptions{IsoLevel: pgx.RepeatableRead},
			func(tx pgx.Tx) error { _, err := tx.Exec(context.Background(), "select * from "+call); return err })
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "OQ002" {
			t.Errorf("%s: %v", call, err)
		}
	}
	if writers < 9 {
		t.Errorf("%d functions that write, want at least 9", writers)
	}
}

// storeAt opens a store, or makes one on a pool of the test's.
func storeAt(t testing.TB, at string, config *pgstore.Config, own bool) *pgstore.Store {
	t.Helper()
	if !own {
		s, err := pgstore.Open(context.Background(), at, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	pool, err := pgxpool.New(context.Background(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s, err := pgstore.New(pool, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A setting that forbids writes is no failover: it is not waited for, and
// the line that ends it is said.
func TestASettingThatForbidsWritesIsNamedAtOnce(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	at := d.asRole(t, "default_transaction_read_only = on")
	for _, own := range []bool{true, false} {
		s := storeAt(t, at, &pgstore.Config{Namespace: d.schema, NoMigrate: true}, own)
		c, err := onceq.NewClient(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		_, err = c.Enqueue(context.Background(), task(1))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		wantError(t, err, "default_transaction_read_only is on", "alter role",
			"set default_transaction_read_only = off;")
		if _, err := s.Get(context.Background(), []string{"x"}); err != nil {
			t.Errorf("reading: %v", err)
		}
	}
}

// What pgx refuses to send has not happened, and what has to be set is said.
func TestASettingThatPgxRefusesIsNamedAndDefinite(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	for set, says := range map[string]string{"standard_conforming_strings = off": "set standard_conforming_strings = " +
		"on;", "client_encoding = LATIN1": "reset client_encoding"} {
		s := storeAt(t, d.asRole(t, set), &pgstore.Config{Namespace: d.schema,
			ExecMode: pgx.QueryExecModeSimpleProtocol}, true)
		c, err := onceq.NewClient(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Enqueue(context.Background(), task(1))
		wantError(t, err, "alter role", says)
	}
}

// wantError checks that an error is definite, says so much, and keeps the
// password.
func wantError(t testing.TB, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", says)
		return
	}
	if errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("uncertain: %v", err)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nwant %q in it", err, text)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in it: %v", err)
	}
}

// A pool may make its credentials when it connects. The connection that
// listens needs them too.
func TestCredentialsThatAreMadeAtConnectServeTheListenerToo(t *testing.T) {
	h := borrowHand(t)
	config, err := pgxpool.ParseConfig(h.url)
	h.must(err)
	user := config.ConnConfig.User
	config.ConnConfig.User = "nobody of this name"
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { c.User = user; return nil }
	pool, err := pgxpool.NewWithConfig(h.ctx, config)
	h.must(err)
	defer pool.Close()
	s, err := pgstore.New(pool, &pgstore.Config{Namespace: h.schema})
	h.must(err)
	defer s.Close()
	wake, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"default"}})
	h.must(err)
	h.listening(wake)
	h.enqueue(onceq.Inserted, task(1))
	woken(t, wake, "default")
}
