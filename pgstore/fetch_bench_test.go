package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
)

// BenchmarkFetchNothing is what a worker of one kind pays for a fetch that
// finds nothing, in an empty queue and behind 100,000 due jobs of another
// kind.
func BenchmarkFetchNothing(b *testing.B) {
	for _, others := range []int{0, 100_000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			m := &meter{server: pgtest.Start(b)}
			d := newDatabase(b, m.server.URL())
			s := d.open(b)
			ctx := context.Background()
			d.insert(b, "other", "00", 1, others)
			d.exec(b, "vacuum analyze {ns}.jobs")
			if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			fetch := func(no int) {
				began := time.Now()
				f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: int64(no), Kinds: []string{"reindex"},
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
				if err != nil || len(f.Jobs) > 0 || f.NextDue >= 0 {
					b.Fatal(f, err)
				}
				took = append(took, time.Since(began))
			}
			for n := range 20 {
				fetch(n + 1)
			}
			took = nil
			m.start(b)
			for n := range b.N {
				fetch(n + 21)
			}
			m.stop(b, b.N)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		})
	}
}
