package guard

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/onceq/onceq"
)

var (
	// ErrBusy means that another run of this message is under way. The broker
	// should bring the message again later, after half a lease or more.
	ErrBusy = errors.New("guard: another run of this message is under way")
	// ErrDone means that this message was done before: acknowledge it.
	ErrDone = errors.New("guard: this message was done before")
)

// LapsedError means that a message has lost its claim: it was silent for longer
// than its patience, or the claim was deleted.
type LapsedError struct {
	Token Token  // of the message
	By    string // the claim that has its key now; "" = the claim is gone
}

func (e *LapsedError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("guard: the claim %s is gone: it was deleted, or is no longer kept", e.Token)
	}
	return fmt.Sprintf("guard: the claim %s has lapsed: its message was silent for longer than its patience, "+
		"and claim %s has the key", e.Token, e.By)
}

// Uncertain makes an error for a send to return: the message may have reached
// the broker or not. [Guard.Send] then keeps the claim until it is no longer in
// doubt. Errors of a context and of a network time-out count as uncertain by
// themselves.
func Uncertain(err error) error {
	if err == nil {
		return nil
	}
	return &uncertain{err}
}

type uncertain struct{ err error }

func (e *uncertain) Error() string { return "uncertain: " + e.err.Error() }

func (e *uncertain) Unwrap() error { return e.err }

// isUncertain reports whether a send that failed may have happened.
func isUncertain(err error) bool {
	var marked *uncertain
	var network net.Error
	return errors.As(err, &marked) || errors.Is(err, onceq.ErrUncertain) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// panicked is the error of code of the caller's that panicked.
type panicked struct{ value any }

func (e *panicked) Error() string {
	if e.value == nil {
		return "it ended its goroutine without returning (runtime.Goexit)"
	}
	return fmt.Sprintf("panic: %v", e.value)
}

func (e *panicked) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
