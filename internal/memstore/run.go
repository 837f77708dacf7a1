package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// Fetch starts due jobs.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return onceq.Fetched{}, err
	}
	defer end()
	if s.workers[r.Worker] == nil {
		return onceq.Fetched{}, onceq.ErrLeaseLost
	}
	f := onceq.Fetched{NextDue: -1}
	bytes := 0
	sleep := func(d int64) {
		if f.NextDue < 0 || time.Duration(d)*time.Millisecond < f.NextDue {
			f.NextDue = time.Duration(d) * time.Millisecond
		}
	}
	for _, q := range r.Queues {
		if s.paused[q.Queue] {
			continue
		}
		waiting := s.sorted(func(j *job) bool {
			return j.Queue == q.Queue && j.State.Waiting() && j.Behind == "" && (r.Kinds == nil || slices.Contains(r.Kinds, j.Kind))
		}, func(a, b *job) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.ID, b.ID))
		})
		slots := q.Slots
		for _, j := range waiting {
			switch {
			case j.runAt > now:
				sleep(j.runAt - now)
			case slots > 0 && (r.MaxBytes == 0 || len(f.Jobs) == 0 || bytes+len(j.Args)+len(j.meta) <= r.MaxBytes):
				slots--
				bytes += len(j.Args) + len(j.meta)
				s.start(j, r, now)
				f.Jobs = append(f.Jobs, j.view(now))
			default:
				sleep(0)
				slots = 0 // what comes later in this queue does not overtake
			}
		}
	}
	return f, nil
}

func (s *Store) start(j *job, r onceq.FetchRequest, now int64) {
	j.State, j.StartedAt, j.Worker, j.fetchNo = onceq.Running, instant(now), r.Worker, r.No
	j.Attempt++
	j.Run++
	if j.Key == nil {
		return
	}
	if k := s.keys[*j.Key]; k != nil && k.holder == j.ID && k.gone == nil && k.pending == onceq.UntilStarted {
		s.come(*j.Key, k, j, now)
	}
}

// Extend is a worker's heartbeat.
func (s *Store) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return onceq.Extended{}, err
	}
	defer end()
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
	for _, j := range s.sorted(func(j *job) bool {
		return j.State == onceq.Running && j.Worker == r.Worker && (r.Lease == 0 || j.fetchNo <= r.FetchesDone && !inHand[onceq.Run{ID: j.ID, Run: j.Run}])
	}, func(a, b *job) int { return cmp.Compare(a.ID, b.ID) }) {
		s.end(j, onceq.Finish{ID: j.ID, Run: j.Run, State: onceq.Scheduled, GiveBack: true}, now)
		s.notify(j.Queue)
		e.Back++
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
	w.leaseEnds = now + r.Lease.Milliseconds()
	w.beat++
	return e, nil
}

// Finish ends runs.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	fs := r.Runs
	now, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]onceq.FinishResult, len(fs))
	for i, f := range fs {
		j := s.jobs[f.ID]
		switch {
		case j == nil:
			results[i].Status = onceq.FinishGone
		case j.Run == f.Run && j.State == onceq.Running && (j.Worker == f.Worker || f.Rescue):
			results[i] = s.end(j, f, now)
		case j.Run == f.Run && j.State != onceq.Running && j.Worker == f.Worker:
			results[i].State = j.State // a repeat
		default:
			results[i].Status = onceq.FinishLost
		}
	}
	return results, nil
}

// maxErrors is how many errors are kept with a job.
const maxErrors = 5

// end ends the current run of a job.
func (s *Store) end(j *job, f onceq.Finish, now int64) onceq.FinishResult {
	state := f.State
	if j.CancelRequested && state != onceq.Completed {
		state = onceq.Cancelled
	}
	j.Worker = f.Worker
	if f.Error != "" {
		j.Errors = append(j.Errors, onceq.AttemptError{Attempt: j.Attempt, Run: j.Run, At: instant(now), Error: f.Error, Stack: f.Stack})
		j.Errors = j.Errors[max(0, len(j.Errors)-maxErrors):]
	}
	if f.GiveBack {
		j.Attempt--
	}
	result := onceq.FinishResult{State: state}
	if !state.Finished() {
		j.State, j.runAt = state, now+f.Delay.Milliseconds()
		if f.Delay == 0 {
			result.Wake = j.Queue
		}
	} else {
		j.finish(state, now)
		result.Wake = s.ended(j, false, now)
		if j.Retention == 0 {
			s.remove(j, true, now)
		}
	}
	if result.Wake != "" {
		s.notify(result.Wake)
	}
	return result
}

// Sweep tidies.
func (s *Store) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return onceq.Swept{}, err
	}
	defer end()
	var swept onceq.Swept
	for _, beat := range r.Lost {
		w := s.workers[beat.Worker]
		if w == nil && beat.No != -1 || w != nil && (w.beat != beat.No || w.leaseEnds > now) {
			continue
		}
		runs := s.sorted(func(j *job) bool { return j.State == onceq.Running && j.Worker == beat.Worker },
			func(a, b *job) int { return cmp.Compare(a.ID, b.ID) })
		if len(runs) == 0 {
			delete(s.workers, beat.Worker)
		}
		for _, j := range runs {
			if len(swept.Runs) == r.Limit {
				swept.More = true
				break
			}
			swept.Runs = append(swept.Runs, j.view(now))
		}
	}
	for name, w := range s.workers {
		if w.leaseEnds <= now {
			swept.Expired = append(swept.Expired, onceq.Beat{Worker: name, No: w.beat})
		}
	}
	for _, j := range s.jobs {
		if stray := (onceq.Beat{Worker: j.Worker, No: -1}); j.State == onceq.Running && s.workers[j.Worker] == nil && !slices.Contains(swept.Expired, stray) {
			swept.Expired = append(swept.Expired, stray)
		}
	}
	slices.SortFunc(swept.Expired, func(a, b onceq.Beat) int { return cmp.Compare(a.Worker, b.Worker) })
	for _, j := range s.sorted(func(j *job) bool { return j.State.Finished() && j.pruneAt <= now },
		func(a, b *job) int { return cmp.Or(cmp.Compare(a.pruneAt, b.pruneAt), cmp.Compare(a.ID, b.ID)) }) {
		if swept.Jobs == r.Limit {
			swept.More = true
			break
		}
		s.remove(j, true, now)
		swept.Jobs++
	}
	for name, k := range s.keys {
		if k.held(now) {
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
