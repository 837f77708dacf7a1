package onceq

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq/internal/fingerprint"
)

// rowOf decides an enqueue, and encodes the args if the client has a codec.
// nonce is that of the call, index that of the item in a batch.
// It fills row, which is zero before, and after an error.
func (c *Client) rowOf(ctx context.Context, row *NewRow, args Args, opts []Option, nonce [16]byte, index int) error {
	err := c.plainRow(row, args, opts, nonce, index)
	if err == nil {
		err = c.encode(ctx, row)
	}
	if err != nil {
		*row = NewRow{}
	}
	return err
}

// plainRow decides an enqueue: it merges the options, checks everything and
// computes the key. It is pure, except for a generated ID. It fills row in its
// place: a row is large, and a batch has many.
func (c *Client) plainRow(row *NewRow, args Args, opts []Option, nonce [16]byte, index int) error {
	kind, err := kindOf(args)
	if err != nil {
		return err
	}
	s := spareSettings.Get().(*settings)
	defer spareSettings.Put(s)
	if err := c.merge(s, kind, args, opts); err != nil {
		return err
	}
	*row = NewRow{
		ID: s.id, Kind: kind, Queue: s.queue, Tags: s.tags, Priority: s.priority, MaxAttempts: s.maxAttempts,
		Timeout: ceilMilli(s.timeout), Retention: ceilMilli(s.retention),
		RetentionFailed: ceilMilli(s.retentionOfFailed()),
		Delay:           ceilMilli(s.delay), RunAt: s.runAt,
	}
	if row.Args, row.Encoding, err = encodeArgs(args); err != nil {
		return err
	}
	if most := c.maxArgs(); c.config.Codec == nil && len(row.Args) > most {
		return tooLarge(len(row.Args), most, "")
	}
	if row.Meta, err = marshalMeta(s.meta); err != nil {
		return err
	}
	if len(row.Meta) > MaxMetaSize {
		return invalid("meta", fmt.Sprintf("%d bytes", len(row.Meta)),
			"must be at most %d bytes as JSON", MaxMetaSize)
	}
	if row.Extra, err = (extra{Backoff: s.backoff.stored()}).encode(); err != nil {
		return err
	}
	if s.unique {
		if err := s.claim(args, row, c.config.Codec != nil); err != nil {
			return err
		}
	} else if _, raw := args.(rawArgs); raw && row.Encoding == EncodingJSON {
		if err := invalidFrom(fingerprint.Check(row.Args), false); err != nil {
			return err
		}
	}
	row.Reactions = s.policy.reactions()
	s.policy.fill(row)
	if c.tally.wantsTerms(row.Queue, kind) {
		row.terms = s.keyTerms(shapeOf(args))
	}
	if s.resend != nil {
		if index >= len(s.resend.IDs) {
			return invalid("Resend", s.resend.ID, "is of a batch of %d, and this is item %d: repeat the "+
				"batch as it was", len(s.resend.IDs), index)
		}
		row.ID, nonce = s.resend.IDs[index], s.resend.nonce
	}
	if row.Nonce = nonceOf(nonce, index); s.tokenAt != unsaid {
		row.Nonce, row.token = s.token, true
	}
	if s.guard != nil {
		if err := s.asClaim(row); err != nil || row.unguarded {
			return err
		}
	}
	if row.ID == "" {
		row.ID, row.made = c.ids.next(time.Now()), true
		if c.place != nil {
			row.ID = c.place(row.ID, row.key())
		}
	}
	return nil
}

// merge sets s to what all levels together say of an enqueue, and checks it.
func (c *Client) merge(s *settings, kind string, args Args, opts []Option) error {
	*s = unsettled
	s.applyAll(ofDefaults, c.config.Defaults)
	if o, ok := args.(EnqueueOptioner); ok {
		ofItsType, err := optionsOfType(o)
		if err != nil {
			return err
		}
		s.applyAll(ofType, ofItsType)
	}
	s.applyAll(ofKind, c.config.Kinds[kind])
	s.applyAll(ofCall, opts)
	if s.err != nil {
		return s.err
	}
	if err := cmp.Or(s.checkKind(kind), s.check()); err != nil {
		return err
	}
	return s.checkStructTags(args, shapeOf(args))
}

// isKept reports whether the job is kept for some time, however it ends: it is
// known then if its enqueue is sent again.
func (r *NewRow) isKept() bool { return r.Retention > 0 && r.RetentionFailed > 0 }

// size is what a row weighs: the bytes of its args, meta and tags.
func (r *NewRow) size() int {
	n := len(r.Args) + len(r.Meta) + len(r.Extra)
	for _, tag := range r.Tags {
		n += len(tag)
	}
	return n
}

// own copies what is still memory of the caller, which the caller may use
// for something else after the call.
func (r *NewRow) own(args Args) {
	if _, raw := args.(rawArgs); raw { // other args were encoded into new memory
		r.Args = bytes.Clone(r.Args)
	}
	r.Tags = slices.Clone(r.Tags)
}

// spareSettings is a pool of settings.
var spareSettings = sync.Pool{New: func() any { return new(settings) }}

func (r *NewRow) key() *Key {
	if r.Claim == nil {
		return nil
	}
	return &r.Claim.Key
}

// claim computes the key, and the terms on which it is held. encoded says that
// a codec will encode the args.
func (s *settings) claim(args Args, row *NewRow, encoded bool) error {
	in := fingerprint.Input{
		Kind: row.Kind, Queue: row.Queue, Args: row.Args, JSON: row.Encoding == EncodingJSON, Meta: row.Meta,
		By: fingerprint.Part(s.by), Fields: s.fields, MetaFields: s.metaFields, AllowBlank: s.allowBlank,
	}
	switch {
	case s.customAt != unsaid:
		in.Custom, in.Key, in.By = true, s.customKey, fingerprint.Part(s.customScope&^ByKey)
	case s.by == 0:
		in.By = fingerprint.Part(byDefault)
	}
	if in.By&fingerprint.ByArgs != 0 && !in.Custom {
		fields, err := narrowed(args, s.fields)
		if err != nil {
			return err
		}
		in.Fields = fields
	}
	if s.guard != nil { // two guards never share a key
		in.By |= fingerprint.ByQueue
	}
	sum, err := fingerprint.Sum(in)
	secret := s.secretKey(encoded)
	if err != nil {
		return invalidFrom(err, secret)
	}
	if secret {
		sum.Text = secretText(sum.Key)
	}
	row.Claim = &Claim{Key: sum.Key, Text: sum.Text, Digest: sum.Digest, Hold: s.hold()}
	row.Claim.Hold.Window, row.Claim.Hold.TTL = ceilMilli(row.Claim.Hold.Window), ceilMilli(row.Claim.Hold.TTL)
	return nil
}
