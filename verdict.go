package onceq

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Cancel is a verdict for a handler to return, wrapped or not: the job ends as cancelled, whatever attempts are left. err, which may be
// nil, is recorded with the attempt.
func Cancel(err error) error { return &verdict{state: Cancelled, err: err} }

// Discard is a verdict for a handler to return, wrapped or not: the job ends as discarded, whatever attempts are left. err, which may
// be nil, is recorded with the attempt.
func Discard(err error) error { return &verdict{state: Discarded, err: err} }

// Snooze is a verdict for a handler to return, wrapped or not: the job is run again after d (0 or less: at once), and the attempt is
// not spent. Of a job that is asked to stop it is the end: it does not wait again.
func Snooze(d time.Duration) error { return &verdict{state: Scheduled, delay: d} }

// verdict is what a handler decided, as an error it can return.
type verdict struct {
	state State // Cancelled, Discarded or Scheduled
	delay time.Duration
	err   error
}

func (v *verdict) Error() string {
	switch {
	case v.state == Scheduled:
		return fmt.Sprintf("snoozed for %v", v.delay)
	case v.err == nil:
		return string(v.state)
	}
	return fmt.Sprintf("%s: %v", v.state, v.err)
}

func (v *verdict) Unwrap() error { return v.err }

// panicError is a handler that panicked.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// errGoexit is a handler that ended its goroutine (runtime.Goexit, or FailNow of a test) and so returned nothing.
var errGoexit = errors.New("the handler ended its goroutine without returning (runtime.Goexit)")

// timeoutError is why the context of a run ended that took longer than the job's Timeout.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("timed out: the run took longer than the job's timeout of %v", e.after)
}

// interrupted is the error of a handler whose context was ended by the worker: cause says why.
type interrupted struct{ cause, err error }

func (e *interrupted) Error() string { return fmt.Sprintf("%v: %v", e.cause, e.err) }

func (e *interrupted) Unwrap() []error { return []error{e.cause, e.err} }

// blame puts the reason why the context of a run ended (nil = it had not) in front of the ordinary error that the handler made of it.
func blame(err, cause error) error {
	var v *verdict
	if err == nil || cause == nil || errors.As(err, &v) {
		return err
	}
	if _, ok := err.(*panicError); ok {
		return err
	}
	return &interrupted{cause, err}
}

const (
	maxErrorText = 4 << 10 // bytes
	maxStack     = 8 << 10
)

// decide says how a run ends, given what its handler returned and why its context had ended (nil =
// it had not):
//
//	nil                                   completed
//	Cancel, Discard, Snooze               as they say
//	cut short by a shutdown               handed back: due at once, the attempt not spent
//	cut short because a cancel was asked  cancelled
//	any other error                       retryable after the policy's delay while attempts are left,
//	                                      then discarded
//
// It is pure if the policy is; the worker fills in its name.
func decide(job *JobRow, err, cause error, policy RetryPolicy) Finish {
	f := Finish{ID: job.ID, Run: job.Run, State: Completed}
	if err == nil {
		return f
	}
	err = blame(err, cause)
	if cut, ok := err.(*interrupted); ok {
		switch cut.cause {
		case ErrShutdown:
			f.State, f.GiveBack = Scheduled, true
			return f
		case ErrCancelRequested:
			f.State, f.Error = Cancelled, errorText(err)
			return f
		}
	}
	var v *verdict
	if errors.As(err, &v) {
		f.State = v.state
		switch {
		case v.state == Scheduled:
			f.Delay, f.GiveBack = delayOf(v.delay), true
		case err != error(v):
			f.Error = errorText(err)
		case v.err != nil:
			f.Error = errorText(v.err)
		}
		return f
	}
	f.Error = errorText(err)
	if p, ok := err.(*panicError); ok {
		f.Stack = cleanText(p.stack, maxStack)
	}
	if job.Attempt >= job.MaxAttempts {
		f.State = Discarded
		return f
	}
	row := *job // the policy's own
	f.State, f.Delay = Retryable, delayOf(policy(&row, err))
	return f
}

// decideSafely is decide where the error or the policy, which are not ours, may panic or end the
// goroutine. Then too f says how the run ends.
func decideSafely(f *Finish, job *JobRow, err, cause error, policy RetryPolicy) {
	decided := false
	defer func() {
		if decided {
			return
		}
		what := "ended its goroutine (runtime.Goexit)"
		if p := recover(); p != nil {
			what = fmt.Sprintf("panicked: %v", p)
		}
		*f = decide(job, fmt.Errorf("the handler returned a %T; what becomes of the job could not be decided, "+
			"for its error or the retry policy %s", err, what), nil, DefaultRetry)
	}()
	*f = decide(job, err, cause, policy)
	decided = true
}

func delayOf(d time.Duration) time.Duration { return ceilMilli(min(max(d, 0), maxDuration)) }

// errorText is never empty: an error that is recorded can be seen.
func errorText(err error) string {
	text := err.Error()
	if strings.TrimSpace(text) == "" {
		text = fmt.Sprintf("an error of type %T without a text", err)
	}
	return cleanText(text, maxErrorText)
}

// cleanText makes a text that every store can keep: valid UTF-8 without NUL, of bounded size.
func cleanText(s string, size int) string {
	return bound(strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�"), size)
}
