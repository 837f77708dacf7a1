package rules

import (
	"cmp"
	"fmt"

	"github.com/onceq/onceq"
)

// Why an operator's step is refused, in the words of every store.
const (
	// CannotCancel is for a completed or discarded job.
	CannotCancel = "cannot be cancelled: the job has ended"
	// CannotRunNow is for a running or finished job.
	CannotRunNow = "cannot be run now: only a waiting job can; a finished one can be retried"
	// CannotRetry is for a job that is neither finished nor retryable.
	CannotRetry = "cannot be retried: only a finished or a retryable job can"
	// CannotDelete is for a running job.
	CannotDelete = "cannot be deleted: cancel the job first, and delete it when its run has ended"
	// CannotStart is for a running or finished job.
	CannotStart = "cannot be started: only a waiting job can"
	// CannotMove is for a running or finished job.
	CannotMove = "cannot be moved: only a waiting job has a run time to come"
)

// UnknownWorker is the error where a worker that was taken for lost asks for
// a job.
func UnknownWorker(worker string) error {
	return fmt.Errorf("worker %s is not known: %w", worker, onceq.ErrLeaseLost)
}

// RefusedPaused is the error where a job of a paused queue is to be started.
func RefusedPaused(queue string) error {
	return &onceq.InvalidError{Field: "queue", Value: queue, Rule: "is paused: resume it to start its jobs"}
}

// CannotBehind says why a waiter is not run now, started or moved.
func CannotBehind(op onceq.Op, holder string) string {
	step := map[onceq.Op]string{onceq.OpStart: "started", onceq.OpMove: "moved"}[op]
	return "cannot be " + cmp.Or(step, "run now") + ": the job stands behind the run of " + holder +
		" and is due when that has ended"
}

// Why is why a step is refused to a job whose state does not allow it.
var Why = map[onceq.Op]string{
	onceq.OpCancel: CannotCancel, onceq.OpRetry: CannotRetry, onceq.OpRunNow: CannotRunNow,
	onceq.OpDelete: CannotDelete, onceq.OpStart: CannotStart, onceq.OpMove: CannotMove,
}

// Refusal is the error of an operator's step that the state of a job does
// not allow.
func Refusal(state onceq.State, why string) error {
	return &onceq.InvalidError{Field: "state", Value: string(state), Rule: why}
}

// RefusedRelease is the error where a key is to be released by hand whose
// holder stands behind the run of another job.
func RefusedRelease(holder, behind string) error {
	return &onceq.InvalidError{Field: "state", Value: holder,
		Rule: "holds the key and stands behind the run of " + behind +
			": cancel or delete that waiting job instead"}
}
