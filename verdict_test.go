package onceq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestDecideIsAFunctionOfTheJobAndWhatItsHandlerReturned(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	policy := func(job *JobRow, err error) time.Duration { return time.Duration(job.Attempt) * time.Minute }
	for _, c := range []struct {
		name    string
		attempt int // of 3
		err     error
		cause   error
		want    Finish
	}{
		{"nil completes", 1, nil, nil, Finish{State: Completed}},
		{"nil completes on the last attempt", 3, nil, nil, Finish{State: Completed}},
		{"an error is retried after the policy's delay", 2, failed, nil,
			Finish{State: Retryable, Delay: 2 * time.Minute, Error: "failed"}},
		{"an error on the last attempt discards", 3, failed, nil, Finish{State: Discarded, Error: "failed"}},
		{"an error beyond the last attempt discards", 4, failed, nil, Finish{State: Discarded, Error: "failed"}},
		{"a snooze gives the attempt back, on the last one too", 3, Snooze(time.Hour), nil,
			Finish{State: Scheduled, Delay: time.Hour, GiveBack: true}},
		{"a negative snooze is at once", 1, Snooze(-time.Hour), nil, Finish{State: Scheduled, GiveBack: true}},
		{"an endless snooze is bounded", 1, Snooze(1<<63 - 1), nil,
			Finish{State: Scheduled, Delay: maxDuration, GiveBack: true}},
		{"delays are whole milliseconds", 1, Snooze(time.Microsecond), nil,
			Finish{State: Scheduled, Delay: time.Millisecond, GiveBack: true}},
		{"cancel", 1, Cancel(failed), nil, Finish{State: Cancelled, Error: "failed"}},
		{"discard", 1, Discard(failed), nil, Finish{State: Discarded, Error: "failed"}},
		{"discard without an error", 1, Discard(nil), nil, Finish{State: Discarded}},
		{"a wrapped verdict", 1, fmt.Errorf("a: %w", Discard(failed)), nil,
			Finish{State: Discarded, Error: "a: discarded: failed"}},
		{"a joined verdict", 1, errors.Join(failed, Snooze(time.Second)), nil,
			Finish{State: Scheduled, Delay: time.Second, GiveBack: true}},
		{"the outer of two verdicts", 1, Cancel(Snooze(time.Second)), nil,
			Finish{State: Cancelled, Error: "snoozed for 1s"}},
		{"a shutdown hands back", 3, failed, ErrShutdown, Finish{State: Scheduled, GiveBack: true}},
		{"a verdict stands through a shutdown", 1, Discard(failed), ErrShutdown,
			Finish{State: Discarded, Error: "failed"}},
		{"a panic during a shutdown is a failure", 1, &panicError{"boom", "stack"}, ErrShutdown,
			Finish{State: Retryable, Delay: time.Minute, Error: "panic: boom", Stack: "stack"}},
		{"an error that only says shutdown is a failure", 1, fmt.Errorf("peer: %w", ErrShutdown), nil,
			Finish{State: Retryable, Delay: time.Minute, Error: "peer: the worker is shutting down"}},
		{"a requested cancel", 1, context.Canceled, ErrCancelRequested,
			Finish{State: Cancelled, Error: "cancelled by request: context canceled"}},
		{"a timeout", 1, failed, &timeoutError{time.Second},
			Finish{State: Retryable, Delay: time.Minute, Error: "timed out: the run took longer than the job's " +
				"timeout of 1s: failed"}},
		{"nil after a timeout completes", 1, nil, &timeoutError{time.Second}, Finish{State: Completed}},
		{"a text that no store could keep", 1, errors.New("a\x00b\xff"), nil,
			Finish{State: Retryable, Delay: time.Minute, Error: "a�b�"}},
	} {
		c.want.ID, c.want.Run = "j", 7
		if got := decide(&JobRow{ID: "j", Run: 7, Attempt: c.attempt, MaxAttempts: 3}, c.err, c.cause,
			policy); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	long := decide(&JobRow{MaxAttempts: 9}, &panicError{strings.Repeat("ä", 5000), strings.Repeat("ß", 9000)},
		nil, DefaultRetry)
	if len(long.Error) > maxErrorText || len(long.Stack) > maxStack || !utf8.ValidString(long.Error+long.Stack) {
		t.Errorf("%d bytes of error, %d of stack", len(long.Error), len(long.Stack))
	}
	if p := (&panicError{value: failed}); !errors.Is(p, failed) {
		t.Error("a panic with an error does not wrap it")
	}
}

func TestDefaultRetryDoublesWithJitterFromHalfASecondToADay(t *testing.T) {
	t.Parallel()
	for attempt := range 100 {
		ceiling := maxRetryDelay
		if attempt < 17 {
			ceiling = time.Second << max(attempt, 1)
		}
		least, most := ceiling, time.Duration(0)
		for range 200 {
			d := DefaultRetry(&JobRow{Attempt: attempt}, nil)
			if d < 500*time.Millisecond || d > ceiling {
				t.Fatalf("attempt %d: %v", attempt, d)
			}
			least, most = min(least, d), max(most, d)
		}
		if least > ceiling/2 || most < ceiling/2 {
			t.Errorf("attempt %d: from %v to %v in 200", attempt, least, most)
		}
	}
}
