package pgstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/onceq/onceq"
)

// Sweep tidies.
func (s *Store) Sweep(ctx context.Context, w onceq.SweepRequest) (onceq.Swept, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Swept{}, s.wrap("sweep", err)
	}
	defer leave()
	lost, beats := make([]string, len(w.Lost)), make([]int64, len(w.Lost))
	for i, b := range w.Lost {
		lost[i], beats[i] = b.Worker, b.No
	}
	var swept onceq.Swept
	err = s.retry(ctx, idempotent, func(ctx context.Context) error {
		swept = onceq.Swept{}
		return s.query(ctx, s.sql.sweep, func(r *record) {
			what, worker, now, n := r.int(), r.string(), r.int64(), r.int64()
			switch what {
			case sweepExpired:
				swept.Expired = append(swept.Expired, onceq.Beat{Worker: worker, No: n})
			case sweepRun:
				j := r.job(now)
				if j != nil {
					j.Args = nil
				}
				swept.Runs = append(swept.Runs, j)
			case sweepJobs:
				swept.Jobs = int(n)
			case sweepKeys:
				swept.Keys = int(n)
			case sweepMore:
				swept.More = true
			}
		}, w.Limit, lost, beats)
	})
	if err != nil {
		return onceq.Swept{}, s.wrap("sweep", err)
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Compare(a.Worker, b.Worker) })
	return swept, nil
}
