package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
)

// finished is what OnFinish was called with.
type finished struct {
	mu   sync.Mutex
	jobs []*onceq.JobRow
	errs []error
}

func (f *finished) note(_ context.Context, job *onceq.JobRow, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs, f.errs = append(f.jobs, job), append(f.errs, err)
}

// wants checks the states of the runs, in their order.
func (f *finished) wants(t *testing.T, states ...onceq.State) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []onceq.State
	for _, job := range f.jobs {
		got = append(got, job.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(states) {
		t.Errorf("OnFinish was called for %v with %v, not for %v", got, f.errs, states)
	}
}

func TestOnFinishSaysWhatBecameOfARunOnceTheStoreHasIt(t *testing.T) {
	bad := errors.New("bad")
	for _, c := range []struct {
		name    string
		handler func(ctx context.Context) error
		state   onceq.State
		is      error
		text    string
		attempt int
	}{
		{"nil", func(ctx context.Context) error { return onceq.SetResult(ctx, "sent") }, onceq.Completed, nil, "", 1},
		{"an error", func(context.Context) error { return bad }, onceq.Retryable, bad, "bad", 1},
		{"Discard", func(context.Context) error { return onceq.Discard(bad) }, onceq.Discarded, bad,
			"discarded: bad", 1},
		{"Cancel", func(context.Context) error { return onceq.Cancel(nil) }, onceq.Cancelled, nil, "cancelled", 1},
		{"Snooze", func(context.Context) error { return onceq.Snooze(time.Hour) }, onceq.Scheduled, nil,
			"snoozed for 1h0m0s", 0},
		{"a panic", func(context.Context) error { panic(bad) }, onceq.Retryable, bad, "panic: bad", 1},
		{"Goexit", func(context.Context) error { runtime.Goexit(); return nil }, onceq.Retryable, nil,
			"the handler ended its goroutine without returning (runtime.Goexit)", 1},
		{"a timeout", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, onceq.Retryable,
			context.DeadlineExceeded,
			"timed out: the run took longer than the job's timeout of 3s: context deadline exceeded", 1},
		{"an error whose method panics", func(context.Context) error { return brokenError{} }, onceq.Retryable, nil,
			"broken", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				var f finished
				stop := b.serve(onceq.WorkerConfig{OnFinish: func(ctx context.Context, job *onceq.JobRow, err error) {
					f.note(ctx, job, err)
					kept, getErr := onceq.ClientFrom(ctx).Job(ctx, job.ID)
					if getErr != nil || kept.State != job.State || kept.Attempt != job.Attempt ||
						string(kept.Result) != string(job.Result) || len(kept.Errors) != len(job.Errors) {
						t.Errorf("OnFinish has\n%+v, and the store\n%+v, %v", job, kept, getErr)
					}
				}}, func(ctx context.Context, _ *onceq.Job[mail]) error { return c.handler(ctx) })
				b.enqueue(mail{}, onceq.Timeout(3*time.Second))
				pass(4 * time.Second)
				clean(t, stop)
				if len(f.jobs) == 0 {
					t.Fatal("OnFinish was not called")
				}
				job, err := f.jobs[0], f.errs[0]
				if job.State != c.state || job.Attempt != c.attempt || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("attempt %d is %s: %v", job.Attempt, job.State, err)
				}
				if (err == nil) != (c.text == "") || err != nil && !strings.HasPrefix(err.Error(), c.text) {
					t.Errorf("the error is %v, not %s", err, c.text)
				}
			})
		})
	}
}

type brokenError struct{}

func (brokenError) Error() string { return "broken" }
func (brokenError) Is(error) bool { panic("broken Is") }
func (brokenError) As(any) bool   { panic("broken As") }

func TestAnOnFinishThatPanicsOrEndsItsGoroutineIsCalledForTheOthers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var f finished
		log := newLog()
		stop := b.serve(onceq.WorkerConfig{Logger: log.logger(),
			OnFinish: func(ctx context.Context, job *onceq.JobRow, err error) {
				f.note(ctx, job, err)
				switch len(f.jobs) {
				case 1:
					panic("boom")
				case 2:
					runtime.Goexit()
				}
			}}, fine)
		for range 3 {
			b.enqueue(mail{})
		}
		synctest.Wait()
		clean(t, stop)
		f.wants(t, onceq.Completed, onceq.Completed, onceq.Completed)
		if n := strings.Count(log.String(), `level=ERROR msg="onceq: OnFinish panicked"`); n != 1 ||
			!log.has("panic=boom") || !log.has("onfinish_test.go") || !log.has("job="+f.jobs[0].ID) {
			t.Errorf("%d lines of a panic:\n%s", n, log)
		}
	})
}

func TestOnFinishIsCalledOnceForARunWhoseAnswerWasLost(t *testing.T) {
	for _, kept := range []time.Duration{time.Hour, 0} {
		t.Run(fmt.Sprint("kept for ", kept), func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				var f finished
				stop := b.serve(onceq.WorkerConfig{OnFinish: f.note}, fine)
				store.from(once("finish", failsUnheard))
				b.enqueue(mail{}, onceq.Retention(kept))
				pass(time.Second)
				clean(t, stop)
				f.wants(t, onceq.Completed)
			})
		})
	}
}

func TestOnFinishIsNotCalledForRunsThatWereLostOrHandedBack(t *testing.T) {
	t.Run("lost", func(t *testing.T) {
		inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
			var f finished
			b.serve(onceq.WorkerConfig{OnFinish: f.note}, fine)
			store.from(always(failsUnsent, "extend", "finish"))
			b.enqueue(mail{})
			pass(time.Minute)
			f.wants(t)
			store.heal()
			pass(time.Minute)
			f.wants(t, onceq.Completed) // of the second run
			if run := f.jobs[0].Run; run != 2 {
				t.Errorf("it is run %d", run)
			}
		})
	})
	t.Run("handed back", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			var f finished
			stop := b.serve(onceq.WorkerConfig{OnFinish: f.note, ServePeriodic: true},
				func(ctx context.Context, _ *onceq.Job[mail]) error { <-ctx.Done(); return ctx.Err() })
			id := b.enqueueAndWait(mail{})
			clean(t, stop)
			b.wants(id, onceq.Available)
			f.wants(t)
		})
	})
}

func TestOnFinishIsCalledForARescuedRunWhereItWasRescued(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.enqueue(mail{}, onceq.MaxAttempts(1))
		b.deadWorker("dead", time.Second, 1)
		var f finished
		for range 2 {
			b.serve(onceq.WorkerConfig{OnFinish: f.note}, fine)
		}
		pass(time.Minute)
		f.wants(t, onceq.Discarded)
		if err := f.errs[0]; !errors.Is(err, onceq.ErrLeaseLost) || !strings.Contains(err.Error(), "was lost") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestRunWaitsForOnFinishAndNamesOneThatDoesNotReturn(t *testing.T) {
	t.Run("it returns", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			var f finished
			stop := b.serve(onceq.WorkerConfig{OnFinish: func(ctx context.Context, job *onceq.JobRow, err error) {
				time.Sleep(time.Second)
				f.note(ctx, job, err)
			}}, fine)
			for range 4 {
				b.enqueue(mail{})
			}
			synctest.Wait()
			clean(t, stop)
			f.wants(t, onceq.Completed, onceq.Completed, onceq.Completed, onceq.Completed)
		})
	})
	t.Run("it does not return", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			release := make(chan struct{})
			cause := make(chan error, 1) // Run does not wait for who writes it
			stop := b.serve(onceq.WorkerConfig{OnFinish: func(ctx context.Context, _ *onceq.JobRow, _ error) {
				<-ctx.Done()
				cause <- ctx.Err()
				<-release
				panic("after Run nobody hears this")
			}}, fine)
			for range 3 {
				b.enqueue(mail{})
			}
			synctest.Wait()
			began := time.Now()
			err := stop()
			if err == nil || !strings.Contains(err.Error(), "OnFinish did not return when its context was cancelled") ||
				!strings.Contains(err.Error(), "OnFinish was not called for 2 runs") || len(cause) != 1 {
				t.Errorf("Run: %v; contexts that were cancelled: %d", err, len(cause))
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("Run took %v", took)
			}
			close(release)
			synctest.Wait()
		})
	})
}

func TestASlowOnFinishHoldsBackTheFetch(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var runs counter
		stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 500}},
			OnFinish: func(context.Context, *onceq.JobRow, error) { time.Sleep(time.Second) }},
			func(context.Context, *onceq.Job[mail]) error { runs.add(); return nil })
		for range 4000 {
			b.enqueue(mail{})
		}
		pass(time.Minute)
		if n := runs.n(); n < 2000 || n > 2600+60 {
			t.Errorf("%d jobs ran while OnFinish was called for 60", n)
		}
		_ = stop()
	})
}

func TestADrainRunsWhatOnFinishEnqueues(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var f finished
		b.enqueue(mail{To: "a"})
		b.drain(onceq.WorkerConfig{OnFinish: func(ctx context.Context, job *onceq.JobRow, err error) {
			f.note(ctx, job, err)
			time.Sleep(10 * time.Second)
			if len(f.jobs) < 3 {
				b.enqueue(mail{To: "b"})
			}
		}})
		f.wants(t, onceq.Completed, onceq.Completed, onceq.Completed)
	})
}

type counter struct {
	mu sync.Mutex
	of int
}

func (c *counter) add()   { c.mu.Lock(); c.of++; c.mu.Unlock() }
func (c *counter) n() int { c.mu.Lock(); defer c.mu.Unlock(); return c.of }
