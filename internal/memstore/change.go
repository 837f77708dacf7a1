package memstore

import (
	"context"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Change is an operator's step.
func (s *Store) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	switch c.Op {
	case onceq.OpPause:
		s.paused[c.Queue] = onceq.Never
		if c.Delay > 0 {
			s.paused[c.Queue] = st.Now + c.Delay.Milliseconds()
		}
		return make([]onceq.ChangeResult, 1), nil
	case onceq.OpResume:
		delete(s.paused, c.Queue)
		s.listeners.Due(c.Queue, "")
		return make([]onceq.ChangeResult, 1), nil
	case onceq.OpRelease:
		k := st.key(&c.Key)
		err := st.Release(k, c.Holder)
		st.save(k)
		return []onceq.ChangeResult{{Err: err}}, nil
	}
	results := make([]onceq.ChangeResult, len(c.IDs))
	for i, id := range c.IDs {
		results[i] = st.change(c, id)
		if j := results[i].Job; j != nil {
			if len(c.IDs) > 1 {
				j.Args = nil
			}
			own(j)
		}
	}
	return results, nil
}

func (st *step) change(c onceq.Change, id string) onceq.ChangeResult {
	j := st.jobs[id]
	if j == nil || c.States != nil && !slices.Contains(c.States, j.Shown(st.Now)) {
		return onceq.ChangeResult{Err: onceq.ErrNotFound}
	}
	k := st.key(j.Key)
	result := st.Book.Change(
		c,
		j,
		k,
		rules.Around{Known: st.workers[c.Worker] != nil, Paused: st.paused[j.Queue] > st.Now},
	)
	st.save(k, j)
	return result
}
