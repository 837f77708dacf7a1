package redisstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onceq/onceq"
)

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
	j.Kind, j.Queue, j.Encoding, j.MaxAttempts, j.Timeout = p.kind, p.queue, p.encoding, p.maxAttempts, p.timeout
	j.Retention, j.RetentionFailed = p.retention, p.failed
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
		meta, extra, _ := strings.Cut(meta, "\x00")
		if extra != "" {
			j.Extra = []byte(extra)
		}
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
	n := len(r.Args) + len(r.Meta) + len(r.Extra)
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
	meta := metaBlock(r)
	if len(meta) > 0 {
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
	if n := len(meta); n > 0 {
		b = append(append(b, byte(n>>16), byte(n>>8), byte(n)), meta...)
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

// metaBlock is what a row has in the place of its meta: see codec.go.
func metaBlock(r *onceq.NewRow) []byte {
	switch {
	case len(r.Extra) == 0:
		return r.Meta
	case len(r.Meta) == 0:
		return slices.Concat([]byte("null\x00"), r.Extra)
	}
	return slices.Concat(r.Meta, []byte{0}, r.Extra)
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
