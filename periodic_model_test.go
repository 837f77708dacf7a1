package onceq_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// TestScheduleModel takes random steps (time passes, workers serve, are killed
// in the middle of a tick, schedules are edited, paused, resumed and put
// again) and wants of the store: a schedule has one row and at most one behind
// it, a tick has one job at most, and with CatchUp All the ticks that have a
// job are those of NextTicks.
func TestScheduleModel(t *testing.T) {
	var killed sync.WaitGroup
	defer killed.Wait()
	rapid.Check(t, func(t *rapid.T) {
		m := newScheduleModel(t)
		m.killed = &killed
		defer m.client.Close()
		for range rapid.IntRange(3, 12).Draw(t, "steps") {
			m.step(rapid.SampledFrom([]string{"time", "time", "serve", "serve", "kill before", "kill after",
				"edit", "again", "pause", "resume", "by hand"}).Draw(t, "step"))
			m.check()
		}
		m.step("serve")
		m.check()
	})
}

type scheduleModel struct {
	*rapid.T
	store  *memstore.Store
	client *onceq.Client
	now    time.Time
	clock  atomic.Int64 // now, for the store
	p      onceq.Periodic
	args   int
	killed *sync.WaitGroup // workers that were killed and have not ended

	paused bool
	from   time.Time      // ticks count from here on
	want   map[int64]bool // ticks that must have a job
	byHand int            // jobs besides
}

func newScheduleModel(t *rapid.T) *scheduleModel {
	m := &scheduleModel{T: t, want: map[int64]bool{}}
	m.now = time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	m.clock.Store(m.now.UnixMilli())
	m.store = memstore.New(func() time.Time { return time.UnixMilli(m.clock.Load()) })
	var err error
	if m.client, err = onceq.NewClient(m.store, nil); err != nil {
		t.Fatal(err)
	}
	zone := rapid.SampledFrom([]string{"UTC", "America/New_York", "Australia/Lord_Howe"}).Draw(t, "zone")
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	m.p = onceq.Periodic{Name: "p", Location: loc, CatchUp: onceq.All, Args: tickArgs(0),
		Schedule: rapid.SampledFrom([]string{"*/20 * * * *", "0 2,3 * * *", "30 1-4 * * *", "@every 1000s"}).
			Draw(t, "schedule")}
	m.put()
	m.from = m.now
	return m
}

type tickArgs int

func (tickArgs) Kind() string { return "tick" }

func (m *scheduleModel) put() {
	if _, err := m.client.PutPeriodic(context.Background(), m.p); err != nil {
		m.Fatal(err)
	}
}

func (m *scheduleModel) pass(d time.Duration) {
	m.now = m.now.Add(d)
	m.clock.Store(m.now.UnixMilli())
}

func (m *scheduleModel) step(name string) {
	ctx := context.Background()
	var err error
	switch name {
	case "time":
		m.pass(time.Duration(rapid.IntRange(1, 6*3600).Draw(m.T, "seconds")) * time.Second)
	case "serve":
		m.serve()
	case "kill before", "kill after":
		m.kill(name == "kill after")
	case "edit":
		m.args++
		m.p.Args = tickArgs(m.args)
		m.put()
	case "again":
		m.put()
	case "pause":
		err = m.client.PausePeriodic(ctx, "p")
		m.paused = true
	case "resume":
		err = m.client.ResumePeriodic(ctx, "p")
		if m.paused {
			m.paused, m.from = false, m.now
		}
	case "by hand":
		m.byHand++
		_, err = m.client.TickNow(ctx, "p")
	}
	if err != nil {
		m.Fatal(name, err)
	}
}

func (m *scheduleModel) worker(store onceq.Store) *onceq.Worker {
	w, err := onceq.NewWorker(store, &onceq.WorkerConfig{ServePeriodic: true, Drain: true,
		Lease: 100 * time.Millisecond, ShutdownTimeout: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		m.Fatal(err)
	}
	return w
}

// serve lets workers serve until nothing is due. One is enough as a rule. One
// that got no processor for as long as its lease leaves the rest to the next.
func (m *scheduleModel) serve() {
	for tries := 1; ; tries++ {
		w := m.worker(m.store)
		if err := w.Run(context.Background()); err != nil {
			m.Fatal(err)
		}
		w.Close()
		if m.settled() {
			break
		}
		if tries == 20 {
			m.Fatal("twenty workers left something that is due")
		}
		m.pass(time.Minute)
	}
	if m.paused {
		return
	}
	ticks, err := onceq.NextTicks(m.p.Schedule, m.p.Location, m.from, 2000)
	if err != nil {
		m.Fatal(err)
	}
	for _, tick := range ticks {
		if !tick.After(m.now) {
			m.want[tick.Unix()] = true
		}
	}
	m.from = m.now
}

// kill lets a worker make a tick and die in the middle of it, and another
// one notice.
func (m *scheduleModel) kill(after bool) {
	var rows []*onceq.JobRow
	for j, err := range m.client.Jobs(context.Background(), onceq.JobFilter{Queue: "onceq.periodic"}) {
		if err != nil {
			m.Fatal(err)
		}
		if j.Behind == "" && j.State.Waiting() {
			rows = append(rows, j)
		}
	}
	if len(rows) == 0 { // the run of one that was killed before is not over yet
		m.serve()
		return
	}
	if _, err := m.client.RunNow(context.Background(), rows[0].ID); err != nil {
		m.Fatal(err)
	}
	dead := &mortal{Store: m.store, after: after, died: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := m.worker(dead)
	m.killed.Go(func() { w.Run(ctx); w.Close() })
	<-dead.died
	m.pass(time.Minute)
	m.serve()
}

// settled reports whether all rows of the schedule wait for a later time.
func (m *scheduleModel) settled() bool {
	for j, err := range m.client.Jobs(context.Background(), onceq.JobFilter{Queue: "onceq.periodic"}) {
		if err != nil {
			m.Fatal(err)
		}
		if j.State == onceq.Running || j.State == onceq.Retryable || j.State.Waiting() && !j.RunAt.After(m.now) {
			return false
		}
	}
	return true
}

func (m *scheduleModel) check() {
	front, behind, byHand := 0, 0, 0
	got := map[int64]int{}
	for j, err := range m.client.Jobs(context.Background(), onceq.JobFilter{Reserved: true}) {
		if err != nil {
			m.Fatal(err)
		}
		switch {
		case j.Queue == "onceq.periodic" && j.Behind == "":
			front++
		case j.Queue == "onceq.periodic":
			behind++
		case j.Meta["onceq.tick"] == nil:
			byHand++
		default:
			_, tick, _ := onceq.Tick(j)
			got[tick.Unix()]++
		}
	}
	if front != 1 || behind > 1 || byHand != m.byHand {
		m.Fatalf("%d rows and %d behind, %d jobs by hand of %d", front, behind, byHand, m.byHand)
	}
	for tick, n := range got {
		if n != 1 || !m.want[tick] {
			m.Fatalf("the tick %v has %d jobs, wanted: %v", time.Unix(tick, 0).UTC(), n, m.want[tick])
		}
	}
	for tick := range m.want {
		if got[tick] == 0 {
			m.Fatalf("the tick %v has no job", time.Unix(tick, 0).UTC())
		}
	}
}

// mortal is the store of a worker that dies when it makes a tick.
type mortal struct {
	onceq.Store
	after bool
	dead  atomic.Bool
	died  chan struct{}
}

var errMortal = errors.New("the worker is dead")

func (d *mortal) Enqueue(ctx context.Context, r onceq.EnqueueRequest) (results []onceq.EnqueueResult, err error) {
	if d.dead.Load() {
		return nil, errMortal
	}
	if d.after {
		results, err = d.Store.Enqueue(ctx, r)
	} else {
		err = errMortal
	}
	d.dead.Store(true)
	close(d.died)
	return results, err
}

func (d *mortal) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	if d.dead.Load() {
		return onceq.Extended{}, errMortal
	}
	return d.Store.Extend(ctx, r)
}

func (d *mortal) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	if d.dead.Load() {
		return onceq.Fetched{}, errMortal
	}
	return d.Store.Fetch(ctx, r)
}

func (d *mortal) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	if d.dead.Load() {
		return nil, errMortal
	}
	return d.Store.Finish(ctx, r)
}
