package onceq

import (
	"context"
	"encoding/binary"
	"log/slog"
	"testing"
)

// mute is a store that takes notes, and keeps none.
type mute struct{ Store }

func (mute) Note(context.Context, Notes) error { return nil }

// counting is what an enqueue does to the tally: an insert, a duplicate of one
// key, and one of as many keys as there are calls.
func counting() (insert, duplicate, flood func(), end func()) {
	t := newTally(mute{}, slog.New(slog.DiscardHandler))
	row := &NewRow{Queue: "default", Kind: "mail", terms: "unique=false"}
	inserted, skipped := Receipt{Outcome: Inserted}, Receipt{Outcome: Skipped, Conflict: &Conflict{By: "key"}}
	count := func(r *Receipt) {
		t.wantsTerms(row.Queue, row.Kind)
		t.enqueued(row, r)
	}
	n := uint64(0)
	return func() { count(&inserted) }, func() { count(&skipped) }, func() {
		n++
		binary.LittleEndian.PutUint64(skipped.Conflict.Key[:], n)
		count(&skipped)
	}, t.close
}

func BenchmarkTally(b *testing.B) {
	insert, duplicate, flood, end := counting()
	defer end()
	for name, f := range map[string]func(){"insert": insert, "duplicate": duplicate, "flood of keys": flood} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	insert, duplicate, flood, end := counting()
	defer end()
	for name, f := range map[string]func(){"insert": insert, "duplicate": duplicate, "flood of keys": flood} {
		for range 200 { // maps and examples grow
			f()
		}
		if n := testing.AllocsPerRun(1000, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
