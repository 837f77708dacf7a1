package onceq

import (
	"cmp"
	"fmt"
	"slices"
)

// checkUnique refuses combinations of merged options that have no meaning.
// Each error names both options, where each was said, and what to use
// instead.
func (s *settings) checkUnique() error {
	if s.customAt != unsaid {
		if s.customScope&(ByArgs|ByMeta) != 0 {
			return invalid("UniqueKey's scope", s.customScope, "must be of {ByKind} and {ByQueue}, or {ByKey} alone: "+
				"the key stands in place of the args")
		}
		if s.customScope&ByKey != 0 && s.customScope != ByKey {
			return invalid("UniqueKey's scope", s.customScope, "has too much: {ByKey} is the literal alone and goes "+
				"with no other; drop {ByKey} to scope the key")
		}
	} else {
		if s.by&ByKey != 0 {
			return invalid("Unique.By", s.by, "has {ByKey}, which is a scope of {UniqueKey}: use "+
				"{UniqueKey(key, ByKey)}")
		}
		if s.by >= ByKey<<1 {
			return invalid("Unique.By", uint8(s.by), "must be made of {ByKind}, {ByQueue}, {ByArgs} and {ByMeta}")
		}
		if s.fields != nil && s.by != 0 && s.by&(ByArgs|ByMeta) == 0 {
			return s.clash("Unique.Fields", s.fieldsAt, "Unique.By", s.byAt, s.by,
				"name members of args or meta: add {ByArgs} or {ByMeta}")
		}
		if s.metaFields != nil && s.by&ByMeta == 0 {
			return s.clash("Unique.MetaFields", s.metaFieldsAt, "Unique.By", s.byAt, cmp.Or(s.by, byDefault),
				"name members of meta, which takes no part: add {ByMeta} to {By}")
		}
		if s.metaFields != nil && s.fields != nil && s.by&ByArgs == 0 {
			return s.clash("Unique.MetaFields", s.metaFieldsAt, "Unique.Fields", s.fieldsAt, s.fields,
				"narrow the same meta, since args take no part: keep one of them, or add {ByArgs} to {By}")
		}
		if s.fields != nil && s.narrowsHalf() {
			return s.clash("Unique.Fields", s.fieldsAt, "Unique.By", s.byAt, s.by,
				"narrow the args alone, and all of the meta would count: say {MetaFields} too, or leave {ByMeta} away")
		}
	}
	if s.until > UntilWindowEnds {
		return invalid("Unique.Until", uint8(s.until), "must be {UntilDue} … {UntilWindowEnds}")
	}
	if s.window != 0 {
		if err := checkDuration("Unique.Window", s.window); err != nil {
			return err
		}
	}
	hasTTL := s.ttl != 0 && s.ttl != Forever
	if hasTTL {
		if err := checkDuration("Unique.TTL", s.ttl); err != nil {
			return err
		}
	}
	if s.window != 0 && hasTTL && s.window >= s.ttl {
		return s.clash("Unique.Window", s.windowAt, "Unique.TTL", s.ttlAt, s.ttl,
			"(at least %v) must be shorter than {TTL} (at most): use one of them, or "+
				"{Until: UntilWindowEnds} for exactly a window", s.window)
	}
	h := s.hold()
	if h.Until == UntilWindowEnds && s.window == 0 {
		return s.clash("Unique.Until", s.untilAt, "Unique.Window", s.windowAt, "0s",
			"= {UntilWindowEnds} waits for no event and needs a {Window}")
	}
	if h.Until == UntilWindowEnds && hasTTL {
		return s.clash("Unique.Until", s.untilAt, "Unique.TTL", s.ttlAt, s.ttl,
			"= {UntilWindowEnds} is exactly {Window} long: leave {TTL} away")
	}
	if s.fromEnqueue && s.window == 0 && !hasTTL {
		return invalid("Unique.FromEnqueue", true, "anchors {Window} or {TTL}, and neither is said: say one, or "+
			"leave {FromEnqueue} away")
	}
	return s.checkPolicy(h)
}

// byDefault is what makes up a key if no level says.
const byDefault = ByKind | ByQueue | ByArgs

// narrowsHalf reports whether the args are narrowed and the meta is not.
func (s *settings) narrowsHalf() bool {
	return s.by&ByArgs != 0 && s.by&ByMeta != 0 && s.metaFields == nil
}

// checkPolicy refuses a policy that does not go with the key or its terms.
func (s *settings) checkPolicy(h Hold) error {
	if s.policy.reactions().Writes() && !s.keyHasKind() {
		part, at := "Unique.By", s.byAt
		if s.customAt != unsaid {
			part, at = "UniqueKey's scope", s.customAt
		}
		return s.clash("OnConflict", s.policyAt, part, at, s.scope(),
			"(%s) writes to the job it meets, and the key leaves out the kind, so that args of one kind could land "+
				"in another: add {ByKind}, or use {Skip} or {Reject}", s.policy)
	}
	return s.policy.check(s, h)
}

func title(event string) string {
	switch event {
	case "window-ends":
		return "WindowEnds"
	case "":
		return ""
	}
	return string(event[0]-'a'+'A') + event[1:]
}

func (s *settings) keyHasKind() bool {
	if s.customAt != unsaid {
		return s.customScope&ByKind != 0
	}
	return s.by == 0 || s.by&ByKind != 0
}

func (s *settings) scope() Part {
	if s.customAt != unsaid {
		return s.customScope
	}
	return s.by
}

// clash is the error that option a does not go with option b.
func (s *settings) clash(a string, aAt level, b string, bAt level, bValue any, why string,
	args ...any) error {
	if parts, ok := bValue.(Part); ok {
		bValue = parts.marked()
	}
	return invalid(a, "", "{(said %s) }does not go with {%s} %v{ (said %s)}: {%s} "+why,
		append([]any{aAt, b, bValue, bAt, a}, args...)...)
}

// check checks the merged options of an enqueue.
func (s *settings) check() error {
	if err := s.checkBounds(); err != nil {
		return err
	}
	if s.guard != nil {
		if err := s.checkGuarded(); err != nil {
			return err
		}
	}
	if s.unique {
		return s.checkUnique()
	}
	if s.policyAt == ofCall && s.idAt == unsaid && s.resend == nil {
		return invalid("OnConflict", s.policy, "is {said at the call}, and the job has neither a key nor an ID of "+
			"yours to meet: say {Unique}, {UniqueKey} or {ID} too, or leave {OnConflict} away")
	}
	return nil
}

// checkBounds checks each option by itself.
func (s *settings) checkBounds() error {
	if err := s.checkQueue(); err != nil {
		return err
	}
	if err := s.checkToken(); err != nil {
		return err
	}
	if s.idAt != unsaid {
		if err := checkID(s.id); err != nil {
			return err
		}
		if s.idAt < ofCall {
			return invalid("ID", s.id, "is {said %s}, where every job would share it: say it at the call", s.idAt)
		}
		if s.resend != nil && !slices.Contains(s.resend.IDs, s.id) {
			return invalid("ID", s.id, "and {Resend} name different jobs ({Resend}: %s): leave {ID} away, or repeat "+
				"the same", s.resend.ID)
		}
	}
	if s.priority < 0 || s.priority > 9 {
		return invalid("priority", s.priority, "must be 0 (first) to 9 (last)")
	}
	if s.maxAttempts < 1 || s.maxAttempts > maxAttempts {
		return invalid("max attempts", s.maxAttempts, "must be 1 to %d", maxAttempts)
	}
	if err := s.checkTimes(); err != nil {
		return err
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
	if s.failed != 0 {
		if err := checkDuration("retention failed", s.failed); err != nil {
			return err
		}
	}
	if err := s.backoff.check(); err != nil {
		return err
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
