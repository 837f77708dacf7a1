package memstore

import (
	"context"
	"slices"

	"github.com/onceq/onceq"
)

// Change is an operator's step.
func (s *Store) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	switch c.Op {
	case onceq.OpPause:
		s.paused[c.Queue] = true
		return make([]onceq.ChangeResult, 1), nil
	case onceq.OpResume:
		delete(s.paused, c.Queue)
		s.notify(c.Queue)
		return make([]onceq.ChangeResult, 1), nil
	case onceq.OpRelease:
		return []onceq.ChangeResult{{Err: s.release(c.Key, now)}}, nil
	}
	results := make([]onceq.ChangeResult, len(c.IDs))
	for i, id := range c.IDs {
		results[i] = s.change(c, id, now)
	}
	return results, nil
}

func (s *Store) change(c onceq.Change, id string, now int64) onceq.ChangeResult {
	j := s.jobs[id]
	if j == nil || c.States != nil && !slices.Contains(c.States, j.state(now)) {
		return onceq.ChangeResult{Err: onceq.ErrNotFound}
	}
	before := j.view(now)
	var err error
	switch c.Op {
	case onceq.OpCancel:
		err = s.cancel(j, now)
	case onceq.OpRetry:
		err = s.retry(j, c.WithoutKey, now)
	case onceq.OpRunNow:
		err = s.runNow(j, now)
	case onceq.OpDelete:
		if j.State == onceq.Running {
			err = refuse(j.State, "cannot be deleted: cancel the job first, and delete it when its run has ended")
			break
		}
		s.wake(s.ended(j, true, now))
		s.remove(j, false, now)
		return onceq.ChangeResult{Job: before}
	}
	if err != nil {
		return onceq.ChangeResult{Job: before, Err: err}
	}
	return onceq.ChangeResult{Job: j.view(now)}
}

func (s *Store) wake(queue string) {
	if queue != "" {
		s.notify(queue)
	}
}

func (s *Store) cancel(j *job, now int64) error {
	switch {
	case j.State == onceq.Running:
		j.CancelRequested = true
		s.notifyStop(j.Worker)
	case j.State == onceq.Cancelled:
	case j.State.Finished():
		return refuse(j.State, "cannot be cancelled: the job has ended")
	default:
		j.finish(onceq.Cancelled, now)
		s.wake(s.ended(j, false, now))
		if j.Retention == 0 {
			s.remove(j, true, now)
		}
	}
	return nil
}

func (s *Store) runNow(j *job, now int64) error {
	switch {
	case !j.State.Waiting():
		return refuse(j.state(now), "cannot be run now: only a waiting job can; a finished one can be retried")
	case j.Behind != "":
		return refuse(j.state(now), "cannot be run now: the job stands behind the run of "+j.Behind+" and is due when that has ended")
	case j.runAt > now:
		s.moveRun(j, now, now)
		s.notify(j.Queue)
	}
	return nil
}

func (s *Store) retry(j *job, withoutKey bool, now int64) error {
	if j.State == onceq.Retryable {
		return s.runNow(j, now)
	}
	if !j.State.Finished() {
		return refuse(j.state(now), "cannot be retried: only a finished or a retryable job can")
	}
	if j.Key != nil {
		k := s.keys[*j.Key]
		own := k.held(now) && k.holder == j.ID && k.gone == nil && k.next == ""
		switch {
		case k.held(now) && !own && !withoutKey:
			held := k.view(s, *j.Key, now)
			return &onceq.DuplicateError{Kind: j.Kind, Queue: j.Queue, Conflict: *held.Conflict(j.Digest)}
		case k.held(now) && !own:
			j.Keyless = true
		default:
			since := now
			if own {
				since = k.since
			}
			j.Keyless, j.anchor, j.runAt = false, now, now
			s.take(j, now)
			if k := s.keys[*j.Key]; k != nil {
				k.since = since
			}
		}
	}
	j.State, j.runAt, j.MaxAttempts = onceq.Scheduled, now, max(j.MaxAttempts, j.Attempt+1)
	j.FinishedAt, j.pruneAt, j.Worker, j.SupersededBy, j.CancelRequested = instant(0), 0, "", "", false
	s.notify(j.Queue)
	return nil
}

// release frees a key by hand.
func (s *Store) release(name onceq.Key, now int64) error {
	k := s.keys[name]
	if !k.held(now) {
		return onceq.ErrNotFound
	}
	s.settle(k, now)
	if k.gone == nil {
		j := s.jobs[k.holder]
		if j.Behind != "" {
			return refuse(j.ID, "holds the key and stands behind the run of "+j.Behind+": cancel or delete that waiting job instead")
		}
		j.Keyless = true
	}
	if k.next == "" {
		delete(s.keys, name)
		return nil
	}
	k.holder, k.next, k.since, k.gone = k.next, "", now, nil
	k.pending, k.freesAt = pending(s.jobs[k.holder]), onceq.Never
	return nil
}
