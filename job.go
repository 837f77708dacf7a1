package onceq

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Args is what a job is about: a value with a kind. It is encoded as JSON, unless it was made by [JSON] (which is JSON already)
// or by [Bytes] (which stays opaque).
type Args interface{ Kind() string }

// EnqueueOptioner is an [Args] type that brings its own defaults. They stand above Config.Defaults and below Config.Kinds and the call.
// EnqueueOptions is asked once for each enqueue, of the value that is enqueued.
type EnqueueOptioner interface{ EnqueueOptions() []Option }

// JSON makes args of a kind that are JSON already. They are checked at enqueue and kept byte for byte.
func JSON(kind string, raw []byte) Args { return rawArgs{kind, EncodingJSON, raw} }

// Bytes makes opaque args of a kind. They are compared byte by byte, and Unique.Fields on them is an error.
func Bytes(kind string, raw []byte) Args { return rawArgs{kind, EncodingBytes, raw} }

type rawArgs struct {
	kind, encoding string
	raw            []byte
}

func (a rawArgs) Kind() string { return a.kind }

// The two encodings of args, as they stand in [JobRow].Encoding.
const (
	EncodingJSON  = "json"
	EncodingBytes = "bytes"
)

// State is where a job stands in its life.
type State string

// The seven states. The first three (and Retryable) wait, the last three are finished. Scheduled and Retryable become Available by
// themselves when their run time passes: "due" is a question asked of the row, not a step somebody has to perform.
const (
	Scheduled State = "scheduled" // waits for its run time, or stands behind another job
	Available State = "available" // due: a worker may fetch it
	Running   State = "running"   // a worker runs it
	Retryable State = "retryable" // failed, and waits for its next attempt
	Completed State = "completed" // the handler returned nil
	Discarded State = "discarded" // no attempts left, or the handler said Discard
	Cancelled State = "cancelled" // by the handler, an operator or a job that superseded it
)

// States lists all states in the order of a job's life.
func States() []State {
	return []State{Scheduled, Available, Running, Retryable, Completed, Discarded, Cancelled}
}

// Waiting reports whether a job in this state still waits to be fetched.
func (s State) Waiting() bool { return s == Scheduled || s == Available || s == Retryable }

// Finished reports whether a job in this state has ended.
func (s State) Finished() bool { return s == Completed || s == Discarded || s == Cancelled }

// Key is what makes two jobs "the same": SHA-256, all 32 bytes, over an injective encoding of the parts that were chosen.
type Key [32]byte

// String is the key in hexadecimal, 64 digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText is ParseKey.
func (k *Key) UnmarshalText(text []byte) (err error) { *k, err = ParseKey(string(text)); return err }

// ParseKey reads what String wrote.
func ParseKey(s string) (Key, error) {
	var k Key
	if n, err := hex.Decode(k[:], []byte(s[:min(len(s), 64)])); err != nil || n != len(k) || len(s) != 64 {
		return Key{}, &InvalidError{Field: "key", Value: s, Rule: "must be 64 hexadecimal digits, as `onceq keys --json` and `onceq explain` print them"}
	}
	return k, nil
}

// JobRow is a job as a store keeps it. All instants are of the store's clock, in milliseconds; the zero time means "not yet".
type JobRow struct {
	ID       string         `json:"id"`
	Kind     string         `json:"kind"`
	Queue    string         `json:"queue"`
	Args     []byte         `json:"args"`
	Encoding string         `json:"encoding"` // "json" or "bytes"
	Meta     map[string]any `json:"meta,omitempty"`
	Tags     []string       `json:"tags,omitempty"`
	State    State          `json:"state"`
	Priority int            `json:"priority"`
	// Attempt counts the attempts that were spent: the running one is included, a snooze or a hand-back on shutdown is not.
	Attempt     int `json:"attempt"`
	MaxAttempts int `json:"max_attempts"`
	// Run is the number of the job's latest run: one more at each fetch. Only the current run may finish the job.
	Run       int64         `json:"run"`
	Timeout   time.Duration `json:"-"` // of one run; 0 = none
	Retention time.Duration `json:"-"` // how long the finished job is kept

	Key     *Key      `json:"key,omitempty"` // nil when not unique
	KeyText string    `json:"key_text,omitempty"`
	Hold    Hold      `json:"hold,omitzero"`   // how long the key is held
	Anchor  time.Time `json:"anchor,omitzero"` // where Window and TTL count from
	// Keyless says that this job gave its key up for good: it was released by hand, passed to the waiter behind this job or was taken by
	// a job that superseded it, or this job was retried with WithoutKey.
	Keyless bool     `json:"keyless,omitempty"`
	Digest  [16]byte `json:"-"` // of the args by value; only with a key

	Behind       string  `json:"behind,omitempty"`        // the job this one waits behind
	Origin       Outcome `json:"origin,omitempty"`        // how it was accepted: Inserted, Coalesced or Superseded
	Displaced    string  `json:"displaced,omitempty"`     // the job it was accepted behind, or took the key from
	SupersededBy string  `json:"superseded_by,omitempty"` // the job that took its place

	CancelRequested bool   `json:"cancel_requested,omitempty"` // it runs, and is to stop
	Worker          string `json:"worker,omitempty"`           // who runs it, or ran it last

	EnqueuedAt time.Time `json:"enqueued_at,omitzero"`
	RunAt      time.Time `json:"run_at,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`  // of the latest run
	FinishedAt time.Time `json:"finished_at,omitzero"` // when it was completed, discarded or cancelled

	Errors []AttemptError `json:"errors,omitempty"` // the last 5, oldest first
}

// MarshalJSON shows JSON args as they are, opaque args in base64, and lengths of time in milliseconds.
func (j *JobRow) MarshalJSON() ([]byte, error) {
	type plain JobRow
	shown := struct {
		*plain
		Args      any   `json:"args"`
		Timeout   int64 `json:"timeout_ms,omitempty"`
		Retention int64 `json:"retention_ms"`
	}{plain: (*plain)(j), Args: j.Args, Timeout: j.Timeout.Milliseconds(), Retention: j.Retention.Milliseconds()}
	switch {
	case j.Args == nil:
		shown.Args = nil
	case j.Encoding == EncodingJSON:
		shown.Args = json.RawMessage(j.Args)
	}
	return json.Marshal(shown)
}

// AttemptError is what went wrong in one run.
type AttemptError struct {
	Attempt int       `json:"attempt"`
	Run     int64     `json:"run"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`           // at most 4 KiB
	Stack   string    `json:"stack,omitempty"` // of a panic, at most 8 KiB
}

// Job is a job as its handler gets it: the row, and the args decoded.
type Job[T Args] struct {
	*JobRow
	Args T
}

// JobFilter chooses jobs. The fields that are set must all match; the zero value matches every job when listing, and is refused where
// jobs would be changed (set All to say that all are meant).
type JobFilter struct {
	State State
	Queue string
	Kind  string
	Key   *Key
	All   bool
	Limit int // at most so many; 0 = no limit
	// Args asks for the args of each job too. Without it lists do not read them: JobRow.Args is nil.
	Args bool
}

func (f JobFilter) empty() bool {
	return f.State == "" && f.Queue == "" && f.Kind == "" && f.Key == nil
}

func (f JobFilter) validate() error {
	if f.State != "" && !f.State.Waiting() && !f.State.Finished() && f.State != Running {
		return &InvalidError{Field: "state", Value: string(f.State), Rule: fmt.Sprintf("must be one of %v", States())}
	}
	if f.Limit < 0 {
		return &InvalidError{Field: "limit", Value: fmt.Sprint(f.Limit), Rule: "must be 0 (no limit) or more"}
	}
	return nil
}

// QueueInfo is one queue. Counts are exact up to 10,000 and mean "at least" beyond.
type QueueInfo struct {
	Name      string        `json:"name"`
	Paused    bool          `json:"paused"`
	Counts    map[State]int `json:"counts"`
	OldestDue time.Time     `json:"oldest_due,omitzero"` // run time of the job that has been due longest
}
