package onceq_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// inFlakyBubble is inBubble on a store whose calls go wrong as told.
func inFlakyBubble(t *testing.T, test func(t *testing.T, b *bubble, store *flaky)) {
	t.Helper()
	var store *flaky
	inBubble(t, func() onceq.Store { store = newFlaky(); return store }, func(t *testing.T, b *bubble) {
		test(t, b, store)
	})
}

// once makes the first call of op go wrong, and all else well.
func once(op string, f fault) func(string) fault {
	var did atomic.Bool
	return func(o string) fault {
		if o == op && did.CompareAndSwap(false, true) {
			return f
		}
		return goesWell
	}
}

// always makes every call of these ops go wrong.
func always(f fault, ops ...string) func(string) fault {
	return func(o string) fault {
		for _, op := range ops {
			if o == op {
				return f
			}
		}
		return goesWell
	}
}

// deadWorker starts what is due on a store and is never heard of again.
func (b *bubble) deadWorker(name string, lease time.Duration, slots int) []*onceq.JobRow {
	b.t.Helper()
	if _, err := b.store.Extend(b.t.Context(), onceq.ExtendRequest{Worker: name, Lease: lease}); err != nil {
		b.t.Fatal(err)
	}
	f, err := b.store.Fetch(b.t.Context(), onceq.FetchRequest{Worker: name, No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: slots}}})
	if err != nil {
		b.t.Fatal(err)
	}
	return f.Jobs
}

func TestALongRunKeepsItsLeaseByHeartbeat(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var runs atomic.Int64
		config := onceq.WorkerConfig{Lease: 30 * time.Second}
		h := func(ctx context.Context, job *onceq.Job[mail]) error {
			runs.Add(1)
			time.Sleep(10 * time.Minute)
			return ctx.Err()
		}
		b.serve(config, h)
		b.serve(config, h)
		id := b.enqueue(mail{})
		pass(11 * time.Minute)
		if job := b.wants(id, onceq.Completed); runs.Load() != 1 || job.Run != 1 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestARunThatTheStoreSaysIsLostIsCancelledAndItsResultDropped(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var cause error
		stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil
		})
		id := b.enqueue(mail{})
		synctest.Wait()
		job := b.job(id)
		// Another worker took it for lost and finished it.
		r, err := b.store.Finish(t.Context(),
			onceq.FinishRequest{Runs: []onceq.Finish{
				{ID: id, Run: job.Run, Worker: "rescuer", Rescue: true, State: onceq.Retryable, Delay: time.Hour,
					Error: "lost"}}})
		if err != nil || r[0].Status != onceq.FinishDone {
			t.Fatal(r, err)
		}
		pass(12 * time.Second) // a heartbeat goes after a third of the lease of 30s, the lease is not over yet
		if !errors.Is(cause, onceq.ErrLeaseLost) {
			t.Errorf("cause %v", cause)
		}
		b.wants(id, onceq.Retryable)
		clean(t, stop)
	})
}

func TestAWorkerThatCannotReachTheStoreForALeaseEndsItsRunsItself(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		var cause error
		var after time.Duration
		began := time.Now()
		b.serve(onceq.WorkerConfig{Lease: 30 * time.Second}, func(ctx context.Context, job *onceq.Job[mail]) error {
			if job.Run > 1 {
				return nil
			}
			<-ctx.Done()
			cause, after = context.Cause(ctx), time.Since(began)
			return nil // what it did does not count: somebody else may be at it by now
		})
		id := b.enqueue(mail{})
		synctest.Wait()
		store.from(always(failsUnsent, "extend", "fetch", "finish", "sweep"))
		pass(time.Minute)
		if !errors.Is(cause, onceq.ErrLeaseLost) || after > 30*time.Second {
			t.Errorf("cause %v after %v", cause, after)
		}
		b.wants(id, onceq.Running)
		store.heal()
		pass(time.Minute)
		if job := b.wants(id, onceq.Completed); job.Run != 2 || job.Attempt != 1 {
			t.Errorf("run %d, attempt %d: a run that was given up is handed back without spending the attempt",
				job.Run, job.Attempt)
		}
	})
}

func TestARunOutlivesAHiccupShorterThanTheLease(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		b.serve(onceq.WorkerConfig{Lease: 30 * time.Second}, func(ctx context.Context, job *onceq.Job[mail]) error {
			time.Sleep(time.Minute)
			return ctx.Err()
		})
		id := b.enqueue(mail{})
		pass(9 * time.Second)
		store.from(always(failsUnsent, "extend", "fetch", "finish", "sweep"))
		pass(19 * time.Second)
		store.heal()
		pass(time.Minute)
		if job := b.wants(id, onceq.Completed); job.Run != 1 {
			t.Errorf("run %d", job.Run)
		}
	})
}

func TestAWorkerWaitsForAStoreThatIsNotThereYet(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		store.from(always(failsClean, "extend", "fetch"))
		stop := b.serve(onceq.WorkerConfig{}, fine)
		id := b.enqueue(mail{})
		pass(time.Minute)
		b.wants(id, onceq.Available)
		store.heal()
		pass(3 * time.Second)
		b.wants(id, onceq.Completed)
		clean(t, stop)
	})
}

func TestRunEndsBeforeTheStoreWasEverReached(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		store.from(always(failsClean, "extend", "fetch"))
		clean(t, b.serve(onceq.WorkerConfig{}, fine))
	})
}

func TestJobsOfAFetchWhoseAnswerWasLostAreHandedBackAndRunOnce(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		var runs atomic.Int64
		stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			runs.Add(1)
			return nil
		})
		store.from(once("fetch", failsUnheard))
		id := b.enqueue(mail{}, onceq.MaxAttempts(1), onceq.Unique{})
		pass(time.Second)
		if job := b.wants(id, onceq.Completed); runs.Load() != 1 || job.Run != 2 || job.Attempt != 1 {
			t.Errorf("%d runs, run number %d, attempt %d", runs.Load(), job.Run, job.Attempt)
		}
		clean(t, stop)
	})
}

func TestJobsThatRunAreNotHandedBackWhileAnotherFetchIsLost(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		var runs atomic.Int64
		b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			runs.Add(1)
			time.Sleep(time.Minute)
			return ctx.Err()
		})
		var ids []string
		for range 6 {
			ids = append(ids, b.enqueue(mail{}))
			synctest.Wait()
			store.from(once("fetch", failsUnheard))
		}
		pass(2 * time.Minute)
		for _, id := range ids {
			b.wants(id, onceq.Completed)
		}
		if runs.Load() != 6 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestAWorkerTakenForLostReportsBackAndGoesOn(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		b.serve(onceq.WorkerConfig{PollInterval: time.Hour}, fine)
		store.from(once("fetch", failsUnknown))
		id := b.enqueue(mail{})
		pass(time.Second)
		b.wants(id, onceq.Completed)
	})
}

func TestResultsAreSentAgainUntilTheStoreTakesThem(t *testing.T) {
	for _, c := range []struct {
		name string
		fate fault
	}{{"refused", failsClean}, {"cut before", failsUnsent}, {"answer lost", failsUnheard}} {
		for _, kept := range []bool{true, false} {
			name := c.name
			opts := []onceq.Option{onceq.MaxAttempts(1)}
			if !kept {
				name += ", not kept when finished"
				opts = append(opts, onceq.Retention(0))
			}
			t.Run(name, func(t *testing.T) {
				inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
					var runs atomic.Int64
					log := newLog()
					stop := b.serve(onceq.WorkerConfig{Logger: log.logger()},
						func(ctx context.Context, job *onceq.Job[mail]) error {
							runs.Add(1)
							return nil
						})
					store.from(once("finish", c.fate))
					id := b.enqueue(mail{}, opts...)
					pass(time.Second)
					if kept {
						b.wants(id, onceq.Completed)
					} else if _, err := b.client.Job(t.Context(), id); !errors.Is(err, onceq.ErrNotFound) {
						t.Errorf("still there: %v", err)
					}
					if runs.Load() != 1 || log.has("lost") {
						t.Errorf("%d runs; log:\n%s", runs.Load(), log)
					}
					clean(t, stop)
				})
			})
		}
	}
}

func TestAResultThatTheStoreDoesNotTakeInTheLeaseIsDropped(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		var runs atomic.Int64
		log := newLog()
		b.serve(onceq.WorkerConfig{Lease: 30 * time.Second, Logger: log.logger()},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				runs.Add(1)
				return nil
			})
		store.from(always(failsUnsent, "extend", "finish"))
		id := b.enqueue(mail{})
		pass(time.Minute)
		b.wants(id, onceq.Running)
		store.heal()
		pass(time.Minute)
		job := b.wants(id, onceq.Completed)
		if runs.Load() != 2 || job.Attempt != 1 || !log.has("onceq: lease over") || !log.has("results=1") {
			t.Errorf("%d runs, attempt %d; log:\n%s", runs.Load(), job.Attempt, log)
		}
	})
}

func TestAHeartbeatBetweenAFinishAndItsAnswerDoesNotTakeTheRunForLost(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		log := newLog()
		stop := b.serve(onceq.WorkerConfig{Lease: 6 * time.Second, Logger: log.logger()}, fine)
		store.from(always(goesSlowly, "finish"))
		id := b.enqueue(mail{})
		pass(10 * time.Second)
		b.wants(id, onceq.Completed)
		if log.has("lost") {
			t.Errorf("log:\n%s", log)
		}
		clean(t, stop)
	})
}

// picky refuses whole calls because of one result.
type picky struct {
	*memstore.Store
	bad atomic.Pointer[string]
}

func (p *picky) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	f := r.Runs
	for _, one := range f {
		if bad := p.bad.Load(); bad != nil && one.ID == *bad {
			return nil, errDown
		}
	}
	return p.Store.Finish(ctx, onceq.FinishRequest{Runs: f})
}

func TestAResultThatTheStoreRefusesDoesNotStopTheOthers(t *testing.T) {
	var store *picky
	inBubble(t, func() onceq.Store { store = &picky{Store: memstore.New(nil)}; return store },
		func(t *testing.T, b *bubble) {
			bad := "bad"
			store.bad.Store(&bad)
			gate := make(chan struct{})
			stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 50}}},
				func(ctx context.Context, job *onceq.Job[mail]) error { <-gate; return nil })
			b.enqueue(mail{}, onceq.ID("bad"))
			var ids []string
			for range 20 {
				ids = append(ids, b.enqueue(mail{}))
			}
			synctest.Wait()
			close(gate)
			pass(time.Second)
			for _, id := range ids {
				b.wants(id, onceq.Completed)
			}
			b.wants("bad", onceq.Running)
			store.bad.Store(nil)
			pass(2 * time.Second)
			b.wants("bad", onceq.Completed)
			clean(t, stop)
		})
}

func TestTheRunsOfALostWorkerAreRescuedAtTheCostOfAnAttempt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		again, last := b.enqueue(mail{}, onceq.Unique{}, onceq.ID("a")),
			b.enqueue(mail{}, onceq.MaxAttempts(1), onceq.ID("b"))
		if jobs := b.deadWorker("w-dead", 30*time.Second, 2); len(jobs) != 2 {
			t.Fatalf("fetched %d", len(jobs))
		}
		config := onceq.WorkerConfig{Lease: 30 * time.Second, Retry: func(*onceq.JobRow, error) time.Duration {
			return time.Second
		}}
		b.serve(config, fine)
		b.serve(config, fine)
		pass(29 * time.Second)
		b.wants(again, onceq.Running)
		pass(40 * time.Second)
		job := b.wants(again, onceq.Completed)
		if job.Run != 2 || job.Attempt != 2 || len(job.Errors) != 1 ||
			!strings.Contains(job.Errors[0].Error, "worker w-dead was lost") {
			t.Errorf("run %d, attempt %d, errors %+v", job.Run, job.Attempt, job.Errors)
		}
		job = b.wants(last, onceq.Discarded)
		if len(job.Errors) != 1 {
			t.Errorf("errors %+v", job.Errors)
		}
		// The lost worker comes back and changes nothing.
		r, err := b.store.Finish(t.Context(),
			onceq.FinishRequest{Runs: []onceq.Finish{{ID: last, Run: 1, Worker: "w-dead", State: onceq.Completed}}})
		if err != nil || r[0].Status != onceq.FinishLost {
			t.Errorf("a late result: %+v, %v", r, err)
		}
		s, err := b.store.Sweep(t.Context(), onceq.SweepRequest{Limit: 10})
		if err != nil || len(s.Expired) != 0 {
			t.Errorf("the lost worker is not forgotten: %+v, %v", s, err)
		}
	})
}

func TestAJumpOfTheClockAloneMakesNoWorkerLost(t *testing.T) {
	var ahead atomic.Int64
	inBubble(t, func() onceq.Store {
		return memstore.New(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	}, func(t *testing.T, b *bubble) {
		var runs atomic.Int64
		var cause error
		for range 3 {
			b.serve(onceq.WorkerConfig{Lease: 30 * time.Second,
				Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}},
				func(ctx context.Context, job *onceq.Job[mail]) error {
					runs.Add(1)
					time.Sleep(5 * time.Minute)
					if err := context.Cause(ctx); err != nil {
						cause = err
					}
					return nil
				})
		}
		ids := []string{b.enqueue(mail{}), b.enqueue(mail{}), b.enqueue(mail{})}
		for range 8 {
			pass(31 * time.Second)
			ahead.Add(int64(24 * time.Hour))
		}
		pass(2 * time.Minute)
		for _, id := range ids {
			if job, err := b.client.Job(t.Context(), id); err == nil && (job.State != onceq.Completed || job.Run != 1) {
				t.Errorf("%s, run %d: %+v", job.State, job.Run, job.Errors)
			}
		}
		if runs.Load() != 3 || cause != nil {
			t.Errorf("%d runs, cause %v", runs.Load(), cause)
		}
	})
}

func TestFinishedJobsArePrunedWhenTheirRetentionIsOver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.serve(onceq.WorkerConfig{}, fine)
		id := b.enqueue(mail{}, onceq.Retention(time.Minute))
		pass(time.Minute - time.Second)
		b.wants(id, onceq.Completed)
		pass(30 * time.Second)
		if _, err := b.client.Job(t.Context(), id); !errors.Is(err, onceq.ErrNotFound) {
			t.Errorf("still there: %v", err)
		}
	})
}
