package onceq

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Errors to branch on, with errors.Is.
var (
	// ErrDuplicate means that the key or the ID is taken, and the policy
	// was Reject. The error is a [*DuplicateError].
	ErrDuplicate = errors.New("duplicate")
	// ErrNotFound means that there is no such job, or that the key is free.
	ErrNotFound = errors.New("not found")
	// ErrUncertain means that the answer was lost: the step may or may not
	// have happened. From an enqueue the error is an [*UncertainError].
	ErrUncertain = errors.New("uncertain")
	// ErrLeaseLost means that the worker has no right to this run any more:
	// its result changed nothing.
	ErrLeaseLost = errors.New("lease lost")
	// ErrClosed means that the client, worker or store was closed.
	ErrClosed = errors.New("closed")
)

var errClosed = fmt.Errorf("onceq: the client is %w", ErrClosed)

// recovered, deferred around a call of something that the caller passed,
// makes an error of a panic. what names the call.
func recovered(err *error, field string, value any, what string) {
	if p := recover(); p != nil {
		*err = panicked(p, field, value, what)
	}
}

func panicked(p any, field string, value any, what string) error {
	return invalid(field, fmt.Sprintf("%T", value), "must not panic, and %s did: %s", what, bound(fmt.Sprint(p), 200))
}

// bound cuts a text to at most n bytes of whole characters.
func bound(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// DuplicateError is the error of an enqueue that was refused because of a
// job that is there (OnConflict(Reject), or an ID under another kind), and
// of a retry whose key another job holds by now.
type DuplicateError struct {
	Kind, Queue string // of the refused job
	Conflict
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("duplicate %s in queue %s: %s", e.Kind, e.Queue, e.Conflict)
}

// Is makes errors.Is(err, ErrDuplicate) true.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// UncertainError is the error of an enqueue without an answer: the job may
// be there or not. Enqueueing again with [Resend] finds out, and never
// makes a second job while the first is kept. Once a call is uncertain it
// stays so until there is an answer, whatever a later try says. errors.Is
// and errors.As find the first cause, and that of the last try.
type UncertainError struct {
	ID  string   // of the job that may exist
	IDs []string // of a batch, in the order of the items; ID is the first
	// Items are the indexes of the items of a batch that have no answer. The
	// receipts of the others are filled.
	Items []int

	nonce [16]byte
	cause error
}

func (e *UncertainError) Error() string {
	what := "job " + e.ID
	if e.Items != nil {
		what = fmt.Sprintf("of a batch of %d jobs, item %s", len(e.IDs), ranges(e.Items))
	}
	return fmt.Sprintf("%s may have been enqueued or not (enqueue again with Resend to find out): %v", what, e.cause)
}

// Is makes errors.Is(err, ErrUncertain) true.
func (e *UncertainError) Is(target error) bool { return target == ErrUncertain }

// Unwrap is the cause.
func (e *UncertainError) Unwrap() error { return e.cause }
