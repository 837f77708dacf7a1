package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Fetch starts due jobs.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.Fetched{}, err
	}
	defer st.end()
	if s.workers[r.Worker] == nil {
		return onceq.Fetched{}, onceq.ErrLeaseLost
	}
	f := onceq.Fetched{NextDue: -1}
	nextIn := func(ms int64) {
		if d := time.Duration(ms) * time.Millisecond; f.NextDue < 0 || d < f.NextDue {
			f.NextDue = d
		}
	}
	size := 0
	for _, q := range r.Queues {
		if until := s.paused[q.Queue]; until > st.Now {
			if until != onceq.Never {
				nextIn(until - st.Now)
			}
			continue
		}
		slots := q.Slots
		for _, j := range s.waiting(q.Queue, r.Kinds) {
			n := len(j.Args) + len(j.MetaJSON)
			switch {
			case j.RunMS > st.Now:
				nextIn(j.RunMS - st.Now)
			case slots == 0:
				nextIn(0)
			case r.MaxBytes > 0 && len(f.Jobs) > 0 && size+n > r.MaxBytes:
				slots = 0 // a later job of this queue must not overtake this one
				nextIn(0)
			default:
				slots--
				size += n
				k := st.key(j.Key)
				st.Start(j, k, r.Worker, r.No)
				st.save(k)
				f.Jobs = append(f.Jobs, st.view(j))
			}
		}
	}
	return f, nil
}

// waiting returns the jobs of a queue that stand behind no other, in the
// order in which they are fetched.
func (s *Store) waiting(queue string, kinds []string) []*rules.Job {
	return s.sorted(func(j *rules.Job) bool {
		return j.Queue == queue && j.State.Waiting() && j.Behind == "" &&
			(kinds == nil || slices.Contains(kinds, j.Kind))
	}, func(a, b *rules.Job) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.RunMS, b.RunMS), cmp.Compare(a.ID, b.ID))
	})
}
