package redisstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// Workers lists the workers that are known. Each partition knows them by
// itself: a worker has its runs on all of them together, and the lease that
// lasts longest.
func (s *Store) Workers(ctx context.Context) ([]onceq.WorkerInfo, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	known := map[string]*onceq.WorkerInfo{}
	var todo []*trip
	for p := range s.parts {
		todo = append(todo, &trip{script: luaWorkers, part: p, args: []any{""}})
	}
	for len(todo) > 0 {
		if err := s.do(ctx, todo...); err != nil {
			return nil, err
		}
		var more []*trip
		for _, t := range todo {
			for _, v := range t.reply[1:] {
				w := list(v)
				if len(w) != 5 {
					return nil, errors.New("redisstore: workers: the answer is too short")
				}
				join(known, w, t.now)
			}
			if from := text(t.reply[0]); from != "" {
				more = append(more, &trip{script: luaWorkers, part: t.part, args: []any{from}})
			}
		}
		todo = more
	}
	var all []onceq.WorkerInfo
	for _, w := range known {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b onceq.WorkerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// join adds what a partition knows of a worker, as workers.lua says it.
func join(known map[string]*onceq.WorkerInfo, v []any, now int64) {
	name, ends, lease := text(v[0]), number(v[1]), time.Duration(number(v[2]))*time.Millisecond
	w := known[name]
	if w == nil {
		w = &onceq.WorkerInfo{Name: name, Late: true}
		known[name] = w
	}
	if until := onceq.Instant(ends); until.After(w.LeaseUntil) {
		w.LeaseUntil, w.BeatAt = until, until.Add(-lease)
	}
	w.Late = w.Late && ends <= now
	w.Running += int(number(v[3]))
	if said := (reader{s: text(v[4])}); said.s != "" {
		if since := onceq.Instant(said.instant()); w.Since.IsZero() || since.Before(w.Since) {
			w.Since = since
		}
		if said.s != "" && w.About == nil {
			w.About = []byte(said.s)
		}
	}
}
