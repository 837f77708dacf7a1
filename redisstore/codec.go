package redisstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
//	         3 + n   meta, if any
//	         2 + n   tags, if any (with a byte of length each)
//	         n       the args
//	profile  kind and queue (with a byte of length each), encoding (1), max
//	         attempts (3), timeout (6), retention (6), until (1), window (6),
//	         TTL (6; 0 = none), from enqueue (1)
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

var digit = func() (d [256]byte) {
	for i := range d {
		d[i] = 255
	}
	for i := range onceq.IDAlphabet {
		d[onceq.IDAlphabet[i]] = byte(i)
	}
	return d
}()

// made reports whether an ID looks like one that a client made.
func made(id string) bool {
	if len(id) != 26 {
		return false
	}
	for i := range len(id) {
		if digit[id[i]] == 255 {
			return false
		}
	}
	return true
}

// packedSize is the size of a packed ID.
const packedSize = 19

// packID is the stored form of an ID. An ID of the form that clients make
// takes 19 bytes: three characters as they are, a NUL, which no other ID
// contains, and 23 characters of five bits each. Packed IDs sort as the IDs
// do, with one exception: an ID of a caller's own sorts behind the packed
// ones if it begins with the same three characters (these are the same for
// a year).
func packID(id string) string {
	if !made(id) {
		return id
	}
	var b [packedSize]byte
	return string(appendID(b[:0], id))
}

// appendID adds the stored form of an ID.
func appendID(to []byte, id string) []byte {
	if !made(id) {
		return append(to, id...)
	}
	var b [packedSize]byte
	copy(b[:], id[:3])
	acc, bits, at := uint32(0), 0, 4
	for i := 3; i < len(id); i++ {
		acc, bits = acc<<5|uint32(digit[id[i]]), bits+5
		if bits >= 8 {
			bits -= 8
			b[at] = byte(acc >> bits)
			at++
		}
	}
	b[at] = byte(acc << (8 - bits))
	return append(to, b[:]...)
}

// unpackID is the reverse of packID.
func unpackID(s string) string {
	if len(s) != packedSize || s[3] != 0 {
		return s
	}
	var id [26]byte
	copy(id[:], s[:3])
	acc, bits, at := uint32(0), 0, 4
	for i := 3; i < len(id); i++ {
		if bits < 5 {
			acc, bits = acc<<8|uint32(s[at]), bits+8
			at++
		}
		bits -= 5
		id[i] = onceq.IDAlphabet[acc>>bits&31]
	}
	return string(id[:])
}

// packBelow is a bound for packed IDs: those of IDs below id are below it.
// "" stays "".
func packBelow(id string) string {
	if id == "" {
		return ""
	}
	bound := []byte(strings.Repeat("0", 26))
	for i := range min(len(id), len(bound)) {
		at := strings.IndexFunc(onceq.IDAlphabet, func(c rune) bool { return byte(c) >= id[i] })
		if at >= 0 {
			bound[i] = onceq.IDAlphabet[at]
			if onceq.IDAlphabet[at] != id[i] {
				return packID(string(bound))
			}
			continue
		}
		// No character is larger than Z, so all that begins like this is
		// below the bound.
		for i--; i >= 0 && bound[i] == 'Z'; i-- {
			bound[i] = '0'
		}
		if i < 0 {
			return strings.Repeat("\xff", 3) + "\x00" + strings.Repeat("\xff", packedSize-4)
		}
		bound[i] = onceq.IDAlphabet[digit[bound[i]]+1]
		return packID(string(bound))
	}
	if len(id) > len(bound) && made(id[:len(bound)]) { // the ID of its first 26 characters is also below
		b := []byte(packID(string(bound)))
		b[len(b)-1] |= 31 // the bits that no ID uses
		return string(b)
	}
	return packID(string(bound))
}

// appendCommon adds what the text of a key may share with the rest of its
// row.
func appendCommon(b []byte, kind, queue string, args []byte) []byte {
	b = append(append(append(append(b, "kind="...), kind...), " queue="...), queue...)
	return append(append(b, " args="...), args[:min(len(args), 2048)]...)
}

// compressText writes text as literals and copies from all, as LZ77 does:
// length of the literal (1 byte), the literal, then offset and length of
// the copy (2 bytes each). It may end with a literal. ok is false if the
// result is not shorter than the text.
func compressText(b []byte, text string, all []byte) (_ []byte, ok bool) {
	before := len(b)
	if text == string(all) {
		return append(b, 0, 0, 0, byte(len(text)>>8), byte(len(text))), true
	}
	const shortest = 8
	if len(all) < shortest || len(text) < shortest {
		return b, false
	}
	var at [512]uint16 // where a group of four bytes occurred last, plus one
	hash := func(a, b, c, d byte) uint32 {
		return (uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24) * 2654435761 >> 23
	}
	for i := 0; i+4 <= len(all); i++ {
		at[hash(all[i], all[i+1], all[i+2], all[i+3])] = uint16(i + 1)
	}
	emit := func(lit string, from, n int) {
		for len(lit) > 255 {
			b = append(append(append(b, 255), lit[:255]...), 0, 0, 0, 0)
			lit = lit[255:]
		}
		b = append(append(append(b, byte(len(lit))), lit...), byte(from>>8), byte(from), byte(n>>8), byte(n))
	}
	lit := 0
	for i := 0; i+4 <= len(text); {
		from := int(at[hash(text[i], text[i+1], text[i+2], text[i+3])]) - 1
		n := 0
		if from >= 0 {
			for i+n < len(text) && from+n < len(all) && text[i+n] == all[from+n] {
				n++
			}
		}
		if n < shortest {
			i++
			continue
		}
		for i > lit && from > 0 && text[i-1] == all[from-1] {
			i, from, n = i-1, from-1, n+1
		}
		emit(text[lit:i], from, n)
		i += n
		lit = i
	}
	if lit < len(text) {
		emit(text[lit:], 0, 0)
		b = b[:len(b)-4]
	}
	return b, len(b)-before < len(text)
}

// expandText is the reverse of compressText.
func expandText(s string, all []byte) (text string, ok bool) {
	var room [512]byte
	b := room[:0]
	r := reader{s: s}
	for r.s != "" && !r.bad {
		if b = append(b, r.name()...); r.s == "" {
			break
		}
		from, n := int(r.num(2)), int(r.num(2))
		if from+n > len(all) {
			return "", false
		}
		b = append(b, all[from:from+n]...)
	}
	return string(b), !r.bad
}

// profile has what many jobs have in common.
type profile struct {
	kind, queue, encoding string
	maxAttempts           int
	timeout, retention    time.Duration
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
	if h.FromEnqueue {
		return append(b, 1)
	}
	return append(b, 0)
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

// job is a row as it was read.
type job struct {
	onceq.JobRow
	key    onceq.Key // that JobRow.Key points to
	nonce  string
	anchor int64
	runAt  int64
	due    bool // it stands behind no job and its run time has passed, or it was fetched
	weight int  // bytes of args and meta
}

// readJob reads the fields of a job: its row, and the field of its head, ""
// if it has none. If row is "" the job is read without args, from its
// cover.
func readJob(id, row, head, errs string, now int64, profiles func(ref string) (*profile, error)) (*job, error) {
	j := &job{}
	j.ID = unpackID(id)
	r := reader{s: row}
	covered := row == ""
	if covered {
		r.s, head = head, ""
	}
	if err := j.readHead(&r, profiles); err != nil {
		return nil, err
	}
	if head != "" {
		was := j.Key != nil
		h := reader{s: head}
		*j = job{JobRow: onceq.JobRow{ID: j.ID}}
		if err := j.readHead(&h, profiles); err != nil {
			return nil, err
		}
		if was != (j.Key != nil) {
			return nil, errors.New("redisstore: the head and the row of job " + j.ID + " do not go together")
		}
	}
	j.readBody(&r)
	if covered {
		j.Args = nil
	}
	if err := r.err("job"); err != nil {
		return nil, err
	}
	if waiting := j.State == onceq.Scheduled || j.State == onceq.Retryable; waiting && j.Behind == "" &&
		j.runAt <= now {
		j.State = onceq.Available
	}
	j.due = j.Behind == "" && (j.Run > 0 || j.runAt <= now)
	e := reader{s: errs}
	for e.s != "" && !e.bad {
		one := reader{s: e.take(int(e.num(4)))}
		a := onceq.AttemptError{Attempt: int(one.num(3)), Run: one.num(5), At: onceq.Instant(one.instant())}
		a.Error = one.take(int(one.num(4)))
		a.Stack = one.take(int(one.num(4)))
		e.bad = e.bad || one.bad
		j.Errors = append(j.Errors, a)
	}
	return j, e.err("list of errors")
}

func (j *job) readHead(r *reader, profiles func(string) (*profile, error)) error {
	a, b := r.num(1), r.num(1)
	enqueued := r.instant()
	j.runAt = enqueued
	if b&headNow == 0 {
		j.runAt = r.instant()
	}
	ref := ""
	if b&headInline != 0 {
		ref = r.take(int(r.num(2)))
	} else {
		ref = r.take(4)
	}
	j.nonce = r.take(8)
	if r.bad || a&7 > stCancelled || a>>3&3 >= int64(len(origins)) {
		return r.err("job")
	}
	p, err := profiles(ref)
	if err != nil {
		return err
	}
	j.Kind, j.Queue, j.Encoding, j.MaxAttempts, j.Timeout, j.Retention = p.kind, p.queue, p.encoding, p.maxAttempts,
		p.timeout, p.retention
	j.State, j.Origin, j.Priority = states[a&7], origins[a>>3&3], int(b&15)
	j.Keyless, j.CancelRequested = a&headKeyless != 0, a&headCancel != 0
	j.EnqueuedAt, j.RunAt = onceq.Instant(enqueued), onceq.Instant(j.runAt)
	if a&headKey != 0 {
		j.Key = &j.key
		copy(j.Key[:], r.take(len(j.Key)))
		j.Hold = p.hold
		j.anchor = p.hold.AnchorAt(enqueued, j.runAt)
	}
	if b&headLong != 0 {
		j.Attempt, j.MaxAttempts, j.Run = int(r.num(3)), int(r.num(3)), r.num(5)
		j.anchor = r.instant()
		j.StartedAt, j.FinishedAt = onceq.Instant(r.instant()), onceq.Instant(r.instant())
		r.num(6)
		j.Encoding = encodings[r.num(1)&1]
		j.Worker = r.name()
		j.Behind, j.Displaced, j.SupersededBy = unpackID(r.name()), unpackID(r.name()), unpackID(r.name())
	}
	if j.Key != nil {
		j.Anchor = onceq.Instant(j.anchor)
	}
	return r.err("job")
}

func (j *job) readBody(r *reader) {
	if j.Key != nil {
		copy(j.Digest[:], r.take(16))
	}
	flags := r.num(1)
	text := ""
	if j.Key != nil {
		text = r.take(int(r.num(2)))
		j.KeyText = text
	}
	if flags&bodyMeta != 0 {
		meta := r.take(int(r.num(3)))
		j.weight = len(meta)
		d := json.NewDecoder(strings.NewReader(meta))
		d.UseNumber()
		if d.Decode(&j.Meta) != nil {
			r.bad = true
		}
	}
	if flags&bodyTags != 0 {
		tags := reader{s: r.take(int(r.num(2)))}
		for tags.s != "" {
			j.Tags = append(j.Tags, tags.name())
		}
	}
	if flags&bodyNilArgs == 0 {
		j.Args = []byte(r.s)
		j.weight += len(j.Args)
	}
	if flags&bodyTold != 0 {
		var ok bool
		var room [512]byte
		if j.KeyText, ok = expandText(text, appendCommon(room[:0], j.Kind, j.Queue, j.Args)); !ok {
			r.bad = true
		}
	}
}

// largeBody is the size of a body in bytes from which its job has a cover;
// see rows.lua.
const largeBody = 4096

// isLarge reports whether the row of a new job is large, even if its text
// will be compressed.
func isLarge(r *onceq.NewRow) bool {
	n := len(r.Args) + len(r.Meta)
	if r.Claim != nil {
		n += len(r.Claim.Text)
	}
	return n > largeBody
}

// appendRest adds what follows the instants in the row of a new job. cover
// is how much of the body comes before the args; 0 if the row is not large.
func appendRest(b []byte, r *onceq.NewRow, ref string) (_ []byte, cover int) {
	large := isLarge(r)
	b = append(b, ref...)
	b = append(b, nonce(r.Nonce)...)
	if r.Claim != nil {
		b = append(append(b, r.Claim.Key[:]...), r.Claim.Digest[:]...)
	}
	flags := byte(0)
	if len(r.Meta) > 0 {
		flags |= bodyMeta
	}
	if len(r.Tags) > 0 {
		flags |= bodyTags
	}
	if r.Args == nil {
		flags |= bodyNilArgs
	}
	at := len(b)
	b = append(b, flags)
	if r.Claim != nil {
		b = append(b, 0, 0)
		var room [512]byte
		if text, ok := compressText(b, r.Claim.Text, appendCommon(room[:0], r.Kind, r.Queue, r.Args)); ok && !large {
			b = text
			b[at] |= bodyTold
		} else {
			b = append(b, r.Claim.Text...)
		}
		binary.BigEndian.PutUint16(b[at+1:], uint16(len(b)-at-3))
	}
	if len(r.Meta) > 0 {
		n := len(r.Meta)
		b = append(append(b, byte(n>>16), byte(n>>8), byte(n)), r.Meta...)
	}
	if len(r.Tags) > 0 {
		var tags []byte
		for _, t := range r.Tags {
			tags = putName(tags, t)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(tags)))
		b = append(b, tags...)
	}
	if large {
		cover = len(b) - at
		if r.Claim != nil {
			cover += len(r.Claim.Digest)
		}
	}
	return append(b, r.Args...), cover
}

// nonce is the stored part of a nonce: it is compared only with that of the
// same ID.
func nonce(n [16]byte) []byte {
	a, b := binary.LittleEndian.Uint64(n[:8]), binary.LittleEndian.Uint64(n[8:])
	return binary.LittleEndian.AppendUint64(nil, mix(a)^b)
}

// mix scrambles a number so that each of its bits changes every bit of the
// result (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// heldKey reads the row of a key. holder is its job; nil if that is gone.
func heldKey(key onceq.Key, row string, holder *job) (*onceq.HeldKey, error) {
	h := new(onceq.HeldKey)
	return h, readKey(h, key, row, holder)
}

func readKey(h *onceq.HeldKey, key onceq.Key, row string, holder *job) error {
	r := reader{s: row}
	*h = onceq.HeldKey{Key: key}
	form := int64(0)
	if row == "" || row[0] != 0 {
		h.Holder = row
	} else {
		r.num(1)
		form = r.num(1)
		pending := onceq.Until(r.num(1))
		h.FreesAt, h.Since = onceq.Instant(r.instant()), onceq.Instant(r.instant())
		h.Holder, h.Waiter = r.name(), unpackID(r.name())
		h.FreesWhen = pending.String()
	}
	if holder != nil {
		h.Holder = holder.ID
	} else {
		h.Holder = unpackID(h.Holder)
	}
	if form == 2 {
		h.Gone = true
		h.Kind, h.Queue = r.name(), r.name()
		if s := r.num(1); s < stAvailable {
			h.State = states[s]
		}
		copy(h.Digest[:], r.take(16))
		h.Text = r.s
		return r.err("key")
	}
	if holder == nil {
		return fmt.Errorf("redisstore: the holder %q of key %s is not there", h.Holder, key)
	}
	if form == 0 {
		h.Since, h.FreesWhen = holder.EnqueuedAt, holder.Hold.Until.String()
	}
	if h.FreesWhen == onceq.UntilDue.String() && holder.due {
		h.FreesWhen = "" // the event has come by itself, and only Window holds
	}
	h.Kind, h.Queue, h.Text, h.State, h.Digest = holder.Kind, holder.Queue, holder.KeyText, holder.State, holder.Digest
	return r.err("key")
}

// appendError adds the error of a run in the form in which it is sent.
func appendError(b []byte, f *onceq.Finish) []byte {
	if f.Error == "" {
		return b
	}
	for _, s := range []string{f.Error, f.Stack} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}
