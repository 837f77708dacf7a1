package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/onceq/onceq"
)

// These tests show that code of the user's may panic anywhere, or end its
// goroutine, and the process and the worker go on. Before, most of them
// ended the test binary.

// trap is an error whose methods misbehave: the commonest is a typed nil
// whose method reads a field.
type trap struct {
	cause               error
	onError, onIs, onAs func()
	onUnwrap            func()
}

func (e *trap) Error() string {
	if e.onError != nil {
		e.onError()
	}
	return fmt.Sprint("trap: ", e.cause) // panics on a nil *trap
}

func (e *trap) Is(error) bool {
	if e.onIs != nil {
		e.onIs()
	}
	return false
}

func (e *trap) As(any) bool {
	if e.onAs != nil {
		e.onAs()
	}
	return false
}

func (e *trap) Unwrap() error {
	if e.onUnwrap != nil {
		e.onUnwrap()
	}
	return e.cause // panics on a nil *trap
}

// list is an error of several whose list cannot be had.
type list struct{ do func() }

func (list) Error() string     { return "list" }
func (l list) Unwrap() []error { l.do(); return nil }

func TestAnErrorWhoseMethodsPanicIsAnOrdinaryFailure(t *testing.T) {
	boom := func() { panic("boom") }
	var typedNil *trap
	errs := map[string]error{
		"a typed nil":           typedNil,
		"a wrapped typed nil":   fmt.Errorf("sync: %w", error(typedNil)),
		"Error panics":          &trap{onError: boom},
		"Is panics":             &trap{onIs: boom},
		"As panics":             &trap{onAs: boom},
		"Unwrap panics":         &trap{onUnwrap: boom},
		"Unwrap of many panics": list{boom},
		"Error exits":           &trap{onError: runtime.Goexit},
		"As exits":              &trap{onAs: runtime.Goexit},
		"Unwrap exits":          &trap{onUnwrap: runtime.Goexit},
		"it panics with an error that panics": &trap{onError: func() {
			panic(&trap{onError: boom})
		}},
	}
	ends := map[string]func(b *bubble, id string, stop func() error){
		"not at all":     func(*bubble, string, func() error) {},
		"by its timeout": func(*bubble, string, func() error) { time.Sleep(10 * time.Second) },
		"by a cancel":    func(b *bubble, id string, stop func() error) { b.client.Cancel(b.t.Context(), id) },
		"by a shutdown":  func(b *bubble, id string, stop func() error) { go stop() },
	}
	for what, bad := range errs {
		for how, end := range ends {
			for _, panics := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, the context ends %s, panics %v", what, how, panics), func(t *testing.T) {
					inBubble(t, nil, func(t *testing.T, b *bubble) {
						stop := b.serve(onceq.WorkerConfig{ShutdownTimeout: time.Second},
							func(ctx context.Context, job *onceq.Job[mail]) error {
								if job.Args.To != "bad" {
									return nil
								}
								if how != "not at all" {
									<-ctx.Done()
								}
								if panics {
									panic(bad)
								}
								return bad
							})
						id := b.enqueueAndWait(mail{To: "bad"}, onceq.Timeout(5*time.Second), onceq.MaxAttempts(1),
							onceq.Unique{})
						end(b, id, stop)
						pass(2 * time.Second)
						job := b.job(id)
						if !job.State.Finished() && !(how == "by a shutdown" && job.State == onceq.Available &&
							job.Attempt == 0) {
							t.Errorf("job is %s", job.State)
						}
						if how != "by a shutdown" {
							if len(job.Errors) != 1 || job.Errors[0].Error == "" {
								t.Errorf("errors %+v", job.Errors)
							}
							b.wants(b.enqueueAndWait(mail{}), onceq.Completed) // the worker goes on
						}
						clean(t, stop)
					})
				})
			}
		}
	}
}

func TestARetryPolicyThatPanicsOrExitsIsAnOrdinaryFailure(t *testing.T) {
	for name, do := range map[string]func(){"panics": func() { panic("no policy") }, "exits": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				lost := b.enqueue(mail{To: "lost"})
				b.deadWorker("died", time.Second, 1)
				policy := func(*onceq.JobRow, error) time.Duration { do(); return 0 }
				stop := b.serve(onceq.WorkerConfig{Lease: 3 * time.Second, Retry: policy},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						if job.Args.To == "bad" && job.Attempt == 1 {
							return errors.New("failed")
						}
						return nil
					})
				id := b.enqueue(mail{To: "bad"})
				pass(time.Minute)
				for _, id := range []string{id, lost} {
					if job := b.wants(id, onceq.Completed); len(job.Errors) != 1 ||
						!strings.Contains(job.Errors[0].Error, "policy") {
						t.Errorf("errors %+v", job.Errors)
					}
				}
				clean(t, stop)
			})
		})
	}
}

func TestARetryPolicyMayChangeTheRowItIsGiven(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		w := b.worker(onceq.WorkerConfig{Drain: true, Retry: func(job *onceq.JobRow, _ error) time.Duration {
			*job = onceq.JobRow{ID: "other"}
			return time.Hour
		}})
		onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error { return errors.New("failed") })
		id := b.enqueue(mail{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.run(ctx, w); err != nil || ctx.Err() != nil {
			t.Errorf("Run: %v, %v: the worker has the run in hand for ever", err, ctx.Err())
		}
		b.wants(id, onceq.Retryable)
	})
}

// badLog is a log that panics: in Handle for lines that have the text, or
// always.
type badLog struct{ enabled, handle, attrs, group bool }

func (l badLog) Enabled(context.Context, slog.Level) bool {
	if l.enabled {
		panic("the log: Enabled")
	}
	return true
}

func (l badLog) Handle(context.Context, slog.Record) error {
	if l.handle {
		panic("the log: Handle")
	}
	return nil
}

func (l badLog) WithAttrs([]slog.Attr) slog.Handler {
	if l.attrs {
		panic("the log: WithAttrs")
	}
	return l
}

func (l badLog) WithGroup(string) slog.Handler {
	if l.group {
		panic("the log: WithGroup")
	}
	return l
}

func TestALoggerThatPanicsLosesItsLinesAndNothingElse(t *testing.T) {
	for name, log := range map[string]slog.Handler{
		"Enabled": badLog{enabled: true}, "Handle": badLog{handle: true}, "WithAttrs": badLog{attrs: true},
		"all":        badLog{true, true, true, true},
		"no handler": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				logger := &slog.Logger{}
				if log != nil {
					logger = slog.New(log)
				}
				w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Lease: 6 * time.Second, Logger: logger})
				if err != nil {
					t.Fatal(err)
				}
				onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error {
					switch {
					case job.Args.To == "fails" && job.Attempt == 1:
						return errors.New("failed")
					case job.Args.To == "stops" && job.JobRow.Run == 1:
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				lost := b.enqueue(mail{})
				b.deadWorker("died", time.Second, 1)
				go func() { done <- w.Run(ctx) }()
				fails, stops, fenced := b.enqueue(mail{To: "fails"}), b.enqueue(mail{To: "stops"}),
					b.enqueue(mail{To: "stops"})
				synctest.Wait()
				if _, err := b.client.Cancel(t.Context(), stops); err != nil { // logged by the heartbeat
					t.Fatal(err)
				}
				pass(time.Second)
				store.from(always(failsClean, "fetch", "extend", "finish", "sweep")) // by all the others, and the fence
				unsent := b.enqueue(mail{To: "fails"})
				pass(time.Minute)
				store.heal()
				pass(time.Minute)
				for _, id := range []string{lost, fails, fenced, unsent} {
					b.wants(id, onceq.Completed)
				}
				b.wants(stops, onceq.Cancelled)
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// badMeter is a MeterProvider whose instruments panic.
type badMeter struct{ noop.MeterProvider }

type badMeterImpl struct{ noop.Meter }

type (
	badCounter   struct{ noop.Int64Counter }
	badHistogram struct{ noop.Float64Histogram }
	badRows      struct{ noop.Int64Histogram }
)

func (badMeter) Meter(string, ...metric.MeterOption) metric.Meter { return badMeterImpl{} }

func (badMeterImpl) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return badCounter{}, nil
}

func (badMeterImpl) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return badHistogram{}, nil
}

func (badMeterImpl) Int64Histogram(string, ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return badRows{}, nil
}

func (badMeterImpl) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	panic("the meter")
}

func (badHistogram) Enabled(context.Context) bool { panic("the meter") }
func (badRows) Enabled(context.Context) bool      { panic("the meter") }

func (badCounter) Add(context.Context, int64, ...metric.AddOption) { panic("the meter") }
func (badCounter) Enabled(context.Context) bool                    { return true }

func TestAMeterProviderThatPanicsStopsNoResult(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.client = clientOf(t, b.store, &onceq.Config{MeterProvider: badMeter{}})
		stop := b.serve(onceq.WorkerConfig{MeterProvider: badMeter{}}, fine)
		for range 3 {
			b.wants(b.enqueueAndWait(mail{}), onceq.Completed)
		}
		clean(t, stop)
	})
}

func TestMiddlewareThatPanicsOrExitsIsAFailureOfTheRun(t *testing.T) {
	for name, wrap := range map[string]onceq.Middleware{
		"before": func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error { panic("boom") }
		},
		"after": func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error { next(ctx, job); panic("boom") }
		},
		"deferred": func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error {
				defer func() { panic(fmt.Sprint("boom ", recover())) }()
				panic("first")
			}
		},
		"exit": func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error { runtime.Goexit(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				stop := b.serve(onceq.WorkerConfig{Middleware: []onceq.Middleware{wrap}}, fine)
				for range 3 {
					job := b.wants(b.enqueueAndWait(mail{}, onceq.MaxAttempts(1)), onceq.Discarded)
					if len(job.Errors) != 1 {
						t.Errorf("errors %+v", job.Errors)
					}
				}
				clean(t, stop)
			})
		})
	}
}

func TestAStoreThatPanicsIsOneWhoseAnswerWasLost(t *testing.T) {
	for _, op := range []string{"fetch", "extend", "finish", "sweep"} {
		t.Run(op, func(t *testing.T) {
			inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
				var did atomic.Int64
				bad := func(what string) {
					if op == what && did.Add(1) == 2 { // the first extend makes the worker known
						panic("boom")
					}
				}
				store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
					f, err := store.Store.Fetch(ctx, r)
					bad("fetch")
					return f, err
				}
				store.extend = func(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
					bad("extend")
					return store.Store.Extend(ctx, r)
				}
				store.finish = func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
					results, err := store.Store.Finish(ctx, r)
					bad("finish")
					return results, err
				}
				store.sweep = func(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
					bad("sweep")
					return store.Store.Sweep(ctx, r)
				}
				log := newLog()
				stop := b.serve(onceq.WorkerConfig{Logger: log.logger()}, fine)
				for range 4 {
					id := b.enqueue(mail{}, onceq.MaxAttempts(1))
					pass(20 * time.Second)
					b.wants(id, onceq.Completed)
				}
				if !log.has("the store panicked") || !log.has("panic_test.go") {
					t.Errorf("log:\n%s", log)
				}
				clean(t, stop)
			})
		})
	}
}
