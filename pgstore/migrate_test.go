package pgstore_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

func TestTenProcessesMayMigrateAtOnce(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s, err := pgstore.Open(context.Background(), d.url, &pgstore.Config{Namespace: d.schema})
			if err != nil {
				t.Error(err)
				return
			}
			c, _ := onceq.NewClient(s, nil)
			if _, err := c.Enqueue(context.Background(), task(1)); err != nil {
				t.Error(err)
			}
			c.Close()
			s.Close()
		})
	}
	all.Wait()
	if n := one[int](t, d, "select count(*) from {ns}.jobs"); n != 10 {
		t.Errorf("%d jobs, want 10", n)
	}
	if n, versions := one[int](t, d, "select count(*) from {ns}.migrations"),
		one[int](t, d, "select count(distinct version) from {ns}.migrations"); n != versions || n == 0 {
		t.Errorf("%d steps were applied, %d different ones", n, versions)
	}
}

func TestASchemaOfANewerVersionIsRefused(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	d.exec(t, "insert into {ns}.migrations (version, name) values (999, 'later')")
	config := &pgstore.Config{Namespace: d.schema}
	for _, noMigrate := range []bool{true, false} {
		config.NoMigrate = noMigrate
		if _, err := pgstore.Open(context.Background(), d.url, config); err == nil ||
			!strings.Contains(err.Error(), "at version 999") || !strings.Contains(err.Error(), "newer onceq") {
			t.Errorf("NoMigrate %v: %v", noMigrate, err)
		}
	}
	all, err := pgstore.Status(context.Background(), d.admin, config)
	if err != nil || all[len(all)-1].Version != 999 || all[len(all)-1].Applied.IsZero() {
		t.Errorf("status: %v %v", all, err)
	}
}

func TestASchemaThatIsNotThereIsNamedAndSoIsTheWayOut(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	config := &pgstore.Config{Namespace: d.schema, NoMigrate: true}
	if _, err := pgstore.Open(context.Background(), d.url, config); err == nil ||
		!strings.Contains(err.Error(), "onceq migrate") {
		t.Error(err)
	}
	s, err := pgstore.New(d.admin, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(context.Background(), []string{"x"}); err == nil ||
		!strings.Contains(err.Error(), "onceq migrate") || !strings.Contains(err.Error(), d.schema) {
		t.Error(err)
	}
	for name, tx := range inTransactions(t, s, d) {
		client, err := onceq.NewClient(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.WithTx(tx).Enqueue(context.Background(), task(1)); err == nil ||
			!strings.Contains(err.Error(), "onceq migrate") || !strings.Contains(err.Error(), "pgstore.Migrate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := pgstore.Status(context.Background(), d.admin, config)
	if err != nil || len(all) == 0 || !all[0].Applied.IsZero() {
		t.Errorf("status: %v %v", all, err)
	}
}

// inTransactions begins a transaction of each kind, which ends with the test.
func inTransactions(t *testing.T, s *pgstore.Store, d *database) map[string]onceq.Tx {
	t.Helper()
	tx, err := d.admin.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // nothing is kept either way
	db, err := sql.Open("pgx", d.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	sqlTx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sqlTx.Rollback() })
	return map[string]onceq.Tx{"pgx": s.Tx(tx), "database/sql": s.SQLTx(sqlTx)}
}

func TestAScriptRunByHandIsTheSameAsMigrate(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	config := &pgstore.Config{Namespace: d.schema}
	d.exec(t, pgstore.Script(config, 0))
	config.NoMigrate = true
	s, err := pgstore.Open(context.Background(), d.url, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := pgstore.Status(context.Background(), d.admin, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Applied.IsZero() {
			t.Errorf("step %d (%s) is not applied", m.Version, m.Name)
		}
	}
	if err := pgstore.Migrate(context.Background(), d.admin, config); err != nil {
		t.Error(err)
	}
	if strings.Contains(pgstore.Script(config, all[len(all)-1].Version), "create") {
		t.Error("the script after the last step creates something")
	}
}

func TestANamespaceMayHaveAnyName(t *testing.T) {
	for _, name := range []string{`o"; drop schema public; --`, "$onceq$ $$", "ünï cödé", "UPPER lower",
		"{ns}", "select"} {
		d := newDatabase(t, pgtest.URL(t))
		d.schema = name
		h := &hand{TB: t, database: d, ctx: t.Context(), store: d.open(t)}
		h.client = h.clientOf(h.store)
		h.enqueue(onceq.Inserted, task(1), aKey, coalesce)
		j := h.start()
		h.enqueue(onceq.Coalesced, task(2), aKey, coalesce)
		h.must(h.finish(h.ctx, j))
		h.sound()
	}
	for _, name := range []string{strings.Repeat("x", 64), "a\x00b", "a\xffb"} {
		if _, err := pgstore.Open(context.Background(), pgtest.URL(t), &pgstore.Config{Namespace: name}); err == nil ||
			!strings.Contains(err.Error(), "Namespace") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTwoNamespacesDoNotSeeEachOther(t *testing.T) {
	one, two := newHand(t, pgtest.URL(t)), newHand(t, pgtest.URL(t))
	a := one.enqueue(onceq.Inserted, task(1), aKey, onceq.ID("same"))
	two.enqueue(onceq.Inserted, task(1), aKey, onceq.ID("same"))
	one.must(one.client.Delete(one.ctx, a.ID))
	two.enqueue(onceq.Skipped, task(1), aKey)
}

func TestAPoolOfTheCallersStaysOpen(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	pool, err := pgxpool.New(context.Background(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	config := &pgstore.Config{Namespace: d.schema}
	if err := pgstore.Migrate(context.Background(), pool, config); err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.New(pool, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := pool.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}
