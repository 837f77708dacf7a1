package rules

import "github.com/onceq/onceq"

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
)

// CannotRunBehind says why a waiter is not run now.
func CannotRunBehind(holder string) string {
	return "cannot be run now: the job stands behind the run of " + holder + " and is due when that has ended"
}

// Why is why a step is refused to a job whose state does not allow it.
var Why = map[onceq.Op]string{
	onceq.OpCancel: CannotCancel, onceq.OpRetry: CannotRetry, onceq.OpRunNow: CannotRunNow,
	onceq.OpDelete: CannotDelete,
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
