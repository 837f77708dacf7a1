package pgstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// madeBy3398775 is a schema as commit 3398775 left it, with one of
// everything in it: see testdata/store-3398775.go.txt.
func madeBy3398775(t testing.TB) *database {
	t.Helper()
	text, err := os.ReadFile("testdata/store-3398775.sql")
	if err != nil {
		t.Fatal(err)
	}
	d := newDatabase(t, pgtest.URL(t))
	// Its settings are for psql's session; this one is of a pool.
	sql := regexp.MustCompile(`(?m)^(SET [a-z_]+ =|SELECT pg_catalog.set_config).*$`).ReplaceAllString(string(text), "")
	d.exec(t, "set local check_function_bodies = off; "+strings.ReplaceAll(sql, "made_by_3398775", d.schema))
	return d
}

func TestAStoreMadeByCommit3398775OpensAndKeepsEverything(t *testing.T) {
	want, err := os.ReadFile("testdata/store-3398775.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := madeBy3398775(t)
	h := handOf(t, d, d.open(t))
	var got bytes.Buffer
	for j, err := range h.client.Jobs(h.ctx, onceq.JobFilter{Args: true}) {
		h.must(err)
		fmt.Fprintln(&got, jobLine(j))
	}
	for k, err := range h.client.Keys(h.ctx, onceq.KeyFilter{Inert: true}) {
		h.must(err)
		fmt.Fprintln(&got, keyLine(k))
	}
	qs, err := h.client.Queues(h.ctx)
	h.must(err)
	for _, q := range qs {
		fmt.Fprintf(&got, "queue %q paused=%v %v\n", q.Name, q.Paused, q.Counts)
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
	if len(a) != len(b) {
		t.Errorf("%d lines, want %d", len(b), len(a))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("line %d\n got %s\nwant %s", i+1, b[i], a[i])
		}
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
	before := madeBy3398775(t)
	after := madeBy3398775(t)
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
		"select (job).id, (job).state from {ns}.fetch_v1('host-1-abcdef', 99, '{default,retry,paused queue}', " +
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

func jobLine(j *onceq.JobRow) string {
	meta, err := json.Marshal(j.Meta)
	if err != nil {
		panic(err)
	}
	line := fmt.Sprintf("job %q kind=%q queue=%q state=%s args=%q encoding=%s meta=%s tags=%q priority=%d "+
		"attempt=%d/%d run=%d timeout=%v retention=%v"+
		" enqueued=%d due=%d started=%d finished=%d anchor=%d hold=%d/%v/%v/%v key=%v text=%q digest=%x origin=%s "+
		"worker=%q behind=%q displaced=%q by=%q cancel=%v keyless=%v",
		j.ID, j.Kind, j.Queue, j.State, j.Args, j.Encoding, meta, j.Tags, j.Priority, j.Attempt, j.MaxAttempts, j.Run,
		j.Timeout, j.Retention,
		ms(j.EnqueuedAt), ms(j.RunAt), ms(j.StartedAt), ms(j.FinishedAt), ms(j.Anchor), int(j.Hold.Until),
		j.Hold.Window, j.Hold.TTL, j.Hold.FromEnqueue, j.Key, j.KeyText,
		j.Digest, j.Origin, j.Worker, j.Behind, j.Displaced, j.SupersededBy, j.CancelRequested, j.Keyless)
	for _, e := range j.Errors {
		line += fmt.Sprintf(" error=%d/%d/%d/%q/%q", e.Attempt, e.Run, ms(e.At), e.Error, e.Stack)
	}
	return line
}

func keyLine(k *onceq.HeldKey) string {
	return fmt.Sprintf("key %v holder=%q waiter=%q kind=%q queue=%q text=%q state=%s since=%d frees=%d gone=%v "+
		"inert=%v digest=%x",
		k.Key, k.Holder, k.Waiter, k.Kind, k.Queue, k.Text, k.State, ms(k.Since), ms(k.FreesAt), k.Gone,
		k.Inert, k.Digest)
}

func ms(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}
