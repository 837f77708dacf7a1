package onceq_test

import (
	"context"
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

func BenchmarkEnqueue(b *testing.B) {
	client, err := onceq.NewClient(open{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Enqueue(ctx, mail{"ada"}, onceq.Unique{}); err != nil {
			b.Fatal(err)
		}
	}
}
