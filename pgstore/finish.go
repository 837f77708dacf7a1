package pgstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/onceq/onceq"
)

// Extend is a worker's heartbeat.
func (s *Store) Extend(ctx context.Context, e onceq.ExtendRequest) (onceq.Extended, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.Extended{}, s.wrap("extend", err)
	}
	defer leave()
	ids, runs := make([]string, len(e.Runs)), make([]int64, len(e.Runs))
	for i, run := range e.Runs {
		ids[i], runs[i] = run.ID, run.Run
	}
	var got onceq.Extended
	var wake map[work]bool
	err = s.retry(ctx, idempotent, func(ctx context.Context) error {
		got, wake = onceq.Extended{}, map[work]bool{}
		return s.query(ctx, s.sql.extend, func(r *record) {
			what, i, queue := r.int(), r.int()-1, r.string()
			switch what {
			case extendLost:
				got.Lost = append(got.Lost, e.Runs[i])
			case extendStop:
				got.Stop = append(got.Stop, e.Runs[i])
			case extendBack:
				got.Back++
			}
			if queue != "" {
				wake[work{queue: queue}] = true
			}
		}, e.Worker, e.Lease.Milliseconds(), asked(ids), runs, e.FetchesDone, e.About)
	})
	if err != nil {
		return onceq.Extended{}, s.wrap("extend", err)
	}
	s.waker.tell(wake)
	return got, nil
}

// Finish ends runs. It passes over a job that a transaction has locked, and
// then waits for it in a call of its own; under NoWait the answer is
// FinishBusy. If every job of a NoWait call is locked, it waits a moment
// for the first, so that callers do not spin.
func (s *Store) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	fs, waits := r.Runs, !r.NoWait
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("finish", err)
	}
	defer leave()
	results := make([]onceq.FinishResult, len(fs))
	wake := map[work]bool{}
	// If a job occurs twice in one call, its requests go one after another.
	// A trip has the requests of one worker.
	for which := answerable(fs, results); len(which) > 0; {
		var now, later []int
		first := &fs[which[0]]
		seen := make(map[string]bool, len(which))
		for _, i := range which {
			f := &fs[i]
			if seen[f.ID] || f.Worker != first.Worker || f.Rescue != first.Rescue {
				later = append(later, i)
			} else {
				now = append(now, i)
			}
			seen[f.ID] = true
		}
		if err := s.finish(ctx, fs, results, now, wake, waits); err != nil {
			return nil, s.wrap(fmt.Sprintf("finish %d", len(fs)), err)
		}
		which = later
	}
	s.waker.tell(wake)
	return results, nil
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// answerable are the requests about which the server can be asked. There is no
// job of the others.
func answerable(fs []onceq.Finish, results []onceq.FinishResult) []int {
	return slices.DeleteFunc(indexes(len(fs)), func(i int) bool {
		if askable(fs[i].ID) {
			return false
		}
		results[i].Status = onceq.FinishGone
		return true
	})
}

func (s *Store) finish(ctx context.Context, fs []onceq.Finish, results []onceq.FinishResult, which []int,
	wake map[work]bool, waits bool) error {
	busy, err := s.finishOnce(ctx, fs, results, which, wake, nil)
	if err != nil {
		return err
	}
	if len(busy) > 0 && !waits {
		if len(busy) == len(which) { // all are busy: there is nothing else to do
			still, err := s.finishOnce(ctx, fs, results, busy[:1], wake, patience)
			if err != nil {
				return err
			}
			busy = append(still, busy[1:]...)
		}
		for _, one := range busy {
			results[one].Status = onceq.FinishBusy
		}
		return nil
	}
	for _, one := range busy {
		for n := 0; ; n++ {
			still, err := s.finishOnce(ctx, fs, results, []int{one}, wake, waitingPatience)
			if err != nil {
				return err
			}
			if len(still) == 0 {
				break
			}
			if s.pause(ctx, backoff(n)) != nil {
				return fmt.Errorf("job %s is locked by somebody's transaction: %w", fs[one].ID,
					cmp.Or(ctx.Err(), onceq.ErrClosed))
			}
		}
	}
	return nil
}

// finishOnce is one trip. It returns the requests that are busy. If its
// context ends, or it cannot get a lock, nothing has changed.
func (s *Store) finishOnce(ctx context.Context, fs []onceq.Finish, results []onceq.FinishResult, which []int,
	wake map[work]bool, wait any) (busy []int, err error) {
	// In the order of their IDs, so that two calls never wait for each
	// other.
	which = slices.Clone(which)
	slices.SortFunc(which, func(a, b int) int { return cmp.Compare(fs[a].ID, fs[b].ID) })
	args := finishArgs(fs, which)
	err = s.retry(ctx, idempotent, func(ctx context.Context) error {
		busy = busy[:0]
		for _, i := range which { // unless it says otherwise
			results[i] = onceq.FinishResult{State: onceq.Completed}
		}
		err := s.query(ctx, s.sql.finish, func(r *record) {
			if i, isBusy := noteFinish(r, fs, which, results, wake); isBusy {
				busy = append(busy, i)
			}
		}, append([]any{wait}, args...)...)
		if wait != nil && err != nil && fateOf(err) == clash {
			busy = append(busy[:0], which...)
			return nil
		}
		return err
	})
	return busy, err
}

// finishArgs are the arguments of finish_v2 after the patience, for requests of
// one worker.
func finishArgs(fs []onceq.Finish, which []int) []any {
	ids, runs := make([]string, 0, len(which)), make([]int64, 0, len(which))
	oddIDs, oddRuns, states, delays, back, failures := []string{}, []int64{}, []int16{}, []int64{}, []bool{}, []string{}
	var outcomes [][]byte // results of the odd ones; nil = none has one
	for _, i := range which {
		f := &fs[i]
		if f.State == onceq.Completed && !f.GiveBack && f.Error == "" && len(f.Result) == 0 {
			ids, runs = append(ids, f.ID), append(runs, f.Run)
			continue
		}
		oddIDs, oddRuns = append(oddIDs, f.ID), append(oddRuns, f.Run)
		states, delays, back = append(states, codeOf[f.State]), append(delays, f.Delay.Milliseconds()),
			append(back, f.GiveBack)
		failure := ""
		if f.Error != "" {
			failure = encodeFailure(f.Error, f.Stack)
		}
		failures = append(failures, failure)
		if f.Result != nil && outcomes == nil {
			outcomes = make([][]byte, len(oddIDs)-1, len(which))
		}
		if outcomes != nil {
			outcomes = append(outcomes, f.Result)
		}
	}
	return []any{fs[which[0]].Worker, fs[which[0]].Rescue, ids, runs, oddIDs, oddRuns, states, delays, back, failures,
		outcomes}
}

// noteFinish reads a row of finish_v2. It returns which request it is about,
// and whether a transaction has locked that job.
func noteFinish(r *record, fs []onceq.Finish, which []int, results []onceq.FinishResult,
	wake map[work]bool) (i int, isBusy bool) {
	at, _ := slices.BinarySearchFunc(which, r.string(), func(i int, id string) int {
		return cmp.Compare(fs[i].ID, id)
	})
	i = which[at]
	status, code, queue := onceq.FinishStatus(r.int()), r.int(), r.string()
	if queue != "" {
		wake[work{queue: queue}] = true
	}
	switch status {
	case onceq.FinishDone:
		results[i] = onceq.FinishResult{State: stateOf[code], Wake: queue}
	case onceq.FinishLost, onceq.FinishGone:
		results[i] = onceq.FinishResult{Status: status}
	case finishWake:
		results[i].Wake = queue
	}
	return i, status == onceq.FinishBusy
}

// encodeFailure writes an error as the inside of a JSON object.
func encodeFailure(text, stack string) string {
	object, err := json.Marshal(struct {
		Error string `json:"error"`
		Stack string `json:"stack,omitempty"`
	}{text, stack})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return string(object[1 : len(object)-1])
}

// encodeTags is what tags_v1, extra_v1 and failed_v1 read.
func encodeTags(r *onceq.NewRow) string {
	var sent any = r.Tags
	if len(r.Extra) > 0 || r.RetentionFailed != r.Retention {
		more := struct {
			Tags   []string `json:"tags,omitempty"`
			Extra  string   `json:"extra,omitempty"`
			Failed *int64   `json:"retention_failed,omitempty"`
		}{Tags: r.Tags, Extra: hex.EncodeToString(r.Extra)}
		if r.RetentionFailed != r.Retention {
			ms := r.RetentionFailed.Milliseconds()
			more.Failed = &ms
		}
		sent = more
	}
	text, err := json.Marshal(sent)
	if err != nil {
		panic(err) // strings can be encoded
	}
	return string(text)
}
