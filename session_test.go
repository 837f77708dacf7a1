package onceq_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// logbook is what a worker logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newLog() *logbook { return &logbook{} }

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) has(text string) bool { return strings.Contains(l.String(), text) }

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestShutdownWaitsForRunningHandlersAndStartsNoOther(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		stop := b.serve(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				time.Sleep(15 * time.Second)
				return ctx.Err()
			})
		first, second := b.enqueue(mail{}), b.enqueue(mail{})
		synctest.Wait()
		began := time.Now()
		clean(t, stop)
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("took %v", took)
		}
		b.wants(first, onceq.Completed)
		b.wants(second, onceq.Available)
	})
}

func TestAfterShutdownTimeoutJobsAreHandedBackWithTheirKeys(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		var cause error
		stop := b.serve(onceq.WorkerConfig{ShutdownTimeout: 10 * time.Second},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				<-ctx.Done()
				switch job.Args.To {
				case "done":
					return nil
				case "verdict":
					return onceq.Discard(nil)
				case "slow":
					time.Sleep(time.Second)
				}
				cause = context.Cause(ctx)
				return ctx.Err()
			})
		back := b.enqueue(mail{To: "slow"}, onceq.Unique{}, onceq.MaxAttempts(1))
		done, verdict := b.enqueue(mail{To: "done"}), b.enqueue(mail{To: "verdict"})
		synctest.Wait()
		began := time.Now()
		clean(t, stop)
		if took := time.Since(began); took != 11*time.Second {
			t.Errorf("took %v", took)
		}
		if !errors.Is(cause, onceq.ErrShutdown) {
			t.Errorf("cause %v", cause)
		}
		job := b.wants(back, onceq.Available)
		if job.Attempt != 0 || len(job.Errors) != 0 {
			t.Errorf("attempt %d, errors %v", job.Attempt, job.Errors)
		}
		if held, err := b.client.Key(t.Context(), *job.Key); err != nil || held.Holder != back {
			t.Errorf("key: %+v, %v", held, err)
		}
		b.wants(done, onceq.Completed)
		b.wants(verdict, onceq.Discarded)
	})
}

func TestAHandlerThatIgnoresItsContextIsLeftBehindAndItsJobHandedBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		release := make(chan struct{})
		stop := b.serve(onceq.WorkerConfig{ShutdownTimeout: time.Second},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "stuck" {
					<-release
				}
				return nil
			})
		stuck := b.enqueue(mail{To: "stuck"}, onceq.MaxAttempts(1), onceq.Unique{})
		good := b.enqueue(mail{})
		synctest.Wait()
		err := stop()
		if err == nil || !strings.Contains(err.Error(), "1 handler did not return") ||
			!strings.Contains(err.Error(), stuck+" (mail)") {
			t.Errorf("Run: %v", err)
		}
		job := b.wants(stuck, onceq.Available)
		if job.Attempt != 0 {
			t.Errorf("attempt %d", job.Attempt)
		}
		b.wants(good, onceq.Completed)
		close(release)
		synctest.Wait()
		b.wants(stuck, onceq.Available)
	})
}

func TestShutdownWithAStoreThatIsGoneEndsAndSaysWhatWasLeft(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		stop := b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			time.Sleep(time.Second)
			return nil
		})
		id := b.enqueue(mail{})
		synctest.Wait()
		store.from(always(failsUnsent, "extend", "fetch", "finish", "leave", "sweep"))
		began := time.Now()
		err := stop()
		if err == nil || !strings.Contains(err.Error(), "1 result could not be delivered") ||
			!errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 16*time.Second {
			t.Errorf("took %v", took)
		}
		b.wants(id, onceq.Running)
		store.heal()
		b.serve(onceq.WorkerConfig{Retry: func(*onceq.JobRow, error) time.Duration { return 0 }}, fine)
		pass(2 * time.Minute)
		b.wants(id, onceq.Completed)
	})
}

func TestWhatIsFetchedWhileTheWorkerShutsDownIsHandedBackAtOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		fate fault
	}{{"answered late", goesLate}, {"answer lost", failsLate}} {
		t.Run(c.name, func(t *testing.T) {
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				var runs atomic.Int64
				ctx, cancel := context.WithCancel(t.Context())
				w := b.worker(onceq.WorkerConfig{Lease: 24 * time.Hour, ShutdownTimeout: time.Hour})
				onceq.Handle(w, func(ctx context.Context, job *onceq.Job[mail]) error {
					runs.Add(1)
					time.Sleep(time.Minute)
					return nil
				})
				done := make(chan error)
				go func() { done <- w.Run(ctx) }()
				b.enqueue(mail{})
				synctest.Wait()
				store.from(always(c.fate, "fetch"))
				late := b.enqueue(mail{}, onceq.Unique{})
				synctest.Wait()
				cancel()
				pass(20 * time.Millisecond)
				job := b.wants(late, onceq.Available)
				if runs.Load() != 1 || job.Run != 1 || job.Attempt != 0 {
					t.Errorf("%d runs, run %d, attempt %d", runs.Load(), job.Run, job.Attempt)
				}
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// TestWhateverGoesWrongEveryJobIsCompletedInTheEnd lets calls fail at
// random, on several workers at once, one of which is shut down now and
// then.
func TestWhateverGoesWrongEveryJobIsCompletedInTheEnd(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			seed := rand.Uint64()
			inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
				defer func() {
					if t.Failed() {
						t.Log("seed", seed)
					}
				}()
				var mu sync.Mutex
				dice := rand.New(rand.NewPCG(seed, 0))
				roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return dice.IntN(n) }
				store.from(func(op string) fault {
					if op == "enqueue" {
						return goesWell
					}
					if n := roll(12); n < 4 {
						return []fault{failsClean, failsUnsent, failsUnheard, failsUnheard}[n]
					}
					return goesWell
				})
				var running [200]atomic.Int64
				var runs, overlaps atomic.Int64
				h := func(ctx context.Context, job *onceq.Job[*report]) error {
					n := job.Args.Number
					if running[n].Add(1) > 1 {
						overlaps.Add(1)
					}
					defer running[n].Add(-1)
					runs.Add(1)
					select {
					case <-time.After(time.Duration(roll(3000)) * time.Millisecond):
					case <-ctx.Done():
						return ctx.Err()
					}
					switch roll(10) {
					case 0:
						return errors.New("failed")
					case 1:
						return onceq.Snooze(time.Second)
					case 2:
						panic("boom")
					}
					return nil
				}
				config := onceq.WorkerConfig{
					Lease: 6 * time.Second, ShutdownTimeout: time.Second,
					Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 5}, "b": {Concurrency: 2}},
					Retry:  func(*onceq.JobRow, error) time.Duration { return 500 * time.Millisecond },
				}
				for range 3 {
					w := b.worker(config)
					onceq.Handle(w, h)
					b.start(w)
				}
				var ids []string
				for i := range running {
					var opts = []onceq.Option{onceq.MaxAttempts(1_000_000), onceq.Unique{}}
					if i%4 == 0 {
						opts = append(opts, onceq.Queue("b"))
					}
					if i%5 == 0 {
						opts = append(opts, onceq.Delay(time.Duration(i)*50*time.Millisecond))
					}
					ids = append(ids, b.enqueue(&report{Number: int64(i)}, opts...))
				}
				for range 10 {
					w := b.worker(config)
					onceq.Handle(w, h)
					stop := b.start(w)
					pass(time.Duration(roll(10)) * time.Second)
					stop()
				}
				pass(2 * time.Minute)
				store.heal()
				pass(3 * time.Minute)
				for _, id := range ids {
					b.wants(id, onceq.Completed)
				}
				if overlaps.Load() > 0 {
					t.Errorf("%d of %d runs met another run of their job", overlaps.Load(), runs.Load())
				}
				d, err := b.client.Doctor(t.Context(), nil)
				if err != nil || len(d.Violations) > 0 || d.Keys > 0 {
					t.Errorf("doctor: %+v, %v", d, err)
				}
			})
		})
	}
}

// TestThousandsOfJobsOnSeveralWorkersRunOnceEach is for the race detector:
// real time, real threads.
func TestThousandsOfJobsOnSeveralWorkersRunOnceEach(t *testing.T) {
	t.Parallel()
	store := memstore.New(nil)
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	const jobs = 2000
	var runs [jobs]atomic.Int64
	var left atomic.Int64
	left.Store(jobs)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := newLog()
	var all sync.WaitGroup
	for range 3 {
		w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Lease: 10 * time.Minute, Logger: log.logger(),
			ShutdownTimeout: time.Minute,
			Queues:          map[string]onceq.QueueConfig{"default": {Concurrency: 40}, "b": {Concurrency: 10}}})
		if err != nil {
			t.Fatal(err)
		}
		onceq.Handle(w, func(ctx context.Context, job *onceq.Job[*report]) error {
			if runs[job.Args.Number].Add(1) == 1 && left.Add(-1) == 0 {
				cancel()
			}
			return nil
		})
		all.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range jobs {
		queue := "default"
		if i%3 == 0 {
			queue = "b"
		}
		if _, err := client.Enqueue(t.Context(), &report{Number: int64(i)}, onceq.Queue(queue),
			onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if log.has("lease over") || log.has("run rescued") {
		t.Fatal("this machine stood still for a whole lease: some jobs ran again, as they must")
	}
	for i := range runs {
		if n := runs[i].Load(); n != 1 {
			t.Errorf("job %d ran %d times", i, n)
		}
	}
	for job, err := range client.Jobs(t.Context(), onceq.JobFilter{}) {
		if err != nil || job.State != onceq.Completed {
			t.Errorf("%s: %s, %v", job.ID, job.State, err)
		}
	}
}
