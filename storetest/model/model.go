// Package model puts a store beside the model of all stores: random
// histories are played on both and must look the same after every step, and
// histories of many clients at once must be linearizable. It completes the
// suite of package storetest, and is a package of its own because it needs
// libraries that nobody who uses onceq should have to download.
//
//	func TestModel(t *testing.T) { model.Run(t, func(t *testing.T) storetest.Harness { … }) }
package model

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/internal/effort"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// start is where the store's clock stands when a history begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Run plays histories on stores. open makes one empty store for one
// history. ONCEQ_LONG=1 makes it go on for minutes.
func Run(t *testing.T, open func(*testing.T) storetest.Harness) {
	RunJobs(t, open)
	t.Run("concurrent_histories_of_guards_are_linearizable", func(t *testing.T) {
		t.Parallel()
		linearGuards(t, open(t))
	})
	t.Run("random_histories_of_guards_keep_the_rules", func(t *testing.T) { guarded(t, open) })
	t.Run("random_histories_of_schedules_keep_the_rules", func(t *testing.T) { scheduled(t, open) })
}

// RunJobs is Run without guards and schedules, for a configuration of a store in
// which these meet nothing that jobs do not.
func RunJobs(t *testing.T, open func(*testing.T) storetest.Harness) {
	t.Run("concurrent_histories_are_linearizable", func(t *testing.T) {
		t.Parallel()
		linearizable(t, open(t))
	})
	t.Run("random_histories_look_like_the_models", func(t *testing.T) { modelled(t, open) })
}

// modelled plays random histories on the store and on memstore, the model,
// with the same clock, and wants equal answers and equal contents after
// every step. ONCEQ_LONG=1 plays fifty times as many. A history that fails
// is made small and printed, with its seed.
func modelled(t *testing.T, open func(*testing.T) storetest.Harness) {
	rounds, played, failed := 1, 0, false
	if effort.Long {
		rounds = 50
	}
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			moves := histories.Draw(rt, "moves")
			if played++; effort.Raced && !effort.Long && played%4 != 1 && !failed {
				return // a quarter of them is enough of a race
			}
			t.Run("history", func(t *testing.T) { // a store of its own, cleaned up when the history is over
				m := newMatch(t, open(t))
				if err := m.play(moves); err != nil {
					failed = true
					defer rt.Errorf("%v\nafter\n%s", err, strings.Join(m.trace, "\n"))
				}
			})
		})
	}
}

// move is one step of a history: a verb, and the dice it throws for
// everything else.
type move struct {
	Verb string
	Dice []int
}

var histories = historiesOf(verbNames)

// historiesOf makes histories of these verbs, 40 moves on average. They are made
// of stretches because a slice of rapid's is 6 long on average, whatever it may
// be at most.
func historiesOf(verbs []string) *rapid.Generator[[]move] {
	stretches := rapid.SliceOfN(rapid.SliceOfN(movesOf(verbs), 1, 30), 1, 30)
	return rapid.Map(stretches, func(stretches [][]move) []move { return slices.Concat(stretches...) })
}

// movesOf makes moves of these verbs.
func movesOf(verbs []string) *rapid.Generator[move] {
	return rapid.Custom(func(t *rapid.T) move {
		return move{
			Verb: rapid.SampledFrom(verbs).Draw(t, "verb"),
			Dice: rapid.SliceOfN(rapid.IntRange(0, 59), 10, 24).Draw(t, "dice"),
		}
	})
}

// thrower throws the dice of a move, and notes what was done.
type thrower struct {
	dice  []int
	trace []string
}

// match is a store against the model.
type match struct {
	ctx     context.Context
	store   onceq.Store
	model   *memstore.Store
	harness storetest.Harness
	now     time.Time

	client *onceq.Client // makes rows, and sends none
	rec    *snapshot.Recorder
	thrower
	ids     []string         // of all jobs ever enqueued
	sent    [][]onceq.NewRow // all batches ever sent
	runs    []*onceq.JobRow  // all runs ever started
	fetches map[string]int64
	expired []onceq.Beat // as the last sweep saw them
}

func newMatch(t *testing.T, h storetest.Harness) *match {
	m := &match{ctx: context.Background(), store: h.Store, harness: h, fetches: map[string]int64{},
		rec: &snapshot.Recorder{Store: h.Store}}
	m.model = memstore.New(func() time.Time { return m.now })
	m.at(start)
	client, err := onceq.NewClient(m.rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	m.client = client
	return m
}

func (m *match) at(t time.Time) {
	m.now = t
	m.harness.SetClock(t)
}

// throw is a number below n.
func (d *thrower) throw(n int) int {
	if len(d.dice) == 0 {
		return 0
	}
	first := d.dice[0]
	d.dice = d.dice[1:]
	return first % n
}

func choose[T any](d interface{ throw(n int) int }, of ...T) T { return of[d.throw(len(of))] }

func (d *thrower) note(format string, args ...any) {
	d.trace = append(d.trace, fmt.Sprintf(format, args...))
}

// verbs are the steps; a name that stands twice comes up twice as often.
var verbs = map[string]func(m *match) error{
	"enqueue": (*match).enqueue,
	"crowd":   (*match).crowd,
	"echo":    (*match).echo,
	"fetch":   (*match).fetch,
	"finish":  (*match).finish,
	"extend":  (*match).extend,
	"change":  (*match).change,
	"start":   (*match).startByID,
	"release": (*match).release,
	"pause":   (*match).pause,
	"sweep":   (*match).sweep,
	"wait":    (*match).wait,
}

var verbNames = []string{"enqueue", "enqueue", "enqueue", "enqueue", "crowd", "echo", "fetch", "fetch", "fetch",
	"finish", "finish", "finish", "extend", "change", "change", "start",
	"release", "pause", "sweep", "wait", "wait"}

// play makes the moves one after another.
func (m *match) play(moves []move) error {
	for i, mv := range moves {
		m.dice = mv.Dice
		m.trace = append(m.trace, fmt.Sprintf("%d. %s at +%v:", i+1, mv.Verb, m.now.Sub(start)))
		if err := verbs[mv.Verb](m); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, mv.Verb, err)
		}
		if err := m.compare(); err != nil {
			return fmt.Errorf("after step %d, %s: %w", i+1, mv.Verb, err)
		}
	}
	return nil
}

// compare wants both stores to show the same, and every invariant to hold.
func (m *match) compare() error {
	got, err := snapshot.Of(m.ctx, m.store)
	if err != nil {
		return err
	}
	want, err := snapshot.Of(m.ctx, m.model)
	if err != nil {
		return err
	}
	if !same(got, want) {
		return differ("contents", showSnapshot(got), showSnapshot(want))
	}
	if findings := got.Audit(m.now, m.now); len(findings) > 0 {
		return fmt.Errorf("invariants broken:\n%s", strings.Join(findings, "\n"))
	}
	return nil
}

// same wants an answer of the store to be the model's.
func (m *match) same(what, got, want string) error {
	m.note("   %s", got)
	if got != want {
		return differ(what, got, want)
	}
	return nil
}
