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

// laps is how many more stretches of finished jobs a sweep looks at on a
// partition that keeps too many, where none of a stretch may be pruned.
const laps = 10

// Sweep tidies all partitions. Each partition knows the workers by itself.
// The beat of a worker is shown as the largest of those on the partitions
// where its lease is over; the beats of each partition are remembered until
// that beat is named as lost.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Swept{}, err
	}
	defer leave()
	sw := &sweep{s: s, r: r, expired: map[onceq.Beat]beats{}, looks: make([]int, len(s.parts))}
	parts := make([]int, len(s.parts))
	for p := range parts {
		parts[p] = p
	}
	// First each partition gets an equal part of the limit, then those with
	// more to do share the rest of it.
	for round := 0; len(parts) > 0 && sw.failed == nil; round++ {
		left := max(0, r.Limit-max(sw.swept.Jobs, sw.swept.Keys))
		if round > 0 && left == 0 {
			sw.swept.More = true
			break
		}
		each := left / len(parts)
		var later []int
		if round > 0 {
			each = max(each, 1)
			n := min(len(parts), left)
			parts, later = parts[:n:n], parts[n:]
		}
		parts = append(later, sw.round(ctx, parts, min(each, perScript), round == 0)...)
	}
	sw.tell()
	if sw.failed == nil {
		sw.failed = s.lost(ctx, r, sw.expired, &sw.swept)
	}
	for b, at := range sw.expired {
		if len(at) > 0 {
			sw.swept.Expired = append(sw.swept.Expired, onceq.Beat{Worker: b.Worker, No: at.max()})
		}
	}
	slices.SortFunc(sw.swept.Expired, func(a, b onceq.Beat) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.No, b.No))
	})
	if sw.failed != nil && (sw.swept.Jobs > 0 || sw.swept.Keys > 0) {
		sw.failed = uncertain(sw.failed)
	}
	return sw.swept, sw.failed
}

// sweep is one sweep under way.
type sweep struct {
	s       *Store
	r       onceq.SweepRequest
	swept   onceq.Swept
	failed  error
	expired map[onceq.Beat]beats // by worker, with No 0 or (where it is not known) -1
	looks   []int                // by partition: how many stretches had nothing to prune
	early   int                  // jobs pruned before their time
	stays   int                  // finished jobs beyond the cap that may not be pruned
}

// round sweeps partitions, and returns those with more to do.
func (sw *sweep) round(ctx context.Context, parts []int, limit int, first bool) (more []int) {
	s := sw.s
	trips := make([]*trip, len(parts))
	for i, p := range parts {
		trips[i] = &trip{script: luaSweep, part: p, args: []any{limit, s.config.RetentionMax, flag(first)}}
	}
	sw.failed = s.do(ctx, trips...)
	for _, t := range trips {
		if t.err != nil {
			continue
		}
		early := int(number(t.reply[1]))
		sw.swept.Jobs += int(number(t.reply[0]))
		sw.early += early
		sw.swept.Keys += int(number(t.reply[2]))
		looksOn := number(t.reply[6]) == 1
		if looksOn && early == 0 {
			sw.looks[t.part]++
		}
		if number(t.reply[3]) == 1 || looksOn && sw.looks[t.part] <= laps {
			more = append(more, t.part)
		}
		if number(t.reply[7]) == 1 {
			sw.stays += int(number(t.reply[5]))
		}
		if !first {
			continue
		}
		if text(t.reply[8]) == formOld {
			if err := s.upgrade(ctx, t.part); err != nil && sw.failed == nil {
				sw.failed = err
			}
		}
		late := list(t.reply[4])
		for i := 0; i+2 < len(late); i += 3 {
			b := onceq.Beat{Worker: text(late[i])}
			if number(late[i+1]) < 0 {
				b.No = -1
			}
			if sw.expired[b] == nil {
				sw.expired[b] = beats{}
			}
			sw.expired[b][t.part] = number(late[i+1])
			s.late.note(b.Worker, t.part, number(late[i+1]), time.Duration(number(late[i+2]))*time.Millisecond)
		}
	}
	return more
}

// tellEvery is how often it is said that there are more finished jobs than
// there should be.
const tellEvery = time.Hour

// tell says what was done about too many finished jobs, and what could not be.
func (sw *sweep) tell() {
	s := sw.s
	if sw.early > 0 {
		s.log(slog.LevelWarn, "onceq: finished jobs pruned early",
			"pruned", sw.early, "retention_max", s.config.RetentionMax)
	}
	if sw.stays == 0 {
		return
	}
	s.mu.Lock()
	due := time.Since(s.told) > tellEvery
	if due {
		s.told = time.Now()
	}
	s.mu.Unlock()
	if due {
		s.log(slog.LevelWarn, "onceq: too many finished jobs", "beyond", sw.stays,
			"retention_max", s.config.RetentionMax,
			"hint", "they have an ID of the caller's or hold a key: shorten their Retention, or add memory")
	}
}

// beats has the beat of one worker on each partition where its lease is
// over.
type beats map[int]int64

func (at beats) max() int64 {
	no := int64(-1)
	for _, beat := range at {
		no = max(no, beat)
	}
	return no
}

// lateness remembers since when this process has seen the beat of a worker
// unchanged on a partition. Partitions may have heard different beats of a
// worker, and the largest, which is shown, does not tell whether another
// has moved.
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

// note records what a sweep has seen.
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

// lost lists the runs of workers that were seen twice with the same beat.
// It forgets the workers that have no run left anywhere.
func (s *Store) lost(ctx context.Context, r onceq.SweepRequest, expired map[onceq.Beat]beats,
	swept *onceq.Swept) error {
	if len(r.Lost) == 0 {
		return nil
	}
	idle := map[string][]int{} // the partitions where a worker has no run
	busy := map[string]bool{}
	single := len(s.parts) == 1
	for p, workers := range s.confirmed(r.Lost, expired) {
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
			j, err := s.readTriple(ctx, t, "", v)
			if err != nil {
				return err
			}
			j.Args = nil
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
	slices.SortFunc(swept.Runs, func(a, b *onceq.JobRow) int {
		return cmp.Or(order[a.Worker]-order[b.Worker], cmp.Compare(a.ID, b.ID))
	})
	for worker := range busy {
		delete(idle, worker)
	}
	return s.forget(ctx, idle, expired)
}

// confirmed are, by partition, the workers that are lost there, each with
// its beat.
func (s *Store) confirmed(lost []onceq.Beat, expired map[onceq.Beat]beats) [][]any {
	workers := make([][]any, len(s.parts))
	for _, b := range lost {
		at := expired[onceq.Beat{Worker: b.Worker, No: min(b.No, 0)}]
		if at.max() != b.No {
			continue
		}
		alike := b.No == -1 || len(at) == len(s.parts) // then the caller has seen all of its beats
		for _, beat := range at {
			alike = alike && beat == b.No
		}
		for p, beat := range at {
			if alike || s.late.stands(b.Worker, p, beat) {
				workers[p] = append(workers[p], b.Worker, beat)
			}
		}
	}
	return workers
}

// forget takes workers without a run off their partitions. A single
// partition has forgotten them already.
func (s *Store) forget(ctx context.Context, idle map[string][]int, expired map[onceq.Beat]beats) error {
	for worker, parts := range idle {
		known := expired[onceq.Beat{Worker: worker}]
		var trips []*trip
		for _, p := range parts {
			if beat, ok := known[p]; ok && len(s.parts) > 1 {
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
