package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// fleet is workers of one queue that is limited in all of them together, each
// in a process of its own, and what their handlers see.
type fleet struct {
	*world
	lease time.Duration
	log   runLog
}

func (w *world) fleet(lease time.Duration) *fleet {
	w.real()
	return &fleet{world: w, lease: lease, log: runLog{release: make(chan struct{})}}
}

// member starts a worker that has so many slots of its own, and says that n
// jobs may run at once in the fleet. kinds are what it takes. kill ends its
// way to the store, stop ends it properly.
func (f *fleet) member(own, n int, kinds ...string) (kill, stop func()) {
	f.Helper()
	store := f.Store
	if f.Open != nil {
		store = f.Open()
		f.Cleanup(func() { store.Close() })
	}
	l := &link{Store: store}
	worker, err := onceq.NewWorker(l, &onceq.WorkerConfig{Lease: f.lease, Kinds: kinds,
		PollInterval: 50 * time.Millisecond, ShutdownTimeout: time.Second, Logger: silent,
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: own, Global: n}}})
	f.must(err)
	worker.HandleAny(f.log.run)
	return l.cut, f.background(worker)
}

// begun wants so many runs to have begun, and no more than that.
func (f *fleet) begun(n int) {
	f.Helper()
	f.eventually(fmt.Sprint(n, " have begun"), func() bool { return len(f.log.seen()) >= n })
	time.Sleep(150 * time.Millisecond) // so that one too many shows
	equal(f.world, "runs that have begun", len(f.log.seen()), n)
}

// done waits until so many jobs are completed.
func (f *fleet) done(n int) {
	f.Helper()
	f.eventually(fmt.Sprint(n, " are completed"), func() bool {
		return f.count(onceq.JobFilter{States: []onceq.State{onceq.Completed}}) == n
	})
}

// end lets n runs end.
func (f *fleet) end(n int) {
	for range n {
		f.log.release <- struct{}{}
	}
}

// limited: a queue of which only so many jobs run at once in the whole fleet.
var limited = []scenario{
	{"a_queue_limited_to_one_runs_one_job_at_a_time_in_four_processes", func(w *world) {
		f := w.fleet(time.Minute)
		for range 4 {
			f.member(5, 1)
		}
		n := scaled(60)
		for i := range n {
			w.insert(task(i))
		}
		for range n {
			time.Sleep(2 * time.Millisecond) // a job takes a while, in which another may not begin
			f.end(1)
		}
		f.done(n)
		equal(w, "most at once", f.log.atOnce(), 1)
	}},
	{"no_more_than_five_of_a_queue_run_in_three_processes_and_no_fewer", func(w *world) {
		f := w.fleet(time.Minute)
		for range 3 {
			f.member(4, 5)
		}
		for i := range 12 {
			w.insert(task(i))
		}
		f.begun(5)
		f.end(3)
		f.begun(8)
		f.end(9)
		f.begun(12)
		equal(w, "most at once", f.log.atOnce(), 5)
	}},
	{"a_killed_workers_slots_come_back", func(w *world) {
		f := w.fleet(300 * time.Millisecond)
		kill, _ := f.member(2, 2)
		for i := range 2 {
			w.insert(task(i))
		}
		f.begun(2)
		f.member(2, 2)
		w.insert(task(3))
		f.begun(2)
		kill()
		close(f.log.release)
		f.done(3)
	}},
	{"a_slot_outlives_no_lease", func(w *world) {
		f := w.fleet(300 * time.Millisecond)
		var told, early atomic.Bool
		l := &link{Store: w.Store}
		stalled, err := onceq.NewWorker(l, &onceq.WorkerConfig{Lease: f.lease, Kinds: []string{"task"}, Logger: silent,
			ShutdownTimeout: time.Second, Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1, Global: 1}}})
		w.must(err)
		began := make(chan struct{})
		stalled.HandleAny(func(ctx context.Context, _ *onceq.JobRow) error {
			close(began)
			<-ctx.Done()
			told.Store(errors.Is(context.Cause(ctx), onceq.ErrLeaseLost))
			return ctx.Err()
		})
		w.background(stalled)
		w.insert(task(1))
		<-began
		next, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{Lease: f.lease, Kinds: []string{"mail"},
			Logger: silent, Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1, Global: 1}}})
		w.must(err)
		done := make(chan struct{})
		next.HandleAny(func(context.Context, *onceq.JobRow) error {
			early.Store(!told.Load())
			close(done)
			return nil
		})
		w.background(next)
		w.insert(mail{To: "a"})
		l.cut()
		<-done
		equal(w, "the other began before the stalled one was told", early.Load(), false)
	}},
	{"an_idle_worker_gives_its_slots_to_a_busy_one", func(w *world) {
		f := w.fleet(time.Minute)
		close(f.log.release)
		f.member(1, 1, "task")
		w.insert(task(1))
		f.begun(1)
		f.member(1, 1, "mail")
		began := time.Now()
		j := w.insert(mail{To: "a"})
		w.eventually("the other has a slot", w.finished(j.ID))
		if took := time.Since(began); took > 9*time.Second { // after ten it would have asked for it
			w.Errorf("the idle one gave its slot away after %v", took)
		}
	}},
	{"a_worker_that_waits_for_ten_seconds_is_given_a_slot_of_a_busy_one", func(w *world) {
		f := w.fleet(time.Minute)
		f.member(1, 1, "task")
		for i := range 2000 {
			w.insert(task(i))
		}
		ctx, stop := context.WithCancel(w.ctx)
		defer stop()
		go func() { // a job takes a while
			for ctx.Err() == nil {
				select {
				case f.log.release <- struct{}{}:
				case <-ctx.Done():
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		f.eventually("it is busy", func() bool { return len(f.log.seen()) > 0 })
		began := time.Now()
		f.member(1, 1, "mail")
		j := w.insert(mail{To: "a"})
		w.eventually("it has run", w.finished(j.ID))
		if w.count(onceq.JobFilter{Kind: "task", States: []onceq.State{onceq.Available}}) == 0 {
			w.Error("the busy one gave its slot away when it had nothing to do any more")
		}
		if took := time.Since(began); took < 9*time.Second {
			w.Errorf("the busy one gave its slot away after %v", took)
		}
		equal(w, "most at once", f.log.atOnce(), 1)
	}},
	{"changing_n_takes_effect_without_a_restart_of_all", func(w *world) {
		f := w.fleet(time.Minute)
		f.member(5, 1)
		for i := range 20 {
			w.insert(task(i))
		}
		f.begun(1)
		_, stop := f.member(5, 3)
		f.begun(3)
		f.end(2)
		f.begun(5)
		equal(w, "most at once", f.log.atOnce(), 3)
		stop() // what it runs is handed back after a second
		f.member(5, 1)
		seen := len(f.log.seen())
		f.end(1)
		f.begun(seen + 1)
		f.log.mu.Lock()
		f.log.most = f.log.now
		f.log.mu.Unlock()
		f.end(3)
		f.begun(seen + 4)
		equal(w, "most at once", f.log.atOnce(), 1)
	}},
	{"a_job_that_waits_for_a_slot_says_so", func(w *world) {
		f := w.fleet(time.Minute)
		f.member(3, 2)
		for i := range 2 {
			w.insert(task(i))
		}
		f.begun(2)
		waits := w.insert(task(2))
		reasons, err := w.client.NotRunning(w.ctx, w.job(waits.ID))
		w.must(err)
		workers, err := w.client.Workers(w.ctx)
		w.must(err)
		equal(w, "reasons", strings.Join(reasons, "; "), fmt.Sprintf("queue default is limited to 2 at once in all "+
			"workers together, and all 2 are taken by %s (2)", workers[0].Name))
		f.member(1, 3)
		f.begun(3) // there is a slot more now
		waits = w.insert(task(3))
		reasons, err = w.client.NotRunning(w.ctx, w.job(waits.ID))
		w.must(err)
		equal(w, "limits named", strings.Contains(strings.Join(reasons, "; "), "limited to 3"), true)
		close(f.log.release)
		f.done(4)
		reasons, err = w.client.NotRunning(w.ctx, w.insert(task(4), onceq.Delay(time.Hour)))
		w.must(err)
		equal(w, "reasons of one that is not due", len(reasons), 1)
	}},
	{"doctor_counts_slots_apart", func(w *world) {
		f := w.fleet(time.Minute)
		f.member(2, 3)
		for i := range 4 {
			w.insert(task(i))
		}
		f.begun(2)
		r, err := w.client.Doctor(w.ctx, nil)
		w.must(err)
		equal(w, "jobs, and those of onceq itself", line(r.Jobs, r.Reserved), "4 3")
		equal(w, "listed", w.count(onceq.JobFilter{}), 4)
		equal(w, "running", w.count(onceq.JobFilter{States: []onceq.State{onceq.Running}}), 2)
		all, err := w.client.Queues(w.ctx)
		w.must(err)
		var names []string
		for _, q := range all {
			names = append(names, fmt.Sprint(q.Name, " ", q.Counts[onceq.Available], " ", q.Counts[onceq.Running]))
		}
		equal(w, "queues", strings.Join(names, ", "), "default 2 2, onceq.slots/default 1 2")
		workers, err := w.client.Workers(w.ctx)
		w.must(err)
		equal(w, "running", workers[0].Running, 2)
		equal(w, "slots", fmt.Sprint(workers[0].Slots), "map[default:2]")
		close(f.log.release)
		f.done(4)
	}},
}
