package onceq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

const (
	// periodicSlots is how many schedules a worker serves at once. A tick
	// takes a few milliseconds.
	periodicSlots = 4
	// orphanAgain is how long a schedule of code waits for a worker that has
	// it, and orphanFor after how long it goes.
	orphanAgain = 5 * time.Second
	orphanFor   = 24 * time.Hour
)

// servePeriodic makes a worker serve schedules, if it is to.
func (w *Worker) servePeriodic() error {
	c := &w.config
	w.periodic = c.ServePeriodic || len(c.Periodic) > 0
	if !w.periodic {
		return nil
	}
	w.mine = map[string]*periodicSpec{}
	for i, p := range c.Periodic {
		spec, err := w.client.specOf(context.Background(), p, fromCode)
		if refused := (*InvalidError)(nil); errors.As(err, &refused) {
			return refused.ofPeriodic(i)
		}
		if err != nil {
			return err
		}
		if w.mine[p.Name] != nil {
			return invalid(fmt.Sprintf("WorkerConfig.Periodic[%d].Name", i), p.Name, "is there twice: choose another")
		}
		w.mine[p.Name] = spec
	}
	w.queues = append(w.queues, QueueSlots{Queue: periodicQueue, Slots: periodicSlots})
	users := w.handle
	w.handle = func(ctx context.Context, job *JobRow) error {
		if job.Kind == periodicKind {
			return w.tick(ctx, job)
		}
		return users(ctx, job)
	}
	return nil
}

// putPeriodic puts the schedules of the code of this worker, until the store
// has them all.
func (s *session) putPeriodic(ctx context.Context) {
	for _, spec := range s.w.mine {
		for failures := 1; ctx.Err() == nil; failures++ {
			_, err := s.w.client.putSpec(ctx, spec)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				s.logRarely(failures, "onceq: schedule not put", err, "schedule", spec.Name)
				sleep.For(ctx, backoff(failures))
			}
		}
	}
}

// tick handles the row of a schedule: it enqueues the jobs of the ticks that
// are due and, in the same step, the next row of the schedule, which stands
// behind this run. Then it ends this run, and the key passes to that row. If
// the worker is killed in between, the run comes again: the jobs are there,
// and the next row takes what it says.
//
// Only the clock of the store counts: that of the fetch.
func (w *Worker) tick(ctx context.Context, job *JobRow) error {
	now := job.StartedAt
	p, err := readPeriodic(job)
	if err != nil {
		return err
	}
	next := &periodicRow{spec: p.spec, state: p.state}
	next.state.After = p.after()
	if w.mine[p.spec.Name] == nil && p.spec.Source == fromCode && !p.spec.Paused {
		return w.passOn(ctx, next, now)
	}
	next.state.Orphan = time.Time{}
	var rows []NewRow
	if !p.spec.Paused {
		clock, err := p.spec.clock()
		if err != nil {
			return err
		}
		for _, tick := range clock.due(p.after(), now, p.spec.CatchUp) {
			row, err := p.spec.tickRow(w.client, tick)
			if err != nil {
				return err
			}
			rows = append(rows, row)
			next.state.LastTick, next.state.Last = tick, row.ID
		}
		if now.After(next.state.After) {
			next.state.After = now
		}
	}
	return w.putNext(ctx, next, rows)
}

// passOn leaves a schedule of code that this worker does not have to one
// that has it: another version of the program may be starting, or ending.
func (w *Worker) passOn(ctx context.Context, next *periodicRow, now time.Time) error {
	name := next.spec.Name
	switch since := next.state.Orphan; {
	case since.IsZero():
		next.state.Orphan = now
		w.config.Logger.InfoContext(ctx, "onceq: schedule is in the code of others", "schedule", name)
	case now.Sub(since) > orphanFor:
		w.config.Logger.WarnContext(ctx, "onceq: schedule removed", "schedule", name, "since", since)
		return nil
	}
	return w.putNext(ctx, next, nil)
}

// putNext enqueues the jobs of ticks, and the next row of their schedule.
func (w *Worker) putNext(ctx context.Context, next *periodicRow, rows []NewRow) error {
	row, err := next.row(w.client, tickReactions)
	if err != nil {
		return err
	}
	if !next.state.Orphan.IsZero() {
		row.RunAt, row.Delay = time.Time{}, orphanAgain
	}
	ctx, span := w.client.tracing.enqueueMany(ctx, rows)
	results, err := w.client.sendRows(ctx, append(rows, row))
	if err != nil {
		endMany(span, nil, err)
		return fmt.Errorf("make a tick of periodic job %s: %w", next.spec.Name, err)
	}
	endMany(span, w.client.receipts(ctx, rows, results[:len(rows)]), nil)
	return nil
}

// retryOf is the policy for the next attempt of a job: the backoff of its own,
// or else the worker's. A schedule comes again soon, whatever the backoff of
// other jobs.
func (c *WorkerConfig) retryOf(job *JobRow) RetryPolicy {
	if job.Kind != periodicKind {
		return ownRetry(job, c.Retry)
	}
	return func(job *JobRow, _ error) time.Duration {
		d := min(time.Second<<min(job.Attempt, 5), 30*time.Second)
		return d/2 + rand.N(d/2)
	}
}
