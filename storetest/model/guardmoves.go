package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// guardVerbs are the steps of a history of guards.
var guardVerbs = map[string]func(f *fleet) error{
	"acquire":  (*fleet).acquires,
	"send":     (*fleet).sends,
	"resend":   (*fleet).resends,
	"confirm":  (*fleet).confirms,
	"touch":    (*fleet).touches,
	"release":  (*fleet).releases,
	"replay":   (*fleet).replays,
	"start":    (*fleet).starts,
	"give up":  (*fleet).givesUp,
	"done":     (*fleet).ends,
	"do":       (*fleet).does,
	"operate":  (*fleet).operates,
	"die":      (*fleet).dies,
	"stall":    (*fleet).stalls,
	"shutdown": (*fleet).shutsDown,
	"sweep":    (*fleet).sweeps,
	"wait":     (*fleet).waitsAWhile,
}

// A name that stands twice comes up twice as often.
var guardHistories = historiesOf([]string{"acquire", "send", "send", "send", "resend", "confirm", "touch", "release",
	"replay", "start", "start", "start", "start", "give up", "done", "done", "done", "done", "do", "operate", "die",
	"stall", "shutdown", "sweep", "sweep", "wait", "wait"})

// someone is a process, some of whose next calls are lost.
func (f *fleet) someone() *process {
	p := f.processes[f.throw(processes)]
	var faults []fault
	for range choose(f, 0, 0, 0, 1, 2) {
		faults = append(faults, choose(f, unanswered, unarrived, sound))
	}
	p.link.plan(faults, nil)
	f.note("   process %d, faults %v", p.n, faults)
	return p
}

// reached is a process all of whose calls are answered.
func (f *fleet) reached() *process {
	p := f.processes[f.throw(processes)]
	p.link.plan(nil, nil)
	return p
}

// some is one of the messages of late; nil = there is none.
func (f *fleet) some() *message {
	if len(f.messages) == 0 {
		return nil
	}
	return f.messages[len(f.messages)-1-f.throw(min(len(f.messages), 6))]
}

// draw is a new message.
func (f *fleet) draw() *message {
	return &message{key: f.throw(guardKeys), patience: choose(f, 24*time.Hour, 2*time.Hour, 10*time.Minute)}
}

func (f *fleet) acquires() error {
	p, m := f.someone(), f.draw()
	want := f.refusal(m.key)
	c, err := p.guard.Acquire(f.ctx, task(m.key), onceq.Delay(m.patience))
	if err := f.same("G2", conflict(err), want); err != nil || want != "acquired" {
		return err
	}
	f.acquired(m, c.Token)
	return nil
}

// acquired notes a message that has got a claim.
func (f *fleet) acquired(m *message, t guard.Token) *claim {
	m.token = t
	f.note("   key %d, claim %s", m.key, t)
	if !slices.Contains(f.messages, m) {
		f.messages = append(f.messages, m)
	}
	return f.acquire(string(t), m.key, m.patience)
}

// sends sends a message: it arrives, or does not, or nobody knows, or the
// process dies.
func (f *fleet) sends() error { return f.transmit(f.someone(), f.draw(), nil) }

// resends repeats a send that may have happened.
func (f *fleet) resends() error {
	p := f.reached()
	for _, m := range f.messages {
		if m.unsure != nil {
			return f.transmit(p, m, []onceq.Option{onceq.Resend(m.unsure)})
		}
	}
	return nil
}

func (f *fleet) transmit(p *process, m *message, opts []onceq.Option) error {
	c := f.claims[string(m.token)]
	want := f.refusal(m.key)
	switch { // what stands is its own
	case c != nil && c.by != "":
		want = "lapsed: " + c.by + " has the key"
	case c != nil:
		want = "acquired"
	}
	how := choose(f, "arrives", "arrives", "fails", "unknown", "dies", "dies, failing")
	var token guard.Token
	got, err := p.guard.Send(f.ctx, task(m.key), func(_ context.Context, t guard.Token) error {
		if token = t; token == "" {
			return errors.New("no token")
		}
		switch how {
		case "fails":
			return errNo
		case "unknown":
			return guard.Uncertain(errNo)
		case "dies":
			p.link.cut()
		case "dies, failing":
			p.link.cut()
			return errNo
		}
		return nil
	}, append(opts, onceq.Delay(m.patience))...)
	if token == "" {
		return f.same("G2", conflict(err), want)
	}
	f.note("   process %d: it %s", p.n, how)
	if err := f.same("G2", "acquired", want); err != nil {
		return err
	}
	if got.Token != token && err == nil || m.token != "" && m.token != token {
		return fmt.Errorf("tokens differ: %s, %s, %s", m.token, token, got.Token)
	}
	if c == nil {
		c = f.acquired(m, token)
	}
	m.unsure = nil
	switch how {
	case "arrives":
		if err := errors.Join(err, p.guard.Flush(f.ctx)); err != nil {
			return err
		}
		if c.state == onceq.Scheduled || f.lapsed(c) {
			f.alive(c)
		}
	case "fails":
		if !errors.Is(err, errNo) {
			return fmt.Errorf("a send that fails: %w", err)
		}
		if c.waits() {
			f.remove(c)
		}
	case "unknown":
		if !errors.Is(err, onceq.ErrUncertain) || !errors.Is(err, errNo) {
			return fmt.Errorf("a send that may have happened: %w", err)
		}
		m.unsure = err
	default: // nobody confirms, and nobody deletes
		f.replace(p)
	}
	return nil
}

func (f *fleet) confirms() error {
	p, m := f.reached(), f.some()
	if m == nil {
		return nil
	}
	if err := p.guard.Confirm(f.ctx, m.token); err != nil {
		return err
	}
	if c := f.claims[string(m.token)]; c != nil && c.waits() {
		f.alive(c)
	}
	return nil
}

// answerOf tells an error of a call about one claim.
func answerOf(err error) string {
	var lapsed *guard.LapsedError
	var dup *onceq.DuplicateError
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, guard.ErrDone):
		return "done"
	case errors.Is(err, guard.ErrBusy):
		return "busy"
	case errors.Is(err, onceq.ErrNotFound):
		return "not found"
	case errors.Is(err, onceq.ErrLeaseLost):
		return "lost"
	case errors.As(err, &lapsed):
		return "lapsed " + lapsed.By
	case errors.As(err, &dup):
		return "taken by " + dup.Holder
	}
	return "error: " + err.Error()
}

func (f *fleet) touches() error {
	p, m := f.reached(), f.some()
	if m == nil {
		return nil
	}
	want := "yes"
	switch c := f.claims[string(m.token)]; {
	case c == nil:
		want = "lapsed "
	case c.state == onceq.Cancelled && c.by != "":
		want = "lapsed " + c.by
	case c.state.Finished():
		want = "done"
	case c.waits():
		f.alive(c)
	}
	return f.same("touch", answerOf(p.guard.Touch(f.ctx, m.token)), want)
}

func (f *fleet) releases() error {
	p, m := f.reached(), f.some()
	if m == nil {
		return nil
	}
	want := "yes"
	switch c := f.claims[string(m.token)]; {
	case c == nil || c.state.Finished():
		want = "not found"
	case c.state == onceq.Running:
		want = "busy"
	default:
		f.remove(c)
	}
	return f.same("G6", answerOf(p.guard.Release(f.ctx, m.token)), want)
}

func (f *fleet) replays() error {
	p, m := f.reached(), f.some()
	if m == nil {
		return nil
	}
	want := "yes"
	c := f.claims[string(m.token)]
	if c == nil {
		want = "not found"
	} else if c.state.Finished() {
		if h := f.revive(c); h != nil {
			want = "taken by " + h.id
		}
	}
	if c != nil && c.waits() {
		f.alive(c)
	}
	return f.same("G1", answerOf(p.guard.Replay(f.ctx, m.token)), want)
}

// starts: a broker brings a message to somebody.
func (f *fleet) starts() error {
	m := f.some()
	if m == nil {
		return nil
	}
	p := f.someone()
	if c := f.claims[string(m.token)]; c != nil && c.by != "" {
		p.link.plan(nil, nil) // a key is not taken back where the store does not answer
	}
	want, by := f.guardRules.start(string(m.token), p)
	if want == "lapsed" && p.drops {
		want += " " + by
	}
	r, err := p.guard.Start(f.ctx, m.token)
	got := answerOf(err)
	switch {
	case err == nil && r.Attempt() == 0:
		got = "lapsed"
	case err == nil:
		got = "runs"
	}
	if err := f.same("G3, G4, G5", got, want); err != nil || r == nil {
		return err
	}
	b := &begun{run: r, process: p, id: string(m.token)}
	if got == "runs" {
		b.no = f.claims[b.id].run
	}
	f.runs = append(f.runs, b)
	return nil
}

// givesUp: a process starts a message, and gives up when the answer is lost. It
// finds the run of which it knows nothing, and gives it back.
func (f *fleet) givesUp() error {
	p, m := f.reached(), f.some()
	if m == nil || p.stalled {
		return nil
	}
	c := f.claims[string(m.token)]
	if c == nil || !c.waits() {
		return nil
	}
	ctx, cancel := context.WithCancel(f.ctx)
	p.link.plan([]fault{unanswered}, cancel)
	_, err := p.guard.Start(ctx, m.token)
	p.link.plan(nil, nil)
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a start that was given up: %v", err)
	}
	c.state = onceq.Scheduled
	c.run++
	f.alive(c)
	return f.until("the run to be given back", func() (bool, error) {
		jobs, err := f.harness.Store.Get(f.ctx, []string{c.id})
		if err != nil || jobs[0] != nil && jobs[0].State == onceq.Scheduled {
			return true, err
		}
		return false, f.beat(p)
	})
}

// ends: a handler returns.
func (f *fleet) ends() error {
	if len(f.runs) == 0 {
		return nil
	}
	i := f.throw(len(f.runs))
	b := f.runs[i]
	f.runs = slices.Delete(f.runs, i, i+1)
	b.process.link.plan(nil, nil)
	if f.throw(4) == 3 {
		b.process.link.plan([]fault{choose(f, unanswered, unarrived)}, nil)
	}
	how, want := choose(f, endings...), "lost"
	switch c := f.claims[b.id]; {
	case b.no == 0:
		want = "yes"
	case c != nil && c.state == onceq.Running && c.run == b.no:
		want = "yes"
		f.done(c, how)
	}
	f.note("   claim %s, run %d: %v", b.id, b.no, how.err)
	return f.same("G6", answerOf(b.run.Done(how.err)), want)
}

// does: a process runs something by key, here and now.
func (f *fleet) does() error {
	p, key, how := f.someone(), f.throw(guardKeys), choose(f, endings[0], endings[1])
	want, holder := f.refusal(key), ""
	err := p.guard.Do(f.ctx, task(key), func(ctx context.Context) error {
		var dup *onceq.DuplicateError
		if _, err := p.guard.Acquire(ctx, task(key)); errors.As(err, &dup) && dup.State == onceq.Running {
			holder = dup.Holder
		}
		return how.err
	})
	if holder == "" {
		return f.same("G2", conflict(err), want)
	}
	if err := f.same("G2", "acquired", want); err != nil {
		return err
	}
	c := f.acquire(holder, key, 0)
	f.end(c, onceq.Completed)
	if how.err != nil {
		c.state = onceq.Discarded
	}
	if !errors.Is(err, how.err) {
		return fmt.Errorf("do returned %w, want %v", err, how.err)
	}
	return nil
}

// operates: a person cancels or deletes a claim.
func (f *fleet) operates() error {
	m, op := f.some(), choose(f, onceq.OpCancel, onceq.OpCancel, onceq.OpDelete)
	if m == nil {
		return nil
	}
	if c := f.claims[string(m.token)]; c != nil {
		switch {
		case op == onceq.OpDelete && c.state != onceq.Running:
			f.remove(c)
		case op == onceq.OpDelete:
		case c.state == onceq.Running:
			c.stop = true
		case c.waits():
			f.end(c, onceq.Cancelled)
		}
	}
	_, err := f.harness.Store.Change(f.ctx, onceq.Change{Op: op, IDs: []string{string(m.token)}})
	return err
}

// replace lets a process die, and another begin in its place.
func (f *fleet) replace(p *process) {
	f.kill(p)
	f.processes[p.n] = f.begin(p.n)
}

func (f *fleet) dies() error {
	p := f.reached()
	f.note("   process %d", p.n)
	f.replace(p)
	return nil
}

func (f *fleet) stalls() error {
	p := f.reached()
	p.stalled = !p.stalled
	f.note("   process %d: stalls %v", p.n, p.stalled)
	return nil
}

// shutsDown: a process ends its runs and goes.
func (f *fleet) shutsDown() error {
	p := f.reached()
	f.note("   process %d", p.n)
	var all sync.WaitGroup
	var ends []error
	for _, b := range f.runs {
		if b.process != p {
			continue
		}
		if c := f.claims[b.id]; b.no > 0 && c != nil && c.state == onceq.Running && c.run == b.no {
			f.done(c, endings[1])
		}
		if b.no == 0 { // no claim, and nothing to wait for
			ends = append(ends, b.run.Done(errNo))
			continue
		}
		all.Go(func() {
			<-b.run.Context().Done()
			_ = b.run.Done(errNo)
		})
	}
	f.runs = slices.DeleteFunc(f.runs, func(b *begun) bool { return b.process == p })
	err := p.guard.Close()
	all.Wait()
	f.processes[p.n] = f.begin(p.n)
	return errors.Join(append(ends, err)...)
}

// sweeps: those who live send heartbeats, and one of them looks for the runs of
// those who do not.
func (f *fleet) sweeps() error {
	for _, p := range f.processes {
		if !p.stalled {
			if err := f.beat(p); err != nil {
				return err
			}
		}
	}
	var lost []string
	for id, c := range f.claims {
		if c.state == onceq.Running && c.process.link.beatAt.Load()+lease.Milliseconds() <= f.now.UnixMilli() {
			f.done(c, endings[1])
			lost = append(lost, id)
		}
	}
	f.note("   lost: %v", lost)
	l := newLink(f.harness.Store, f.storeNow)
	g := f.guardOn(l, f.config(10*time.Millisecond))
	defer g.Close()
	if err := f.until("a sweep", func() (bool, error) { return l.sweeps.Load() > 1, nil }); err != nil || lost == nil {
		return err
	}
	return f.until("the rescue of lost runs", func() (bool, error) {
		s, err := snapshot.Of(f.ctx, f.harness.Store)
		return !slices.ContainsFunc(s.Jobs, func(j *onceq.JobRow) bool {
			return j.State == onceq.Running && slices.Contains(lost, j.ID)
		}), err
	})
}

func (f *fleet) waitsAWhile() error {
	d := choose(f, time.Millisecond, time.Second, inDoubt-time.Millisecond, inDoubt, 10*time.Minute, time.Hour,
		2*time.Hour, 24*time.Hour)
	f.note("   %v", d)
	f.at(f.now.Add(d))
	return nil
}
