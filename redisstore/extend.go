package redisstore

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
)

// Extend is a worker's heartbeat. It goes to every partition, because each
// knows the workers by itself, and looks at the runs in shares of at most
// 200.
func (s *Store) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Extended{}, err
	}
	defer leave()
	runs := make([][]int, len(s.parts))
	for i, run := range r.Runs {
		p := s.ofID(run.ID)
		runs[p] = append(runs[p], i)
	}
	// The first share of a partition renews the lease there and hands jobs
	// back. It has the IDs of the other shares.
	var todo []*share
	for p := range s.parts {
		n := min(len(runs[p]), perScript)
		todo = append(todo, s.beat(&r, p, "", runs[p][:n], runs[p][n:]))
		for rest := runs[p][n:]; len(rest) > 0; rest = rest[n:] {
			n = min(len(rest), perScript)
			todo = append(todo, s.beat(&r, p, beatLook, rest[:n], nil))
		}
	}
	var e onceq.Extended
	said := make([]string, len(r.Runs))
	var failed error
	done := 0
	for len(todo) > 0 {
		trips := make([]*trip, len(todo))
		for i, sh := range todo {
			trips[i] = &sh.trip
		}
		if err := s.do(ctx, trips...); err != nil && failed == nil {
			failed = err
		}
		var more []*share
		for _, sh := range todo {
			if sh.err != nil {
				continue
			}
			done++
			n := len(sh.rows)
			if len(sh.reply) != n+2 {
				return e, uncertain(errors.New("redisstore: extend: the answer is too short"))
			}
			for k, i := range sh.rows {
				said[i] = text(sh.reply[k])
			}
			e.Back += int(number(sh.reply[n]))
			if number(sh.reply[n+1]) == 1 {
				more = append(more, s.beat(&r, sh.part, beatMore, nil, runs[sh.part]))
			}
		}
		todo = more
	}
	for i, what := range said {
		switch what {
		case "l":
			e.Lost = append(e.Lost, r.Runs[i])
		case "s":
			e.Stop = append(e.Stop, r.Runs[i])
		}
	}
	if failed != nil && done > 0 {
		failed = uncertain(failed)
	}
	return e, failed
}

// What a part of a heartbeat does, see extend.lua.
const (
	beatMore = "b" // it hands back more jobs
	beatLook = "c" // it only looks at runs
)

// beat is a part of a heartbeat. runs are the runs to look at, others the
// other runs that the worker has.
func (s *Store) beat(r *onceq.ExtendRequest, part int, what string, runs, others []int) *share {
	args := []any{r.Worker, r.Lease.Milliseconds(), min(max(r.FetchesDone, -1), never-2), what, len(runs),
		len(others), r.About}
	for _, i := range runs {
		args = append(args, append(put48(nil, min(max(r.Runs[i].Run, 0), 1<<40-1))[1:], packID(r.Runs[i].ID)...))
	}
	for _, i := range others {
		args = append(args, packID(r.Runs[i].ID))
	}
	return &share{trip: trip{script: luaExtend, part: part, args: args}, rows: runs}
}
