package storetest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// serve lets a worker serve schedules until nothing is due, at the instant
// at which the store's clock stands.
func (w *world) serve(code ...onceq.Periodic) {
	w.Helper()
	w.serveOn(w.Store, code...)
}

func (w *world) serveOn(store onceq.Store, code ...onceq.Periodic) {
	w.Helper()
	worker := w.periodicWorker(store, true, code...)
	w.must(worker.Run(w.ctx))
	w.must(worker.Close())
}

func (w *world) periodicWorker(store onceq.Store, drain bool, code ...onceq.Periodic) *onceq.Worker {
	w.Helper()
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{
		ServePeriodic: true, Periodic: code, Drain: drain, Lease: time.Second, ShutdownTimeout: 10 * time.Millisecond,
		PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	return worker
}

// background lets a worker run until stop is called, or the case ends.
func (w *world) background(worker *onceq.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() { defer close(done); worker.Run(ctx); worker.Close() }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.stops = append(w.stops, stop)
	return stop
}

func (w *world) put(p onceq.Periodic) onceq.PeriodicInfo {
	w.Helper()
	info, err := w.client.PutPeriodic(w.ctx, p)
	w.must(err)
	return info
}

// hurrySchedules makes the waiting rows of schedules due, again and again, until
// the case ends. It counts how often it did.
func (w *world) hurrySchedules() *atomic.Int64 {
	ctx, cancel := context.WithCancel(w.ctx)
	var hurried sync.WaitGroup
	var hurries atomic.Int64
	hurried.Go(func() {
		for ctx.Err() == nil {
			for j := range w.client.Jobs(ctx, onceq.JobFilter{Queue: "onceq.periodic"}) {
				if j == nil {
					break
				}
				if _, err := w.client.RunNow(ctx, j.ID); err == nil {
					hurries.Add(1)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	w.stops = append(w.stops, func() { cancel(); hurried.Wait() })
	return &hurries
}

// schedule is the one schedule of the store.
func (w *world) schedule() onceq.PeriodicInfo {
	w.Helper()
	all, err := w.client.Periodics(w.ctx)
	w.must(err)
	if len(all) != 1 {
		w.Fatalf("there are %d schedules, want one: %v", len(all), all)
	}
	return all[0]
}

// scheduleRow is its row, the one that is not behind another.
func (w *world) scheduleRow() *onceq.JobRow {
	w.Helper()
	var row *onceq.JobRow
	for j, err := range w.client.Jobs(w.ctx, onceq.JobFilter{Queue: "onceq.periodic", Args: true}) {
		w.must(err)
		if j.Behind == "" {
			row = j
		}
	}
	if row == nil {
		w.Fatal("there is no row of a schedule")
	}
	return row
}

// ticks are the instants of the ticks that have jobs, in order, in loc.
func (w *world) ticks(loc *time.Location) string {
	w.Helper()
	var all []time.Time
	for _, j := range w.jobs() {
		if _, tick, ok := onceq.Tick(j); ok {
			all = append(all, tick)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	var texts []string
	for _, tick := range all {
		texts = append(texts, tick.In(loc).Format("02T15:04:05"))
	}
	return strings.Join(texts, " ")
}

func (w *world) wantTicks(loc *time.Location, want string) {
	w.Helper()
	equal(w, "ticks", w.ticks(loc), want)
}

func (w *world) zone(name string) *time.Location {
	w.Helper()
	loc, err := time.LoadLocation(name)
	w.must(err)
	return loc
}

// wantDay puts a schedule, lets workers serve it a few times over a day or
// two, and wants these ticks.
func (w *world) wantDay(schedule, zone, from string, days int, want string) {
	w.Helper()
	loc := w.zone(zone)
	begin, err := time.ParseInLocation("2006-01-02T15:04", from, loc)
	w.must(err)
	w.at(begin)
	w.put(onceq.Periodic{Name: "p", Schedule: schedule, Location: loc, Args: task(1), CatchUp: onceq.All})
	for h := 0; h <= days*24+1; h += 5 {
		w.at(begin.Add(time.Duration(h) * time.Hour))
		w.serve()
	}
	w.wantTicks(loc, want)
}

// scheduleOf is the schedule of this name.
func (w *world) scheduleOf(name string) onceq.PeriodicInfo {
	w.Helper()
	all, err := w.client.Periodics(w.ctx)
	w.must(err)
	i := slices.IndexFunc(all, func(p onceq.PeriodicInfo) bool { return p.Name == name })
	if i < 0 {
		w.Fatalf("there is no schedule %q among %v", name, all)
	}
	return all[i]
}

// dying is the store of a worker that is killed when it makes a tick: before
// its enqueue, or after it. Then nothing of the worker reaches the store.
type dying struct {
	onceq.Store
	after bool
	dead  atomic.Bool
}

var errDead = errors.New("the worker is dead")

func (d *dying) isDead() bool { return d.dead.Load() }

func (d *dying) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	if d.isDead() || !d.after {
		d.dead.Store(true)
		return nil, errDead
	}
	results, err := d.Store.Enqueue(ctx, r)
	d.dead.Store(true)
	return results, err
}

func (d *dying) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	if d.isDead() {
		return onceq.Extended{}, errDead
	}
	return d.Store.Extend(ctx, r)
}

func (d *dying) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	if d.isDead() {
		return onceq.Fetched{}, errDead
	}
	return d.Store.Fetch(ctx, r)
}

func (d *dying) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	if d.isDead() {
		return nil, errDead
	}
	return d.Store.Finish(ctx, r)
}

// gated stops the first enqueue until the gate is opened.
type gated struct {
	onceq.Store
	once     sync.Once
	at, open chan struct{}
}

func (g *gated) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	g.once.Do(func() { close(g.at); <-g.open })
	return g.Store.Enqueue(ctx, r)
}
