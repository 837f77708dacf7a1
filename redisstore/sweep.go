package redisstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/onceq/onceq"
)

// Sweep tidies all partitions. A worker's beat number is the sum of those on the partitions where its lease is over: it stands still when none of
// them hears from the worker.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	if s.closed.Load() {
		return onceq.Swept{}, onceq.ErrClosed
	}
	var swept onceq.Swept
	var failed error
	expired := map[onceq.Beat]map[int]int64{} // by worker, with No 0 or (where it is not known) -1: its beats by partition
	early := 0
	jobs := max(1, r.Limit/len(s.parts))
	if r.Limit <= 0 {
		jobs = 0
	}
	var todo []*trip
	left := make([]int, len(s.parts))
	for p := range s.parts {
		left[p] = jobs
		todo = append(todo, &trip{script: luaSweep, part: p, args: []any{min(jobs, perScript), s.config.RetentionMax}})
	}
	for len(todo) > 0 {
		if err := s.do(ctx, todo...); err != nil && failed == nil {
			failed = err
		}
		var more []*trip
		for _, t := range todo {
			if t.err != nil {
				continue
			}
			swept.Jobs += int(number(t.reply[0]))
			early += int(number(t.reply[1]))
			swept.Keys += int(number(t.reply[2]))
			late := list(t.reply[4])
			for i := 0; i+1 < len(late); i += 2 {
				b := onceq.Beat{Worker: text(late[i])}
				if number(late[i+1]) < 0 {
					b.No = -1
				}
				if expired[b] == nil {
					expired[b] = map[int]int64{}
				}
				expired[b][t.part] = number(late[i+1])
			}
			if number(t.reply[3]) == 0 {
				continue
			}
			if left[t.part] -= perScript; left[t.part] > 0 {
				more = append(more, &trip{script: luaSweep, part: t.part, args: []any{min(left[t.part], perScript), s.config.RetentionMax}})
			} else {
				swept.More = true
			}
		}
		todo = more
	}
	if early > 0 {
		s.config.Logger.Warn("redisstore: finished jobs were pruned before their retention passed: a partition keeps Config.RetentionMax of them",
			"pruned", early, "retention_max", s.config.RetentionMax)
	}
	if err := s.lost(ctx, r, expired, &swept); err != nil && failed == nil {
		failed = err
	}
	for b, at := range expired {
		if len(at) > 0 {
			swept.Expired = append(swept.Expired, onceq.Beat{Worker: b.Worker, No: beatNo(b, at)})
		}
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.No, b.No)) })
	if failed != nil && (swept.Jobs > 0 || swept.Keys > 0) {
		failed = uncertain(failed)
	}
	return swept, failed
}

// beatNo is a worker's beat as it is shown.
func beatNo(b onceq.Beat, at map[int]int64) int64 {
	if b.No < 0 {
		return -1
	}
	sum := int64(0)
	for _, beat := range at {
		sum += beat
	}
	return sum
}

// lost lists the runs of workers that were seen twice with the same beat, and takes those out of expired that have none left.
func (s *Store) lost(ctx context.Context, r onceq.SweepRequest, expired map[onceq.Beat]map[int]int64, swept *onceq.Swept) error {
	args := make([][]any, len(s.parts))
	for _, lost := range r.Lost {
		b := onceq.Beat{Worker: lost.Worker, No: min(lost.No, 0)}
		if at := expired[b]; len(at) > 0 && beatNo(b, at) == lost.No {
			for p, beat := range at {
				args[p] = append(args[p], lost.Worker, beat)
			}
		}
	}
	for p, workers := range args {
		if len(workers) == 0 {
			continue
		}
		limit := min(r.Limit-len(swept.Runs), perScript)
		if limit <= 0 {
			swept.More = true
			break
		}
		t := &trip{script: luaLost, part: p, args: append([]any{limit, len(workers) / 2}, workers...)}
		if err := s.do(ctx, t); err != nil {
			return err
		}
		for _, v := range list(t.reply[0]) {
			j, err := s.readTriple(ctx, p, "", v, t.now)
			if err != nil {
				return err
			}
			swept.Runs = append(swept.Runs, &j.JobRow)
		}
		if number(t.reply[1]) == 1 {
			swept.More = true
		}
		for _, worker := range list(t.reply[2]) {
			delete(expired[onceq.Beat{Worker: text(worker)}], p)
		}
	}
	order := map[string]int{}
	for i, lost := range r.Lost {
		order[lost.Worker] = i
	}
	slices.SortFunc(swept.Runs, func(a, b *onceq.JobRow) int { return cmp.Or(order[a.Worker]-order[b.Worker], cmp.Compare(a.ID, b.ID)) })
	return nil
}
