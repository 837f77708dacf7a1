package sqlitestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

var (
	sqlPause  = load("pause")
	sqlResume = load("resume")
)

// Change is an operator's step.
func (s *Store) Change(ctx context.Context, c onceq.Change) (results []onceq.ChangeResult, err error) {
	what := fmt.Sprintf("change %d jobs", len(c.IDs))
	switch c.Op {
	case onceq.OpPause:
		what = "pause " + c.Queue
	case onceq.OpResume:
		what = "resume " + c.Queue
	case onceq.OpRelease:
		what = "release key " + c.Key.String()
	default:
		if len(c.IDs) == 1 {
			what = "change " + c.IDs[0]
		}
	}
	err = s.write(ctx, what, func(st *step) (err error) {
		results, err = st.changeAll(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (st *step) changeAll(c onceq.Change) ([]onceq.ChangeResult, error) {
	switch c.Op {
	case onceq.OpPause:
		return make([]onceq.ChangeResult, 1), st.exec(sqlPause, c.Queue)
	case onceq.OpResume:
		n, err := st.affect(sqlResume, c.Queue)
		if n > 0 {
			st.due[c.Queue] = true
		}
		return make([]onceq.ChangeResult, 1), err
	case onceq.OpRelease:
		refusal, err := st.releaseKey(c.Key)
		return []onceq.ChangeResult{{Err: refusal}}, err
	}
	if err := st.readJobs(c.IDs); err != nil {
		return nil, err
	}
	if err := st.readKeys(); err != nil {
		return nil, err
	}
	results := make([]onceq.ChangeResult, len(c.IDs))
	for i, id := range c.IDs {
		var err error
		if results[i], err = st.changeOne(c, id); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (st *step) changeOne(c onceq.Change, id string) (onceq.ChangeResult, error) {
	j, err := st.job(id)
	if err != nil {
		return onceq.ChangeResult{}, err
	}
	if j == nil || c.States != nil && !slices.Contains(c.States, j.shown(st.now)) {
		return onceq.ChangeResult{Err: onceq.ErrNotFound}, nil
	}
	before := j.view(st.now)
	var refusal error
	switch c.Op {
	case onceq.OpCancel:
		refusal, err = st.cancel(j)
	case onceq.OpRetry:
		refusal, err = st.retry(j, c.WithoutKey)
	case onceq.OpRunNow:
		refusal, err = st.runNow(j)
	case onceq.OpDelete:
		if j.State == onceq.Running {
			refusal = refuse(string(j.State), "cannot be deleted: cancel the job first, and delete it when its run has ended")
			break
		}
		if _, err = st.ended(j, true); err == nil {
			err = st.remove(j, false)
		}
		return onceq.ChangeResult{Job: before}, err
	default:
		err = fmt.Errorf("unknown operation %d", c.Op)
	}
	if err != nil {
		return onceq.ChangeResult{}, err
	}
	if refusal != nil {
		return onceq.ChangeResult{Job: before, Err: refusal}, nil
	}
	return onceq.ChangeResult{Job: j.view(st.now)}, nil
}

// refuse is the answer to an operator's step that a job's state does not allow.
func refuse(value, rule string) error {
	return &onceq.InvalidError{Field: "state", Value: value, Rule: rule}
}

func (st *step) cancel(j *job) (refusal, err error) {
	switch {
	case j.State == onceq.Running:
		if !j.CancelRequested {
			j.CancelRequested = true
			st.change(j)
		}
	case j.State == onceq.Cancelled:
	case j.State.Finished():
		return refuse(string(j.State), "cannot be cancelled: the job has ended"), nil
	default:
		st.finish(j, onceq.Cancelled)
		if _, err := st.ended(j, false); err != nil {
			return nil, err
		}
		if j.Retention == 0 {
			return nil, st.remove(j, true)
		}
	}
	return nil, nil
}

func (st *step) runNow(j *job) (refusal, err error) {
	switch {
	case !j.State.Waiting():
		return refuse(string(j.shown(st.now)), "cannot be run now: only a waiting job can; a finished one can be retried"), nil
	case j.Behind != "":
		return refuse(string(j.shown(st.now)), "cannot be run now: the job stands behind the run of "+j.Behind+" and is due when that has ended"), nil
	case j.runAt > st.now:
		return nil, st.moveRun(j, st.now)
	}
	return nil, nil
}

func (st *step) retry(j *job, withoutKey bool) (refusal, err error) {
	if j.State == onceq.Retryable {
		return st.runNow(j)
	}
	if !j.State.Finished() {
		return refuse(string(j.shown(st.now)), "cannot be retried: only a finished or a retryable job can"), nil
	}
	if j.Key != nil {
		k, err := st.key(*j.Key)
		if err != nil {
			return nil, err
		}
		held := k.held(st.now)
		own := held && k.heldBy(j) && k.next == 0
		switch {
		case held && !own && !withoutKey:
			h, _, err := st.look(k)
			if err != nil {
				return nil, err
			}
			return &onceq.DuplicateError{Kind: j.Kind, Queue: j.Queue, Conflict: *h.Conflict(j.Digest)}, nil
		case held && !own:
			j.Keyless = true
		default:
			since := st.now
			if own {
				since = k.since
			}
			j.Keyless, j.anchor, j.runAt = false, st.now, st.now
			if err := st.take(j); err != nil {
				return nil, err
			}
			st.keys[*j.Key].since = since
		}
	}
	st.change(j)
	j.State, j.runAt, j.MaxAttempts = onceq.Scheduled, st.now, max(j.MaxAttempts, j.Attempt+1)
	j.FinishedAt, j.pruneAt, j.Worker, j.SupersededBy, j.CancelRequested = instant(0), 0, "", "", false
	st.wake(j)
	return nil, nil
}

// releaseKey frees a key by hand.
func (st *step) releaseKey(name onceq.Key) (refusal, err error) {
	k, err := st.key(name)
	if err != nil {
		return nil, err
	}
	if !k.held(st.now) {
		return onceq.ErrNotFound, nil
	}
	if err := st.settle(k); err != nil {
		return nil, err
	}
	if k.gone == nil {
		j, err := st.at(k.holder)
		if err != nil {
			return nil, err
		}
		if j == nil {
			return nil, errOrphan(k)
		}
		if j.Behind != "" {
			return refuse(j.ID, "holds the key and stands behind the run of "+j.Behind+": cancel or delete that waiting job instead"), nil
		}
		j.Keyless = true
		st.change(j)
	}
	if k.next != 0 {
		return nil, st.pass(k, st.now)
	}
	k.freesAt = st.now // free from now on
	st.put(k)
	return nil, nil
}
