package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

func TestAJobRunsAtOnceAndItsHandlerGetsRowArgsAndClient(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var got onceq.Job[mail]
		var client *onceq.Client
		stop := b.serve(onceq.WorkerConfig{ID: "w1"}, func(ctx context.Context, job *onceq.Job[mail]) error {
			got, client = *job, onceq.ClientFrom(ctx)
			return nil
		})
		began := time.Now()
		id := b.enqueue(mail{To: "ada"})
		synctest.Wait()
		job := b.wants(id, onceq.Completed)
		if got.ID != id || got.Args.To != "ada" || got.Attempt != 1 || got.Run != 1 || client == nil ||
			time.Since(began) != 0 {
			t.Errorf("handler got %+v with client %v after %v", got, client, time.Since(began))
		}
		if !strings.HasPrefix(job.Worker, "w1-") {
			t.Errorf("worker is %q: each Run has an identity of its own, made of the ID", job.Worker)
		}
		clean(t, stop)
	})
}

func TestAHandlerOfAPointerTypeGetsNumbersExactAndNeverANilPointer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var got []int64
		w := b.worker(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}})
		onceq.Handle(w, func(ctx context.Context, job *onceq.Job[*report]) error {
			got = append(got, job.Args.Number)
			return nil
		})
		b.enqueue(&report{Number: 9007199254740993})
		b.enqueue(onceq.JSON("report", []byte("null")))
		clean(t, b.start(w))
		if !slices.Equal(got, []int64{9007199254740993, 0}) {
			t.Errorf("got %v", got)
		}
	})
}

// deaf is a store without wake-ups.
type deaf struct{ onceq.Store }

func (deaf) Traits() onceq.Traits { return onceq.Traits{} }

func TestWithoutWakeUpsAJobIsFoundByPolling(t *testing.T) {
	inBubble(t, func() onceq.Store { return deaf{memstore.New(nil)} }, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{PollInterval: 10 * time.Second}, fine)
		pass(time.Second)
		id := b.enqueue(mail{})
		synctest.Wait()
		b.wants(id, onceq.Available)
		pass(12 * time.Second)
		b.wants(id, onceq.Completed)
	})
}

func TestADelayedJobStartsWhenItIsDue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var started time.Time
		b.serve(onceq.WorkerConfig{PollInterval: time.Hour}, func(ctx context.Context, job *onceq.Job[mail]) error {
			started = time.Now()
			return nil
		})
		began := time.Now()
		b.enqueue(mail{}, onceq.Delay(90*time.Second))
		pass(2 * time.Minute)
		if after := started.Sub(began).Round(time.Millisecond); after != 90*time.Second {
			t.Errorf("started after %v", after)
		}
	})
}

func TestJobsStartByPriorityThenByRunTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		for i, p := range []int{5, 9, 0, 5, 1} {
			b.enqueue(mail{To: fmt.Sprint(p, "#", i)}, onceq.Priority(p))
			pass(time.Millisecond)
		}
		var order []string
		b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				order = append(order, job.Args.To)
				return nil
			})
		if want := []string{"0#2", "1#4", "5#0", "5#3", "9#1"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestEachQueueRunsAsManyAtOnceAsItMayAndNoMore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		stop := b.serve(onceq.WorkerConfig{
			Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 3}, "b": {Concurrency: 1}}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				mu.Lock()
				now[job.Queue]++
				most[job.Queue] = max(most[job.Queue], now[job.Queue])
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now[job.Queue]--
				mu.Unlock()
				return nil
			})
		began := time.Now()
		var ids []string
		for range 12 {
			ids = append(ids, b.enqueue(mail{}, onceq.Queue("a")))
		}
		for range 4 {
			ids = append(ids, b.enqueue(mail{}, onceq.Queue("b")))
		}
		other := b.enqueue(mail{}, onceq.Queue("c"))
		pass(4*time.Second + time.Millisecond)
		for _, id := range ids {
			b.wants(id, onceq.Completed)
		}
		if most["a"] != 3 || most["b"] != 1 {
			t.Errorf("at once: %v in %v", most, time.Since(began))
		}
		b.wants(other, onceq.Available)
		clean(t, stop)
	})
}

func TestAWakeUpOfAFullQueueIsNotForgotten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{PollInterval: time.Hour,
			Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 1}, "b": {Concurrency: 5}}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Queue == "a" {
					time.Sleep(time.Second)
				}
				return nil
			})
		first := b.enqueue(mail{}, onceq.Queue("a"))
		synctest.Wait()
		inB := b.enqueue(mail{}, onceq.Queue("b"))
		second := b.enqueue(mail{}, onceq.Queue("a"))
		pass(3 * time.Second)
		for _, id := range []string{first, inB, second} {
			b.wants(id, onceq.Completed)
		}
	})
}

func TestAWorkerFetchesOnlyTheKindsItIsToldTo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{Kinds: []string{"mail"}}, fine)
		fax, letter := b.enqueue(onceq.JSON("fax", []byte("{}"))), b.enqueue(mail{})
		synctest.Wait()
		b.wants(letter, onceq.Completed)
		b.wants(fax, onceq.Available)
	})
}

func TestHandleAnyTakesTheKindsWithoutAHandler(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var got []string
		w := b.worker(onceq.WorkerConfig{})
		onceq.Handle(w, fine)
		w.HandleAny(func(ctx context.Context, job *onceq.JobRow) error { got = append(got, job.Kind); return nil })
		id := b.enqueue(onceq.Bytes("fax", []byte{1}))
		b.enqueue(mail{})
		b.start(w)
		b.wants(id, onceq.Completed)
		if !slices.Equal(got, []string{"fax"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestMiddlewareWrapsEveryRunFirstOutermost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var trace []string
		note := func(name string) onceq.Middleware {
			return func(next onceq.Handler) onceq.Handler {
				return func(ctx context.Context, job *onceq.JobRow) error {
					trace = append(trace, name+" "+job.Kind)
					err := next(ctx, job)
					trace = append(trace, fmt.Sprint(name, " ", err != nil))
					return err
				}
			}
		}
		b.serve(onceq.WorkerConfig{Kinds: []string{"mail", "fax"},
			Middleware: []onceq.Middleware{note("a"), note("b")}}, fine)
		b.enqueue(mail{})
		synctest.Wait()
		b.enqueue(onceq.JSON("fax", []byte("{}")), onceq.MaxAttempts(1))
		synctest.Wait()
		if want := []string{"a mail", "b mail", "b false", "a false", "a fax", "b fax", "b true",
			"a true"}; !slices.Equal(trace, want) {
			t.Errorf("trace %q", trace)
		}
	})
}

func TestARunThatTakesLongerThanItsTimeoutIsAFailureThatSaysSo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var cause error
		b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			<-ctx.Done()
			if job.Args.To == "done" {
				return nil
			}
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		late := b.enqueue(mail{To: "late"}, onceq.Timeout(5*time.Second), onceq.MaxAttempts(1))
		done := b.enqueue(mail{To: "done"}, onceq.Timeout(5*time.Second), onceq.MaxAttempts(1))
		pass(6 * time.Second)
		job := b.wants(late, onceq.Discarded)
		if len(job.Errors) != 1 || !strings.Contains(job.Errors[0].Error, "timed out") ||
			!strings.Contains(job.Errors[0].Error, "5s") {
			t.Errorf("errors %+v", job.Errors)
		}
		b.wants(done, onceq.Completed)
		if cause == nil || !strings.Contains(cause.Error(), "timed out") {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestCancelOfARunningJobIsARequestItsHandlerSees(t *testing.T) {
	for _, c := range []struct {
		name  string
		ends  error
		state onceq.State
	}{
		{"it returns the context's error", context.Canceled, onceq.Cancelled},
		{"it snoozes", onceq.Snooze(time.Minute), onceq.Cancelled},
		{"it had completed all the same", nil, onceq.Completed},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				var cause error
				stop := b.serve(onceq.WorkerConfig{Lease: 30 * time.Second},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						<-ctx.Done()
						cause = context.Cause(ctx)
						return c.ends
					})
				id := b.enqueue(mail{}, onceq.Unique{})
				synctest.Wait()
				if _, err := b.client.Cancel(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				b.wants(id, onceq.Running)
				pass(10 * time.Second) // a heartbeat
				job := b.wants(id, c.state)
				if !errors.Is(cause, onceq.ErrCancelRequested) {
					t.Errorf("cause %v", cause)
				}
				if _, err := b.client.Key(t.Context(), *job.Key); !errors.Is(err, onceq.ErrNotFound) {
					t.Errorf("key still held: %v", err)
				}
				clean(t, stop)
			})
		})
	}
}

func TestEveryRunHasAnIdentityOfItsOwnHoweverManyWorkersShareAnID(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		seen := map[string]bool{}
		for range 20 {
			w := b.worker(onceq.WorkerConfig{ID: "same"})
			onceq.Handle(w, fine)
			for range 3 {
				stop := b.start(w)
				worker := b.wants(b.enqueueAndWait(mail{}), onceq.Completed).Worker
				suffix, _ := strings.CutPrefix(worker, "same-")
				// 10 characters of 5 bits: of 10,000 live workers two have
				// the same with probability 4e-8.
				if len(suffix) != 10 || seen[worker] {
					t.Errorf("worker %q, seen before %v", worker, seen[worker])
				}
				seen[worker] = true
				clean(t, stop)
			}
		}
	})
}

func TestRunOfAWorkerThatRunsIsRefusedAndAfterCloseItIsErrClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		w := b.worker(onceq.WorkerConfig{})
		onceq.Handle(w, fine)
		stop := b.start(w)
		var invalid *onceq.InvalidError
		if err := w.Run(t.Context()); !errors.As(err, &invalid) {
			t.Errorf("second Run at once: %v", err)
		}
		clean(t, stop)
		clean(t, b.start(w)) // one after another is fine

		id := b.enqueue(mail{})
		done := make(chan error, 1)
		go func() { done <- b.run(context.Background(), w) }()
		synctest.Wait()
		b.wants(id, onceq.Completed)
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run ended by Close: %v", err)
		}
		if err := w.Run(t.Context()); !errors.Is(err, onceq.ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
		if err := w.Close(); !errors.Is(err, onceq.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestAStoreThatIsClosedEndsTheRunWithErrClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		w := b.worker(onceq.WorkerConfig{})
		var cause error
		onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		done := make(chan error, 1)
		b.enqueue(mail{})
		go func() { done <- w.Run(context.Background()) }()
		synctest.Wait()
		b.store.Close()
		if err := <-done; !errors.Is(err, onceq.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if !errors.Is(cause, onceq.ErrLeaseLost) {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestDrainRunsWhatIsDueAndReturns(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var n atomic.Int64
		w := b.worker(onceq.WorkerConfig{Drain: true,
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 3}}})
		onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error {
			time.Sleep(time.Second)
			if n.Add(1) == 1 {
				_, err := onceq.ClientFrom(ctx).Enqueue(ctx, mail{To: "another"})
				return err
			}
			return nil
		})
		for range 10 {
			b.enqueue(mail{})
		}
		later := b.enqueue(mail{}, onceq.Delay(time.Hour))
		began := time.Now()
		if err := w.Run(t.Context()); err != nil {
			t.Errorf("Run: %v", err)
		}
		if n.Load() != 11 || time.Since(began) > 10*time.Second {
			t.Errorf("%d runs in %v", n.Load(), time.Since(began))
		}
		b.wants(later, onceq.Scheduled)
	})
}

func TestAWorkerConfigThatCannotBeIsRefusedByFieldValueAndRule(t *testing.T) {
	t.Parallel()
	store := memstore.New(nil)
	for _, c := range []struct {
		field  string
		config onceq.WorkerConfig
	}{
		{`WorkerConfig.Queues["a"].Concurrency`, onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": {}}}},
		{`WorkerConfig.Queues["a"].Concurrency`,
			onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": {Concurrency: 10_001}}}},
		{"WorkerConfig.Queues", onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{" a": {Concurrency: 1}}}},
		{"WorkerConfig.Kinds", onceq.WorkerConfig{Kinds: []string{}}},
		{"WorkerConfig.Kinds", onceq.WorkerConfig{Kinds: []string{"a\n"}}},
		{"WorkerConfig.Lease", onceq.WorkerConfig{Lease: time.Millisecond}},
		{"WorkerConfig.Lease", onceq.WorkerConfig{Lease: -1}},
		{"WorkerConfig.ShutdownTimeout", onceq.WorkerConfig{ShutdownTimeout: -time.Second}},
		{"WorkerConfig.PollInterval", onceq.WorkerConfig{PollInterval: time.Microsecond}},
		{"WorkerConfig.Middleware[0]", onceq.WorkerConfig{Middleware: []onceq.Middleware{nil}}},
		{"WorkerConfig.ID", onceq.WorkerConfig{ID: strings.Repeat("x", 101)}},
		{"WorkerConfig.ID", onceq.WorkerConfig{ID: "\x00"}},
	} {
		_, err := onceq.NewWorker(store, &c.config)
		var invalid *onceq.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field || invalid.Rule == "" {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	if _, err := onceq.NewWorker(nil, nil); err == nil {
		t.Error("a nil store is accepted")
	}
	if _, err := onceq.NewWorker(store, nil); err != nil {
		t.Errorf("nil config: %v", err)
	}
}

type nameless struct{}

func (nameless) Kind() string { return "" }

func TestSlipsInRegisteringHandlersPanic(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, slip := range map[string]func(w *onceq.Worker){
		"a kind twice": func(w *onceq.Worker) { onceq.Handle(w, fine); onceq.Handle(w, fine) },
		"a kind twice, raw": func(w *onceq.Worker) {
			onceq.Handle(w, fine)
			w.HandleKind("mail", func(context.Context, *onceq.JobRow) error { return nil })
		},
		"an empty kind": func(w *onceq.Worker) {
			onceq.Handle(w, func(context.Context, *onceq.Job[nameless]) error { return nil })
		},
		"a nil handler":     func(w *onceq.Worker) { onceq.Handle[mail](w, nil) },
		"a nil raw handler": func(w *onceq.Worker) { w.HandleKind("mail", nil) },
		"an interface": func(w *onceq.Worker) {
			onceq.Handle(w, func(context.Context, *onceq.Job[onceq.Args]) error { return nil })
		},
		"after Run": func(w *onceq.Worker) {
			w.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
			w.Run(ended)
			onceq.Handle(w, fine)
		},
		"after Close": func(w *onceq.Worker) { w.Close(); onceq.Handle(w, fine) },
		"any kind, after Run": func(w *onceq.Worker) {
			onceq.Handle(w, fine)
			w.Run(ended)
			w.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
		},
		"a kind with white space": func(w *onceq.Worker) {
			w.HandleKind(" ",
				func(context.Context, *onceq.JobRow) error { return nil })
		},
	} {
		w, err := onceq.NewWorker(memstore.New(nil), &onceq.WorkerConfig{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.HasPrefix(fmt.Sprint(p), "onceq: ") {
					t.Errorf("%s: panic %v", name, p)
				}
			}()
			slip(w)
		}()
	}
}
