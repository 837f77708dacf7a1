package onceq

import (
	"fmt"
	"strings"
	"time"
)

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

	claim string // the ClaimState of a holder that is a claim of package guard
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
	c.claim = holder.ClaimState()
	if (holder.State == Scheduled || holder.State == Retryable) && holder.Behind == "" {
		c.HolderDue = holder.RunAt
		c.RunAtDiffers = !runAt.IsZero() && runAt.UnixMilli() != holder.RunAt.UnixMilli()
	}
	untilDeleted := c.By == "id" || c.FreesWhen == "deleted" && c.FreesAt.IsZero()
	if untilDeleted && holder.State.Finished() && !holder.FinishedAt.IsZero() {
		c.KeptUntil = holder.KeepUntil()
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
	state, what := string(c.State), "job"
	switch {
	case c.Gone:
		state = "gone"
	case c.claim != "":
		state, what = c.claim, "claim"
		if !c.HolderDue.IsZero() {
			state += ", lapses " + stamp(c.HolderDue)
		}
	case !c.HolderDue.IsZero():
		state += ", due " + stamp(c.HolderDue)
	}
	if c.By == "id" {
		of := ""
		if c.HolderKind != "" {
			of = fmt.Sprintf(", of kind %q", c.HolderKind)
		}
		fmt.Fprintf(&b, "the ID %q is taken by a %s (%s) since %s%s; it is free again when that %s %s",
			c.Holder, what, state, stamp(c.Since), of, what, goneText(c.KeptUntil))
	} else {
		fmt.Fprintf(&b, "%s is held by %s %s (%s) since %s; %s", c.Text, what, c.Holder, state,
			stamp(c.Since), c.FreesText())
	}
	switch {
	case c.ArgsDiffer && c.RunAtDiffers:
		b.WriteString("; the args and the run time differ from that " + what + "'s")
	case c.ArgsDiffer:
		b.WriteString("; the args differ from that " + what + "'s")
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
