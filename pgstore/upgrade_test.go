package pgstore_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fixture"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// madeBy is a schema as a commit left it, with one of everything in it: see
// testdata/store-*.go.txt.
func madeBy(t testing.TB, commit string) *database {
	t.Helper()
	text, err := os.ReadFile("testdata/store-" + commit + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	d := newDatabase(t, pgtest.URL(t))
	// Its settings are for psql's session; this one is of a pool.
	sql := regexp.MustCompile(`(?m)^(SET [a-z_]+ =|SELECT pg_catalog.set_config).*$`).ReplaceAllString(string(text), "")
	d.exec(t, "set local check_function_bodies = off; "+strings.ReplaceAll(sql, "made_by_"+commit, d.schema))
	return d
}

func TestAStoreMadeByAnEarlierVersionOpensAndKeepsEverything(t *testing.T) {
	for _, commit := range []string{"3398775", "b451a97"} {
		t.Run(commit, func(t *testing.T) { keepsEverything(t, commit) })
	}
}

func keepsEverything(t *testing.T, commit string) {
	want, err := os.ReadFile("testdata/store-" + commit + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	d := madeBy(t, commit)
	h := handOf(t, d, d.open(t))
	differences, err := fixture.Differences(h.ctx, h.client, string(want))
	h.must(err)
	for _, d := range differences {
		t.Error(d)
	}
	h.sound()

	// What holds its key holds it still.
	for id, outcome := range map[string]onceq.Outcome{"key completed": onceq.Inserted, "key discarded": onceq.Skipped,
		"key cancelled": onceq.Skipped, "key kept": onceq.Skipped,
		"key rests": onceq.Skipped, "key gone": onceq.Skipped, "key deleted": onceq.Skipped, "replaced": onceq.Skipped,
		"released": onceq.Inserted} {
		r, err := h.client.Enqueue(h.ctx, onceq.JSON("order", []byte(`{}`)), onceq.UniqueKey(id))
		h.wants(outcome, r, err)
	}
	// What waits runs, by kind, and what runs ends.
	var ran []string
	_, err = h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "new", Lease: time.Minute})
	h.must(err)
	f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "new", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}, {Queue: "retry", Slots: 9}},
		Kinds:  []string{"raw", "order"}})
	h.must(err)
	for _, j := range f.Jobs {
		ran = append(ran, j.ID)
		h.must(h.finish(h.ctx, j))
	}
	for _, id := range []string{"waiting", "unique", "fields", "window", "raw", "large", "own key", "retryable"} {
		if !strings.Contains(strings.Join(ran, "\n")+"\n", id+"\n") {
			t.Errorf("%q did not run: %q", id, ran)
		}
	}
	for _, id := range []string{"running", "asked to stop"} {
		j, err := h.client.Job(h.ctx, id)
		h.must(err)
		h.must(h.finish(h.ctx, j))
	}
	f, err = h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "new", No: 2,
		Queues: []onceq.QueueSlots{{Queue: "running", Slots: 9}}})
	h.must(err)
	if len(f.Jobs) != 3 {
		t.Errorf("%d jobs of the queue running, want the two that stood behind and the one that "+
			"superseded", len(f.Jobs))
	}
	h.sound()
}

// A program of the version before goes on while this one's are started.
func TestStatementsOfCommit3398775GoOnAfterTheUpgrade(t *testing.T) {
	before := madeBy(t, "3398775")
	after := madeBy(t, "3398775")
	if err := pgstore.Migrate(context.Background(), after.admin, &pgstore.Config{Namespace: after.schema}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("testdata/statements-3398775")
	if err != nil || len(files) < 15 {
		t.Fatal(len(files), err)
	}
	describe := func(d *database, sql string) string {
		conn, err := d.admin.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		s, err := conn.Conn().Prepare(t.Context(), "", strings.ReplaceAll(sql, "{ns}", d.quoted()))
		if err != nil {
			return err.Error()
		}
		var columns []string
		for _, f := range s.Fields {
			name := fmt.Sprint(f.DataTypeOID)
			if f.DataTypeOID > 16384 {
				name = "a row"
			}
			columns = append(columns, f.Name+" "+name)
		}
		return fmt.Sprint(s.ParamOIDs, columns)
	}
	for _, f := range files {
		sql, err := os.ReadFile("testdata/statements-3398775/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := describe(before, string(sql)), describe(after, string(sql)); a != b {
			t.Errorf("%s\nbefore %s\n after %s", f.Name(), a, b)
		}
	}
	// Its fetch and its list, whose functions are other ones by now, do the
	// same.
	for _, sql := range []string{
		"select (job).id, n from {ns}.list_v1('', 100, false, null, '', '', null, 50) where (job).id is not null",
		"select (job).id, octet_length((job).args) from {ns}.list_v1('', 100, false, 2::smallint, '', '', null, 50) " +
			"where (job).id is not null",
		"select (job).id, (job).state, (job).run, (job).key, (job).args, (job).worker, (job).meta::text, " +
			"(job).errors::text from {ns}.fetch_v1('host-1-abcdef', 99, '{default,retry,paused queue}', " +
			"'{5,5,5}', null, array_fill(0::bigint, array[30])) order by 1",
		"select (job).id, (job).state from {ns}.fetch_v1('host-1-abcdef', 100, '{default}', '{100}', '{raw}', " +
			"array_fill(0::bigint, array[10])) order by 1",
		"select n from {ns}.fetch_v1('nobody', 1, '{default}', '{100}', '{raw}', array_fill(0::bigint, array[10]))",
	} {
		if a, b := table(t, before, sql), table(t, after, sql); a != b || a == "" {
			t.Errorf("%s\nbefore %s\n after %s", sql, a, b)
		}
	}
}

// A step that brings functions only brings them to stores that were at the
// step before, too.
func TestAStoreOfTheStepBeforeGetsTheFunctionsOfToday(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	d.exec(t, `delete from {ns}.migrations where version = (select max(version) from {ns}.migrations);
		drop table {ns}.notes;
		do $$ declare f regprocedure; begin
			for f in select p.oid from pg_proc p where pronamespace = '{ns}'::regnamespace and proname ~ '_v2$' loop
				execute 'drop function ' || f;
			end loop;
		end $$`)
	h := handOf(t, d, d.open(t))
	h.enqueue(onceq.Inserted, task(1))
	_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
	h.must(err)
	f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
	h.must(err)
	if len(f.Jobs) != 1 {
		t.Errorf("%d jobs, want 1", len(f.Jobs))
	}
}

func table(t testing.TB, d *database, sql string) string {
	t.Helper()
	rows, err := d.admin.Query(t.Context(), strings.ReplaceAll(sql, "{ns}", d.quoted()))
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
		values, err := r.Values()
		return fmt.Sprint(values...), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// A role that may not create schemas runs the script in one that was made
// for it.
func TestAScriptNeedsNoRightToCreateASchemaThatIsThere(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	role := "r" + d.schema
	d.exec(t, "create role "+role+" login; create schema {ns} authorization "+role)
	t.Cleanup(func() { d.exec(t, "drop owned by "+role+" cascade; drop role "+role) })
	config, err := pgx.ParseConfig(d.url)
	if err != nil {
		t.Fatal(err)
	}
	config.User = role
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	after := 0
	for range 2 { // the second time it is only the part after the last step
		script := pgstore.Script(&pgstore.Config{Namespace: d.schema}, after)
		if _, err := conn.Exec(t.Context(), script, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		after = one[int](t, d, "select max(version) from {ns}.migrations")
	}
	h := handOf(t, d, d.open(t, func(c *pgstore.Config) { c.NoMigrate = true }))
	h.enqueue(onceq.Inserted, task(1))
}
