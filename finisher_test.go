package onceq_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/onceq/onceq"
)

var errRefused = errors.New("value too large for column “errors”")

// refuseResults makes Finish fail for every call that has a result which
// refuses says yes to.
func (s *hooked) refuseResults(refuses func(f onceq.Finish) bool) (tries *atomic.Int64) {
	tries = &atomic.Int64{}
	s.finish = func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
		for _, f := range r.Runs {
			if refuses(f) {
				tries.Add(1)
				return nil, errRefused
			}
		}
		return s.Store.Finish(ctx, r)
	}
	return tries
}

func TestAResultThatTheStoreRefusesForGoodDoesNotHoldItsKeyForEver(t *testing.T) {
	for _, c := range []struct {
		name    string
		result  error
		refuses func(f onceq.Finish) bool
		state   onceq.State // in the end, of a job with two attempts
		runs    int64
	}{
		{"a text of the handler's", errors.New("bad"), func(f onceq.Finish) bool {
			return f.Error == "bad"
		}, onceq.Discarded, 2},
		{"a text that goes with a verdict", onceq.Cancel(errors.New("bad")), func(f onceq.Finish) bool {
			return f.Error == "bad"
		}, onceq.Cancelled, 1},
		{"a completion", nil, func(f onceq.Finish) bool { return f.State == onceq.Completed }, onceq.Discarded, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
				store.refuseResults(c.refuses)
				log := newLog()
				var runs atomic.Int64
				stop := b.serve(onceq.WorkerConfig{Logger: log.logger(),
					Retry: func(*onceq.JobRow, error) time.Duration { return 0 }},
					func(ctx context.Context, job *onceq.Job[mail]) error { runs.Add(1); return c.result })
				id := b.enqueue(mail{}, onceq.Unique{}, onceq.MaxAttempts(2))
				pass(20 * time.Second)
				b.wants(id, onceq.Running) // not given up soon: the store might still take it
				pass(5 * time.Minute)
				job := b.wants(id, c.state)
				if runs.Load() != c.runs || int64(job.Attempt) != c.runs {
					t.Errorf("%d runs, attempt %d", runs.Load(), job.Attempt)
				}
				last := job.Errors[len(job.Errors)-1]
				if !strings.Contains(last.Error, "the store did not take the result") ||
					!strings.Contains(last.Error, "value too large") ||
					strings.ContainsFunc(last.Error, func(r rune) bool { return r > unicode.MaxASCII }) {
					t.Errorf("error %q", last.Error)
				}
				if _, err := b.client.Key(t.Context(), *job.Key); !errors.Is(err, onceq.ErrNotFound) {
					t.Errorf("the key is held: %v", err)
				}
				if !log.has("onceq: result replaced by a failure") {
					t.Errorf("log:\n%s", log)
				}
				clean(t, stop)
			})
		})
	}
}

func TestAJobOfWhichTheStoreTakesNoResultIsHandedBack(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		tries := store.refuseResults(func(onceq.Finish) bool { return true })
		log := newLog()
		var runs atomic.Int64
		b.serve(onceq.WorkerConfig{Logger: log.logger()}, func(ctx context.Context, job *onceq.Job[mail]) error {
			runs.Add(1)
			return nil
		})
		id := b.enqueue(mail{}, onceq.Unique{})
		pass(10 * time.Minute)
		if n := runs.Load(); n < 2 || n > 15 || !log.has("onceq: result given up") {
			t.Errorf("%d runs, %d tries; log:\n%.3000s", n, tries.Load(), log)
		}
		if _, err := b.client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		b.wants(id, onceq.Cancelled)
	})
}

func TestAStoreThatIsDownForLongIsNotTakenForOneThatRefusesAResult(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		log := newLog()
		var runs atomic.Int64
		b.serve(onceq.WorkerConfig{Lease: time.Hour, Logger: log.logger()},
			func(ctx context.Context, job *onceq.Job[mail]) error { runs.Add(1); return nil })
		store.from(always(failsClean, "fetch", "extend", "finish", "sweep"))
		id := b.enqueue(mail{})
		store.from(func(op string) fault {
			if runs.Load() > 0 {
				return failsClean
			}
			return goesWell
		})
		pass(30 * time.Minute)
		store.heal()
		pass(time.Minute)
		if job := b.wants(id, onceq.Completed); runs.Load() != 1 || len(job.Errors) > 0 {
			t.Errorf("%d runs, errors %v; log:\n%s", runs.Load(), job.Errors, log)
		}
	})
}

func TestResultsThatTheStoreRefusesDoNotStopTheOthersHoweverMany(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var healed atomic.Bool
		store.refuseResults(func(f onceq.Finish) bool { return strings.HasPrefix(f.ID, "bad") && !healed.Load() })
		stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 50}}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "later" { // behind the others in every batch
					time.Sleep(time.Second)
				}
				return nil
			})
		for _, id := range []string{"bad1", "bad2", "bad3"} {
			b.enqueue(mail{}, onceq.ID(id))
		}
		var ids []string
		for range 20 {
			ids = append(ids, b.enqueue(mail{To: "later"}))
		}
		pass(10 * time.Second)
		for _, id := range ids {
			b.wants(id, onceq.Completed)
		}
		b.wants("bad1", onceq.Running)
		healed.Store(true)
		pass(2 * time.Second)
		clean(t, stop)
	})
}

func TestResultsOfLockedJobsDoNotKeepTheStoreBusy(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		var calls atomic.Int64
		var locked atomic.Bool
		locked.Store(true)
		store.finish = func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
			calls.Add(1)
			results := make([]onceq.FinishResult, len(r.Runs))
			for i, f := range r.Runs {
				if strings.HasPrefix(f.ID, "locked") && locked.Load() {
					results[i].Status = onceq.FinishBusy
					continue
				}
				one, err := store.Store.Finish(ctx, onceq.FinishRequest{Runs: r.Runs[i : i+1]})
				if err != nil {
					return nil, err
				}
				results[i] = one[0]
			}
			return results, nil
		}
		stop := b.serve(onceq.WorkerConfig{}, fine)
		for _, id := range []string{"locked1", "locked2", "locked3"} {
			b.enqueue(mail{}, onceq.ID(id))
		}
		pass(10 * time.Second)
		if n := calls.Load(); n > 150 {
			t.Errorf("%d calls in 10 seconds", n)
		}
		b.wants(b.enqueueAndWait(mail{}), onceq.Completed) // others are not kept waiting
		locked.Store(false)
		pass(100 * time.Millisecond)
		for _, id := range []string{"locked1", "locked2", "locked3"} {
			b.wants(id, onceq.Completed)
		}
		clean(t, stop)
	})
}

func TestResultsThatDoNotFitIntoTheTimeOfACallAreSentInSmallerCalls(t *testing.T) {
	inHookedBubble(t, func(t *testing.T, b *bubble, store *hooked) {
		store.finish = func(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
			bytes := 0
			for _, f := range r.Runs {
				bytes += len(f.Error) + len(f.Stack) + 50
			}
			select {
			case <-time.After(time.Duration(bytes) * time.Second / 10_000): // 10 kB a second
				return store.Store.Finish(ctx, r)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		gate := make(chan struct{})
		var once sync.Once
		stop := b.serve(onceq.WorkerConfig{Lease: 30 * time.Second,
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 200}}},
			func(ctx context.Context, job *onceq.Job[mail]) error { <-gate; panic(strings.Repeat("x", 4000)) })
		var ids []string
		for range 100 {
			ids = append(ids, b.enqueue(mail{}, onceq.MaxAttempts(1)))
		}
		synctest.Wait()
		once.Do(func() { close(gate) })
		pass(10 * time.Minute)
		for _, id := range ids {
			if job := b.wants(id, onceq.Discarded); job.Run != 1 {
				t.Errorf("run %d", job.Run)
			}
		}
		clean(t, stop)
	})
}
