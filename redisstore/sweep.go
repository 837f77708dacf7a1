package redisstore

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// Sweep tidies all partitions. Each of them knows the workers by itself; a worker's beat is shown as the largest of those on the partitions
// where its lease is over, and which it was on each is remembered until the same beat is named as lost.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Swept{}, err
	}
	defer leave()
	var swept onceq.Swept
	var failed error
	expired := map[onceq.Beat]beats{} // by worker, with No 0 or (where it is not known) -1
	early := 0
	parts := make([]int, len(s.parts))
	for p := range parts {
		parts[p] = p
	}
	// First each partition gets an equal part of the limit, then those with more to do share what is left of it.
	for round := 0; len(parts) > 0; round++ {
		left := max(0, r.Limit-max(swept.Jobs, swept.Keys))
		if round > 0 && left == 0 {
			swept.More = true
			break
		}
		each := left / len(parts)
		var later []int
		if round > 0 {
			each = max(each, 1)
			n := min(len(parts), left)
			parts, later = parts[:n:n], parts[n:]
		}
		var trips []*trip
		for _, p := range parts {
			trips = append(trips, &trip{script: luaSweep, part: p, args: []any{min(each, perScript), s.config.RetentionMax}})
		}
		if err := s.do(ctx, trips...); err != nil && failed == nil {
			failed = err
		}
		parts = later
		for _, t := range trips {
			if t.err != nil {
				continue
			}
			swept.Jobs += int(number(t.reply[0]))
			early += int(number(t.reply[1]))
			swept.Keys += int(number(t.reply[2]))
			if number(t.reply[3]) == 1 {
				parts = append(parts, t.part)
			}
			if round > 0 {
				continue
			}
			late := list(t.reply[4])
			for i := 0; i+2 < len(late); i += 3 {
				b := onceq.Beat{Worker: text(late[i])}
				if number(late[i+1]) < 0 {
					b.No = -1
				}
				if expired[b] == nil {
					expired[b] = beats{}
				}
				expired[b][t.part] = number(late[i+1])
				s.late.note(b.Worker, t.part, number(late[i+1]), time.Duration(number(late[i+2]))*time.Millisecond)
			}
		}
	}
	if early > 0 {
		s.log(slog.LevelWarn, "redisstore: finished jobs were pruned before their retention passed: a partition keeps Config.RetentionMax of them",
			"pruned", early, "retention_max", s.config.RetentionMax)
	}
	if err := s.lost(ctx, r, expired, &swept); err != nil && failed == nil {
		failed = err
	}
	for b, at := range expired {
		if len(at) > 0 {
			swept.Expired = append(swept.Expired, onceq.Beat{Worker: b.Worker, No: at.max()})
		}
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.No, b.No)) })
	if failed != nil && (swept.Jobs > 0 || swept.Keys > 0) {
		failed = uncertain(failed)
	}
	return swept, failed
}

// beats are those of one worker on the partitions where its lease is over.
type beats map[int]int64

func (at beats) max() int64 {
	no := int64(-1)
	for _, beat := range at {
		no = max(no, beat)
	}
	return no
}

// lateness is since when this process has seen a worker's beat stand still on a partition. Where the partitions have heard different beats of
// a worker, the largest of them, which is shown, does not tell that another has moved.
type lateness struct {
	mu   sync.Mutex
	seen map[seat]stillness
}

type seat struct {
	worker string
	part   int
}

type stillness struct {
	beat  int64
	lease time.Duration
	since time.Time
	last  time.Time
}

// note is called with what a sweep has seen.
func (l *lateness) note(worker string, part int, beat int64, lease time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, now := seat{worker, part}, time.Now()
	still, ok := l.seen[at]
	if !ok || still.beat != beat {
		still = stillness{beat: beat, since: now}
	}
	still.lease, still.last = lease, now
	if l.seen == nil {
		l.seen = map[seat]stillness{}
	}
	l.seen[at] = still
	if len(l.seen) > 10_000 {
		for at, s := range l.seen {
			if now.Sub(s.last) > time.Hour {
				delete(l.seen, at)
			}
		}
	}
}

// stands reports whether a beat was seen twice, a third of its lease apart.
func (l *lateness) stands(worker string, part int, beat int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	still, ok := l.seen[seat{worker, part}]
	return ok && still.beat == beat && time.Since(still.since) >= still.lease/3
}

// lost lists the runs of workers that were seen twice with the same beat, and forgets those that have none left anywhere.
func (s *Store) lost(ctx context.Context, r onceq.SweepRequest, expired map[onceq.Beat]beats, swept *onceq.Swept) error {
	if len(r.Lost) == 0 {
		return nil
	}
	args := make([][]any, len(s.parts))
	for _, lost := range r.Lost {
		at := expired[onceq.Beat{Worker: lost.Worker, No: min(lost.No, 0)}]
		if at.max() != lost.No {
			continue
		}
		alike := lost.No == -1 || len(at) == len(s.parts) // then what the caller has seen is all there is to see
		for _, beat := range at {
			alike = alike && beat == lost.No
		}
		for p, beat := range at {
			if alike || s.late.stands(lost.Worker, p, beat) {
				args[p] = append(args[p], lost.Worker, beat)
			}
		}
	}
	idle := map[string][]int{} // the partitions where a worker has no run
	busy := map[string]bool{}
	single := len(s.parts) == 1
	for p, workers := range args {
		if len(workers) == 0 {
			continue
		}
		limit := min(r.Limit-len(swept.Runs), perScript)
		if limit <= 0 {
			swept.More = true
			for i := 0; i < len(workers); i += 2 {
				busy[text(workers[i])] = true
			}
			continue
		}
		t := &trip{script: luaLost, part: p, args: append([]any{limit, flag(single), len(workers) / 2}, workers...)}
		if err := s.do(ctx, t); err != nil {
			return err
		}
		for _, v := range list(t.reply[0]) {
			j, err := s.readTriple(ctx, p, "", v, t.now)
			if err != nil {
				return err
			}
			swept.Runs = append(swept.Runs, &j.JobRow)
			busy[j.Worker] = true
		}
		if number(t.reply[1]) == 1 {
			swept.More = true
		}
		for _, worker := range list(t.reply[2]) {
			idle[text(worker)] = append(idle[text(worker)], p)
		}
	}
	order := map[string]int{}
	for i, lost := range r.Lost {
		order[lost.Worker] = i
	}
	slices.SortFunc(swept.Runs, func(a, b *onceq.JobRow) int { return cmp.Or(order[a.Worker]-order[b.Worker], cmp.Compare(a.ID, b.ID)) })
	for worker, parts := range idle {
		if busy[worker] {
			continue
		}
		known := expired[onceq.Beat{Worker: worker}]
		var trips []*trip
		for _, p := range parts {
			if beat, ok := known[p]; ok && !single {
				trips = append(trips, &trip{script: luaLost, part: p, args: []any{0, "1", 1, worker, beat}})
			}
			delete(known, p)
		}
		if len(trips) > 0 {
			if err := s.do(ctx, trips...); err != nil {
				return err
			}
		}
	}
	return nil
}
