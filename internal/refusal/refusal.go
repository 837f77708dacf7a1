// Package refusal says why the state of a job does not allow an operator's
// step, in the words of the client and of every store.
package refusal

// Why a step is refused.
const (
	Cancel = "cannot be cancelled: the job has ended"                                        // completed or discarded
	RunNow = "cannot be run now: only a waiting job can; a finished one can be retried"      // running or finished
	Retry  = "cannot be retried: only a finished or a retryable job can"                     // any other
	Delete = "cannot be deleted: cancel the job first, and delete it when its run has ended" // running
	Start  = "cannot be started: only a waiting job can"                                     // running or finished
	Move   = "cannot be moved: only a waiting job has a run time to come"                    // running or finished
)
