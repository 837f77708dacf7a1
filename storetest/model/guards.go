package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/internal/effort"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// A history of guards has three processes that send and handle messages in front
// of a broker that brings any message to anybody, as often as it likes. The
// clock moves, calls and answers are lost, processes die, stall, and shut down.

const (
	guardKeys = 3
	processes = 3
	inDoubt   = time.Minute
	lease     = time.Hour // by the store's clock; by ours nothing lapses while a history is played
	soon      = 10 * time.Second
)

// guarded plays random histories of guards on the store. ONCEQ_LONG=1 plays
// fifty times as many.
func guarded(t *testing.T, open func(*testing.T) storetest.Harness) {
	rounds, played, failed := 1, 0, false
	if effort.Long {
		rounds = 50
	}
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			moves := guardHistories.Draw(rt, "moves")
			// Most of the time goes by in waiting for heartbeats, so a third of them are played.
			if played++; !effort.Long && played%3 != 1 && !failed {
				return
			}
			t.Run("history", func(t *testing.T) {
				f := newFleet(t, open(t))
				defer f.close()
				if err := f.play(moves); err != nil {
					failed = true
					defer rt.Errorf("%v\nafter\n%s", err, strings.Join(f.trace, "\n"))
				}
			})
		})
	}
}

// fleet is the processes of a history, and the rules.
type fleet struct {
	*testing.T
	ctx context.Context
	thrower
	harness storetest.Harness
	guardRules
	clock     sync.RWMutex // of rules.now
	processes [processes]*process
	messages  []*message // that were acquired
	runs      []*begun   // that have not ended
}

// message is one that was acquired, and perhaps sent.
type message struct {
	token    guard.Token
	key      int
	patience time.Duration
	unsure   error // the send may have happened, and may be repeated with this
}

// process is one program with a guard.
type process struct {
	n       int
	link    *link
	guard   *guard.Guard
	drops   bool // messages that have lapsed
	stalled bool // it sends no heartbeats
}

// begun is a run in the hands of a process.
type begun struct {
	run     *guard.Run
	process *process
	id      string
	no      int // of the run of the claim; 0 = there is no claim
}

func newFleet(t *testing.T, h storetest.Harness) *fleet {
	f := &fleet{T: t, ctx: context.Background(), harness: h,
		guardRules: guardRules{claims: map[string]*claim{}, held: map[int]*claim{}}}
	f.at(start)
	for n := range f.processes {
		f.processes[n] = f.begin(n)
	}
	return f
}

// begin begins a process.
func (f *fleet) begin(n int) *process {
	p := &process{n: n, link: newLink(f.harness.Store, f.storeNow), drops: n == 2}
	config := f.config(lease)
	if p.drops {
		config.OnLapsed = guard.DropLapsed
	}
	p.guard = f.guardOn(p.link, config)
	return p
}

func (f *fleet) config(lease time.Duration) *guard.Config {
	return &guard.Config{InDoubt: inDoubt, Lease: lease, Logger: slog.New(slog.DiscardHandler),
		Defaults: []onceq.Option{onceq.Retention(memory), onceq.RetentionFailed(memory)}}
}

func (f *fleet) guardOn(l *link, config *guard.Config) *guard.Guard {
	g, err := guard.New(l, config)
	if err != nil {
		f.Fatal(err)
	}
	return g
}

func (f *fleet) at(t time.Time) {
	f.clock.Lock()
	defer f.clock.Unlock()
	f.now = t
	f.harness.SetClock(t)
}

func (f *fleet) storeNow() time.Time {
	f.clock.RLock()
	defer f.clock.RUnlock()
	return f.now
}

// close ends what is left of a history.
func (f *fleet) close() {
	for _, p := range f.processes {
		p.link.plan(nil, nil)
		f.kill(p)
	}
}

// kill ends a process: nothing of it reaches the store any more.
func (f *fleet) kill(p *process) {
	p.link.cut()
	f.runs = slices.DeleteFunc(f.runs, func(b *begun) bool {
		if b.process == p {
			_ = b.run.Done(errNo) // so that Close waits for nothing
		}
		return b.process == p
	})
	_ = p.guard.Close()
}

// play makes the moves one after another.
func (f *fleet) play(moves []move) error {
	for i, mv := range moves {
		f.dice = mv.Dice
		f.note("%d. %s at +%v:", i+1, mv.Verb, f.now.Sub(start))
		if err := guardVerbs[mv.Verb](f); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, mv.Verb, err)
		}
		if err := f.compare(); err != nil {
			return fmt.Errorf("after step %d, %s: %w", i+1, mv.Verb, err)
		}
	}
	return nil
}

// compare wants the claims in the store to be as the rules say.
func (f *fleet) compare() error {
	s, err := snapshot.Of(f.ctx, f.harness.Store)
	if err != nil {
		return err
	}
	if findings := s.Audit(f.now, f.now); len(findings) > 0 {
		return fmt.Errorf("invariants broken:\n%s", strings.Join(findings, "\n"))
	}
	found, live := map[string]bool{}, map[onceq.Key]string{}
	for _, j := range s.Jobs {
		found[j.ID] = true
		c := f.claims[j.ID]
		if c == nil {
			return fmt.Errorf("G7: claim %s should not be there: %s", j.ID, snapshot.Show(j))
		}
		if d := f.differs(c, j); d != "" {
			return fmt.Errorf("claim %s %s: %s", j.ID, d, snapshot.Show(j))
		}
		if j.State.Finished() || j.State == onceq.Available {
			continue
		}
		if other := live[*j.Key]; other != "" {
			return fmt.Errorf("G1: the claims %s and %s have one key", other, j.ID)
		}
		live[*j.Key] = j.ID
	}
	for id, c := range f.claims {
		switch {
		case found[id]:
		case !f.mayBeGone(c):
			return fmt.Errorf("claim %s is gone, and should be %s", id, f.shown(c))
		default:
			f.remove(c)
		}
	}
	return nil
}

// same wants an answer to be what the rules say.
func (f *fleet) same(rule, got, want string) error {
	f.note("   %s", got)
	if got != want {
		return fmt.Errorf("%s: got %s, want %s", rule, got, want)
	}
	return nil
}

// beat lets a process send a heartbeat, if it has ever sent one.
func (f *fleet) beat(p *process) error {
	n := p.link.beats.Load()
	if n == 0 {
		return nil
	}
	select {
	case p.link.wake <- onceq.Wake{}:
	default:
	}
	return f.until("a heartbeat", func() (bool, error) { return p.link.beats.Load() > n, nil })
}

// until waits for something that happens by itself.
func (f *fleet) until(what string, done func() (bool, error)) error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		switch ok, err := done(); {
		case err != nil:
			return err
		case ok:
			return nil
		case time.Since(began) > soon:
			return fmt.Errorf("waited %v for %s", soon, what)
		}
	}
}

// conflict tells an error of an acquire.
func conflict(err error) string {
	var dup *onceq.DuplicateError
	var lapsed *guard.LapsedError
	switch {
	case err == nil:
		return "acquired"
	case errors.As(err, &dup):
		return fmt.Sprintf("refused: %s is %s", dup.Holder, dup.State)
	case errors.As(err, &lapsed):
		return "lapsed: " + lapsed.By + " has the key"
	}
	return err.Error()
}

// refusal is what the rules say to another claim of the key.
func (f *fleet) refusal(key int) string {
	if c := f.refuses(key); c != nil {
		return fmt.Sprintf("refused: %s is %s", c.id, c.state)
	}
	return "acquired"
}
