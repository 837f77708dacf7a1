package onceq

import (
	"context"
	"testing"
)

func BenchmarkMetricsWithoutAProvider(b *testing.B) {
	m, _ := newMetrics(nil, newLabels())
	row, ctx := &NewRow{Queue: "default", Kind: "mail"}, context.Background()
	b.Run("enqueue", func(b *testing.B) {
		for b.Loop() {
			m.enqueued(ctx, row, Receipt{Outcome: Inserted})
			m.batch(ctx, 1)
		}
	})
	b.Run("run", func(b *testing.B) {
		runs := []*run{{}}
		for b.Loop() {
			m.timesRuns()
			m.ended(runs)
		}
	})
}
