package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// withWorker lets the clock run, and a worker with it. handle gets every
// job of the default queue. stop ends the worker and waits for it.
func (w *world) withWorker(concurrency int, handle onceq.Handler) (stop func()) {
	w.Helper()
	w.real()
	worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{
		Queues:       map[string]onceq.QueueConfig{"default": {Concurrency: concurrency}},
		PollInterval: 20 * time.Millisecond,
		Retry:        func(*onceq.JobRow, error) time.Duration { return time.Millisecond },
		Logger:       slog.New(slog.DiscardHandler),
	})
	w.must(err)
	worker.HandleAny(handle)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("worker: %v", err)
		}
		worker.Close()
	})
	w.stops = append(w.stops, stop)
	return stop
}

// eventually waits for something to become true.
func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (w *world) finished(id string) func() bool {
	return func() bool { j := w.look(id); return j == nil || j.State.Finished() }
}

// runLog is what a handler saw: the args of each run, when it started and
// ended, and how many ran at once.
type runLog struct {
	mu      sync.Mutex
	args    []string
	now     int
	most    int
	release chan struct{} // a run goes on until it can take from this; nil = at once
}

func (l *runLog) run(ctx context.Context, j *onceq.JobRow) error {
	l.mu.Lock()
	l.args = append(l.args, string(j.Args))
	l.now++
	l.most = max(l.most, l.now)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.now--
		l.mu.Unlock()
	}()
	if l.release == nil {
		return nil
	}
	select {
	case <-l.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *runLog) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.args)
}

func (l *runLog) atOnce() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// working: a real worker on the store.
var working = []scenario{
	{"ten_unique_jobs_run_at_once_under_a_concurrency_of_ten", func(w *world) {
		log := &runLog{release: make(chan struct{})}
		w.withWorker(10, log.run)
		var ids []string
		for i := range 12 {
			ids = append(ids, w.insert(task(i), onceq.Unique{}).ID)
		}
		w.eventually("ten jobs run", func() bool { return len(log.seen()) == 10 })
		close(log.release)
		for _, id := range ids {
			w.eventually("all are completed", w.finished(id))
			w.is(id, onceq.Completed)
		}
		equal(w, "most runs at once", log.atOnce(), 10)
	}},
	{"thousands_of_handlers_of_many_queues_run_at_once_for_longer_than_a_lease", func(w *world) {
		n, queues := scaled(2000), map[string]onceq.QueueConfig{}
		var items []onceq.Item
		for i := range n {
			queue := fmt.Sprint("q", i%40)
			queues[queue] = onceq.QueueConfig{Concurrency: n/40 + 1}
			items = append(items, onceq.NewItem(task(i), onceq.Unique{}, onceq.Queue(queue)))
		}
		w.many(each(onceq.Inserted, n), items...)
		w.allRunForLongerThanALease(n, queues)
	}},
	// A heartbeat that reads the args of what it keeps comes too late.
	{"handlers_with_large_args_keep_their_leases", roomy(func(w *world) {
		n := scaled(40)
		for range n / 10 {
			w.fill(10, onceq.Bytes("large", make([]byte, 2<<20)))
		}
		w.allRunForLongerThanALease(n, map[string]onceq.QueueConfig{"default": {Concurrency: n}})
	})},
	{"under_coalesce_a_run_starts_later_than_each_enqueue_and_none_overlap", func(w *world) {
		type run struct {
			began time.Time
			args  int
		}
		var mu sync.Mutex
		var runs []run
		var running atomic.Int32
		stop := w.withWorker(10, func(_ context.Context, j *onceq.JobRow) error {
			if running.Add(1) > 1 {
				w.Errorf("two runs of one key overlap")
			}
			defer running.Add(-1)
			r := run{began: time.Now()}
			fmt.Sscan(string(j.Args), &r.args)
			mu.Lock()
			runs = append(runs, r)
			n := len(runs)
			mu.Unlock()
			time.Sleep(time.Duration(n%4) * time.Millisecond)
			if n%5 == 0 {
				return errors.New("once more")
			}
			return nil
		})
		var sent []time.Time
		var last string
		for i := range 150 {
			sent = append(sent, time.Now())
			r, err := w.client.Enqueue(w.ctx, task(i), key, coalesce)
			w.must(err)
			if r.Outcome == onceq.Skipped {
				w.Fatalf("enqueue %d was skipped", i)
			}
			last = r.Job.ID
		}
		w.eventually("the last job has ended", w.finished(last))
		stop()
		for i, at := range sent {
			if !slices.ContainsFunc(runs, func(r run) bool { return r.began.After(at) && r.args >= i }) {
				w.Errorf("no run started after enqueue %d with its args or later ones", i)
			}
		}
		equal(w, "args of the last run", runs[len(runs)-1].args, 149)
	}},
	{"under_supersede_runs_never_overlap_and_the_old_one_is_told_to_stop", func(w *world) {
		log := &runLog{release: make(chan struct{})}
		w.withWorker(10, log.run)
		var ids []string
		for i := range 4 {
			r, err := w.client.Enqueue(w.ctx, task(i), key, supersede)
			w.must(err)
			ids = append(ids, r.Job.ID)
			// the one before has stopped
			w.eventually("it runs", func() bool { return slices.Contains(log.seen(), fmt.Sprint(i)) })
		}
		close(log.release)
		w.eventually("the last has ended", w.finished(ids[3]))
		for _, id := range ids[:3] {
			w.is(id, onceq.Cancelled)
		}
		w.is(ids[3], onceq.Completed)
		equal(w, "most runs at once", log.atOnce(), 1)
	}},
	{"a_cancelled_run_is_told_to_stop_and_ends_cancelled", func(w *world) {
		log := &runLog{release: make(chan struct{})}
		w.withWorker(1, log.run)
		j := w.insert(task(1), key)
		w.eventually("it runs", func() bool { return len(log.seen()) == 1 })
		w.cancel(j.ID)
		w.eventually("it has ended", w.finished(j.ID))
		w.is(j.ID, onceq.Cancelled)
		w.free(j)
	}},
	{"every_ending_of_a_handler_lets_go_of_the_key", func(w *world) {
		endings := []func() error{
			func() error { return nil },
			func() error { return errors.New("failed") },
			func() error { return onceq.Discard(errors.New("hopeless")) },
			func() error { return onceq.Cancel(errors.New("not wanted")) },
			func() error { panic("boom") },
		}
		w.withWorker(3, func(_ context.Context, j *onceq.JobRow) error {
			var i int
			fmt.Sscan(string(j.Args), &i)
			return endings[i]()
		})
		for i, want := range []onceq.State{onceq.Completed, onceq.Discarded, onceq.Discarded, onceq.Cancelled,
			onceq.Discarded} {
			j := w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.MaxAttempts(2))
			w.eventually("it has ended", w.finished(j.ID))
			w.is(j.ID, want)
			w.free(j)
		}
	}},
	{"queues_that_share_slots_run_all_their_jobs", func(w *world) {
		w.real()
		n := scaled(200)
		var items []onceq.Item
		for i := range n {
			items = append(items, onceq.NewItem(task(i), onceq.Queue([]string{"a", "b", "c", "d"}[i%4])))
		}
		w.many(each(onceq.Inserted, n), items...)
		worker, err := onceq.NewWorker(
			w.Store,
			&onceq.WorkerConfig{Concurrency: 3, Logger: slog.New(slog.DiscardHandler),
				Queues: map[string]onceq.QueueConfig{
					"a": {Weight: 10},
					"b": {Weight: 3},
					"c": {},
					"d": {},
					"e": {Weight: 500},
				}},
		)
		w.must(err)
		defer worker.Close()
		var running, most atomic.Int64
		worker.HandleAny(func(context.Context, *onceq.JobRow) error {
			defer running.Add(-1)
			for at, now := most.Load(), running.Add(1); now > at && !most.CompareAndSwap(at, now); at = most.Load() {
			}
			return nil
		})
		ran, err := worker.Drain(w.ctx)
		w.must(err)
		equal(w, "runs", len(ran), n)
		if most.Load() > 3 {
			w.Errorf("%d ran at once in three slots", most.Load())
		}
	}},
	{"a_waiting_worker_starts_jobs_when_a_pause_ends", func(w *world) {
		w.real()
		worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{PollInterval: time.Hour,
			Logger: slog.New(slog.DiscardHandler)})
		w.must(err)
		var ran atomic.Int64
		worker.HandleAny(func(_ context.Context, j *onceq.JobRow) error {
			if string(j.Args) == "2" {
				ran.Store(time.Now().UnixNano())
			}
			return nil
		})
		stop := w.background(worker)
		defer worker.Close()
		defer stop()
		first := w.insert(task(1))
		w.eventually("the worker is there", w.finished(first.ID))
		began := time.Now()
		w.must(w.client.PauseFor(w.ctx, "default", 300*time.Millisecond))
		second := w.insert(task(2))
		w.eventually("it has run", w.finished(second.ID))
		if waited := time.Unix(0, ran.Load()).Sub(began); waited < 290*time.Millisecond {
			w.Errorf("the job ran %v after a pause of 300ms", waited)
		}
	}},
	{"a_worker_that_shuts_down_hands_its_jobs_back_with_their_keys", func(w *world) {
		w.real()
		worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{ShutdownTimeout: 10 * time.Millisecond,
			Logger: slog.New(slog.DiscardHandler)})
		w.must(err)
		defer worker.Close()
		started := make(chan struct{})
		worker.HandleAny(func(ctx context.Context, _ *onceq.JobRow) error {
			close(started)
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		j := w.insert(task(1), key)
		<-started
		cancel()
		if err := <-done; err != nil {
			w.Logf("worker: %v", err)
		}
		got := w.is(j.ID, onceq.Available)
		equal(w, "attempt", got.Attempt, 0)
		w.holds(j)
	}},
}

// allRunForLongerThanALease runs n jobs at once, for longer than a lease, and
// wants that each of them ran once.
func (w *world) allRunForLongerThanALease(n int, queues map[string]onceq.QueueConfig) {
	w.Helper()
	w.real()
	const lease = 4 * time.Second
	worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{Queues: queues, Lease: lease,
		Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	defer worker.Close()
	var running, ended atomic.Int64
	gate := make(chan struct{})
	worker.HandleAny(func(ctx context.Context, _ *onceq.JobRow) error {
		running.Add(1)
		select {
		case <-gate:
			ended.Add(1)
			return nil
		case <-ctx.Done():
			w.Errorf("a handler was stopped: %v", context.Cause(ctx))
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	w.eventually("all of them run", func() bool { return int(running.Load()) == n })
	time.Sleep(lease + lease/4)
	close(gate)
	w.eventually("all of them end", func() bool { return int(ended.Load()) == n })
	cancel()
	w.must(<-done)
	equal(w, "runs", running.Load(), int64(n))
	for _, j := range w.jobs() { // its run may be 2: a fetch that came too late was handed back
		equal(w, j.ID, line(j.State, j.Attempt), "completed 1")
	}
}
