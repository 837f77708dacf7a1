package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/internal/effort"
)

// A history of a schedule: time passes, workers serve it, are killed while they
// make a tick, lose answers, and stall; meanwhile it is edited, put again, paused
// and resumed. These rules must hold after every step:
//
//	P1 a schedule has one row, and at most one behind it
//	P2 a tick has one job at most
//	P3 with CatchUp All the ticks that have a job are those that NextTicks lists

// scheduleVerbs are the steps; a name that stands twice comes up twice as often.
var scheduleVerbs = map[string]func(h *schedules) error{
	"time passes":          (*schedules).passes,
	"serve":                (*schedules).serve,
	"lose an answer":       (*schedules).losesAnswer,
	"kill before":          func(h *schedules) error { return h.kills(unarrived) },
	"kill after":           func(h *schedules) error { return h.kills(unanswered) },
	"edit":                 (*schedules).edits,
	"edit during the tick": (*schedules).editsDuringTick,
	"put again":            (*schedules).put,
	"pause":                (*schedules).pauses,
	"resume":               (*schedules).resumes,
	"tick by hand":         (*schedules).ticksByHand,
}

var scheduleHistories = rapid.SliceOfN(movesOf([]string{"time passes", "time passes", "time passes", "serve", "serve",
	"lose an answer", "kill before", "kill after", "edit", "edit during the tick", "put again", "pause", "resume",
	"tick by hand"}), 3, 14)

// scheduled plays random histories of a schedule on the store. ONCEQ_LONG=1
// plays fifty times as many.
func scheduled(t *testing.T, open func(*testing.T) storetest.Harness) {
	rounds, played, failed := 1, 0, false
	if effort.Long {
		rounds = 50
	}
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			moves := scheduleHistories.Draw(rt, "moves")
			zone := rapid.SampledFrom([]string{"UTC", "America/New_York", "Australia/Lord_Howe"}).Draw(rt, "zone")
			schedule := rapid.SampledFrom([]string{"*/20 * * * *", "0 2,3 * * *", "30 1-4 * * *", "@every 1000s"}).
				Draw(rt, "schedule")
			if played++; !effort.Long && played%6 != 1 && !failed {
				return // workers come and go in each: one in six is enough beside those of other stores
			}
			t.Run("history", func(t *testing.T) {
				h := newSchedules(t, open(t), schedule, zone)
				if err := h.play(moves); err != nil {
					failed = true
					defer rt.Errorf("%v\nafter\n%s", err, strings.Join(h.trace, "\n"))
				}
			})
		})
	}
}

// schedules is a schedule with its history, and what must be of it.
type schedules struct {
	*testing.T
	ctx context.Context
	thrower
	harness storetest.Harness
	client  *onceq.Client
	now     time.Time
	p       onceq.Periodic
	edit    int            // the number of the latest, which is its args
	dead    sync.WaitGroup // workers that were killed and have not ended

	paused bool
	from   time.Time      // ticks count from here on
	want   map[int64]bool // ticks that must have a job
	byHand int            // jobs besides
}

// startOfSpring is a day before the clocks of New York are put forward.
var startOfSpring = time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)

func newSchedules(t *testing.T, harness storetest.Harness, schedule, zone string) *schedules {
	h := &schedules{T: t, ctx: context.Background(), harness: harness, want: map[int64]bool{}, from: startOfSpring}
	h.at(startOfSpring)
	client, err := onceq.NewClient(harness.Store, &onceq.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.dead.Wait(); client.Close() })
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	h.client = client
	h.p = onceq.Periodic{Name: "p", Schedule: schedule, Location: loc, CatchUp: onceq.All, Args: task(0)}
	return h
}

func (h *schedules) at(t time.Time) {
	h.now = t
	h.harness.SetClock(t)
}

// play makes the moves one after another, and lets a worker serve at the end.
func (h *schedules) play(moves []move) error {
	if err := h.put(); err != nil {
		return err
	}
	for i, mv := range append(moves, move{Verb: "serve"}) {
		h.dice = mv.Dice
		h.note("%d. %s at %v", i+1, mv.Verb, h.now)
		if err := scheduleVerbs[mv.Verb](h); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, mv.Verb, err)
		}
		if err := h.compare(); err != nil {
			return fmt.Errorf("after step %d, %s: %w", i+1, mv.Verb, err)
		}
	}
	return nil
}

func (h *schedules) passes() error {
	h.at(h.now.Add(time.Duration(1+h.throw(60)*360+h.throw(60)*6+h.throw(6)) * time.Second))
	return nil
}

func (h *schedules) put() error {
	_, err := h.client.PutPeriodic(h.ctx, h.p)
	return err
}

func (h *schedules) edits() error {
	h.edit++
	h.p.Args = task(h.edit)
	return h.put()
}

func (h *schedules) pauses() error {
	h.paused = true
	return h.client.PausePeriodic(h.ctx, "p")
}

func (h *schedules) resumes() error {
	if h.paused {
		h.paused, h.from = false, h.now
	}
	return h.client.ResumePeriodic(h.ctx, "p")
}

func (h *schedules) ticksByHand() error {
	h.byHand++
	_, err := h.client.TickNow(h.ctx, "p")
	return err
}

func (h *schedules) worker(store onceq.Store) (*onceq.Worker, error) {
	return onceq.NewWorker(store, &onceq.WorkerConfig{ServePeriodic: true, Drain: true, Lease: 100 * time.Millisecond,
		ShutdownTimeout: 1, Logger: slog.New(slog.DiscardHandler)})
}

// serveOn lets a worker serve until nothing is due.
func (h *schedules) serveOn(ctx context.Context, store onceq.Store) error {
	w, err := h.worker(store)
	if err != nil {
		return err
	}
	return errors.Join(w.Run(ctx), w.Close())
}

// serve lets workers serve until nothing is due. One is enough as a rule. One
// that got no processor for as long as its lease leaves the rest to the next.
func (h *schedules) serve() error {
	if err := h.serveOn(h.ctx, h.harness.Store); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		settled, err := h.settled()
		switch {
		case err != nil:
			return err
		case settled:
			return h.count()
		case tries == 20:
			return errors.New("twenty workers left something that is due")
		}
		h.at(h.now.Add(time.Minute))
		if err := h.serveOn(h.ctx, h.harness.Store); err != nil {
			return err
		}
	}
}

// count notes for which ticks there must be jobs by now.
func (h *schedules) count() error {
	if h.paused {
		return nil
	}
	ticks, err := onceq.NextTicks(h.p.Schedule, h.p.Location, h.from, 2000)
	for _, tick := range ticks {
		if !tick.After(h.now) {
			h.want[tick.Unix()] = true
		}
	}
	h.from = h.now
	return err
}

// settled reports whether all rows of the schedule wait for a later time.
func (h *schedules) settled() (bool, error) {
	for j, err := range h.client.Jobs(h.ctx, onceq.JobFilter{Queue: "onceq.periodic"}) {
		if err != nil {
			return false, err
		}
		if j.State == onceq.Running || j.State == onceq.Retryable || j.State.Waiting() && !j.RunAt.After(h.now) {
			return false, nil
		}
	}
	return true, nil
}

// hurry makes the row of the schedule due. It reports whether there is one that
// waits: the run of one that was killed before may not be over yet.
func (h *schedules) hurry() (bool, error) {
	for j, err := range h.client.Jobs(h.ctx, onceq.JobFilter{Queue: "onceq.periodic"}) {
		if err != nil {
			return false, err
		}
		if j.Behind == "" && j.State.Waiting() {
			_, err = h.client.RunNow(h.ctx, j.ID)
			return true, err
		}
	}
	return false, nil
}

// losesAnswer lets a worker make a tick whose answer is lost.
func (h *schedules) losesAnswer() error {
	if due, err := h.hurry(); err != nil || !due {
		return errors.Join(err, h.serve())
	}
	l := &lossy{Store: h.harness.Store, fault: unanswered}
	if err := h.serveOn(h.ctx, l); err != nil {
		return err
	}
	h.at(h.now.Add(time.Minute)) // its retry is due
	return h.serve()
}

// kills lets a worker die while it makes a tick, before it is in the store or
// after that, and another one notice.
func (h *schedules) kills(when fault) error {
	if due, err := h.hurry(); err != nil || !due {
		return errors.Join(err, h.serve())
	}
	l := &lossy{Store: h.harness.Store, fault: when, died: make(chan struct{})}
	w, err := h.worker(l)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	h.dead.Go(func() { _ = w.Run(ctx); _ = w.Close() })
	<-l.died
	h.at(h.now.Add(time.Minute))
	return h.serve()
}

// editsDuringTick lets an edit and a tick meet.
func (h *schedules) editsDuringTick() error {
	if due, err := h.hurry(); err != nil || !due {
		return errors.Join(err, h.serve())
	}
	l := &lossy{Store: h.harness.Store, at: make(chan struct{}), open: make(chan struct{})}
	served, edited := make(chan error, 1), make(chan error, 1)
	go func() { served <- h.serveOn(h.ctx, l) }()
	<-l.at
	go func() { edited <- h.edits() }()
	time.Sleep(time.Duration(h.throw(3)) * time.Millisecond) // so that either may be first
	close(l.open)
	if err := errors.Join(<-edited, <-served); err != nil {
		return err
	}
	info, err := h.client.Periodics(h.ctx)
	if err != nil || len(info) != 1 {
		return fmt.Errorf("the schedules are %v: %w", info, err)
	}
	return h.serve()
}

func (h *schedules) compare() error {
	front, behind, byHand := 0, 0, 0
	got := map[int64]int{}
	for j, err := range h.client.Jobs(h.ctx, onceq.JobFilter{Reserved: true, Args: true}) {
		switch {
		case err != nil:
			return err
		case j.Queue == "onceq.periodic" && j.Behind != "":
			behind++
		case j.Queue == "onceq.periodic":
			front++
		case j.Meta["onceq.tick"] == nil:
			byHand++
		default:
			_, tick, _ := onceq.Tick(j)
			got[tick.Unix()]++
		}
		if own := fmt.Sprintf(`"args":%d,`, h.edit); j.Queue == "onceq.periodic" && !j.State.Finished() &&
			j.State != onceq.Running && !strings.Contains(string(j.Args), own) {
			return fmt.Errorf("edit %d is lost: the row that comes next is %s", h.edit, j.Args)
		}
	}
	if front != 1 || behind > 1 {
		return fmt.Errorf("P1: %d rows and %d behind", front, behind)
	}
	if byHand != h.byHand {
		return fmt.Errorf("%d jobs by hand, want %d", byHand, h.byHand)
	}
	for tick, n := range got {
		if n != 1 || !h.want[tick] {
			return fmt.Errorf("P2, P3: the tick %v has %d jobs, wanted: %v", time.Unix(tick, 0).UTC(), n, h.want[tick])
		}
	}
	for tick := range h.want {
		if got[tick] == 0 {
			return fmt.Errorf("P3: the tick %v has no job", time.Unix(tick, 0).UTC())
		}
	}
	return nil
}

// lossy is the store of a worker to which something happens when it makes its
// first tick: the answer is lost, or it dies, or something else happens before.
type lossy struct {
	onceq.Store
	fault    fault
	died     chan struct{} // closed when it dies of the fault; nil = it lives on
	at, open chan struct{} // not nil: at is closed at the first tick, which waits for open
	once     sync.Once
}

func (l *lossy) Enqueue(ctx context.Context, r onceq.EnqueueRequest) (results []onceq.EnqueueResult, err error) {
	if l.isDead() {
		return nil, errCut
	}
	first := false
	l.once.Do(func() { first = true })
	if !first {
		return l.Store.Enqueue(ctx, r)
	}
	if l.at != nil {
		close(l.at)
		<-l.open
	}
	if l.fault != unarrived {
		results, err = l.Store.Enqueue(ctx, r)
	}
	if l.fault != sound {
		results, err = nil, errCut
	}
	if l.died != nil {
		close(l.died)
	}
	return results, err
}

// isDead reports whether nothing reaches the store any more.
func (l *lossy) isDead() bool {
	select {
	case <-l.died:
		return true
	default:
		return false // also while died is nil
	}
}

func (l *lossy) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	if l.isDead() {
		return onceq.Extended{}, errCut
	}
	return l.Store.Extend(ctx, r)
}

func (l *lossy) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	if l.isDead() {
		return onceq.Fetched{}, errCut
	}
	return l.Store.Fetch(ctx, r)
}

func (l *lossy) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	if l.isDead() {
		return nil, errCut
	}
	return l.Store.Finish(ctx, r)
}
