package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// ours is onceq with its defaults. Jobs are unique by kind, queue and args
// until they are finished, and are kept for 24 hours.
type ours struct {
	store  onceq.Store
	client *onceq.Client
	far    func() (onceq.Store, error) // opens the store a second time, as another process would; nil = as the first
	apart  onceq.Store                 // opened by far
	end    func() error
	sizes  func(ctx context.Context) (float64, error)
	tidy   func(ctx context.Context) error
}

var quiet = slog.New(slog.DiscardHandler)

func newOurs(store onceq.Store, end func() error) (*ours, error) {
	client, err := onceq.NewClient(store, &onceq.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	return &ours{store: store, client: client, end: end}, nil
}

func (o *ours) insert(ctx context.Context, e event) (bool, error) {
	r, err := o.client.Enqueue(ctx, e, onceq.Unique{})
	return r.Duplicate(), err
}

// merge enqueues a job that writes to one that waits.
func (o *ours) merge(ctx context.Context, e event) error {
	r, err := o.client.Enqueue(ctx, e, onceq.Unique{}, onceq.OnConflict(onceq.Coalesce))
	if err == nil && r.Outcome != onceq.Replaced {
		err = fmt.Errorf("a job that should write to another was %s", r.Outcome)
	}
	return err
}

func (o *ours) insertMany(ctx context.Context, all []event) error { return o.insertWith(ctx, all) }

func (o *ours) insertWith(ctx context.Context, all []event, options ...onceq.Option) error {
	items := make([]onceq.Item, len(all))
	options = append(options, onceq.Unique{})
	for i, e := range all {
		items[i] = onceq.NewItem(e, options...)
	}
	receipts, err := o.client.EnqueueMany(ctx, items)
	for _, r := range receipts {
		if r.Duplicate() {
			return errors.New("a new job was taken for a duplicate")
		}
	}
	return err
}

func (o *ours) worker(store onceq.Store, atOnce int, drain bool, handle func()) (*onceq.Worker, error) {
	w, err := onceq.NewWorker(store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: atOnce}}, Drain: drain, Logger: quiet,
	})
	if err != nil {
		return nil, err
	}
	onceq.Handle(w, func(context.Context, *onceq.Job[event]) error { handle(); return nil })
	return w, nil
}

func (o *ours) drain(ctx context.Context, n, atOnce int) (int, time.Duration, error) {
	var ran, began atomic.Int64
	w, err := o.worker(o.store, atOnce, true, func() {
		if ran.Add(1) == 1 {
			began.Store(time.Now().UnixNano())
		}
	})
	if err != nil {
		return 0, 0, err
	}
	err = w.Run(ctx)
	took := time.Duration(time.Now().UnixNano() - began.Load())
	if err = cmp.Or(err, w.Close()); err == nil && ran.Load() != int64(n) {
		err = fmt.Errorf("%d runs of %d jobs", ran.Load(), n)
	}
	return n, took, err
}

func (o *ours) serve(ctx context.Context, handle func()) (func() error, error) {
	store := o.store
	if o.far != nil {
		var err error
		if o.apart, err = o.far(); err != nil {
			return nil, err
		}
		store = o.apart
	}
	w, err := o.worker(store, 100, false, handle)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() error { return errors.Join(w.Close(), <-ended) }, nil
}

func (o *ours) size(ctx context.Context) (float64, error) { return o.sizes(ctx) }
func (o *ours) settle(ctx context.Context) error          { return o.tidy(ctx) }

func (o *ours) close() error {
	err := o.client.Close()
	if o.apart != nil {
		err = cmp.Or(err, o.apart.Close())
	}
	return cmp.Or(err, o.store.Close(), o.end())
}

// grown keeps a store with many jobs in it for all rounds.
type grown struct {
	open opener
	jobs func(e *env) int
	fill func(ctx context.Context, o *ours, n int) error
	keep bool // the store is used again in the next round
	o    *ours
}

func (g *grown) get(ctx context.Context, e *env) (*ours, error) {
	if g.o != nil {
		return g.o, nil
	}
	s, err := g.open(ctx, e)
	if err != nil {
		return nil, err
	}
	g.o = s.(*ours)
	n := g.jobs(e)
	for done := 0; done < n; done += 10_000 {
		if n > 10_000 {
			progress("filling a store: %d of %d jobs", done, n)
		}
		if err := g.fill(ctx, g.o, min(10_000, n-done)); err != nil {
			return nil, cmp.Or(err, g.o.close())
		}
	}
	if g.o.tidy != nil {
		if err := g.o.tidy(ctx); err != nil {
			return nil, cmp.Or(err, g.o.close())
		}
	}
	if g.keep {
		e.ends = append(e.ends, func() { _ = g.o.close() })
	}
	return g.o, nil
}

// done closes the store unless it is kept.
func (g *grown) done(err error) error {
	if !g.keep && g.o != nil {
		err = cmp.Or(err, g.o.close())
		g.o = nil
	}
	return err
}

// fillKept makes jobs that have run and are kept.
func fillKept(ctx context.Context, o *ours, n int) error {
	if err := fill(ctx, o, n); err != nil {
		return err
	}
	_, _, err := o.drain(ctx, n, 1000)
	return err
}

// fillLater makes jobs that are due in an hour and later.
func fillLater(ctx context.Context, o *ours, n int) error {
	for ; n > 0; n -= 1000 {
		if err := o.insertWith(ctx, newEvents(min(n, 1000)),
			onceq.Delay(time.Hour+time.Duration(serial.Load())*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// enqueueBeside enqueues 10,000 unique jobs in batches of a hundred beside the
// jobs that are there. Then it runs them, which leaves the store about as it
// was.
func (g *grown) enqueueBeside(ctx context.Context, e *env) (out sample, err error) {
	o, err := g.get(ctx, e)
	if err != nil {
		return out, err
	}
	const n = 10_000
	m := e.start()
	for range n / 100 {
		if err = o.insertMany(ctx, newEvents(100)); err != nil {
			return out, err
		}
	}
	out = m.stop(n)
	_, _, err = o.drain(ctx, n, 1000)
	return out, g.done(err)
}

// fetchBeside times fetches of ten due jobs beside the jobs that are there.
func (g *grown) fetchBeside(ctx context.Context, e *env) (out sample, err error) {
	o, err := g.get(ctx, e)
	if err != nil {
		return out, err
	}
	const n = 2000
	name := fmt.Sprintf("bench-%d", serial.Add(1))
	if err := o.insertWith(ctx, newEvents(n), onceq.Retention(0)); err != nil {
		return out, err
	}
	if _, err := o.store.Extend(ctx, onceq.ExtendRequest{Worker: name, Lease: time.Hour}); err != nil {
		return out, err
	}
	var ends []onceq.Finish
	m := e.start()
	for no := int64(1); len(ends) < n && no < n; no++ {
		f, err := o.store.Fetch(ctx, onceq.FetchRequest{Worker: name, No: no,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
		if err != nil {
			return out, err
		}
		for _, j := range f.Jobs {
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: name, State: onceq.Completed})
		}
	}
	out = m.stop(len(ends))
	if len(ends) != n {
		return out, fmt.Errorf("fetched %d of %d jobs", len(ends), n)
	}
	for i := 0; i < n; i += 200 {
		if _, err = o.store.Finish(ctx, onceq.FinishRequest{Runs: ends[i : i+200]}); err != nil {
			return out, err
		}
	}
	_, err = o.store.Extend(ctx, onceq.ExtendRequest{Worker: name, FetchesDone: n})
	return out, g.done(err)
}

// growth returns the two rows on a store that grows. small is a fresh store
// with a thousand jobs.
func growth(open opener) []row {
	few := func(*env) int { return 1000 }
	many := func(e *env) int { return e.big }
	beside := func(jobs func(*env) int, fill func(context.Context, *ours, int) error, keep bool) *grown {
		return &grown{open: open, jobs: jobs, fill: fill, keep: keep}
	}
	return []row{
		{name: "growth-enqueue", title: "unique enqueue (batches of 100) beside many kept jobs, against 1,000 kept",
			show:  []string{"time"},
			goals: []goal{{of: "time", against: true, most: 1.3}}, sides: []side{
				{"onceq, many kept", "-big jobs have run and are kept",
					beside(many, fillKept, true).enqueueBeside, false},
				{"onceq, 1,000 kept", "a fresh store each round", beside(few, fillKept, false).enqueueBeside, false}}},
		{name: "growth-fetch", title: "fetch of 10 beside many jobs scheduled for later, against 1,000",
			show:  []string{"time"},
			goals: []goal{{of: "time", against: true, most: 1.3}}, sides: []side{
				{"onceq, many scheduled", "-big jobs are due in an hour and later",
					beside(many, fillLater, true).fetchBeside, false},
				{"onceq, 1,000 scheduled", "a fresh store each round",
					beside(few, fillLater, false).fetchBeside, false}}},
	}
}
