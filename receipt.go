package onceq

import (
	"encoding/json"
	"time"
)

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
	// Job is the job that stands for this enqueue: the new one, or the holder. It is never nil: when the holder's row is gone it has
	// what the key keeps (ID, Kind, Queue, Key, KeyText and the last State).
	Job      *JobRow
	Outcome  Outcome
	Conflict *Conflict // nil when Inserted
}

// Duplicate reports whether no job was made for this call: Skipped, Rejected, Replaced.
func (r Receipt) Duplicate() bool {
	return r.Outcome == Skipped || r.Outcome == Rejected || r.Outcome == Replaced
}

// MarshalJSON adds "duplicate".
func (r Receipt) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Outcome   Outcome   `json:"outcome"`
		Duplicate bool      `json:"duplicate"`
		Job       *JobRow   `json:"job"`
		Conflict  *Conflict `json:"conflict"`
	}{r.Outcome, r.Duplicate(), r.Job, r.Conflict})
}

// Explanation is what Client.Explain found: a dry run.
type Explanation struct {
	Key      *Key      `json:"key"`      // nil when the job would not be unique
	Text     string    `json:"text"`     // its readable parts
	Outcome  Outcome   `json:"outcome"`  // what Enqueue would answer now
	Conflict *Conflict `json:"conflict"` // the holder, if any
	Hint     string    `json:"hint,omitempty"`
}

// HeldKey is a key and who holds it.
type HeldKey struct {
	Key       Key       `json:"key"`
	Text      string    `json:"text"`
	Kind      string    `json:"kind"`
	Queue     string    `json:"queue"`
	Holder    string    `json:"holder"`
	State     State     `json:"state"` // of the holder, or its last one when it is gone
	Gone      bool      `json:"gone"`  // the holder's row is no longer kept
	Since     time.Time `json:"since"`
	FreesAt   time.Time `json:"frees_at,omitzero"`
	FreesWhen string    `json:"frees_when,omitempty"`
	Waiter    string    `json:"waiter,omitempty"` // the job that stands behind the holder
	Inert     bool      `json:"inert,omitempty"`  // it holds no longer, and waits to be swept; only with KeyFilter.Inert
	Digest    [16]byte  `json:"-"`                // of the holder's args, by value
}

// FreesText says in words when a clock frees the key, or on what event.
func (k *HeldKey) FreesText() string { return freesText(k.FreesAt, k.FreesWhen) }

// Conflict is what an enqueue with this key and these args (by the digest of their value) would be told.
func (k *HeldKey) Conflict(digest [16]byte) *Conflict {
	return &Conflict{By: "key", Key: k.Key, Text: k.Text, Holder: k.Holder, State: k.State, Since: k.Since,
		FreesAt: k.FreesAt, FreesWhen: k.FreesWhen, ArgsDiffer: digest != k.Digest}
}

// KeyFilter chooses keys. The fields that are set must all match.
type KeyFilter struct {
	Queue string
	Kind  string
	Limit int  // at most so many; 0 = no limit
	Inert bool // list those too that hold no longer and wait to be swept
}
