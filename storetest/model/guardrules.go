package model

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// The rules of a guard, in its own words and without a store: docs/guard.md
// says the same to people. A history of guards must be told what the rules say
// at every step, and must leave the claims that the rules say:
//
//	G1 a key has at most one claim that is not lapsed
//	G2 until its message has ended or was silent for too long, its claim refuses
//	   every other, and is named
//	G3 runs of one claim do not overlap while leases hold
//	G4 a message that was done does not run again while its claim is kept
//	G5 a message is not run only if it is busy, done, or lapsed and to be dropped
//	G6 an old token, or an old run, changes nothing
//	G7 nothing is left of a send that failed

// claim is what the rules know of a claim.
type claim struct {
	id        string
	key       int
	state     onceq.State   // Scheduled, Running, Retryable, or how it ended
	lapses    time.Time     // if it waits
	patience  time.Duration // of its message
	by        string        // the claim that has taken its key
	stop      bool          // its run is asked to stop
	run       int           // the number of its run, from 1
	process   *process      // that runs it
	forgotten time.Time     // if it has ended: it is kept until then
}

// memory is how long a claim is kept when it has ended, in these histories.
const memory = time.Hour

// guardRules is all that the rules know.
type guardRules struct {
	now    time.Time
	claims map[string]*claim
	held   map[int]*claim // by key
}

func (c *claim) waits() bool { return c.state == onceq.Scheduled || c.state == onceq.Retryable }

func (r *guardRules) lapsed(c *claim) bool { return c.waits() && !c.lapses.After(r.now) }

// shown is the state as the store shows it.
func (r *guardRules) shown(c *claim) onceq.State {
	if r.lapsed(c) {
		return onceq.Available
	}
	return c.state
}

// refuses is the claim that refuses another of its key; nil = none does.
func (r *guardRules) refuses(key int) *claim {
	if c := r.held[key]; c != nil && !r.lapsed(c) {
		return c
	}
	return nil
}

// acquire makes a claim, which is in doubt.
func (r *guardRules) acquire(id string, key int, patience time.Duration) *claim {
	if old := r.held[key]; old != nil {
		r.end(old, onceq.Cancelled)
		old.by = id
	}
	c := &claim{id: id, key: key, state: onceq.Scheduled, patience: patience, lapses: r.now.Add(inDoubt)}
	r.claims[id], r.held[key] = c, c
	return c
}

// end ends a claim, and frees its key.
func (r *guardRules) end(c *claim, how onceq.State) {
	c.state, c.forgotten, c.stop = how, r.now.Add(memory), false
	if r.held[c.key] == c {
		delete(r.held, c.key)
	}
}

// remove deletes a claim.
func (r *guardRules) remove(c *claim) {
	r.end(c, onceq.Cancelled)
	delete(r.claims, c.id)
}

// alive is a sign of life: patience begins anew.
func (r *guardRules) alive(c *claim) { c.lapses = r.now.Add(c.patience) }

// revive lets a claim that has ended wait again, unless another has the key.
func (r *guardRules) revive(c *claim) (holder *claim) {
	if h := r.held[c.key]; h != nil {
		return h
	}
	r.held[c.key] = c
	c.state, c.by, c.lapses = onceq.Scheduled, "", r.now
	return nil
}

// start is what becomes of a message that comes: "runs", "busy", "done", or
// "lapsed", with the claim that has its key.
func (r *guardRules) start(id string, p *process) (answer, by string) {
	c := r.claims[id]
	switch {
	case c == nil:
		return "lapsed", ""
	case c.state == onceq.Running:
		return "busy", ""
	case c.state == onceq.Cancelled && c.by != "":
		if h := r.revive(c); h != nil {
			return "lapsed", h.id
		}
	case c.state.Finished():
		return "done", ""
	}
	c.state, c.process = onceq.Running, p
	c.run++
	return "runs", ""
}

// done ends a run.
func (r *guardRules) done(c *claim, how ending) {
	switch {
	case how.state == onceq.Completed || c.stop:
		state := how.state
		if state != onceq.Completed {
			state = onceq.Cancelled
		}
		r.end(c, state)
	case how.state.Finished():
		r.end(c, how.state)
	default:
		c.state = how.state
		r.alive(c)
		c.lapses = c.lapses.Add(how.snooze)
	}
}

// ending is what a handler returns, and what becomes of the claim.
type ending struct {
	err    error
	state  onceq.State
	snooze time.Duration
}

var endings = []ending{
	{nil, onceq.Completed, 0},
	{errNo, onceq.Retryable, 0},
	{onceq.Snooze(time.Hour), onceq.Scheduled, time.Hour},
	{onceq.Discard(errNo), onceq.Discarded, 0},
	{onceq.Cancel(errNo), onceq.Cancelled, 0},
}

var errNo = fmt.Errorf("no luck")

// differs says how a row of the store differs from what the rules say of it; ""
// = it does not.
func (r *guardRules) differs(c *claim, j *onceq.JobRow) string {
	switch {
	case j.State != r.shown(c):
		return fmt.Sprintf("is %s, want %s", j.State, r.shown(c))
	case c.waits() && !j.RunAt.Equal(c.lapses):
		return fmt.Sprintf("lapses at +%v, want +%v", j.RunAt.Sub(start), c.lapses.Sub(start))
	case c.state == onceq.Running && j.CancelRequested != c.stop:
		return fmt.Sprintf("is asked to stop: %v, want %v", j.CancelRequested, c.stop)
	case c.state == onceq.Cancelled && j.SupersededBy != c.by:
		return fmt.Sprintf("has lost its key to %q, want %q", j.SupersededBy, c.by)
	}
	return ""
}

// mayBeGone reports whether a sweep may have deleted the claim.
func (r *guardRules) mayBeGone(c *claim) bool {
	if c.waits() {
		return r.now.After(c.lapses.Add(memory))
	}
	return c.state.Finished() && !r.now.Before(c.forgotten)
}
