package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// hooked is a store in memory of which some calls are replaced.
type hooked struct {
	*memstore.Store
	fetch  func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error)
	extend func(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error)
	finish func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error)
	sweep  func(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error)
}

func (s *hooked) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	if s.fetch != nil {
		return s.fetch(ctx, r)
	}
	return s.Store.Fetch(ctx, r)
}

func (s *hooked) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	if s.extend != nil {
		return s.extend(ctx, r)
	}
	return s.Store.Extend(ctx, r)
}

func (s *hooked) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	if s.finish != nil {
		return s.finish(ctx, r)
	}
	return s.Store.Finish(ctx, r)
}

func (s *hooked) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	if s.sweep != nil {
		return s.sweep(ctx, r)
	}
	return s.Store.Sweep(ctx, r)
}

// inHookedBubble is inBubble on a store of which the test replaces calls
// before it starts a worker.
func inHookedBubble(t *testing.T, test func(t *testing.T, b *bubble, store *hooked)) {
	t.Helper()
	var store *hooked
	inBubble(t, func() onceq.Store { store = &hooked{Store: memstore.New(nil)}; return store },
		func(t *testing.T, b *bubble) { test(t, b, store) })
}

func TestAWorkerGetsOnWithALinkThatIsTooSlowForAllItsSlots(t *testing.T) {
	const scale = 128 // a byte here stands for so many, so that the test is quick
	for _, c := range []struct {
		name        string
		args, jobs  int
		bytesPerSec int
	}{
		{"many small jobs", scale, 500, 20_000},
		{"args of the default bound", 256 << 10, 100, 1 << 20},
		{"a few large jobs", 2 << 20, 10, 1500 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
				var most atomic.Int64
				store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
					most.Store(max(most.Load(), int64(r.MaxBytes)))
					r.MaxBytes = max(r.MaxBytes/scale, 1)
					f, err := store.Store.Fetch(ctx, r)
					size := 200
					for _, job := range f.Jobs {
						size += len(job.Args)*scale + 100
					}
					select {
					case <-time.After(time.Duration(size) * time.Second / time.Duration(c.bytesPerSec)):
						return f, err
					case <-ctx.Done():
						return onceq.Fetched{}, fmt.Errorf("%w: %w", onceq.ErrUncertain, ctx.Err())
					}
				}
				raw := []byte(`{"to":"` + strings.Repeat("x", c.args/scale) + `"}`)
				args := onceq.JSON("mail", raw)
				var last string
				for range c.jobs {
					last = b.enqueue(args, onceq.MaxAttempts(1))
				}
				var first, all atomic.Int64
				began := time.Now()
				stop := b.serve(onceq.WorkerConfig{Lease: 6 * time.Second,
					Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1000}}},
					func(ctx context.Context, job *onceq.Job[mail]) error {
						first.CompareAndSwap(0, int64(time.Since(began)))
						all.Add(1)
						return nil
					})
				pass(5 * time.Minute)
				if n := all.Load(); n != int64(c.jobs) {
					t.Errorf("%d of %d jobs ran", n, c.jobs)
				}
				if job := b.wants(last, onceq.Completed); job.Attempt != 1 {
					t.Errorf("attempt %d", job.Attempt)
				}
				whole := time.Duration(c.jobs*(len(raw)*scale+100)) * time.Second / time.Duration(c.bytesPerSec)
				if d := time.Duration(first.Load()); d > whole {
					t.Errorf("the first handler began after %v, the link needs %v for all", d, whole)
				}
				if n := most.Load(); n < 1 || n > 16<<20 {
					t.Errorf("a fetch asked for up to %d bytes", n)
				}
				clean(t, stop)
			})
		})
	}
}

func TestAQueueOfLargeJobsDoesNotKeepTheOthersFromBeingFetched(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var order []string // the queues, as their jobs were fetched: handlers may begin in another order
		store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
			r.MaxBytes = 1 // as if each job were as large as a fetch may be
			f, err := store.Store.Fetch(ctx, r)
			for _, job := range f.Jobs {
				order = append(order, job.Queue)
			}
			return f, err
		}
		for range 100 {
			b.enqueue(mail{}, onceq.Queue("a"))
		}
		b.enqueue(mail{To: "b"}, onceq.Queue("b"))
		b.enqueue(mail{To: "c"}, onceq.Queue("c"))
		two := onceq.QueueConfig{Concurrency: 2}
		stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"a": two, "b": two, "c": two}},
			func(context.Context, *onceq.Job[mail]) error { return nil })
		clean(t, stop)
		if atB, atC := slices.Index(order, "b"), slices.Index(order, "c"); len(order) != 102 || atB < 0 || atB > 10 ||
			atC < 0 || atC > 10 {
			t.Errorf("of %d jobs the one of b was number %d, that of c number %d", len(order), atB+1, atC+1)
		}
	})
}

func TestADueJobThatCannotBeFetchedDoesNotKeepTheStoreBusy(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var fetches atomic.Int64
		var locked atomic.Bool // somebody's transaction has the job
		locked.Store(true)
		store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
			fetches.Add(1)
			if locked.Load() {
				return onceq.Fetched{NextDue: 0}, nil
			}
			return store.Store.Fetch(ctx, r)
		}
		b.serve(onceq.WorkerConfig{}, fine)
		id := b.enqueue(mail{})
		pass(100 * time.Second)
		if n := fetches.Load(); n > 100*5/4+20 || n < 50 {
			t.Errorf("%d fetches in 100 seconds", n)
		}
		locked.Store(false)
		another := b.enqueue(mail{}) // a wake-up is heeded at once, however long nothing came
		synctest.Wait()
		b.wants(another, onceq.Completed)
		b.wants(id, onceq.Completed)

		locked.Store(true)
		fetches.Store(0)
		b.enqueue(mail{})
		pass(7 * time.Millisecond) // and the pauses begin anew: 1, 2, 4 ms
		if n := fetches.Load(); n < 4 || n > 6 {
			t.Errorf("%d fetches in 7ms", n)
		}
	})
}

func TestThePauseOfAQueueEndsWithOneFetchMore(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var fetches atomic.Int64
		store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
			if r.No > 0 { // the watcher looks with none
				fetches.Add(1)
			}
			return store.Store.Fetch(ctx, r)
		}
		b.serve(onceq.WorkerConfig{PollInterval: time.Hour}, fine)
		if err := b.client.PauseFor(t.Context(), "default", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		id := b.enqueue(mail{})
		pass(time.Second)
		fetches.Store(0)
		pass(10*time.Minute - time.Second - time.Millisecond)
		if n := fetches.Load(); n != 0 {
			t.Errorf("%d fetches before the pause has ended", n)
		}
		pass(time.Millisecond)
		b.wants(id, onceq.Completed)
	})
}

func TestADrainOfAJobThatCannotBeFetchedYetWaitsForItWithoutHaste(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var fetches atomic.Int64
		until := time.Now().Add(10 * time.Second)
		store.fetch = func(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
			fetches.Add(1)
			if time.Now().Before(until) {
				return onceq.Fetched{NextDue: 0}, nil
			}
			return store.Store.Fetch(ctx, r)
		}
		id := b.enqueue(mail{})
		w := b.worker(onceq.WorkerConfig{Drain: true})
		onceq.Handle(w, fine)
		if err := b.run(t.Context(), w); err != nil {
			t.Error(err)
		}
		b.wants(id, onceq.Completed)
		if n := fetches.Load(); n > 40 {
			t.Errorf("%d fetches in 10 seconds", n)
		}
	})
}

func TestAWorkerFetchesTheKindsItHasHandlersFor(t *testing.T) {
	raw := func(context.Context, *onceq.JobRow) error { return nil }
	for _, c := range []struct {
		name     string
		kinds    []string
		register func(w *onceq.Worker)
		runs     []string // of fax, mail, report
	}{
		{"one handler", nil, func(w *onceq.Worker) { onceq.Handle(w, fine) }, []string{"mail"}},
		{"two handlers", nil, func(w *onceq.Worker) { onceq.Handle(w, fine); w.HandleKind("fax", raw) },
			[]string{"fax", "mail"}},
		{"a handler of any kind", nil, func(w *onceq.Worker) { w.HandleAny(raw) }, []string{"fax", "mail", "report"}},
		{"any kind and one", nil, func(w *onceq.Worker) { w.HandleAny(raw); onceq.Handle(w, fine) },
			[]string{"fax", "mail", "report"}},
		{"Kinds narrows any kind", []string{"fax"}, func(w *onceq.Worker) { w.HandleAny(raw) }, []string{"fax"}},
		{"Kinds narrows the handlers", []string{"fax"}, func(w *onceq.Worker) {
			onceq.Handle(w, fine)
			w.HandleKind("fax", raw)
		}, []string{"fax"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				ids := map[string]string{}
				for _, kind := range []string{"fax", "mail", "report"} {
					ids[kind] = b.enqueue(onceq.JSON(kind, []byte("{}")), onceq.MaxAttempts(1))
				}
				w := b.worker(onceq.WorkerConfig{Kinds: c.kinds})
				c.register(w)
				stop := b.start(w)
				pass(time.Minute)
				for kind, id := range ids {
					job := b.job(id)
					if runs := slices.Contains(c.runs, kind); runs != (job.State == onceq.Completed) || !runs &&
						(job.State != onceq.Available || job.Attempt != 0) {
						t.Errorf("%s is %s, attempt %d", kind, job.State, job.Attempt)
					}
				}
				clean(t, stop)
			})
		})
	}
}

func TestAnOldWorkerSpendsNoAttemptOfAKindThatOnlyANewOneKnows(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{}, fine)
		id := b.enqueue(&report{Number: 7}, onceq.MaxAttempts(1), onceq.Unique{})
		pass(time.Hour)
		if job := b.wants(id, onceq.Available); job.Attempt != 0 || job.Run != 0 {
			t.Errorf("attempt %d, run %d", job.Attempt, job.Run)
		}
		w := b.worker(onceq.WorkerConfig{})
		onceq.Handle(w, func(context.Context, *onceq.Job[*report]) error { return nil })
		b.start(w)
		b.wants(id, onceq.Completed)
	})
}

func TestRunWithoutAnyHandlerIsRefusedAndMayFollowOnceThereIsOne(t *testing.T) {
	for _, kinds := range [][]string{nil, {"mail"}} {
		t.Run("", func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				id := b.enqueue(mail{}, onceq.MaxAttempts(1))
				w := b.worker(onceq.WorkerConfig{Kinds: kinds})
				err := b.run(t.Context(), w)
				var invalid *onceq.InvalidError
				if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "HandleAny") {
					t.Errorf("Run: %v", err)
				}
				b.wants(id, onceq.Available)
				onceq.Handle(w, fine)
				clean(t, b.start(w))
				b.wants(id, onceq.Completed)
			})
		})
	}
}

func TestACallThatHangsIsGivenUpAfterTenSecondsHoweverLongTheLease(t *testing.T) {
	for _, op := range []string{"fetch", "extend", "finish"} {
		t.Run(op, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				store.from(once(op, failsLate))
				b.serve(onceq.WorkerConfig{Lease: 24 * time.Hour, PollInterval: time.Hour}, fine)
				id := b.enqueue(mail{}, onceq.MaxAttempts(1))
				pass(15 * time.Second)
				b.wants(id, onceq.Completed)
			})
		})
	}
}

func TestAStoreThatIsAwayForLongFillsNoLogs(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		log := newLog()
		b.serve(onceq.WorkerConfig{Logger: log.logger()}, fine)
		store.from(always(failsClean, "fetch", "extend", "finish", "sweep"))
		pass(time.Hour)
		if n := strings.Count(log.String(), "\n"); n < 3 || n > 60 {
			t.Errorf("%d lines in an hour:\n%.2000s", n, log)
		}
	})
}
