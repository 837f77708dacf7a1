package onceq

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Cancel makes an error for a handler to return, wrapped or not: the job
// ends as cancelled, whatever attempts are left. err, which may be nil, is
// recorded with the attempt.
func Cancel(err error) error { return &verdict{state: Cancelled, err: err} }

// Discard makes an error for a handler to return, wrapped or not: the job
// ends as discarded, whatever attempts are left. err, which may be nil, is
// recorded with the attempt.
func Discard(err error) error { return &verdict{state: Discarded, err: err} }

// Snooze makes an error for a handler to return, wrapped or not: the job
// runs again after d (0 or less: at once), and the attempt is not spent. A
// job that was asked to stop ends instead.
func Snooze(d time.Duration) error { return &verdict{state: Scheduled, delay: d} }

// verdict is the decision of a handler, as an error that it can return.
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

// panicError is the error of a handler that panicked.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// errGoexit is the error of a handler that ended its goroutine (by
// runtime.Goexit, or FailNow of a test) and so returned nothing.
var errGoexit = errors.New("the handler ended its goroutine without returning (runtime.Goexit)")

// timeoutError is why the context ended of a run that took longer than the
// Timeout of its job.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("timed out: the run took longer than the job's timeout of %v", e.after)
}

// interrupted is the error of a handler whose context the worker ended.
// cause says why.
type interrupted struct{ cause, err error }

func (e *interrupted) Error() string {
	text := e.err.Error()
	if text == e.cause.Error() { // the handler returned what context.Cause says
		return text
	}
	return e.cause.Error() + ": " + strings.TrimPrefix(text, e.cause.Error()+": ")
}

func (e *interrupted) Unwrap() []error { return []error{e.cause, e.err} }

// blame puts the reason why the context of a run ended (nil = it did not)
// in front of the error that the handler returned.
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

// decide says how a run ends, from what its handler returned and from why
// its context ended (nil = it did not):
//
//	nil                                   completed
//	Cancel, Discard, Snooze               as they say
//	cut short by a shutdown               handed back: due at once, the attempt not spent
//	cut short because a cancel was asked  cancelled
//	args that the codec does not decode   waits for another worker, the attempt not spent
//	any other error                       retryable after the policy's delay while attempts
//	                                      are left, then discarded
//
// It is pure if the policy is. The caller adds the name of the worker.
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
	if undecoded := (*undecodedRun)(nil); errors.As(err, &undecoded) {
		f.State, f.GiveBack, f.Delay = Scheduled, true, undecodedDelay(job)
		f.Error = bound(errorText(err), maxErrorText-len(undecodedText)) + undecodedText
		return f
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
	row := *job // a copy for the policy
	f.State, f.Delay = Retryable, delayOf(policy(&row, err))
	return f
}

// decideSafely is decide for an error and a policy that are not ours, and
// may panic or end the goroutine. In that case too f says how the run ends.
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

// decideApart is decideSafely on a goroutine of its own, which the policy may
// end.
func decideApart(job *JobRow, err error, policy RetryPolicy) (f Finish) {
	decided := make(chan struct{})
	go func() {
		defer close(decided)
		decideSafely(&f, job, err, nil, policy)
	}()
	<-decided
	return f
}

func delayOf(d time.Duration) time.Duration { return ceilMilli(min(max(d, 0), maxDuration)) }

// errorText is never empty, so a recorded error can be seen.
func errorText(err error) string {
	text := err.Error()
	if strings.TrimSpace(text) == "" {
		text = fmt.Sprintf("an error of type %T without a text", err)
	}
	return cleanText(text, maxErrorText)
}

// cleanText makes a text that every store can keep: valid UTF-8 without
// NUL, of bounded size.
func cleanText(s string, size int) string {
	return bound(strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�"), size)
}
