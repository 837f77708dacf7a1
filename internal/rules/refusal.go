package rules

import (
	"cmp"
	"fmt"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/refusal"
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
	onceq.OpCancel: refusal.Cancel, onceq.OpRetry: refusal.Retry, onceq.OpRunNow: refusal.RunNow,
	onceq.OpDelete: refusal.Delete, onceq.OpStart: refusal.Start, onceq.OpMove: refusal.Move,
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
