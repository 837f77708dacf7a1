package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
)

func TestAFailingJobIsRetriedWithBackoffUntilItsAttemptsAreSpent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var at []time.Duration
		began := time.Now()
		b.serve(onceq.WorkerConfig{
			PollInterval: time.Hour,
			Retry: func(job *onceq.JobRow, err error) time.Duration {
				return time.Duration(job.Attempt) * time.Minute
			},
		}, func(ctx context.Context, job *onceq.Job[mail]) error {
			at = append(at, time.Since(began).Round(time.Millisecond))
			return fmt.Errorf("no. %d", job.Attempt)
		})
		id := b.enqueue(mail{}, onceq.MaxAttempts(3))
		synctest.Wait()
		b.wants(id, onceq.Retryable)
		pass(time.Hour / 2)
		job := b.wants(id, onceq.Discarded)
		if want := []time.Duration{0, time.Minute, 3 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if len(job.Errors) != 3 || job.Errors[2].Error != "no. 3" || job.Errors[2].Attempt != 3 {
			t.Errorf("errors %v", job.Errors)
		}
	})
}

func TestVerdictsOfAHandlerDecideWrappedOrNot(t *testing.T) {
	cause := errors.New("no such user")
	for _, c := range []struct {
		name    string
		verdict error
		state   onceq.State
		attempt int
		text    string
	}{
		{"cancel", onceq.Cancel(cause), onceq.Cancelled, 1, "no such user"},
		{"cancel without an error", onceq.Cancel(nil), onceq.Cancelled, 1, ""},
		{"discard", onceq.Discard(cause), onceq.Discarded, 1, "no such user"},
		{"wrapped discard", fmt.Errorf("sync: %w", onceq.Discard(cause)), onceq.Discarded, 1,
			"sync: discarded: no such user"},
		{"snooze", onceq.Snooze(time.Hour), onceq.Scheduled, 0, ""},
		{"wrapped snooze", fmt.Errorf("later: %w", onceq.Snooze(time.Hour)), onceq.Scheduled, 0, ""},
		{"ordinary", cause, onceq.Retryable, 1, "no such user"},
		{"without a text", errors.New(" "), onceq.Retryable, 1, "an error of type *errors.errorString without a text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				b.serve(onceq.WorkerConfig{Retry: func(*onceq.JobRow, error) time.Duration { return time.Hour }},
					func(context.Context, *onceq.Job[mail]) error { return c.verdict })
				id := b.enqueue(mail{})
				synctest.Wait()
				job := b.wants(id, c.state)
				var text string
				if len(job.Errors) > 0 {
					text = job.Errors[0].Error
				}
				if job.Attempt != c.attempt || text != c.text {
					t.Errorf("attempt %d, error %q", job.Attempt, text)
				}
			})
		})
	}
}

func TestASnoozedJobRunsAgainWithoutHavingSpentAnAttempt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var attempts []int
		b.serve(onceq.WorkerConfig{PollInterval: time.Hour}, func(ctx context.Context, job *onceq.Job[mail]) error {
			attempts = append(attempts, job.Attempt)
			if job.Run < 4 {
				return onceq.Snooze(time.Minute)
			}
			return nil
		})
		id := b.enqueue(mail{}, onceq.MaxAttempts(1))
		pass(3*time.Minute + time.Second)
		b.wants(id, onceq.Completed)
		if !slices.Equal(attempts, []int{1, 1, 1, 1}) {
			t.Errorf("attempts %v", attempts)
		}
	})
}

func TestAHandlerThatPanicsOrExitsFailsItsRunAndGivesItsSlotBack(t *testing.T) {
	var nothing *mail
	for _, c := range []struct {
		name  string
		do    func()
		error string
		stack string
	}{
		{"panic", func() { panic("boom") }, "panic: boom", "failure_test.go"},
		{"panic with nil", func() { panic(nil) }, "panic called with nil argument", "failure_test.go"},
		{"nil dereference", func() { _ = nothing.To }, "nil pointer dereference", "failure_test.go"},
		{"goexit", runtime.Goexit, "ended its goroutine without returning", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						if job.Args.To == "boom" {
							c.do()
						}
						return nil
					})
				bad := b.enqueue(mail{To: "boom"}, onceq.MaxAttempts(1))
				good := b.enqueue(mail{To: "ada"})
				synctest.Wait()
				job := b.wants(bad, onceq.Discarded)
				b.wants(good, onceq.Completed)
				if len(job.Errors) != 1 || !strings.Contains(job.Errors[0].Error, c.error) ||
					!strings.Contains(job.Errors[0].Stack, c.stack) || (c.stack == "") != (job.Errors[0].Stack == "") {
					t.Errorf("errors %+v", job.Errors)
				}
				clean(t, stop)
			})
		})
	}
}

type badError struct{}

func (*badError) Error() string { panic("an error that panics") }

func TestAnErrorOrARetryPolicyThatPanicsIsAnOrdinaryFailure(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		stop := b.serve(onceq.WorkerConfig{Retry: func(job *onceq.JobRow, err error) time.Duration {
			panic("no policy")
		}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "error" {
					return &badError{}
				}
				return errors.New("failed")
			})
		first, second := b.enqueue(mail{To: "error"}), b.enqueue(mail{To: "policy"})
		synctest.Wait()
		for _, id := range []string{first, second} {
			if job := b.job(id); len(job.Errors) == 0 || !strings.Contains(job.Errors[0].Error, "panicked") {
				t.Errorf("%s: %+v", job.State, job.Errors)
			}
		}
		clean(t, stop)
	})
}

func TestWhatCannotBeHandledIsAnOrdinaryFailureThatNamesTheReason(t *testing.T) {
	for _, c := range []struct {
		name string
		args onceq.Args
		want []string
	}{
		{"a kind that Kinds names and no handler takes", onceq.JSON("fax", []byte("{}")),
			[]string{`no handler of kind "fax"`, "mail"}},
		{"args that do not decode", onceq.JSON("mail", []byte(`{"to":7}`)),
			[]string{`args of kind "mail" do not decode as onceq_test.mail`, "number"}},
		{"bytes for a typed handler", onceq.Bytes("mail", []byte{1}), []string{"opaque bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				b.serve(onceq.WorkerConfig{Kinds: []string{"mail", "fax"},
					Retry: func(*onceq.JobRow, error) time.Duration { return time.Hour }}, fine)
				id := b.enqueue(c.args, onceq.Unique{})
				synctest.Wait()
				job := b.wants(id, onceq.Retryable)
				for _, part := range c.want {
					if len(job.Errors) != 1 || !strings.Contains(job.Errors[0].Error, part) {
						t.Errorf("error %+v does not say %q", job.Errors, part)
					}
				}
				if held, err := b.client.Key(t.Context(), *job.Key); err != nil || held.Holder != id {
					t.Errorf("the key does not follow the job: %v, %v", held, err)
				}
			})
		})
	}
}
