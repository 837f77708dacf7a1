package onceq

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// JobFilter chooses jobs. All fields that are set must match. The zero value
// matches every job in a list; where jobs would be changed it is refused, so
// that nobody changes all jobs by accident.
type JobFilter struct {
	States []State   // in one of these states; nil = in any
	Queue  string    // "" = any
	Kind   string    // "" = any
	Key    *Key      // jobs that were enqueued with this key; nil = any
	Tag    string    // jobs that have this tag; "" = any
	Worker string    // jobs that this worker runs, or ran last; "" = any
	After  time.Time // enqueued at this instant or later; zero = any
	Before time.Time // enqueued before this instant; zero = any

	All   bool // every job is meant, although no other field is set
	Limit int  // at most so many; 0 = no limit
	// Args asks for the args of each job too. Without it a list does not read
	// them, and JobRow.Args is nil.
	Args bool
	// Reserved asks for onceq's own jobs too (see [ReservedName]). They are
	// also matched if Queue or Kind names them, or Key is set.
	Reserved bool
}

// Request is what a [Store] is asked for a page of the jobs that match.
func (f *JobFilter) Request(cursor string, limit int) ListRequest {
	return ListRequest{States: f.States, Queue: f.Queue, Kind: f.Kind, Key: f.Key, Tag: f.Tag, Worker: f.Worker,
		After: f.After, Before: f.Before, Args: f.Args, Cursor: cursor, Limit: limit}
}

func (f *JobFilter) empty() bool {
	r := f.Request("", 0)
	return !r.Filtered()
}

func (f *JobFilter) validate() error {
	for _, s := range f.States {
		if !slices.Contains(States(), s) {
			return invalid("state", s, "must be one of %v", States())
		}
	}
	if !f.After.IsZero() && !f.Before.IsZero() && !f.After.Before(f.Before) {
		return invalid("before", f.Before.Format(time.RFC3339Nano),
			"must be later than after (%s): no job is in between", f.After.Format(time.RFC3339Nano))
	}
	return checkLimit(f.Limit)
}

func checkLimit(n int) error {
	if n < 0 {
		return invalid("limit", n, "must be 0 (no limit) or more")
	}
	return nil
}

// Filtered reports whether the request leaves some jobs out.
func (r *ListRequest) Filtered() bool {
	return len(r.States) > 0 || r.Queue != "" || r.Kind != "" || r.Key != nil || r.Tag != "" || r.Worker != "" ||
		!r.After.IsZero() || !r.Before.IsZero()
}

// Matches reports whether a job is one that the request asks for. The cursor
// does not matter.
func (r *ListRequest) Matches(j *JobRow) bool {
	return (len(r.States) == 0 || slices.Contains(r.States, j.State)) && (r.Queue == "" || r.Queue == j.Queue) &&
		(r.Kind == "" || r.Kind == j.Kind) && (r.Key == nil || j.Key != nil && *r.Key == *j.Key) &&
		(r.Tag == "" || slices.Contains(j.Tags, r.Tag)) && (r.Worker == "" || r.Worker == j.Worker) &&
		(r.After.IsZero() || !j.EnqueuedAt.Before(r.After)) && (r.Before.IsZero() || j.EnqueuedAt.Before(r.Before))
}

// KeyFilter chooses keys. All fields that are set must match.
type KeyFilter struct {
	Queue string // of the holder; "" = any
	Kind  string // of the holder; "" = any
	From  string // keys whose hexadecimal form begins with this; "" = any
	Text  string // keys whose readable text contains this, in this case; "" = any
	Limit int    // at most so many; 0 = no limit
	Inert bool   // also list keys that are free and were not swept yet
	All   bool   // every key is meant, although no other field is set: for ReleaseKeys
	// Reserved asks for the keys of onceq's own jobs too (see
	// [ReservedName]). They are also listed if Queue or Kind names them.
	Reserved bool
}

// Request is what a [Store] is asked for a page of the keys that match.
func (f *KeyFilter) Request(cursor string, limit int) KeysRequest {
	return KeysRequest{Queue: f.Queue, Kind: f.Kind, From: f.From, Text: f.Text, Inert: f.Inert, Cursor: cursor,
		Limit: limit}
}

func (f *KeyFilter) validate() error {
	r := f.Request("", 0)
	if _, _, err := r.Range(); err != nil {
		return err
	}
	if !utf8.ValidString(f.Text) {
		return invalid("text", f.Text, "must be valid UTF-8")
	}
	return checkLimit(f.Limit)
}

// Enqueued is when the jobs of the request were enqueued, in milliseconds: at
// from or later, and before to.
func (r *ListRequest) Enqueued() (from, to int64) {
	from, to = math.MinInt64, Never
	if !r.After.IsZero() {
		from = ceilMS(r.After)
	}
	if !r.Before.IsZero() {
		to = ceilMS(r.Before)
	}
	return from, to
}

// ceilMS is the first whole millisecond that is not before an instant.
func ceilMS(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// Range is the smallest and the largest key that can begin as From says and
// come after the cursor. They are refused where they are no keys.
func (r *KeysRequest) Range() (first, last Key, err error) {
	if len(r.From) > 64 || strings.Trim(r.From, "0123456789abcdefABCDEF") != "" {
		return first, last, invalid("from", r.From, "must be the first hexadecimal digits of a key, at most 64")
	}
	_, _ = hex.Decode(first[:], []byte(r.From+strings.Repeat("0", 64-len(r.From))))
	_, _ = hex.Decode(last[:], []byte(r.From+strings.Repeat("f", 64-len(r.From))))
	if r.Cursor == "" {
		return first, last, nil
	}
	after, err := ParseKey(r.Cursor)
	if err != nil {
		return first, last, invalid("cursor", r.Cursor, "must be that of the page before")
	}
	if bytes.Compare(after[:], first[:]) >= 0 {
		first = after
		for i := len(first) - 1; i >= 0; i-- { // the key behind it
			if first[i]++; first[i] != 0 {
				return first, last, nil
			}
		}
		return last, Key{}, nil // there is none
	}
	return first, last, nil
}

// Matches reports whether a key is one that the request asks for. The range of
// the keys does not matter.
func (r *KeysRequest) Matches(k *HeldKey) bool {
	return (!k.Inert || r.Inert) && (r.Queue == "" || r.Queue == k.Queue) && (r.Kind == "" || r.Kind == k.Kind) &&
		strings.Contains(k.Text, r.Text)
}
