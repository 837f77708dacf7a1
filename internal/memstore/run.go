package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Fetch starts due jobs.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.Fetched{}, err
	}
	defer st.end()
	if s.workers[r.Worker] == nil {
		return onceq.Fetched{}, onceq.ErrLeaseLost
	}
	f := onceq.Fetched{NextDue: -1}
	nextIn := func(ms int64) {
		if d := time.Duration(ms) * time.Millisecond; f.NextDue < 0 || d < f.NextDue {
			f.NextDue = d
		}
	}
	size := 0
	for _, q := range r.Queues {
		if s.paused[q.Queue] {
			continue
		}
		slots := q.Slots
		for _, j := range s.waiting(q.Queue, r.Kinds) {
			n := len(j.Args) + len(j.MetaJSON)
			switch {
			case j.RunMS > st.Now:
				nextIn(j.RunMS - st.Now)
			case slots == 0:
				nextIn(0)
			case r.MaxBytes > 0 && len(f.Jobs) > 0 && size+n > r.MaxBytes:
				slots = 0 // a later job of this queue must not overtake this one
				nextIn(0)
			default:
				slots--
				size += n
				k := st.key(j.Key)
				st.Start(j, k, r.Worker, r.No)
				st.save(k)
				f.Jobs = append(f.Jobs, st.view(j))
			}
		}
	}
	return f, nil
}

// waiting returns the jobs of a queue that stand behind no other, in the
// order in which they are fetched.
func (s *Store) waiting(queue string, kinds []string) []*rules.Job {
	return s.sorted(func(j *rules.Job) bool {
		return j.Queue == queue && j.State.Waiting() && j.Behind == "" &&
			(kinds == nil || slices.Contains(kinds, j.Kind))
	}, func(a, b *rules.Job) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.RunMS, b.RunMS), cmp.Compare(a.ID, b.ID))
	})
}

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
		w = &worker{}
		s.workers[r.Worker] = w
	}
	w.leaseEnds = st.Now + r.Lease.Milliseconds()
	w.beat++
	return e, nil
}

// runs returns the running jobs of a worker.
func (s *Store) runs(worker string) []*rules.Job {
	return s.sorted(func(j *rules.Job) bool { return j.State == onceq.Running && j.Worker == worker },
		func(a, b *rules.Job) int { return cmp.Compare(a.ID, b.ID) })
}

// Finish ends runs.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	results := make([]onceq.FinishResult, len(r.Runs))
	for i, f := range r.Runs {
		j := s.jobs[f.ID]
		var k *rules.Key
		if j != nil {
			k = st.key(j.Key)
		}
		results[i] = st.Book.Finish(j, k, f)
		st.save(k, j)
	}
	return results, nil
}

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
