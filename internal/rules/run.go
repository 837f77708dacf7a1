package rules

import (
	"bytes"

	"github.com/onceq/onceq"
)

// MaxErrors is how many errors are kept with a job.
const MaxErrors = 5

// Start gives a due job to a worker. k is the row of its key.
func (b *Book) Start(j *Job, k *Key, worker string, fetchNo int64) {
	j.change()
	j.State, j.StartedAt, j.Worker, j.FetchNo = onceq.Running, onceq.Instant(b.Now), worker, fetchNo
	j.Attempt++
	j.Run++
	b.Started(j, k)
}

// Started brings the event UntilStarted, for a job whose run has just
// begun.
func (b *Book) Started(j *Job, k *Key) {
	if j.Key != nil && k.HeldBy(j) && k.Pending == onceq.UntilStarted {
		b.come(k, j)
	}
}

// Finish decides whether the end of a run counts, and does what follows. j
// is the job with that ID, or nil; k is the row of its key.
func (b *Book) Finish(j *Job, k *Key, f onceq.Finish) onceq.FinishResult {
	switch {
	case j == nil:
		return onceq.FinishResult{Status: onceq.FinishGone}
	case j.Run == f.Run && j.State == onceq.Running && (j.Worker == f.Worker || f.Rescue):
		return b.End(j, k, f)
	case j.Run == f.Run && j.State != onceq.Running && j.Worker == f.Worker:
		return onceq.FinishResult{State: j.State} // a repeat
	}
	return onceq.FinishResult{Status: onceq.FinishLost}
}

// End ends the current run of a job.
func (b *Book) End(j *Job, k *Key, f onceq.Finish) onceq.FinishResult {
	state := f.State
	if j.CancelRequested && state != onceq.Completed {
		state = onceq.Cancelled
	}
	j.change()
	j.Worker = f.Worker
	if f.Error != "" {
		e := onceq.AttemptError{Attempt: j.Attempt, Run: j.Run, At: onceq.Instant(b.Now), Error: f.Error,
			Stack: f.Stack}
		j.Errors = append(j.Errors, e)
		j.Errors = j.Errors[max(0, len(j.Errors)-MaxErrors):]
	}
	if f.GiveBack {
		j.Attempt--
	}
	result := onceq.FinishResult{State: state}
	if !state.Finished() {
		j.State, j.RunMS = state, b.Now+f.Delay.Milliseconds()
		b.wake(j)
		if f.Delay == 0 {
			result.Wake = j.Queue
		}
		return result
	}
	b.finish(j, state)
	if len(f.Result) > 0 {
		j.Result, j.NewResult = bytes.Clone(f.Result), true
	}
	result.Wake = b.ended(j, k, false)
	if j.unkept() {
		b.remove(j, k, true)
	}
	return result
}

// HandBack ends a run that its worker does not know, or leaves: the job
// waits again, due now, and no attempt is spent.
func (b *Book) HandBack(j *Job, k *Key) {
	b.End(j, k, onceq.Finish{ID: j.ID, Run: j.Run, State: onceq.Scheduled, GiveBack: true})
}

// Prune removes a finished job whose retention is over.
func (b *Book) Prune(j *Job, k *Key) { b.remove(j, k, true) }
