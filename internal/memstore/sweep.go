package memstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Sweep tidies.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.Swept{}, err
	}
	defer st.end()
	var swept onceq.Swept
	st.sweepWorkers(r, &swept)
	for _, j := range s.sorted(func(j *rules.Job) bool { return j.State.Finished() && j.PruneMS <= st.Now },
		func(a, b *rules.Job) int { return cmp.Or(cmp.Compare(a.PruneMS, b.PruneMS), cmp.Compare(a.ID, b.ID)) }) {
		if swept.Jobs == r.Limit {
			swept.More = true
			break
		}
		k := st.key(j.Key)
		st.Prune(j, k)
		st.save(k, j)
		swept.Jobs++
	}
	for name, k := range s.keys {
		if k.Held(st.Now) {
			continue
		}
		if swept.Keys == r.Limit {
			swept.More = true
			break
		}
		delete(s.keys, name)
		swept.Keys++
	}
	return swept, nil
}

// sweepWorkers lists the runs of confirmed lost workers, and names those
// whose lease is over.
func (st *step) sweepWorkers(r onceq.SweepRequest, swept *onceq.Swept) {
	for _, beat := range r.Lost {
		w := st.workers[beat.Worker]
		if w == nil && beat.No != -1 || w != nil && (w.beat != beat.No || w.leaseEnds > st.Now) {
			continue
		}
		runs := st.runs(beat.Worker)
		if len(runs) == 0 {
			delete(st.workers, beat.Worker)
		}
		for _, j := range runs {
			if len(swept.Runs) == r.Limit {
				swept.More = true
				break
			}
			row := j.View(st.Now)
			row.Args = nil // a rescue does not need them
			swept.Runs = append(swept.Runs, own(row))
		}
	}
	for name, w := range st.workers {
		if w.leaseEnds <= st.Now {
			swept.Expired = append(swept.Expired, onceq.Beat{Worker: name, No: w.beat})
		}
	}
	for _, j := range st.jobs {
		stray := onceq.Beat{Worker: j.Worker, No: -1}
		if j.State == onceq.Running && st.workers[j.Worker] == nil && !slices.Contains(swept.Expired, stray) {
			swept.Expired = append(swept.Expired, stray)
		}
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Compare(a.Worker, b.Worker) })
}
