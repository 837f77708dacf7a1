package main

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
)

// pace is how often River looks for jobs.
type pace struct {
	cooldown, poll time.Duration // 0 = River's defaults, 100 ms and 1 s
}

var (
	riverDefault = pace{}
	riverTuned   = pace{2 * time.Millisecond, 20 * time.Millisecond} // what River's own benchmark says
	riverLowest  = pace{river.FetchCooldownMin, river.FetchPollIntervalMin}
)

// riverQueue is River: jobs unique by kind and args, kept for 24 hours once
// completed.
type riverQueue[TTx any] struct {
	driver riverdriver.Driver[TTx]
	schema string
	pace   pace
	client *river.Client[TTx]
	far    bool // one client inserts and another serves
	end    func() error
	sizes  func(ctx context.Context) (float64, error)
	tidy   func(ctx context.Context) error
}

// newRiver migrates the schema and makes a client that inserts.
func newRiver[TTx any](ctx context.Context, r *riverQueue[TTx]) (_ *riverQueue[TTx], err error) {
	migrator, err := rivermigrate.New(r.driver, &rivermigrate.Config{Schema: r.schema, Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	r.client, err = river.NewClient(r.driver, &river.Config{Schema: r.schema, Logger: quiet})
	return r, err
}

var riverOpts = &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}

func (r *riverQueue[TTx]) insert(ctx context.Context, e event) (bool, error) {
	res, err := r.client.Insert(ctx, e, riverOpts)
	return err == nil && res.UniqueSkippedAsDuplicate, err
}

func (r *riverQueue[TTx]) insertMany(ctx context.Context, all []event) error {
	params := make([]river.InsertManyParams, len(all))
	for i, e := range all {
		params[i] = river.InsertManyParams{Args: e, InsertOpts: riverOpts}
	}
	results, err := r.client.InsertMany(ctx, params)
	for _, res := range results {
		if res.UniqueSkippedAsDuplicate {
			return errors.New("a new job was taken for a duplicate")
		}
	}
	return err
}

// riverWorker does nothing.
type riverWorker struct {
	river.WorkerDefaults[event]
	handle func()
}

func (w *riverWorker) Work(context.Context, *river.Job[event]) error { w.handle(); return nil }

func (r *riverQueue[TTx]) working(atOnce int, handle func()) (*river.Client[TTx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{handle: handle})
	return river.NewClient(r.driver, &river.Config{
		Schema: r.schema, Logger: quiet, Workers: workers, FetchCooldown: r.pace.cooldown,
		FetchPollInterval: r.pace.poll,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: atOnce}},
	})
}

// drain does not time the last jobs: River completes them up to 250 ms later,
// which says nothing about its rate.
func (r *riverQueue[TTx]) drain(ctx context.Context, n, atOnce int) (int, time.Duration, error) {
	var began atomic.Int64
	client, err := r.working(atOnce, func() { began.CompareAndSwap(0, time.Now().UnixNano()) })
	if err != nil {
		return 0, 0, err
	}
	completed, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: n + 1,
		Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer unsubscribe()
	if err := client.Start(ctx); err != nil {
		return 0, 0, err
	}
	timed := n - min(n/4, 250)
	var took time.Duration
	for done := 0; done < n && err == nil; {
		select {
		case <-completed:
			if done++; done == timed {
				took = time.Duration(time.Now().UnixNano() - began.Load())
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return timed, took, cmp.Or(err, client.Stop(context.WithoutCancel(ctx)))
}

func (r *riverQueue[TTx]) serve(ctx context.Context, handle func()) (func() error, error) {
	client, err := r.working(100, handle)
	if err != nil {
		return nil, err
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	if !r.far {
		r.client = client // it wakes its own workers
	}
	return func() error { return client.Stop(context.WithoutCancel(ctx)) }, nil
}

func (r *riverQueue[TTx]) size(ctx context.Context) (float64, error) { return r.sizes(ctx) }
func (r *riverQueue[TTx]) settle(ctx context.Context) error          { return r.tidy(ctx) }
func (r *riverQueue[TTx]) close() error                              { return r.end() }
