package redisstore

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
)

// Extend is a worker's heartbeat, on every partition: each knows the workers by itself.
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
	var todo []*trip
	args := func(p int, again bool) []any {
		a := []any{r.Worker, (r.Lease.Milliseconds()), min(max(r.FetchesDone, 0), never-2), flag(again), len(runs[p])}
		for _, i := range runs[p] {
			a = append(a, append(put48(nil, min(max(r.Runs[i].Run, 0), 1<<40-1))[1:], packID(r.Runs[i].ID)...))
		}
		return a
	}
	for p := range s.parts {
		todo = append(todo, &trip{script: luaExtend, part: p, args: args(p, false)})
	}
	var e onceq.Extended
	said := make([]string, len(r.Runs))
	var failed error
	done := 0
	for len(todo) > 0 {
		if err := s.do(ctx, todo...); err != nil && failed == nil {
			failed = err
		}
		var more []*trip
		for _, t := range todo {
			if t.err != nil {
				continue
			}
			done++
			n := len(runs[t.part])
			if len(t.reply) != n+2 {
				return e, uncertain(errors.New("redisstore: extend: the answer is too short"))
			}
			for k, i := range runs[t.part] {
				said[i] = text(t.reply[k])
			}
			e.Back += int(number(t.reply[n]))
			if number(t.reply[n+1]) == 1 {
				more = append(more, &trip{script: luaExtend, part: t.part, args: args(t.part, true)})
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
