package sqlitestore

import (
	"context"
	"fmt"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Finish ends runs.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) (results []onceq.FinishResult, err error) {
	fs := r.Runs
	what := fmt.Sprintf("finish %d runs", len(fs))
	if len(fs) == 1 {
		what = "finish " + fs[0].ID
	}
	err = s.write(ctx, what, func(st *step) (err error) {
		results, err = st.finishAll(fs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (st *step) finishAll(fs []onceq.Finish) ([]onceq.FinishResult, error) {
	ids := make([]string, len(fs))
	for i, f := range fs {
		ids[i] = f.ID
	}
	if err := st.readJobs(ids); err != nil {
		return nil, err
	}
	if err := st.readKeys(); err != nil {
		return nil, err
	}
	results := make([]onceq.FinishResult, len(fs))
	for i, f := range fs {
		j, err := st.job(f.ID)
		if err != nil {
			return nil, err
		}
		if results[i], err = st.finish(j, f); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// finish ends the current run of a job; j is nil if there is no such job.
func (st *step) finish(j *job, f onceq.Finish) (onceq.FinishResult, error) {
	if j == nil {
		return st.Book.Finish(nil, nil, f), nil
	}
	k, err := st.keyOf(j)
	if err != nil {
		return onceq.FinishResult{}, err
	}
	first, before := j.Mark == rules.Clean, *j.Job
	result := st.Book.Finish(j.Job, k, f)
	j.ended = first && j.State.Finished() && f.Error == "" && !f.GiveBack && f.Result == nil &&
		j.onlyEnded(&before)
	return result, st.absorb()
}

// onlyEnded reports whether the end of a job changed only what sql/end.sql
// writes.
func (j *job) onlyEnded(before *rules.Job) bool {
	return j.AnchorMS == before.AnchorMS && j.Behind == before.Behind && j.Keyless == before.Keyless &&
		!before.CancelRequested
}
