package storetest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// limiting: how many jobs of a key run at once in the fleet, and how often.
var limiting = []scenario{
	{"two_jobs_of_one_customer_never_overlap_and_both_run", byGuard(guard.Config{}, func(g *guarded) {
		other := g.world.guard(guard.Config{}) // in another process
		ctx, stop := context.WithCancel(g.ctx)
		defer stop()
		began, end := make(chan struct{}), make(chan struct{})
		first := make(chan error, 1)
		go func() {
			first <- g.limited(ctx, 1, "ann", func(context.Context) error { close(began); <-end; return nil })
		}()
		<-began
		never := func(context.Context) error { g.Error("two run at once"); return nil }
		for range 3 {
			g.snoozed(g.limited(ctx, 1, "ann", never))
			g.snoozed(other.limited(ctx, 1, "ann", never))
		}
		g.must(other.limited(ctx, 1, "bob", func(context.Context) error { return nil })) // a key of its own
		g.must(other.limited(ctx, 0, "ann", func(context.Context) error { return nil })) // not limited
		close(end)
		g.must(<-first)
		g.must(other.limited(ctx, 1, "ann", func(context.Context) error { return nil }))
		g.noSlots()
	})},
	{"a_limit_of_one_key_does_not_slow_others", byGuard(guard.Config{}, func(g *guarded) {
		g.real()
		var anns atomic.Int64
		end := make(chan struct{})
		worker, err := onceq.NewWorker(g.Store, &onceq.WorkerConfig{Client: g.client, Logger: silent,
			PollInterval: 10 * time.Millisecond,
			Queues:       map[string]onceq.QueueConfig{"default": {Concurrency: 2}},
			Middleware: []onceq.Middleware{
				guard.Limit(g.Guard, func(j *onceq.JobRow) (string, int) { return j.Tags[0], 1 })}})
		g.must(err)
		worker.HandleAny(func(_ context.Context, j *onceq.JobRow) error {
			if j.Tags[0] == "ann" {
				anns.Add(1)
				<-end
			}
			return nil
		})
		for i := range 20 { // more than there are slots: all but one are put off, again and again
			g.insert(task(i), onceq.Tags("ann"))
		}
		g.background(worker)
		g.eventually("one of ann's runs", func() bool { return anns.Load() > 0 })
		for _, other := range []string{"bob", "cid", "dan"} {
			g.eventually(other+" has run", g.finished(g.insert(task(0), onceq.Tags(other)).ID))
		}
		equal(g.world, "of ann's have begun", anns.Load(), 1)
		close(end)
		g.eventually("all have run", func() bool { return anns.Load() == 20 })
	})},
	{"of_many_at_once_no_more_than_three_have_a_slot", byGuard(guard.Config{}, func(g *guarded) {
		other := g.world.guard(guard.Config{})
		var inside, most, ran atomic.Int64
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				for ran.Load() < 12 {
					err := []*guarded{g, other}[i%2].limited(g.ctx, 3, "ann", func(context.Context) error {
						now := inside.Add(1)
						for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
						}
						time.Sleep(time.Millisecond)
						inside.Add(-1)
						ran.Add(1)
						return nil
					})
					if err != nil && !strings.Contains(err.Error(), "snooze") {
						g.Errorf("limited: %v", err)
						return
					}
				}
			})
		}
		all.Wait()
		if most.Load() > 3 {
			g.Errorf("%d had a slot at once, want 3 at most", most.Load())
		}
		g.noSlots()
	})},
	{"a_job_that_fails_or_panics_gives_its_slot_back", byGuard(guard.Config{}, func(g *guarded) {
		g.wantErr(g.limited(g.ctx, 1, "ann", func(context.Context) error { return errNo }), errNo)
		func() {
			defer func() { equal(g.world, "panic", recover(), "oh") }()
			_ = g.limited(g.ctx, 1, "ann", func(context.Context) error { panic("oh") })
		}()
		g.noSlots()
		g.must(g.limited(g.ctx, 1, "ann", func(context.Context) error { return nil }))
		g.noSlots()
	})},
	{"a_slot_of_a_process_that_died_is_free_when_its_lease_is_over", byGuard(soon, func(g *guarded) {
		began, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			done <- g.limited(g.ctx, 1, "ann", func(ctx context.Context) error { close(began); <-end; return nil })
		}()
		<-began
		g.link.cut()
		next := g.world.guard(soon)
		next.snoozed(next.limited(g.ctx, 1, "ann", func(context.Context) error { return nil }))
		g.after(minute) // its lease is over
		next.eventually("the slot is free", func() bool {
			return next.limited(g.ctx, 1, "ann", func(context.Context) error { return nil }) == nil
		})
		close(end)
		<-done
	})},
	{"no_more_than_ten_in_any_minute", byGuard(guard.Config{}, func(g *guarded) {
		rate, err := guard.NewRate(g.Guard, 10, minute)
		g.must(err)
		other, err := guard.NewRate(g.world.guard(guard.Config{}).Guard, 10, minute)
		g.must(err)
		allowed := func(r *guard.Rate, key string, want bool) {
			g.Helper()
			wait, err := r.Allow(g.ctx, key)
			g.must(err)
			if (wait == 0) != want || wait > minute {
				g.Fatalf("allowed is %t with a wait of %v, want %t", wait == 0, wait, want)
			}
		}
		for range 4 {
			allowed(rate, "ann", true)
		}
		g.after(minute / 2)
		for range 6 {
			allowed(other, "ann", true)
		}
		allowed(rate, "ann", false)
		allowed(rate, "bob", true)
		g.after(minute/2 - time.Millisecond)
		allowed(other, "ann", false)
		g.after(time.Millisecond) // the first four are a minute ago
		for range 4 {
			allowed(rate, "ann", true)
		}
		allowed(other, "ann", false)
	})},
	{"a_refused_job_spends_no_attempt", byGuard(guard.Config{}, func(g *guarded) {
		g.real()
		rate, err := guard.NewRate(g.Guard, 1, 40*time.Millisecond)
		g.must(err)
		worker, err := onceq.NewWorker(g.Store, &onceq.WorkerConfig{Client: g.client, Logger: silent,
			PollInterval: 10 * time.Millisecond, Middleware: []onceq.Middleware{
				rate.Middleware(func(j *onceq.JobRow) string { return j.Kind }),
				guard.Limit(g.Guard, func(j *onceq.JobRow) (string, int) { return j.Kind, 1 })}})
		g.must(err)
		onceq.Handle(worker, func(context.Context, *onceq.Job[task]) error { return nil })
		for i := range 3 {
			g.insert(task(i))
		}
		g.background(worker)
		g.eventually("all are done", func() bool {
			return g.count(onceq.JobFilter{Queue: "default", States: []onceq.State{onceq.Completed}}) == 3
		})
		for j, err := range g.client.Jobs(g.ctx, onceq.JobFilter{Queue: "default"}) {
			g.must(err)
			equal(g.world, "attempts", j.Attempt, 1)
		}
	})},
}

// limited runs fn as the handler of a job of which n may run at once.
func (g *guarded) limited(ctx context.Context, n int, key string, fn func(context.Context) error) error {
	limit := guard.Limit(g.Guard, func(*onceq.JobRow) (string, int) { return key, n })
	run := limit(func(ctx context.Context, _ *onceq.JobRow) error { return fn(ctx) })
	return run(ctx, &onceq.JobRow{Attempt: 1, Run: 1})
}

// snoozed wants a job to have been put off.
func (g *guarded) snoozed(err error) {
	g.Helper()
	if err == nil || !strings.Contains(err.Error(), "snooze") {
		g.Fatalf("got error %v, want a snooze", err)
	}
}

// noSlots wants nothing to be left of slots.
func (g *guarded) noSlots() {
	g.Helper()
	equal(g.world, "rows of slots", len(g.claims()), 0)
	for k, err := range g.client.Keys(g.ctx, onceq.KeyFilter{}) {
		g.must(err)
		g.Errorf("the key %s is held", k.Text)
	}
}
