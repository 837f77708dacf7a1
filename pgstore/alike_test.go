package pgstore_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// A batch is inserted without a look at the keys only while nobody was met
// for long. If it meets somebody after all, that takes one more trip and
// leaves nothing behind, and the next batch looks.
func TestABatchThatHopedInVainLeavesNothingBehind(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	var sent trips
	pool := d.pool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &sent })
	s, err := pgstore.New(pool, &pgstore.Config{Namespace: d.schema, NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := handOf(t, d, s)
	next := 0
	enqueue := func(n int, duplicate string) (took int64) {
		t.Helper()
		items := make([]onceq.Item, n)
		for i := range items {
			key := fmt.Sprint("new ", next)
			if next++; i == n/2 && duplicate != "" {
				key = duplicate
			}
			items[i] = onceq.NewItem(task(next), onceq.UniqueKey(key))
		}
		before := sent.n.Load()
		receipts, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
		for i, r := range receipts {
			if r.Duplicate() != (i == n/2 && duplicate != "") {
				t.Errorf("row %d: %s", i, r.Outcome)
			}
		}
		return sent.n.Load() - before
	}
	plain := func() int64 { return one[int64](t, d, "select count(*) from {ns}.jobs") }
	for range 2 { // it learns and forgets
		if n := enqueue(20, ""); n > 1 {
			t.Errorf("a batch of new jobs takes %d trips, want 1", n)
		}
		if n := enqueue(20, "new 3"); n != 1 {
			t.Errorf("a duplicate after a duplicate takes %d trips, want 1", n)
		}
		for range 50 {
			if n := enqueue(20, ""); n != 1 {
				t.Errorf("a batch of new jobs takes %d trips, want 1", n)
			}
		}
		before := plain()
		if n := enqueue(20, "new 3"); n != 2 {
			t.Errorf("a duplicate after a thousand new jobs takes %d trips, want 2: is nothing hoped?", n)
		}
		if n := plain() - before; n != 19 {
			t.Errorf("19 new jobs and a duplicate made %d jobs", n)
		}
	}
	h.sound()
}
