package onceq

import (
	"math"
	"strings"
	"time"
)

// Part is a part of a job that can take part in its key. Parts are combined
// with |.
type Part uint8

// The parts of a job.
const (
	ByKind  Part = 1 << iota // the kind
	ByQueue                  // the queue
	ByArgs                   // the args, or the members that Unique.Fields names
	ByMeta                   // the meta
	// ByKey is a scope for [UniqueKey] only: the caller's text alone, the same
	// key for every kind and queue.
	ByKey
)

func (p Part) String() string {
	var names []string
	for i, name := range []string{"ByKind", "ByQueue", "ByArgs", "ByMeta", "ByKey"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Unique is an [Option] that makes a job hold a key from the instant at
// which it is accepted. While the key is held, another enqueue with this
// key makes no second job: its conflict policy says what happens (see
// [OnConflict]). The zero value means "same kind, queue and args, until the
// job is finished".
//
// Options of several levels merge field by field: a later level overrides
// the fields that it sets, and a zero field says nothing.
type Unique struct {
	// By says which of kind, queue, args and meta make up the key. Zero means
	// kind, queue and args.
	By Part
	// Fields narrows the args to some members (the meta, if By has ByMeta
	// and not ByArgs). Each is a top-level name or, with a leading "/", a
	// JSON Pointer (RFC 6901). nil = all members. One of them at least must
	// be there and have a value: see AllowBlank.
	Fields []string
	// MetaFields narrows the meta to some members, as Fields does the args. It
	// needs ByMeta in By. Where the args are narrowed and the meta takes part,
	// both must be said. nil = all members.
	MetaFields []string
	// Until is the event that releases the key. Zero means [UntilFinished],
	// unless an earlier level said another.
	Until Until
	// Window keeps the key held at least this long after the anchor, even
	// if the holder is finished or gone.
	Window time.Duration
	// TTL releases the key at the latest this long after the anchor,
	// whatever the holder does. 0 = no TTL, unless an earlier level has
	// one; [Forever] undoes that one.
	TTL time.Duration
	// FromEnqueue makes the enqueue the anchor of Window and TTL. Without
	// it the anchor is the later of enqueue and run time.
	FromEnqueue bool
	// AllowBlank lets Fields (or MetaFields, or tagged fields) be null or blank
	// text all at once: a key like any other. Without it they are refused, for
	// every job whose value is missing would be a duplicate of the first.
	AllowBlank bool
}

// Forever is a TTL that never ends. It undoes the TTL of an earlier level.
const Forever = time.Duration(math.MaxInt64)

// Until is the event on which a holder releases its key. Its numbers are on
// disk.
type Until uint8

const (
	untilUnsaid Until = iota
	// UntilDue holds until the holder first becomes due; it also ends when
	// the job ends earlier.
	UntilDue
	// UntilStarted holds until the holder is fetched for the first time; it
	// also ends when the job ends without having been.
	UntilStarted
	// UntilFinished holds until the holder is completed, discarded,
	// cancelled or deleted. The default.
	UntilFinished
	// UntilSucceeded holds until the holder is completed or deleted;
	// discarded and cancelled jobs keep it.
	UntilSucceeded
	// UntilFailed holds until the holder is discarded, cancelled or
	// deleted; completed jobs keep it.
	UntilFailed
	// UntilDeleted holds until the holder is deleted, or pruned where there
	// is no TTL.
	UntilDeleted
	// UntilWindowEnds waits for no event: only Window holds, and must be set.
	UntilWindowEnds
)

var untilNames = [...]string{"", "due", "started", "finished", "succeeded", "failed", "deleted", "window-ends"}

// String is the event in one word: due, started, finished, succeeded,
// failed, deleted or window-ends; "" for the zero value.
func (u Until) String() string {
	if int(u) < len(untilNames) {
		return untilNames[u]
	}
	return "invalid"
}

// ParseUntil reads what String wrote.
func ParseUntil(s string) (Until, error) {
	for i, name := range untilNames {
		if i > 0 && name == s {
			return Until(i), nil
		}
	}
	return 0, invalid("until", s, "must be one of %s", strings.Join(untilNames[1:], ", "))
}

// MarshalText is String.
func (u Until) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Hold says how long a job holds its key, as data and arithmetic:
//
//	held(t) = ( the holder has not reached Until  OR  t < anchor + Window )
//	          AND  ( no TTL  OR  t < anchor + TTL )
//
// All instants are whole milliseconds of the store's clock. Every store keeps
// these four values with the job and must give the answers of these methods.
type Hold struct {
	Until       Until         // the event that releases the key
	Window      time.Duration // held at least this long after the anchor
	TTL         time.Duration // held at most this long after the anchor; 0 = no such limit
	FromEnqueue bool          // the anchor is the enqueue, not the run time
}

// Never is the instant, in milliseconds, of what no clock brings about: a key
// with FreesAt Never is freed by an event only.
const Never int64 = math.MaxInt64

// Instant is an instant of a store, in milliseconds, as it is handed out:
// [Never] and 0 are the zero time.
func Instant(ms int64) time.Time {
	if ms == Never || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// AnchorAt is the instant from which Window and TTL count, for a job that was
// accepted (or moved) at the first instant and is due at the second.
func (h Hold) AnchorAt(enqueued, runAt int64) int64 {
	if h.FromEnqueue {
		return enqueued
	}
	return max(enqueued, runAt)
}

// FreesAt is when a clock frees the key while the event has not come; [Never]
// when no clock does.
func (h Hold) FreesAt(anchor, runAt int64) int64 {
	frees := Never
	switch h.Until {
	case UntilDue:
		frees = max(runAt, anchor+h.Window.Milliseconds())
	case UntilWindowEnds:
		frees = anchor + h.Window.Milliseconds()
	}
	if h.TTL > 0 {
		frees = min(frees, anchor+h.TTL.Milliseconds())
	}
	return frees
}

// RestAt is when a clock frees the key once the event has come: what is left of
// Window, within TTL. Without a Window it is the anchor itself.
func (h Hold) RestAt(anchor int64) int64 {
	rest := anchor + h.Window.Milliseconds()
	if h.TTL > 0 {
		rest = min(rest, anchor+h.TTL.Milliseconds())
	}
	return rest
}

// EndsOn reports whether the event comes when a job finishes in this state.
func (u Until) EndsOn(s State) bool {
	switch u {
	case UntilDue, UntilStarted, UntilFinished:
		return s.Finished()
	case UntilSucceeded:
		return s == Completed
	case UntilFailed:
		return s == Discarded || s == Cancelled
	}
	return false
}
