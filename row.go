package onceq

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq/internal/fingerprint"
)

// rowOf decides an enqueue: it merges the options, checks everything and
// computes the key. It is pure, except for a generated ID. nonce is that of
// the call, index that of the item in a batch.
func (c *Client) rowOf(args Args, opts []Option, nonce [16]byte, index int) (NewRow, error) {
	kind, err := kindOf(args)
	if err != nil {
		return NewRow{}, err
	}
	s := spareSettings.Get().(*settings)
	defer spareSettings.Put(s)
	*s = newSettings()
	s.applyAll(ofDefaults, c.config.Defaults)
	if o, ok := args.(EnqueueOptioner); ok {
		ofItsType, err := optionsOfType(o)
		if err != nil {
			return NewRow{}, err
		}
		s.applyAll(ofType, ofItsType)
	}
	s.applyAll(ofKind, c.config.Kinds[kind])
	s.applyAll(ofCall, opts)
	if s.err != nil {
		return NewRow{}, s.err
	}
	if err := s.check(); err != nil {
		return NewRow{}, err
	}
	if err := s.checkTags(args, shapeOf(args)); err != nil {
		return NewRow{}, err
	}
	row := NewRow{
		ID: s.id, Kind: kind, Queue: s.queue, Tags: s.tags, Priority: s.priority, MaxAttempts: s.maxAttempts,
		Timeout: ceilMilli(s.timeout), Retention: ceilMilli(s.retention), Delay: ceilMilli(s.delay), RunAt: s.runAt,
	}
	if row.Args, row.Encoding, err = encodeArgs(args); err != nil {
		return NewRow{}, err
	}
	if len(row.Args) > c.maxArgs() {
		return NewRow{}, invalid("args", fmt.Sprintf("%d bytes", len(row.Args)),
			"must be at most %d bytes (Config.MaxArgs): keep large data elsewhere and pass a reference", c.maxArgs())
	}
	if row.Meta, err = marshalMeta(s.meta); err != nil {
		return NewRow{}, err
	}
	if len(row.Meta) > MaxMetaSize {
		return NewRow{}, invalid("meta", fmt.Sprintf("%d bytes", len(row.Meta)),
			"must be at most %d bytes as JSON", MaxMetaSize)
	}
	if s.unique {
		if err := s.claim(args, &row); err != nil {
			return NewRow{}, err
		}
	} else if _, raw := args.(rawArgs); raw && row.Encoding == EncodingJSON {
		if err := invalidFrom(fingerprint.Check(row.Args)); err != nil {
			return NewRow{}, err
		}
	}
	row.Reactions = s.policy.reactions()
	switch p := s.policy.(type) {
	case Replace:
		row.Write = p.columns()
	case Debounce:
		row.MaxWait = ceilMilli(p.MaxWait)
	}
	if s.resend != nil {
		if index >= len(s.resend.IDs) {
			return NewRow{}, invalid("Resend", s.resend.ID, "is of a batch of %d, and this is item %d: repeat the "+
				"batch as it was", len(s.resend.IDs), index)
		}
		row.ID, nonce = s.resend.IDs[index], s.resend.nonce
	}
	row.Nonce = nonceOf(nonce, index)
	if row.ID == "" {
		row.ID, row.made = c.ids.next(time.Now()), true
		if c.place != nil {
			row.ID = c.place(row.ID, row.key())
		}
	}
	return row, nil
}

// size is what a row weighs: the bytes of its args, meta and tags.
func (r *NewRow) size() int {
	n := len(r.Args) + len(r.Meta)
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

// check checks the merged options of an enqueue.
func (s *settings) check() error {
	if err := s.checkBounds(); err != nil {
		return err
	}
	if s.unique {
		return s.checkUnique()
	}
	if s.policyAt == ofCall && s.idAt == unsaid && s.resend == nil {
		return invalid("OnConflict", s.policy, "is said at the call, and the job has neither a key nor an ID of "+
			"yours to meet: say Unique, UniqueKey or ID too, or leave OnConflict away")
	}
	return nil
}

// checkBounds checks each option by itself.
func (s *settings) checkBounds() error {
	if err := checkName("queue", s.queue); err != nil {
		return err
	}
	if s.idAt != unsaid {
		if err := checkID(s.id); err != nil {
			return err
		}
		if s.idAt < ofCall {
			return invalid("ID", s.id, "is said %s, where every job would share it: say it at the call", s.idAt)
		}
		if s.resend != nil && !slices.Contains(s.resend.IDs, s.id) {
			return invalid("ID", s.id, "and Resend name different jobs (Resend: %s): leave ID away, or repeat the "+
				"same", s.resend.ID)
		}
	}
	if s.priority < 0 || s.priority > 9 {
		return invalid("priority", s.priority, "must be 0 (first) to 9 (last)")
	}
	if s.maxAttempts < 1 || s.maxAttempts > maxAttempts {
		return invalid("max attempts", s.maxAttempts, "must be 1 to %d", maxAttempts)
	}
	if s.delayAt != unsaid && s.delay != 0 {
		if s.delay < 0 {
			return invalid("delay", s.delay, "must not be negative")
		}
		if err := checkDuration("delay", s.delay); err != nil {
			return err
		}
	}
	if s.runAtAt != unsaid {
		if now := time.Now(); s.runAt.IsZero() || s.runAt.After(now.Add(maxDuration)) ||
			s.runAt.Before(now.Add(-maxDuration)) {
			return invalid("run at", s.runAt, "must be an instant within 100 years from now or ago")
		}
	}
	if s.timeout != 0 {
		if err := checkDuration("timeout", s.timeout); err != nil {
			return err
		}
	}
	if s.retention != 0 {
		if err := checkDuration("retention", s.retention); err != nil {
			return err
		}
	}
	if len(s.tags) > MaxTags {
		return invalid("tags", fmt.Sprintf("%d tags", len(s.tags)), "must be at most %d", MaxTags)
	}
	for _, tag := range s.tags {
		if err := checkName("tag", tag); err != nil {
			return err
		}
	}
	return nil
}

// claim computes the key, and the terms on which it is held.
func (s *settings) claim(args Args, row *NewRow) error {
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
	sum, err := fingerprint.Sum(in)
	if err != nil {
		return invalidFrom(err)
	}
	row.Claim = &Claim{Key: sum.Key, Text: sum.Text, Digest: sum.Digest, Hold: s.hold()}
	row.Claim.Hold.Window, row.Claim.Hold.TTL = ceilMilli(row.Claim.Hold.Window), ceilMilli(row.Claim.Hold.TTL)
	return nil
}

func (r Replace) columns() (f Fields) {
	for _, c := range []struct {
		on bool
		f  Fields
	}{{r.Args, FieldArgs}, {r.Meta, FieldMeta}, {r.Priority, FieldPriority}, {r.RunAt, FieldRunAt},
		{r.MaxAttempts, FieldMaxAttempts}, {r.Tags, FieldTags}} {
		if c.on {
			f |= c.f
		}
	}
	return f
}

func invalidFrom(err error) error {
	var e *fingerprint.Error
	if errors.As(err, &e) {
		place := strings.NewReplacer(`"" at `, "", `"`, "").Replace(e.Value) // the message quotes it again
		return &InvalidError{Field: e.Field, Value: place, Rule: e.Rule}
	}
	return err
}
