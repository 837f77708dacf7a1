package sqlitestore

import (
	"context"
	"fmt"

	"github.com/onceq/onceq"
)

// maxErrors is how many errors are kept with a job.
const maxErrors = 5

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
		switch {
		case j == nil:
			results[i].Status = onceq.FinishGone
		case j.Run == f.Run && j.State == onceq.Running && (j.Worker == f.Worker || f.Rescue):
			if results[i], err = st.end(j, f); err != nil {
				return nil, err
			}
		case j.Run == f.Run && j.State != onceq.Running && j.Worker == f.Worker:
			results[i].State = j.State // a repeat
		default:
			results[i].Status = onceq.FinishLost
		}
	}
	return results, nil
}

// end ends the current run of a job.
func (st *step) end(j *job, f onceq.Finish) (onceq.FinishResult, error) {
	state := f.State
	if j.CancelRequested && state != onceq.Completed {
		state = onceq.Cancelled
	}
	first := j.status == clean
	st.change(j)
	j.Worker = f.Worker
	if f.Error != "" {
		j.Errors = append(j.Errors, onceq.AttemptError{Attempt: j.Attempt, Run: j.Run, At: instant(st.now), Error: f.Error, Stack: f.Stack})
		j.Errors = j.Errors[max(0, len(j.Errors)-maxErrors):]
	}
	if f.GiveBack {
		j.Attempt--
	}
	result := onceq.FinishResult{State: state}
	if !state.Finished() {
		j.State, j.runAt = state, st.now+f.Delay.Milliseconds()
		st.wake(j)
		if f.Delay == 0 {
			result.Wake = j.Queue
		}
		return result, nil
	}
	before := *j
	st.finish(j, state)
	wake, err := st.ended(j, false)
	if err != nil {
		return result, err
	}
	result.Wake = wake
	if j.Retention == 0 {
		err = st.remove(j, true)
	} else if first && f.Error == "" && !f.GiveBack && j.onlyEnded(&before) {
		j.status = ended
	}
	return result, err
}

// onlyEnded reports whether the end of a job changed nothing of its row but what sql/end.sql writes.
func (j *job) onlyEnded(before *job) bool {
	return j.anchor == before.anchor && j.Behind == before.Behind && j.Keyless == before.Keyless && !before.CancelRequested
}
