package memstore

import (
	"bytes"
	"cmp"
	"context"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Extend is a worker's heartbeat.
func (s *Store) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.Extended{}, err
	}
	defer st.end()
	var e onceq.Extended
	inHand := map[onceq.Run]bool{}
	for _, run := range r.Runs {
		j := s.jobs[run.ID]
		switch {
		case j == nil || j.State != onceq.Running || j.Run != run.Run || j.Worker != r.Worker:
			e.Lost = append(e.Lost, run)
			continue
		case j.CancelRequested:
			e.Stop = append(e.Stop, run)
		}
		inHand[run] = true
	}
	for _, j := range s.runs(r.Worker) {
		if r.Lease == 0 || j.FetchNo <= r.FetchesDone && !inHand[onceq.Run{ID: j.ID, Run: j.Run}] {
			k := st.key(j.Key)
			st.HandBack(j, k)
			st.save(k, j)
			e.Back++
		}
	}
	if r.Lease == 0 {
		delete(s.workers, r.Worker)
		return e, nil
	}
	w := s.workers[r.Worker]
	if w == nil {
		w = &worker{since: st.Now}
		s.workers[r.Worker] = w
	}
	w.leaseEnds = st.Now + r.Lease.Milliseconds()
	w.beat++
	if w.beatAt = st.Now; r.About != nil {
		w.about = bytes.Clone(r.About)
	}
	return e, nil
}

// runs returns the running jobs of a worker.
func (s *Store) runs(worker string) []*rules.Job {
	return s.sorted(func(j *rules.Job) bool { return j.State == onceq.Running && j.Worker == worker },
		func(a, b *rules.Job) int { return cmp.Compare(a.ID, b.ID) })
}
