package onceq

import (
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq/internal/jsontext"
)

// Term is one thing that holds for an enqueue, and where it was said.
type Term struct {
	// Name is that of the member of a job as JSON: "window_ms".
	Name string
	// Value is what that member takes: a string, a number, a bool or a list of
	// strings. Lengths of time are milliseconds.
	Value any
	// From is "default", "config" (Config.Defaults), "type" (EnqueueOptions or
	// the struct tags of the args type), "kind" (Config.Kinds) or "call".
	From string
}

func (l level) from() string { return [...]string{"default", "config", "type", "kind", "call", ""}[l] }

// terms returns what all levels together say of an enqueue.
func (c *Client) terms(args Args, opts []Option) ([]Term, error) {
	kind, err := kindOf(args)
	if err != nil {
		return nil, err
	}
	var s settings
	if err := c.merge(&s, kind, args, opts); err != nil {
		return nil, err
	}
	all := s.plainTerms()
	if s.unique {
		all = append(all, s.uniqueTerms(shapeOf(args))...)
	}
	if s.unique || s.idAt != unsaid {
		all = append(all, Term{"on_conflict", s.policy.String(), s.policyAt.from()})
	}
	return all, nil
}

// termList collects terms; those that may be unsaid only where they were said.
type termList []Term

func (l *termList) add(name string, value any, at level) {
	*l = append(*l, Term{name, value, at.from()})
}

func (l *termList) said(name string, value any, at level) {
	if at != unsaid {
		l.add(name, value, at)
	}
}

// plainTerms are those that have nothing to do with a key.
func (s *settings) plainTerms() []Term {
	var l termList
	l.add("queue", s.queue, s.queueAt)
	l.said("id", s.id, s.idAt)
	l.said("delay_ms", ceilMilli(s.delay).Milliseconds(), s.delayAt)
	l.said("run_at", jsontext.Time(s.runAt).String(), s.runAtAt)
	l.add("priority", s.priority, s.priorityAt)
	l.add("max_attempts", s.maxAttempts, s.maxAttemptsAt)
	l.said("timeout_ms", ceilMilli(s.timeout).Milliseconds(), s.timeoutAt)
	l.add("retention_ms", ceilMilli(s.retention).Milliseconds(), s.retentionAt)
	l.said("retention_failed_ms", ceilMilli(s.failed).Milliseconds(), s.failedAt)
	if b := s.backoff.stored(); b != nil {
		l.said("backoff", b, s.backoffAt)
	}
	l.said("meta", s.meta, s.metaAt)
	l.said("tags", list(s.tags), s.tagsAt)
	l.add("unique", s.unique, s.uniqueAt)
	return l
}

// uniqueTerms are those of the key.
func (s *settings) uniqueTerms(sh *shape) []Term {
	var l termList
	if s.customAt != unsaid {
		key := s.customKey
		if s.secrecy == SecretKey {
			key = "(secret)"
		}
		l.add("unique_key", key, s.customAt)
		l.add("unique_scope", s.customScope.words(), s.customAt)
	} else {
		by := s.by
		if by == 0 {
			by = byDefault
		}
		l.add("by", by.words(), s.byAt)
		switch {
		case s.fields != nil:
			l.add("fields", s.fields, s.fieldsAt)
		case sh.unique != nil && by&ByArgs != 0:
			l.add("fields", sh.unique, ofType)
		}
		l.said("meta_fields", s.metaFields, s.metaFieldsAt)
		l.said("allow_blank", s.allowBlank, s.allowBlankAt)
	}
	l.said("secret_key", s.secrecy == SecretKey, s.secrecyAt)
	h := s.hold()
	l.add("until", h.Until.String(), s.untilAt)
	l.said("window_ms", ceilMilli(h.Window).Milliseconds(), s.windowAt)
	if h.TTL != 0 {
		l.add("ttl_ms", ceilMilli(h.TTL).Milliseconds(), s.ttlAt)
	}
	l.said("from_enqueue", s.fromEnqueue, s.fromEnqueueAt)
	return l
}

// keyTerms says in a line how an enqueue is unique. It is the same for each
// enqueue of a call site: the caller's own key is not in it.
func (s *settings) keyTerms(sh *shape) string {
	if !s.unique {
		return "unique=false"
	}
	var words []string
	for _, t := range s.uniqueTerms(sh) {
		if t.Name == "unique_key" {
			words = append(words, t.Name)
		} else {
			words = append(words, t.String())
		}
	}
	if s.windowAt != unsaid { // a window beyond it outlives the job
		words = append(words, "retention="+ceilMilli(s.retention).String())
	}
	return bound(strings.Join(append(words, "on_conflict="+s.policy.String()), " "), mostTermsText)
}

// words are the parts as the member "by" of a job as JSON takes them.
func (p Part) words() []string {
	words := []string{}
	for i, name := range []string{"kind", "queue", "args", "meta", "key"} {
		if p&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return words
}

// String is the term as people read it.
func (t Term) String() string {
	name, value := t.Name, fmt.Sprint(t.Value)
	switch v := t.Value.(type) {
	case int64:
		name, value = strings.TrimSuffix(t.Name, "_ms"), (time.Duration(v) * time.Millisecond).String()
	case []string:
		value = strings.Join(v, ",")
	}
	return name + "=" + value
}
