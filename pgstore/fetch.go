package pgstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// Fetch starts due jobs.
func (s *Store) Fetch(ctx context.Context, f onceq.FetchRequest) (onceq.Fetched, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Fetched{}, s.wrap("fetch", err)
	}
	defer leave()
	queues, slots := make([]string, len(f.Queues)), make([]int32, len(f.Queues))
	order := make(map[string]int, len(f.Queues))
	for i, q := range f.Queues {
		queues[i], slots[i] = q.Queue, int32(q.Slots)
		order[q.Queue] = i
	}
	var got onceq.Fetched
	unknown := false
	err = s.retry(ctx, false, func() error {
		got = onceq.Fetched{NextDue: -1}
		return s.query(ctx, s.sql.fetch, func(r *record) {
			now, next := r.int64(), r.int64()
			if j := r.job(now); j != nil {
				got.Jobs = append(got.Jobs, j)
				return
			}
			switch {
			case next < 0:
				unknown = true
			case next > 0:
				got.NextDue = max(0, time.Duration(next-now)*time.Millisecond)
			}
		}, f.Worker, f.No, queues, slots, f.Kinds)
	})
	switch {
	case err != nil:
		return onceq.Fetched{}, s.wrap("fetch", err)
	case unknown:
		return onceq.Fetched{}, onceq.ErrLeaseLost
	}
	slices.SortFunc(got.Jobs, func(a, b *onceq.JobRow) int {
		return cmp.Or(cmp.Compare(order[a.Queue], order[b.Queue]), cmp.Compare(a.Priority, b.Priority), a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
	})
	return got, nil
}
