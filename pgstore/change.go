package pgstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// ops are the numbers of the steps in change_v2.
var ops = map[onceq.Op]int{
	onceq.OpCancel: opCancel, onceq.OpRetry: opRetry, onceq.OpRunNow: opRunNow, onceq.OpDelete: opDelete,
	onceq.OpStart: opStart, onceq.OpMove: opMove,
}

// Change is an operator's step.
func (s *Store) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("change", err)
	}
	defer leave()
	var results []onceq.ChangeResult
	switch c.Op {
	case onceq.OpPause:
		results = make([]onceq.ChangeResult, 1)
		var length *int64 // null = until it is resumed
		if ms := c.Delay.Milliseconds(); ms > 0 {
			length = &ms
		}
		err = s.retry(ctx, idempotent, func(ctx context.Context) error {
			return s.query(ctx, s.sql.pause, nil, c.Queue, length)
		})
	case onceq.OpResume:
		results = make([]onceq.ChangeResult, 1)
		err = s.retry(ctx, idempotent, func(ctx context.Context) error {
			return s.query(ctx, s.sql.resume, nil, c.Queue)
		})
		if err == nil {
			s.waker.tell(map[work]bool{{queue: c.Queue}: true})
		}
	case onceq.OpRelease:
		results, err = s.release(ctx, c.Key, c.Holder)
	case onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow, onceq.OpDelete, onceq.OpStart, onceq.OpMove:
		results, err = s.changeJobs(ctx, c)
	default:
		err = &onceq.InvalidError{Field: "op", Value: fmt.Sprint(c.Op), Rule: "must be one of the operations"}
	}
	if err != nil {
		return nil, s.wrap("change", err)
	}
	return results, nil
}

func (s *Store) release(ctx context.Context, key onceq.Key, holder string) (results []onceq.ChangeResult, err error) {
	if !askable(holder) {
		return []onceq.ChangeResult{{Err: onceq.ErrNotFound}}, nil
	}
	err = s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		results = make([]onceq.ChangeResult, 1)
		return s.query(ctx, s.sql.release, func(r *record) {
			outcome, holder, behind := r.int(), r.string(), r.string()
			switch outcome {
			case releaseNotFound:
				results[0].Err = onceq.ErrNotFound
			case releaseBehind:
				results[0].Err = rules.RefusedRelease(holder, behind)
			}
		}, waitingPatience, key[:], orNull(holder))
	})
	return results, err
}

func (s *Store) changeJobs(ctx context.Context, c onceq.Change) (results []onceq.ChangeResult, err error) {
	if len(c.IDs) == 0 {
		return nil, nil
	}
	var wake map[work]bool
	args := append([]any{waitingPatience}, changeArgs(c)...)
	err = s.retry(ctx, atMostOnce, func(ctx context.Context) error {
		results, wake = make([]onceq.ChangeResult, len(c.IDs)), map[work]bool{}
		return s.query(ctx, s.sql.change, func(r *record) { noteChange(r, c, results, wake) }, args...)
	})
	if err != nil {
		return nil, err
	}
	s.waker.tell(wake, halted(c, results)...)
	return results, nil
}

// halted are the workers of runs that a step asked to stop.
func halted(c onceq.Change, results []onceq.ChangeResult) (workers []string) {
	for _, r := range results {
		if c.Op == onceq.OpCancel && r.Job != nil && r.Job.State == onceq.Running &&
			!slices.Contains(workers, r.Job.Worker) {
			workers = append(workers, r.Job.Worker)
		}
	}
	return workers
}

// changeArgs are the arguments of change_v2 after the patience.
func changeArgs(c onceq.Change) []any {
	var states []int16
	if c.States != nil {
		states = make([]int16, len(c.States))
		for i, state := range c.States {
			states[i] = codeOf[state]
		}
	}
	var at *int64
	if !c.RunAt.IsZero() {
		ms := c.RunAt.UnixMilli()
		at = &ms
	}
	return []any{ops[c.Op], asked(c.IDs), states, c.WithoutKey, c.Worker, c.No, c.Delay.Milliseconds(), at}
}

// noteChange reads a row of change_v2.
func noteChange(r *record, c onceq.Change, results []onceq.ChangeResult, wake map[work]bool) {
	r.int() // try
	i, outcome, now := r.int()-1, r.int(), r.int64()
	r.int64() // frees_at
	by := r.int()
	conflict := onceq.Conflict{By: "key", Holder: r.string()}
	state := r.int()
	conflict.Since, conflict.FreesAt, conflict.FreesWhen = r.instant(), r.instant(),
		onceq.Until(r.int()).String()
	conflict.Text = looseText(r.string())
	differ, left := r.int(), r.json()
	job := r.job(now)
	if by == 0 && conflict.Holder != "" { // names a queue to wake
		wake[work{queue: conflict.Holder}] = true
	}
	if i < 0 {
		return
	}
	results[i] = onceq.ChangeResult{Job: job}
	if job != nil && len(c.IDs) > 1 {
		job.Args = nil
	}
	switch outcome {
	case changeDone:
	case changeNotFound:
		results[i].Err = onceq.ErrNotFound
	case changeKeyHeld:
		conflict.State, conflict.Key, conflict.ArgsDiffer = stateOf[state], *job.Key, differ == argsDiffer
		if left != nil {
			var g gone
			r.decode(left, &g)
			conflict.State, conflict.Gone = "", true
			conflict.Text, conflict.ArgsDiffer = looseText(g.Text),
				g.Digest != hex.EncodeToString(job.Digest[:])
		}
		results[i].Err = &onceq.DuplicateError{Kind: job.Kind, Queue: job.Queue, Conflict: conflict}
	default:
		results[i].Err = refusal(c, outcome, job)
	}
}

// refusal is why change_v2 refused a step, by its outcome.
func refusal(c onceq.Change, outcome int, job *onceq.JobRow) error {
	switch outcome {
	case changeBehind:
		return rules.Refusal(job.State, rules.CannotBehind(c.Op, job.Behind))
	case changeNoWorker:
		return rules.UnknownWorker(c.Worker)
	case changePaused:
		return rules.RefusedPaused(job.Queue)
	}
	return rules.Refusal(job.State, rules.Why[c.Op])
}

// orNull is a text, or null where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
