package onceq

import (
	"fmt"
	"time"
)

// ConflictPolicy says what an enqueue does when its key is held: [Skip],
// [Reject], [Replace], [Debounce], [Coalesce] or [Supersede].
type ConflictPolicy interface {
	fmt.Stringer

	// All that is known of a policy stands in this file, and in store.go
	// what its actions do.
	reactions() Reactions            // to a holder in each state
	until() Until                    // how long the key is held, if no level says
	check(s *settings, h Hold) error // refuses options that do not go with it
	fill(row *NewRow)                // gives the row what the actions need
	value() ConflictPolicy           // the policy itself, where this is a pointer to it
}

const policies = "{Skip}, {Reject}, {Replace}, {Debounce}, {Coalesce} and {Supersede}"

// Policy is a [ConflictPolicy] without settings.
type Policy uint8

// The policies without settings.
const (
	// Skip answers with the holder and writes nothing. It is the default.
	Skip Policy = iota
	// Reject refuses with a [*DuplicateError] and writes nothing.
	Reject
	// Coalesce makes sure that a run with the latest args starts after this
	// enqueue. A waiting holder takes the new args. Behind a running holder one
	// waiter stands, which starts when that run has ended.
	Coalesce
	// Supersede takes the key. A waiting holder is cancelled. A running
	// holder is asked to stop, and the new job starts when that run has
	// ended.
	Supersede
)

func (p Policy) String() string {
	return [...]string{"skip", "reject", "coalesce", "supersede"}[p]
}

func (p Policy) reactions() Reactions {
	switch p {
	case Reject:
		return Reactions{ActionRefuse, ActionRefuse, ActionRefuse, ActionRefuse, ActionRefuse}
	case Coalesce:
		return Reactions{Scheduled: ActionMerge, Available: ActionMerge, Retryable: ActionMerge, Running: ActionStand}
	case Supersede:
		return Reactions{Scheduled: ActionTake, Available: ActionTake, Retryable: ActionTake, Running: ActionTake}
	}
	return Reactions{}
}

// Replace is a [ConflictPolicy] that writes some values of the new enqueue to a
// waiting holder. It never changes a running job.
type Replace struct {
	// The values to write; at least one.
	Args, Meta, Priority, RunAt, MaxAttempts, Tags bool
	// Only limits it to holders in these waiting states; empty = any of them.
	Only []State
}

func (r Replace) String() string {
	text := "replace:" + r.fields().String()
	for i, s := range r.Only {
		text += [...]string{":", ","}[min(i, 1)] + string(s)
	}
	return text
}

// fields are those that the policy writes.
func (r Replace) fields() (f JobFields) {
	for i, on := range []bool{r.Args, r.Meta, r.Priority, r.RunAt, r.MaxAttempts, r.Tags} {
		if on {
			f |= FieldArgs << i
		}
	}
	return f
}

func (r Replace) reactions() Reactions {
	if len(r.Only) == 0 {
		return Reactions{Scheduled: ActionWrite, Available: ActionWrite, Retryable: ActionWrite}
	}
	var re Reactions
	for _, s := range r.Only {
		switch s {
		case Scheduled:
			re.Scheduled = ActionWrite
		case Available:
			re.Available = ActionWrite
		case Retryable:
			re.Retryable = ActionWrite
		}
	}
	return re
}

// Debounce is a [ConflictPolicy] that waits until things calm down: the waiting
// holder takes the latest args, and its run is pushed back to now + the new
// delay. It needs a [Delay].
type Debounce struct {
	// MaxWait bounds the wait: the run is never later than the first enqueue +
	// MaxWait, so a steady stream still runs once per MaxWait.
	MaxWait time.Duration
}

func (d Debounce) String() string { return "debounce:" + d.MaxWait.String() }

func (Debounce) reactions() Reactions {
	return Reactions{Scheduled: ActionPushBack, Available: ActionPushBack, Retryable: ActionPushBack}
}

func (Policy) until() Until   { return UntilFinished }
func (Replace) until() Until  { return UntilFinished }
func (Debounce) until() Until { return UntilStarted }

func (p Policy) value() ConflictPolicy   { return p }
func (r Replace) value() ConflictPolicy  { return r }
func (d Debounce) value() ConflictPolicy { return d }

func (Policy) fill(*NewRow)         {}
func (r Replace) fill(row *NewRow)  { row.Write = r.fields() }
func (d Debounce) fill(row *NewRow) { row.MaxWait = ceilMilli(d.MaxWait) }

func (p Policy) check(s *settings, h Hold) error {
	follows := p == Coalesce || p == Supersede // the run of the holder
	switch {
	case follows && h.Until != UntilFinished:
		return s.clash("OnConflict", s.policyAt, "Unique.Until", s.untilAt, marked("Until"+title(h.Until.String())),
			"(%s) follows the run of the holder and goes with {UntilFinished} only: leave {Until} "+
				"away, or use {Skip}, {Reject} or {Replace}", p)
	case follows && s.window != 0:
		return s.clash("OnConflict", s.policyAt, "Unique.Window", s.windowAt, s.window,
			"(%s) follows the run of the holder and a {Window} would hold beyond it: leave {Window} "+
				"away, or use {Skip}, {Reject} or {Replace}", p)
	}
	return nil
}

func (r Replace) check(*settings, Hold) error {
	if r.fields() == 0 {
		return invalid("OnConflict", "Replace{}", "must name at least one of args, meta, priority, run_at, "+
			"max_attempts, tags; to write nothing use {Skip}")
	}
	for _, state := range r.Only {
		if !state.Waiting() {
			return invalid("Replace.Only", state, "must be of scheduled, available and retryable: nothing else "+
				"is ever replaced")
		}
	}
	return nil
}

func (d Debounce) check(s *settings, h Hold) error {
	if d.MaxWait <= 0 {
		return invalid("Debounce.MaxWait", d.MaxWait, "must be at least 1ms: it is how long a steady stream can "+
			"put the run off")
	}
	if err := checkDuration("Debounce.MaxWait", d.MaxWait); err != nil {
		return err
	}
	switch {
	case h.Until != UntilStarted:
		return s.clash("OnConflict", s.policyAt, "Unique.Until", s.untilAt, marked("Until"+title(h.Until.String())),
			"(debounce) collects until the run starts: leave {Until} away, or use {Coalesce}")
	case s.window != 0:
		return s.clash("OnConflict", s.policyAt, "Unique.Window", s.windowAt, s.window,
			"(debounce) collects until the run starts and a {Window} would hold beyond: leave {Window} away, "+
				"or use {Skip} with {Window}")
	case s.delay <= 0 && s.runAt.IsZero():
		return s.clash("OnConflict", s.policyAt, "Delay", s.delayAt, s.delay,
			"(debounce) pushes a delay back and there is none: say {Delay}")
	case s.delay <= 0:
		return s.clash("OnConflict", s.policyAt, "RunAt", s.runAtAt, s.runAt.Format(time.RFC3339),
			"(debounce) pushes a delay back, and an instant is none: say {Delay}")
	}
	return nil
}
