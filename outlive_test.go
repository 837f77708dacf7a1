package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceq/onceq"
)

// down makes every call but "leave" fail once *when is true.
func down(when *atomic.Bool, f fault) func(string) fault {
	return func(op string) fault {
		if when.Load() && op != "leave" {
			return f
		}
		return goesWell
	}
}

func TestNothingIsLoggedOnceRunHasReturned(t *testing.T) {
	type scene struct {
		*bubble
		store *flaky
		over  chan struct{} // closed a while after Run has returned
		lost  atomic.Bool   // the store is down
	}
	for _, c := range []struct {
		name    string
		fate    fault // of the store once lost is set
		handler func(ctx context.Context, s *scene) error
		stuck   bool
	}{
		{"a run fails", failsClean, func(ctx context.Context, s *scene) error { return errors.New("failed") }, false},
		{"a run panics", failsClean, func(ctx context.Context, s *scene) error { panic("boom") }, false},
		{"a run is cut short", failsClean, func(ctx context.Context, s *scene) error {
			<-ctx.Done()
			return ctx.Err()
		}, false},
		{"the lease ends with a result unsent", failsClean, func(ctx context.Context, s *scene) error {
			s.lost.Store(true)
			return nil
		}, false},
		{"a result is under way when the lease ends", failsLate, func(ctx context.Context, s *scene) error {
			s.lost.Store(true)
			return nil
		}, false},
		{"the lease ends under a handler", failsUnsent, func(ctx context.Context, s *scene) error {
			s.lost.Store(true)
			<-ctx.Done()
			return ctx.Err()
		}, false},
		{"a handler returns after Run", goesWell, func(ctx context.Context, s *scene) error {
			<-s.over
			return errors.New("failed")
		}, true},
		{"a handler returns after Run and after its lease", failsClean, func(ctx context.Context, s *scene) error {
			s.lost.Store(true)
			<-s.over
			return nil
		}, true},
	} {
		for _, takes := range []time.Duration{0, time.Millisecond, 70 * time.Millisecond, 2 * time.Second} {
			t.Run(c.name+", a line takes "+takes.String(), func(t *testing.T) {
				inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
					s := &scene{bubble: b, store: store, over: make(chan struct{})}
					began := make(chan struct{})
					store.from(down(&s.lost, c.fate))
					w := b.worker(onceq.WorkerConfig{Lease: 300 * time.Millisecond, ShutdownTimeout: time.Second,
						Logger: slog.New(slowLog{slog.DiscardHandler, takes})})
					onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error {
						if job.Run == 1 {
							close(began)
						}
						return c.handler(ctx, s)
					})
					stop := b.start(w)
					b.enqueue(mail{}, onceq.MaxAttempts(1))
					<-began
					err := stop()
					if c.stuck && (err == nil || !strings.Contains(err.Error(), "did not return")) {
						t.Errorf("Run: %v", err)
					}
					pass(time.Minute)
					close(s.over)
					pass(time.Minute)
				})
			})
		}
	}
}

func TestRunIsNotNilWhenAResultWasDroppedWhileItDrained(t *testing.T) {
	for _, c := range []struct {
		name string
		fate fault // of all calls but the leave, from the time the handler has begun
		ends func(ctx context.Context) error
	}{
		{"the store refuses", failsClean, func(context.Context) error { return nil }},
		{"the store is cut off", failsUnsent, func(context.Context) error { return nil }},
		{"answers come late", failsLate, func(context.Context) error { return nil }},
		{"a failure", failsClean, func(context.Context) error { return errors.New("failed") }},
		{"the handler returns when its lease is over", failsUnsent, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}},
		{"the handler returns a while after its lease", failsUnsent, func(context.Context) error {
			time.Sleep(time.Second)
			return nil
		}},
		{"the store had taken the worker for lost", goesWell, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				var began atomic.Bool
				var id string
				store.from(down(&began, c.fate))
				stop := b.serve(onceq.WorkerConfig{Lease: 300 * time.Millisecond},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						began.Store(true)
						if c.ends != nil {
							return c.ends(ctx)
						}
						r, err := store.Store.Finish(ctx,
							onceq.FinishRequest{
								Runs: []onceq.Finish{{ID: job.ID, Run: job.JobRow.Run, Worker: "rescuer", Rescue: true,
									State: onceq.Retryable, Delay: time.Hour, Error: "lost"}}})
						if err != nil || r[0].Status != onceq.FinishDone {
							t.Error(r, err)
						}
						<-ctx.Done()
						return nil
					})
				id = b.enqueue(mail{})
				for !began.Load() {
					time.Sleep(time.Microsecond)
				}
				err := stop()
				job := b.job(id)
				if job.State != onceq.Completed && (err == nil || !strings.Contains(err.Error(), "1 result")) {
					t.Errorf("the job is %s; Run: %v", job.State, err)
				}
			})
		})
	}
}

func TestAHandlerWhoseRunWasTakenOverIsWaitedForAndNamedToo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		over := make(chan struct{})
		stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			<-over
			return nil
		})
		id := b.enqueueAndWait(mail{})
		r, err := b.store.Finish(t.Context(),
			onceq.FinishRequest{Runs: []onceq.Finish{{ID: id, Run: 1, Worker: "rescuer", Rescue: true,
				State: onceq.Retryable, Delay: time.Hour, Error: "lost"}}})
		if err != nil || r[0].Status != onceq.FinishDone {
			t.Error(r, err)
		}
		pass(time.Minute) // heartbeats
		began := time.Now()
		if err := stop(); err == nil || !strings.Contains(err.Error(), id+" (mail)") ||
			time.Since(began) < 20*time.Second {
			t.Errorf("after %v, Run: %v", time.Since(began), err)
		}
		close(over)
	})
}

func TestASlowEndLeavesTimeToHandBackWhatIsLeft(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second)
			return nil
		})
		id := b.enqueueAndWait(mail{})
		store.from(always(failsClean, "finish"))
		began := time.Now()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "1 result could not be delivered") ||
			strings.Contains(err.Error(), "leave") {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("took %v", took)
		}
		b.wants(id, onceq.Available)
	})
}

func TestAResultThatWasDroppedBeforeTheDrainIsNoErrorOfRun(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		stop := b.serve(onceq.WorkerConfig{Lease: 300 * time.Millisecond}, fine)
		store.from(always(failsUnsent, "extend", "finish"))
		id := b.enqueue(mail{})
		pass(time.Second)
		store.heal()
		pass(5 * time.Second)
		b.wants(id, onceq.Completed)
		clean(t, stop)
		synctest.Wait()
	})
}

// TestRunIsBackInTimeHoweverSlowHandlersAndStoreAre: with the defaults 25s
// after its context ended, which leaves 5 of the 30 seconds that Kubernetes
// gives.
func TestRunIsBackInTimeHoweverSlowHandlersAndStoreAre(t *testing.T) {
	handlers := map[string]func(ctx context.Context, over chan struct{}) error{
		"ends after a second": func(context.Context, chan struct{}) error { time.Sleep(time.Second); return nil },
		"ends just in time": func(context.Context, chan struct{}) error {
			time.Sleep(20*time.Second - time.Millisecond)
			return nil
		},
		"heeds its context": func(ctx context.Context, _ chan struct{}) error { <-ctx.Done(); return ctx.Err() },
		"is slow to heed its context": func(ctx context.Context, _ chan struct{}) error {
			<-ctx.Done()
			time.Sleep(2900 * time.Millisecond)
			return ctx.Err()
		},
		"never returns": func(_ context.Context, over chan struct{}) error { <-over; return nil },
	}
	for name, handler := range handlers {
		for fate, f := range map[string]fault{"is well": goesWell, "answers late": goesLate, "is cut off": failsLate,
			"refuses": failsClean} {
			t.Run("the handler "+name+", the store "+fate, func(t *testing.T) {
				inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
					over := make(chan struct{})
					stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
						return handler(ctx, over)
					})
					id := b.enqueue(mail{}, onceq.Unique{}, onceq.MaxAttempts(1))
					synctest.Wait()
					store.from(always(f, "fetch", "extend", "finish", "sweep", "leave"))
					began := time.Now()
					err := stop()
					if took := time.Since(began); took > 25*time.Second {
						t.Errorf("took %v", took)
					}
					if stuck := name == "never returns"; f == goesWell && (err == nil) == stuck {
						t.Errorf("Run: %v", err)
					}
					if f == goesWell {
						job := b.job(id)
						if done := job.State == onceq.Completed; !done &&
							(job.State != onceq.Available || job.Attempt != 0) {
							t.Errorf("%s, attempt %d: not handed back", job.State, job.Attempt)
						}
					}
					close(over)
				})
			})
		}
	}
}

// slowSpans makes the end of each span take a while.
type slowSpans struct {
	takes time.Duration
	ended atomic.Int32
}

func (s *slowSpans) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (s *slowSpans) ForceFlush(context.Context) error           { return nil }
func (s *slowSpans) Shutdown(context.Context) error             { return nil }

func (s *slowSpans) OnEnd(sdk.ReadOnlySpan) {
	time.Sleep(s.takes)
	s.ended.Add(1)
}

// A program shuts its exporter down once Run has returned: a span that ends
// later is lost.
func TestEverySpanHasEndedOnceRunHasReturned(t *testing.T) {
	for name, handler := range map[string]func(ctx context.Context) error{
		"completed": func(context.Context) error { return nil },
		"failed":    func(context.Context) error { return errors.New("failed") },
		"panicked":  func(context.Context) error { panic("boom") },
		"cut short": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		for _, drains := range []bool{false, true} {
			if drains && name == "cut short" {
				continue // nobody stops it
			}
			t.Run(fmt.Sprintf("%s, Drain %v", name, drains), func(t *testing.T) {
				inFlakyBubble(t, func(t *testing.T, b *bubble, _ *flaky) {
					spans := &slowSpans{takes: 10 * time.Second}
					began := make(chan struct{})
					w := b.worker(onceq.WorkerConfig{ShutdownTimeout: time.Second, Drain: drains,
						TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))})
					onceq.Handle(w, func(ctx context.Context, _ *onceq.Job[mail]) error {
						close(began)
						return handler(ctx)
					})
					b.enqueue(mail{}, onceq.MaxAttempts(1))
					stop := b.start(w)
					<-began
					_ = stop()
					if n := spans.ended.Load(); n != 1 {
						t.Errorf("%d spans had ended when Run returned, want 1", n)
					}
				})
			})
		}
	}
}
