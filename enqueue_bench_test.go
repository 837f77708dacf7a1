package onceq_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// open is a store that accepts every job and keeps none: what is left is the
// client's own cost.
type open struct{ onceq.Store }

func (open) Traits() onceq.Traits { return onceq.Traits{} }

func (open) Enqueue(_ context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	results := make([]onceq.EnqueueResult, len(r.Rows))
	for i := range r.Rows {
		row := &r.Rows[i]
		results[i] = onceq.EnqueueResult{Outcome: onceq.Inserted, Job: &onceq.JobRow{ID: row.ID, Kind: row.Kind,
			Queue: row.Queue, State: onceq.Available, EnqueuedAt: time.UnixMilli(1)}}
	}
	return results, nil
}

// met is such a store that has met every job before.
type met struct{ open }

func (s met) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	results, err := s.open.Enqueue(ctx, r)
	for i := range results {
		results[i].Outcome = onceq.Skipped
		results[i].Conflict = &onceq.Conflict{By: "key", Key: r.Rows[i].Claim.Key, Text: r.Rows[i].Claim.Text,
			Holder: "1", State: onceq.Available, FreesWhen: "finished"}
	}
	return results, err
}

// enqueuing makes one enqueue after another, and batches of 100.
func enqueuing(tb testing.TB, store onceq.Store) (one, many func()) {
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quiet, NoTally: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	items := make([]onceq.Item, 100)
	for i := range items {
		items[i] = onceq.NewItem(mail{fmt.Sprint(i)}, onceq.Unique{})
	}
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return func() {
			_, err := client.Enqueue(tb.Context(), mail{"ada"}, onceq.Unique{})
			check(err)
		}, func() {
			_, err := client.EnqueueMany(tb.Context(), items)
			check(err)
		}
}

var costs = []struct {
	name   string
	store  onceq.Store
	ofItem float64 // allocations of the store for each row
}{{"new", open{}, 1}, {"duplicate", met{}, 2}}

func BenchmarkEnqueue(b *testing.B) {
	for _, c := range costs {
		one, many := enqueuing(b, c.store)
		for name, f := range map[string]func(){"one": one, "100": many} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
	}
}

// What a client allocates is a third of what an enqueue costs it, and grows unnoticed. These
// are: the args, the option, and their JSON; the claim and its text; the ID.
func TestAnEnqueueAllocatesNoMoreThanItKeeps(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory from pools")
	}
	for _, c := range costs {
		one, many := enqueuing(t, c.store)
		if n := testing.AllocsPerRun(200, one) - c.ofItem - 1; n > 6 {
			t.Errorf("%s: %v allocations of an enqueue", c.name, n)
		}
		if n := testing.AllocsPerRun(20, many)/100 - c.ofItem; n > 5 {
			t.Errorf("%s: %.2f allocations of an item of 100", c.name, n)
		}
	}
}
