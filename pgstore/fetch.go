package pgstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
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
	floors := s.floors.of(f)
	var bytes *int
	if f.MaxBytes > 0 {
		bytes = &f.MaxBytes
	}
	var got onceq.Fetched
	unknown := false
	err = s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		got = onceq.Fetched{} // all that was asked for has started: there may be more
		return s.query(ctx, s.sql.fetch, func(r *record) {
			now, next := r.int64(), r.int64()
			if j := r.columns(now); j != nil {
				got.Jobs = append(got.Jobs, j)
				return
			}
			switch {
			case next == fetchNoWorker:
				unknown = true
			case next == 0:
				got.NextDue = -1
			default:
				got.NextDue = max(0, time.Duration(next-now)*time.Millisecond)
			}
		}, f.Worker, f.No, queues, slots, f.Kinds, floors, bytes)
	})
	switch {
	case err != nil:
		return onceq.Fetched{}, s.wrap("fetch", err)
	case unknown:
		return onceq.Fetched{}, onceq.ErrLeaseLost
	}
	s.floors.note(f, got.Jobs)
	slices.SortFunc(got.Jobs, func(a, b *onceq.JobRow) int {
		return cmp.Or(cmp.Compare(order[a.Queue], order[b.Queue]), cmp.Compare(a.Priority, b.Priority),
			a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
	})
	return got, nil
}

// floors remembers, for each queue and priority, the lowest run time that a
// fetch has seen lately. The next fetch begins there: before it are only
// index entries of jobs that were fetched, which an old snapshot may keep
// alive. Once a second, and when a fetch finds less than it asked for, a
// fetch begins at the start, for jobs that came late.
type floors struct {
	mu  sync.Mutex
	all map[string]*floor
}

type floor struct {
	runAt [10]int64
	since time.Time // when a fetch last began at the start
}

// enough is how many jobs of a priority make this worth while.
const enough = 20

func floorName(queue string, kinds []string) string {
	return queue + "\x00" + strings.Join(kinds, "\x00")
}

func (f *floors) of(r onceq.FetchRequest) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	all := make([]int64, 0, 10*len(r.Queues))
	for _, q := range r.Queues {
		one := f.all[floorName(q.Queue, r.Kinds)]
		if one == nil || now.Sub(one.since) > time.Second {
			delete(f.all, floorName(q.Queue, r.Kinds))
			one = &floor{}
		}
		all = append(all, one.runAt[:]...)
	}
	return all
}

func (f *floors) note(r onceq.FetchRequest, jobs []*onceq.JobRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range r.Queues {
		name := floorName(q.Queue, r.Kinds)
		var n int
		var counts [10]int
		var lowest [10]int64
		for _, j := range jobs {
			if j.Queue != q.Queue || j.Priority < 0 || j.Priority > 9 {
				continue
			}
			n++
			counts[j.Priority]++
			if at := j.RunAt.UnixMilli(); counts[j.Priority] == 1 || at < lowest[j.Priority] {
				lowest[j.Priority] = at
			}
		}
		if n < q.Slots || n < enough {
			delete(f.all, name)
			continue
		}
		one := f.all[name]
		if one == nil {
			if f.all == nil || len(f.all) > 1000 {
				f.all = map[string]*floor{}
			}
			one = &floor{since: time.Now()}
			f.all[name] = one
		}
		for p := range counts {
			if counts[p] >= enough {
				one.runAt[p] = lowest[p]
			}
		}
	}
}
