package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// trips counts the statements that a store sends, without NOTIFY, for which
// nobody waits.
type trips struct{ n atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if !strings.Contains(q.SQL, "pg_notify") {
		c.n.Add(1)
	}
	return ctx
}

func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A new job takes one round trip, and so does a duplicate that writes
// nothing. One that writes to its holder takes one more than the look that
// found it, and none more where duplicates are what mostly comes.
func TestADuplicateThatWritesTakesOneTripMoreThanTheLookThatFoundIt(t *testing.T) {
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
	count := func(do func()) int64 {
		before := sent.n.Load()
		do()
		return sent.n.Load() - before
	}
	fresh := 0
	anew := func() { // until most of what comes meets nobody
		for range 20 {
			fresh++
			h.enqueue(onceq.Inserted, task(1), onceq.UniqueKey(fmt.Sprint("fresh ", fresh)))
		}
	}
	skips := func() { // and until most of it meets somebody
		for range 20 {
			h.enqueue(onceq.Skipped, task(1), onceq.UniqueKey("fresh 1"))
		}
	}
	anew()
	if n := count(anew); n != 20 {
		t.Errorf("20 new jobs took %d trips", n)
	}
	skips()
	if n := count(skips); n != 20 {
		t.Errorf("20 duplicates took %d trips", n)
	}
	for name, policy := range map[string]struct {
		outcome onceq.Outcome
		opts    []onceq.Option
	}{
		"Replace":  {onceq.Replaced, []onceq.Option{onceq.OnConflict(onceq.Replace{Args: true})}},
		"Coalesce": {onceq.Replaced, []onceq.Option{onceq.OnConflict(onceq.Coalesce)}},
		"Debounce": {onceq.Replaced, []onceq.Option{onceq.OnConflict(onceq.Debounce{MaxWait: time.Hour}),
			onceq.Delay(time.Minute)}},
		"Supersede": {onceq.Superseded, []onceq.Option{onceq.OnConflict(onceq.Supersede)}},
	} {
		for _, named := range []bool{false, true} {
			n := 0
			enqueue := func(outcome onceq.Outcome) func() {
				return func() {
					opts := append([]onceq.Option{onceq.UniqueKey(name + fmt.Sprint(named))}, policy.opts...)
					if n++; named {
						opts = append(opts, onceq.ID(fmt.Sprint(name, " ", n)))
					}
					h.enqueue(outcome, task(n), opts...)
				}
			}
			anew()
			enqueue(onceq.Inserted)()
			if n := count(enqueue(policy.outcome)); n > 2 {
				t.Errorf("%s, named %v: a duplicate after new jobs takes %d trips, want 2", name, named, n)
			}
			skips()
			if n := count(enqueue(policy.outcome)); n > 1 {
				t.Errorf("%s, named %v: a duplicate after duplicates takes %d trips, want 1", name, named, n)
			}
			// In one group with rows that write nothing it is looked for.
			skips()
			key := onceq.UniqueKey(name + fmt.Sprint(named))
			if n := count(func() {
				got, err := h.client.EnqueueMany(h.ctx, []onceq.Item{
					onceq.NewItem(task(1), onceq.UniqueKey("fresh 1")),
					onceq.NewItem(task(2), append(policy.opts, key)...)})
				h.must(err)
				if got[0].Outcome != onceq.Skipped || got[1].Outcome != policy.outcome {
					t.Errorf("%s: %v and %v", name, got[0].Outcome, got[1].Outcome)
				}
			}); n > 2 {
				t.Errorf("%s, named %v: a batch takes %d trips, want 2", name, named, n)
			}
		}
	}
	h.sound()
}
