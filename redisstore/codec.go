package redisstore

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// The layouts of what is kept, big-endian throughout. lua/rows.lua is the
// other reader and writer of them.
//
//	row      head, body. Once a job was fetched, or if its row is large, its head
//	         is a field of its own (which most steps change); the one in the row
//	         is then out of date. Behind the head of a large row is its cover.
//	cover    the body with the size of the args (4 bytes) in place of the args,
//	         and the text uncompressed
//	head     1 byte  state (3 bits), origin (2), has a key, keyless, cancel requested
//	         1 byte  priority (4 bits), long form, due when enqueued, profile inline,
//	                 ID made by a client
//	         6       enqueued at
//	         6       run at, unless due when enqueued
//	         4       the profile: what many jobs have in common, kept in meta;
//	                 or, inline, 2 bytes of length and the profile
//	         8       nonce
//	         32      key, if any
//	         long    attempt (3), max attempts (3), run (5), anchor (6), started (6),
//	                 finished (6), fetch (6), encoding (1); and with a byte of length
//	                 each: worker, behind, displaced, superseded by
//	body     16      digest of the args, with a key
//	         1       flags: meta, tags, the text is compressed, args are nil
//	         2 + n   text of the key, with a key (see compressText)
//	         3 + n   meta, if any. Behind it, if the enqueue said more (NewRow.Extra): NUL
//	                 and that, where no meta is null. Who does not know it passes it over
//	         2 + n   tags, if any (with a byte of length each)
//	         n       the args
//	profile  kind and queue (with a byte of length each), encoding (1), max
//	         attempts (3), timeout (6), retention (6), until (1), window (6),
//	         TTL (6; 0 = none), from enqueue (1); retention of a job that
//	         failed (6), if it is another
//	key row  short   the holder: held on its terms, since its enqueue, until an event
//	         long    0; then 1, or 2 if the row of the holder is gone; pending
//	                 event (1), frees at (6), since (6), holder and next (with a
//	                 byte of length each); if it is gone: kind and queue (with a
//	                 byte of length each), state (1), digest (16), text
//	errors   for each, with 4 bytes of length: attempt (3), run (5), at (6), error
//	         and stack (with 4 bytes of length each)
//
// An instant is milliseconds in 6 bytes, all ones for never. An ID that a
// client made takes 19 bytes, see packID.

// never is onceq.Never in six bytes.
const never = 1<<48 - 1

const (
	stScheduled = iota
	stRetryable
	stRunning
	stCompleted
	stDiscarded
	stCancelled
	stAvailable // shown to people, never stored
)

var states = [...]onceq.State{onceq.Scheduled, onceq.Retryable, onceq.Running, onceq.Completed, onceq.Discarded,
	onceq.Cancelled, onceq.Available}

func stateCode(s onceq.State) (byte, bool) {
	for i, is := range states {
		if is == s {
			return byte(i), true
		}
	}
	return 0, false
}

var origins = [...]onceq.Outcome{onceq.Inserted, onceq.Coalesced, onceq.Superseded}

const (
	headState   = 1<<3 - 1
	headOrigin  = 1<<5 - 1<<3
	headKey     = 1 << 5
	headKeyless = 1 << 6
	headCancel  = 1 << 7

	headPriority = 1<<4 - 1

	headLong   = 1 << 4
	headNow    = 1 << 5
	headInline = 1 << 6
	headMade   = 1 << 7

	bodyMeta    = 1
	bodyTags    = 2
	bodyTold    = 4
	bodyNilArgs = 8
)

var encodings = [...]string{onceq.EncodingJSON, onceq.EncodingBytes}

func encodingCode(s string) byte {
	if s == onceq.EncodingBytes {
		return 1
	}
	return 0
}

func put48(b []byte, v int64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func putName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// putMilli adds a length of time in milliseconds. What six bytes cannot
// hold becomes the longest that they can.
func putMilli(b []byte, d time.Duration) []byte {
	return put48(b, min(max(d.Milliseconds(), 0), never-1))
}

// profile has what many jobs have in common.
type profile struct {
	kind, queue, encoding string
	maxAttempts           int
	timeout, retention    time.Duration
	failed                time.Duration // the retention of a job that failed
	hold                  onceq.Hold
}

func appendProfile(b []byte, r *onceq.NewRow) []byte {
	b = putName(putName(b, r.Kind), r.Queue)
	b = append(b, encodingCode(r.Encoding), byte(r.MaxAttempts>>16), byte(r.MaxAttempts>>8), byte(r.MaxAttempts))
	b = putMilli(putMilli(b, r.Timeout), r.Retention)
	var h onceq.Hold
	if r.Claim != nil {
		h = r.Claim.Hold
	}
	b = append(b, byte(h.Until))
	b = putMilli(putMilli(b, h.Window), h.TTL)
	fromEnqueue := byte(0)
	if h.FromEnqueue {
		fromEnqueue = 1
	}
	b = append(b, fromEnqueue)
	if r.RetentionFailed != r.Retention {
		b = putMilli(b, r.RetentionFailed)
	}
	return b
}

func readProfile(s string) (*profile, error) {
	r := reader{s: s}
	p := &profile{kind: r.name(), queue: r.name()}
	p.encoding = encodings[r.num(1)&1]
	p.maxAttempts = int(r.num(3))
	p.timeout, p.retention = r.length(), r.length()
	p.hold.Until = onceq.Until(r.num(1))
	p.hold.Window, p.hold.TTL = r.length(), r.length()
	p.hold.FromEnqueue = r.num(1) == 1
	p.failed = p.retention
	if r.s != "" {
		p.failed = r.length()
	}
	return p, r.err("profile")
}

// reader reads values from the front of a string. A value that is missing
// reads as zero and sets err.
type reader struct {
	s   string
	bad bool
}

func (r *reader) take(n int) string {
	if n > len(r.s) {
		r.bad, r.s = true, ""
		return ""
	}
	v := r.s[:n]
	r.s = r.s[n:]
	return v
}

func (r *reader) num(n int) (v int64) {
	for _, c := range []byte(r.take(n)) {
		v = v<<8 | int64(c)
	}
	return v
}

func (r *reader) instant() int64 {
	if v := r.num(6); v != never {
		return v
	}
	return onceq.Never
}

func (r *reader) length() time.Duration { return time.Duration(r.num(6)) * time.Millisecond }
func (r *reader) name() string          { return r.take(int(r.num(1))) }

func (r *reader) err(what string) error {
	if r.bad {
		return fmt.Errorf("redisstore: a %s is cut short: was it written by another program, or by a later version "+
			"of this one?", what)
	}
	return nil
}
