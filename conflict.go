package onceq

import (
	"fmt"
	"strings"
	"time"
)

// ConflictPolicy says what an enqueue does when its key is held: [Skip],
// [Reject], [Replace], [Debounce], [Coalesce] or [Supersede].
type ConflictPolicy interface {
	fmt.Stringer
	reactions() Reactions
}

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

// Replace is a [ConflictPolicy] that writes some values of the new enqueue to a
// waiting holder. It never changes a running job.
type Replace struct {
	// The values to write; at least one.
	Args, Meta, Priority, RunAt, MaxAttempts, Tags bool
	// Only limits it to holders in these waiting states; empty = any of them.
	Only []State
}

// Debounce is a [ConflictPolicy] that waits until things calm down: the waiting
// holder takes the latest args, and its run is pushed back to now + the new
// delay. It needs a [Delay].
type Debounce struct {
	// MaxWait bounds the wait: the run is never later than the first enqueue +
	// MaxWait, so a steady stream still runs once per MaxWait.
	MaxWait time.Duration
}

func (p Policy) String() string {
	return [...]string{"skip", "reject", "coalesce", "supersede"}[p]
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

func (d Debounce) String() string { return "debounce:" + d.MaxWait.String() }

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

func (Debounce) reactions() Reactions {
	return Reactions{Scheduled: ActionPushBack, Available: ActionPushBack, Retryable: ActionPushBack}
}

// Conflict names the job that an enqueue met, and what will free its key.
type Conflict struct {
	By     string // what was taken: "key" or "id"
	Key    Key    // zero where By is "id"
	Text   string // the readable key; "" where By is "id"
	Holder string // job ID, never empty
	State  State  // of the holder; "" when it is gone
	// Gone says that the row of the holder is no longer kept. What is left of a
	// Window or a TTL holds the key.
	Gone       bool
	HolderKind string    // "" where it is not known
	Since      time.Time // when the holder took the key, or the ID
	// HolderDue is when a holder that is scheduled or retryable is due; zero in
	// other states, behind another job, and where it is not known.
	HolderDue time.Time
	// FreesAt is when a clock alone frees the key; zero when none does.
	FreesAt time.Time
	// FreesWhen is the event that still has to come: "due", "started",
	// "finished", "succeeded", "failed", "deleted", or "" for none. A job
	// that is no longer kept is deleted.
	FreesWhen string
	// KeptUntil is when the retention of a holder is over that has ended,
	// if that frees the key or the ID. The next worker that tidies up
	// removes it then.
	KeptUntil  time.Time
	ArgsDiffer bool // by value, from the args of the holder
	// RunAtDiffers says that the enqueue asked for a time by RunAt, and that
	// the holder is due at another (HolderDue).
	RunAtDiffers bool
}

// adjust makes what a store says of a conflict true for the state of the
// holder. Its row (nil = not known) says when it is due, and how long it is
// kept. runAt is the time that the enqueue asked for, if any.
func (c *Conflict) adjust(holder *JobRow, runAt time.Time) {
	if holder != nil && holder.ID != c.Holder {
		holder = nil
	}
	if c.By == "key" {
		c.FreesWhen = eventLeft(c.FreesWhen, c.State, c.Gone)
	}
	if holder == nil {
		return
	}
	c.HolderKind = holder.Kind
	if c.Gone {
		return
	}
	if (holder.State == Scheduled || holder.State == Retryable) && holder.Behind == "" {
		c.HolderDue = holder.RunAt
		c.RunAtDiffers = !runAt.IsZero() && runAt.UnixMilli() != holder.RunAt.UnixMilli()
	}
	untilDeleted := c.By == "id" || c.FreesWhen == "deleted" && c.FreesAt.IsZero()
	if untilDeleted && holder.State.Finished() && !holder.FinishedAt.IsZero() {
		c.KeptUntil = holder.FinishedAt.Add(holder.Retention)
	}
}

// adjusted is the error of an operator's step, made true as adjust makes a conflict.
func adjusted(err error) error {
	if dup, ok := err.(*DuplicateError); ok {
		dup.adjust(nil, time.Time{})
	}
	return err
}

// eventLeft is the event that can still free a key: the end that its terms
// ask for no longer comes to a job that has ended otherwise, and nothing
// comes to one that is gone.
func eventLeft(when string, holder State, gone bool) string {
	switch {
	case gone:
		return ""
	case when != "" && holder.Finished():
		return UntilDeleted.String()
	}
	return when
}

// String says all of it in one line. The log, the command and the errors
// use the same words.
func (c Conflict) String() string {
	var b strings.Builder
	state := string(c.State)
	switch {
	case c.Gone:
		state = "gone"
	case !c.HolderDue.IsZero():
		state += ", due " + stamp(c.HolderDue)
	}
	if c.By == "id" {
		of := ""
		if c.HolderKind != "" {
			of = fmt.Sprintf(", of kind %q", c.HolderKind)
		}
		fmt.Fprintf(&b, "the ID %q is taken by a job (%s) since %s%s; it is free again when that job %s",
			c.Holder, state, stamp(c.Since), of, goneText(c.KeptUntil))
	} else {
		fmt.Fprintf(&b, "%s is held by job %s (%s) since %s; %s", c.Text, c.Holder, state,
			stamp(c.Since), c.FreesText())
	}
	switch {
	case c.ArgsDiffer && c.RunAtDiffers:
		b.WriteString("; the args and the run time differ from that job's")
	case c.ArgsDiffer:
		b.WriteString("; the args differ from that job's")
	case c.RunAtDiffers:
		b.WriteString("; the args are the same, the run time is another")
	default:
		b.WriteString("; the args are the same")
	}
	return b.String()
}

// goneText says how a row goes.
func goneText(kept time.Time) string {
	if kept.IsZero() {
		return "is deleted or no longer kept"
	}
	return "is deleted or pruned, which a worker does from " + stamp(kept) + " on"
}

// freesText says when, or on what, a key frees.
func freesText(at time.Time, when string, kept time.Time) string {
	event := map[string]string{
		"due": "becomes due", "started": "starts", "finished": "is finished",
		"succeeded": "has succeeded or is deleted", "failed": "has failed or is deleted",
	}[when]
	switch {
	case when == "deleted" && at.IsZero():
		event = goneText(kept)
	case when == "deleted": // with a TTL the end of the retention is no event
		event = "is deleted"
	}
	switch {
	case event == "" && at.IsZero():
		return "frees when it is released by hand"
	case event == "":
		return "frees at " + stamp(at)
	case at.IsZero():
		return "frees when it " + event
	default:
		return "frees when it " + event + ", at the latest at " + stamp(at)
	}
}

// FreesText says in words when a clock frees the key, or on what event.
func (c Conflict) FreesText() string { return freesText(c.FreesAt, c.FreesWhen, c.KeptUntil) }
