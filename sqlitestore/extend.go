package sqlitestore

import (
	"context"

	"github.com/onceq/onceq"
)

// Extend is a worker's heartbeat.
func (s *Store) Extend(ctx context.Context, r onceq.ExtendRequest) (e onceq.Extended, err error) {
	err = s.write(ctx, "extend the lease of "+r.Worker, func(st *step) (err error) {
		e, err = st.extend(r)
		return err
	})
	return e, err
}

func (st *step) extend(r onceq.ExtendRequest) (e onceq.Extended, err error) {
	inHand := map[onceq.Run]bool{}
	for _, run := range r.Runs {
		inHand[run] = true
	}
	fetched := r.FetchesDone
	if r.Lease == 0 { // the worker leaves: all its runs are handed back
		fetched = onceq.Never
	}
	stops := map[onceq.Run]bool{} // all runs of the worker: whether they are to stop
	var back []string
	if err := st.each(sqlWorkerRuns, 4, func(v []any) error {
		run := onceq.Run{ID: text(v[0]), Run: integer(v[1])}
		flags := blob(v[3])
		stops[run] = len(flags) == 1 && flags[0]&flagCancelRequested != 0
		if integer(v[2]) <= fetched && (r.Lease == 0 || !inHand[run]) {
			back = append(back, run.ID)
		}
		return nil
	}, r.Worker); err != nil {
		return e, err
	}
	for _, run := range r.Runs {
		switch stop, runs := stops[run]; {
		case !runs:
			e.Lost = append(e.Lost, run)
		case stop:
			e.Stop = append(e.Stop, run)
		}
	}
	if err := st.handBack(back); err != nil {
		return e, err
	}
	e.Back = len(back)
	if r.Lease == 0 {
		return e, st.exec(sqlDeleteWorker, r.Worker)
	}
	return e, st.exec(sqlPutWorker, r.Worker, st.Now+r.Lease.Milliseconds(), st.Now, string(r.About))
}

// handBack hands back jobs that their worker does not know, or leaves.
func (st *step) handBack(ids []string) error {
	if err := st.readJobs(ids); err != nil {
		return err
	}
	for _, id := range ids {
		j, err := st.job(id)
		if err != nil {
			return err
		}
		k, err := st.keyOf(j)
		if err != nil {
			return err
		}
		st.HandBack(j.Job, k)
	}
	return st.absorb()
}
