package onceq

import "time"

// Outcome is what an enqueue did.
type Outcome string

const (
	Inserted   Outcome = "inserted"   // a new job
	Skipped    Outcome = "skipped"    // nothing written: Job is the holder
	Rejected   Outcome = "rejected"   // nothing written, and the enqueue failed with *DuplicateError
	Replaced   Outcome = "replaced"   // an existing waiting job took values of this enqueue: Job is that job
	Coalesced  Outcome = "coalesced"  // a new job waits behind the holder
	Superseded Outcome = "superseded" // a new job; the old one was cancelled, or asked to stop
)

// Receipt is the answer to an enqueue.
type Receipt struct {
	// Job is the job that stands for this enqueue: the new one, or the
	// holder. It is never nil. When the holder's row is no longer kept it
	// has what the key row keeps: ID, Kind, Queue, Key, KeyText and the
	// last State.
	Job      *JobRow
	Outcome  Outcome   // what the enqueue did
	Conflict *Conflict // the job that was met; nil when Inserted

	client *Client // that made it; nil = none did
	inTx   bool    // in a transaction
}

// Duplicate reports whether no job was made for this call: Skipped,
// Rejected, Replaced.
func (r Receipt) Duplicate() bool {
	return r.Outcome == Skipped || r.Outcome == Rejected || r.Outcome == Replaced
}

// Explanation is what Client.Explain found: a dry run.
type Explanation struct {
	Key      *Key      // nil when the job would not be unique
	Text     string    // its readable parts
	Outcome  Outcome   // what Enqueue would answer now
	Conflict *Conflict // the holder, if any
	Terms    []Term    // what all levels together say
	Hint     string    // what looks like a mistake, for people
}

// HeldKey is a key and who holds it.
type HeldKey struct {
	Key    Key       // String is hex
	Text   string    // what the key was made of, readable
	Kind   string    // of the holder
	Queue  string    // of the holder
	Holder string    // the ID of the job that holds the key
	State  State     // of the holder, or its last one when it is gone
	Gone   bool      // the holder's row is no longer kept
	Since  time.Time // when the holder took the key
	// FreesAt is when a clock alone frees the key; zero when none does.
	FreesAt time.Time
	// FreesWhen is the event that still has to come: "due", "started",
	// "finished", "succeeded", "failed", "deleted", or "" for none. A job
	// that is no longer kept is deleted.
	FreesWhen string
	Waiter    string   // the job that stands behind the holder
	Inert     bool     // free, not yet swept; only with KeyFilter.Inert
	Digest    [16]byte // of the holder's args, by value
}

// FreesText says in words when a clock frees the key, or on what event.
func (k *HeldKey) FreesText() string { return freesText(k.FreesAt, k.FreesWhen, time.Time{}) }

// adjust corrects what a store says of a key, for the state of its holder.
func (k *HeldKey) adjust() { k.FreesWhen = eventLeft(k.FreesWhen, k.State, k.Gone) }

// Conflict is the answer to an enqueue that meets this key. digest is that of
// the new args.
func (k *HeldKey) Conflict(digest [16]byte) *Conflict {
	c := &Conflict{By: "key", Key: k.Key, Text: k.Text, Holder: k.Holder, HolderKind: k.Kind,
		State: k.State, Since: k.Since,
		FreesAt: k.FreesAt, FreesWhen: k.FreesWhen, ArgsDiffer: digest != k.Digest}
	if k.Gone {
		c.State, c.Gone = "", true
	}
	return c
}
