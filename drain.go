package onceq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Client is what [ClientFrom] returns inside the worker's handlers.
func (w *Worker) Client() *Client { return w.client }

// Drain is [Worker.Run] that returns as soon as nothing is due in the worker's
// queues and nothing runs here, as with WorkerConfig.Drain. It returns the
// jobs that were run: one row for each run, as the run left it, in the order
// in which they ended. A job that ran twice has two rows. If another run of
// the job followed, or the job is no longer kept, the row has no Result, and
// only the times that were known when the run began.
//
// All rows stay in memory: it is for tests, and for scripts with few jobs.
func (w *Worker) Drain(ctx context.Context) ([]*JobRow, error) {
	s, err := w.run(ctx, true, true)
	if s == nil {
		return nil, err
	}
	for some := range slices.Chunk(s.ran, 500) {
		ids := make([]string, len(some))
		for i, row := range some {
			ids[i] = row.ID
		}
		kept, lookErr := w.store.Get(ctx, ids)
		if lookErr != nil {
			return s.ran, errors.Join(err, fmt.Errorf("onceq: get the jobs that were run: %w", lookErr))
		}
		for i, row := range kept {
			if row != nil && row.Run == some[i].Run && row.State == some[i].State {
				*some[i] = *row
			}
		}
	}
	return s.ran, err
}

// left is the job as the run left it, once the store has taken its result.
func (r *run) left() *JobRow {
	row := r.job.Clone()
	row.State = r.state
	if r.finish.Error != "" {
		row.Errors = append(row.Errors, AttemptError{row.Attempt, row.Run, time.Now(), r.finish.Error, r.finish.Stack})
	}
	if r.finish.GiveBack {
		row.Attempt--
	}
	return row
}
