package onceq

import (
	"bytes"
	"encoding/hex"
	"slices"
	"time"
)

// Args is what a job is about: a value that has a kind. A type of your own is
// encoded as JSON. [JSON] and [Bytes] make args that are encoded already.
type Args interface {
	// Kind names the type of job, and so its handler: 1 to 128 printable bytes.
	// It must not depend on the value.
	Kind() string
}

// EnqueueOptioner is a type of [Args] that brings its own defaults. They
// override Config.Defaults; Config.Kinds and the call override them.
type EnqueueOptioner interface {
	// EnqueueOptions is called once for each enqueue, on the value that is
	// enqueued.
	EnqueueOptions() []Option
}

// JSON makes args that are JSON already. They are checked at the enqueue and
// kept byte for byte.
func JSON(kind string, raw []byte) Args { return rawArgs{kind, EncodingJSON, raw} }

// Bytes makes opaque args. They are compared byte by byte, and naming
// Unique.Fields for them is an error.
func Bytes(kind string, raw []byte) Args { return rawArgs{kind, EncodingBytes, raw} }

type rawArgs struct {
	kind, encoding string
	raw            []byte
}

func (a rawArgs) Kind() string { return a.kind }

// The two encodings of args: the values of JobRow.Encoding.
const (
	EncodingJSON  = "json"  // JSON
	EncodingBytes = "bytes" // opaque: made by [Bytes]
)

// State says where in its life a job is.
type State string

// The seven states. A job in state Scheduled, Available or Retryable waits;
// one in state Completed, Discarded or Cancelled is finished. A Scheduled
// or Retryable job becomes Available by itself when its run time passes: no
// process has to promote it.
const (
	Scheduled State = "scheduled" // waits for its run time, or stands behind another job
	Available State = "available" // due: a worker may fetch it
	Running   State = "running"   // a worker runs it
	Retryable State = "retryable" // failed, and waits for its next attempt
	Completed State = "completed" // the handler returned nil
	Discarded State = "discarded" // no attempts left, or the handler returned Discard
	Cancelled State = "cancelled" // by the handler, an operator, or a job that superseded it
)

// States lists all states in the order of a job's life.
func States() []State {
	return []State{Scheduled, Available, Running, Retryable, Completed, Discarded, Cancelled}
}

// Waiting reports whether a job in this state waits to be fetched.
func (s State) Waiting() bool { return s == Scheduled || s == Available || s == Retryable }

// Finished reports whether a job in this state has ended.
func (s State) Finished() bool { return s == Completed || s == Discarded || s == Cancelled }

// Key says which jobs are the same: it is the SHA-256, all 32 bytes, of an
// unambiguous encoding of the chosen parts of a job (see [Unique]).
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
		return Key{}, invalid("key", s, "must be 64 hexadecimal digits, as `onceq keys --json` and "+
			"`onceq explain` print them")
	}
	return k, nil
}

// JobRow is a job as a store keeps it. All instants are by the store's
// clock, in whole milliseconds; the zero time means "not yet".
type JobRow struct {
	ID    string // unique in the store while the job is kept
	Kind  string // as Args.Kind said
	Queue string // where workers fetch it
	// Args are the encoded args; nil in a list without JobFilter.Args.
	Args     []byte
	Encoding string         // of Args: EncodingJSON or EncodingBytes
	Meta     map[string]any // as [Meta] set it
	Tags     []string       // as [Tags] set them
	State    State          // now, by the store's clock
	Priority int            // 0 (first) to 9 (last)
	// Attempt counts the attempts that were spent. The one that runs is
	// included; a snooze and a hand-back on shutdown are not.
	Attempt     int
	MaxAttempts int // the job is discarded when so many have failed
	// Run is the number of the job's latest run, one more at each fetch.
	// Only the current run may finish the job.
	Run       int64
	Timeout   time.Duration // of one run; 0 = none
	Retention time.Duration // how long the completed job is kept
	// RetentionFailed is how long the discarded or cancelled job is kept; it is
	// Retention unless the enqueue said otherwise.
	RetentionFailed time.Duration

	Key     *Key      // nil when the job is not unique
	KeyText string    // what the key was made of, readable
	Hold    Hold      // how long the key is held
	Anchor  time.Time // where Window and TTL count from
	// Keyless says that this job gave up its key for good. An operator
	// released it, it passed to the waiter behind this job, a job that
	// superseded this one took it, this job was retried with WithoutKey, or it
	// was moved after a clock had freed the key.
	Keyless bool
	Digest  [16]byte // of the args by value; only with a key

	Behind       string  // the running job whose key this one will get
	Origin       Outcome // how it was accepted: Inserted, Coalesced or Superseded
	Displaced    string  // the job it was accepted behind, or took the key from
	SupersededBy string  // the job that took its place

	CancelRequested bool   // it runs, and is to stop
	Worker          string // that runs it, or ran it last

	EnqueuedAt time.Time // when the enqueue was accepted
	RunAt      time.Time // when it is, or was, due
	StartedAt  time.Time // of the latest run
	FinishedAt time.Time // when it was completed, discarded or cancelled

	Errors []AttemptError // the last 5, oldest first
	// Extra is what else the enqueue said, in a form of this package's own:
	// [JobRow.Backoff] reads it. nil = nothing.
	Extra []byte
	// Result is what the run gave that ended the job, as JSON (see
	// [HandleResult], [ResultOf]); nil = nothing. Only [Client.Job] and the
	// waits read it.
	Result []byte
}

// KeepUntil is when the retention of a finished job is over: the next worker
// that tidies up removes it then. It is zero while the job is not finished.
func (j *JobRow) KeepUntil() time.Time {
	if !j.State.Finished() || j.FinishedAt.IsZero() {
		return time.Time{}
	}
	return j.FinishedAt.Add(j.RetentionIn(j.State))
}

// RetentionIn is how long the job is kept once it has ended in this state.
func (j *JobRow) RetentionIn(state State) time.Duration {
	if state == Discarded || state == Cancelled {
		return j.RetentionFailed
	}
	return j.Retention
}

// AttemptError is what went wrong in one run.
type AttemptError struct {
	Attempt int       // from 1
	Run     int64     // the number of the run
	At      time.Time // when the failure was recorded
	Error   string    // at most 4 KiB
	Stack   string    // of a panic, at most 8 KiB
}

// Job is a job as its handler gets it.
type Job[T Args] struct {
	*JobRow
	Args T // decoded
}

// QueueInfo is one queue.
type QueueInfo struct {
	Name   string // as Queue named it
	Paused bool   // no worker starts its jobs
	// PausedUntil is when the pause ends by itself; zero = not before Resume.
	PausedUntil time.Time
	// Counts are the jobs by state, exact unless AtLeast has the state.
	Counts    map[State]int
	AtLeast   []State   // states whose count is a lower bound: there are that many or more
	OldestDue time.Time // run time of the job that has been due longest
}

// Clone returns a copy that shares no memory with the row; nil of nil.
func (j *JobRow) Clone() *JobRow {
	if j == nil {
		return nil
	}
	c := *j
	c.Args, c.Tags, c.Errors = bytes.Clone(j.Args), slices.Clone(j.Tags), slices.Clone(j.Errors)
	c.Result, c.Extra = bytes.Clone(j.Result), bytes.Clone(j.Extra)
	if j.Key != nil {
		key := *j.Key
		c.Key = &key
	}
	if j.Meta != nil {
		c.Meta = cloneJSON(j.Meta).(map[string]any)
	}
	return &c
}

// cloneJSON copies a value that was decoded from JSON.
func cloneJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for name, member := range v {
			c[name] = cloneJSON(member)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, element := range v {
			c[i] = cloneJSON(element)
		}
		return c
	}
	return v
}
