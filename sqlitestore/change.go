package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
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
		until := int64(1)
		if c.Delay > 0 {
			until = st.Now + c.Delay.Milliseconds()
		}
		return make([]onceq.ChangeResult, 1), st.exec(sqlPause, c.Queue, until)
	case onceq.OpResume:
		n, err := st.affect(sqlResume, c.Queue)
		if n > 0 {
			st.news.due[work{queue: c.Queue}] = true
		}
		return make([]onceq.ChangeResult, 1), err
	case onceq.OpRelease:
		refusal, err := st.releaseKey(c.Key, c.Holder)
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
	if len(c.IDs) == 1 {
		return results, st.full(results[0].Job, st.byID[c.IDs[0]])
	}
	return results, nil
}

func (st *step) changeOne(c onceq.Change, id string) (onceq.ChangeResult, error) {
	j, err := st.job(id)
	if err != nil {
		return onceq.ChangeResult{}, err
	}
	if j == nil || c.States != nil && !slices.Contains(c.States, j.Shown(st.Now)) {
		return onceq.ChangeResult{Err: onceq.ErrNotFound}, nil
	}
	k, err := st.keyOf(j)
	if err != nil {
		return onceq.ChangeResult{}, err
	}
	around, err := st.around(c, j.Queue)
	if err != nil {
		return onceq.ChangeResult{}, err
	}
	result := st.Book.Change(c, j.Job, k, around)
	return result, st.absorb()
}

// around reads what OpStart asks besides the rows of the job.
func (st *step) around(c onceq.Change, queue string) (a rules.Around, err error) {
	if c.Op != onceq.OpStart {
		return a, nil
	}
	if err := st.known(c.Worker); err != nil && !errors.Is(err, onceq.ErrLeaseLost) {
		return a, err
	} else if err == nil {
		a.Known = true
	}
	n, err := st.number(sqlPaused, queue)
	a.Paused = pausedUntil(n) > st.Now
	return a, err
}

// releaseKey frees a key by hand.
func (st *step) releaseKey(name onceq.Key, holder string) (refusal, err error) {
	k, err := st.key(name)
	if err != nil {
		return nil, err
	}
	if k.orphan() && k.Held(st.Now) {
		return nil, errOrphan(k)
	}
	refusal = st.Book.Release(&k.Key, holder)
	return refusal, st.absorb()
}
