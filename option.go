package onceq

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/onceq/onceq/internal/reserved"
)

// Option says something about an enqueue. Options of four levels are
// merged, later over earlier: Config.Defaults, EnqueueOptions of the args
// type, Config.Kinds, the call. [Unique] merges field by field; [Meta] and
// [Tags] replace.
type Option interface{ apply(*settings) }

// level is where an option was said; errors name it.
type level uint8

const (
	unsaid level = iota
	ofDefaults
	ofType
	ofKind
	ofCall
	levels
)

func (l level) String() string {
	return [...]string{"by default", "in Config.Defaults", "by the type's EnqueueOptions", "in Config.Kinds",
		"at the call", ""}[l]
}

// settings is what all levels together say. Each group remembers the level
// at which it was said.
type settings struct {
	at level // the level that is being applied

	queue         string
	queueAt       level
	id            string
	idAt          level
	token         [16]byte
	tokenAt       level
	reserved      bool            // the queue and the kind may be onceq's own
	guard         *reserved.Claim // the enqueue makes a claim of package guard; nil = a job
	notBefore     time.Time       // when the broker of a claim brings its message, at the earliest
	delay         time.Duration
	delayAt       level
	runAt         time.Time
	runAtAt       level
	priority      int
	priorityAt    level
	maxAttempts   int
	maxAttemptsAt level
	timeout       time.Duration
	timeoutAt     level
	retention     time.Duration
	retentionAt   level
	failed        time.Duration // the retention of one that failed, unless failedAt is unsaid
	failedAt      level
	backoff       Backoff
	backoffAt     level
	meta          map[string]any
	metaAt        level
	tags          []string
	tagsAt        level

	unique        bool
	uniqueAt      level
	notUnique     bool // NotUnique was said last
	by            Part
	byAt          level
	fields        []string
	fieldsAt      level
	metaFields    []string
	metaFieldsAt  level
	allowBlank    bool
	allowBlankAt  level
	until         Until
	untilAt       level
	window        time.Duration
	windowAt      level
	ttl           time.Duration
	ttlAt         level
	fromEnqueue   bool
	fromEnqueueAt level
	customKey     string
	customScope   Part
	customAt      level // unsaid = the caller gave no key of its own
	secrecy       KeySecrecy
	secrecyAt     level

	policy   ConflictPolicy
	policyAt level

	resend *UncertainError
	err    error
}

func newSettings() settings { return unsettled }

// unsettled is what counts where no level says anything.
var unsettled = settings{queue: "default", priority: 5, maxAttempts: 25, retention: 24 * time.Hour, policy: Skip}

// retentionOfFailed is the retention of a job that fails.
func (s *settings) retentionOfFailed() time.Duration {
	if s.failedAt == unsaid {
		return s.retention
	}
	return s.failed
}

func (s *settings) applyAll(at level, opts []Option) {
	s.at = at
	for _, o := range opts {
		if o == nil {
			s.fail(invalid("option", "nil", "must not be nil (%s)", at))
			continue
		}
		s.apply(o)
	}
}

func (s *settings) apply(o Option) {
	defer func() {
		if p := recover(); p != nil {
			s.err = panicked(p, "option", o, "it ("+s.at.String()+")")
		}
	}()
	o.apply(s)
}

func (s *settings) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

type (
	queueOption       string
	idOption          string
	delayOption       time.Duration
	runAtOption       time.Time
	priorityOption    int
	maxAttemptsOption int
	timeoutOption     time.Duration
	retentionOption   time.Duration
	failedOption      time.Duration
	metaOption        map[string]any
	tagsOption        []string
	uniqueKeyOption   struct {
		key   string
		scope Part
	}
	conflictOption struct{ policy ConflictPolicy }
	resendOption   struct{ err error }
)

// UniqueSwitch is an [Option] that takes back what earlier levels said
// about uniqueness.
type UniqueSwitch uint8

// Queue names the queue, 1 to 128 printable bytes. The default is
// "default".
func Queue(name string) Option { return queueOption(name) }

// ID is the identity of the job in place of a generated one: at most 255
// bytes, not blank. An ID exists once in a store while its job is kept.
// Enqueueing it again answers with that job.
func ID(id string) Option { return idOption(id) }

// Delay makes the job due this long after it was accepted, by the store's
// clock. It replaces [RunAt] of an earlier level.
func Delay(d time.Duration) Option { return delayOption(d) }

// RunAt makes the job due at an instant, by the store's clock. An instant
// that has passed means now. It replaces [Delay] of an earlier level.
func RunAt(t time.Time) Option { return runAtOption(t) }

// Priority is 0 (first) to 9 (last). The default is 5.
func Priority(p int) Option { return priorityOption(p) }

// MaxAttempts is how many attempts a job has before it is discarded, 1 to
// 1,000,000. The default is 25.
func MaxAttempts(n int) Option { return maxAttemptsOption(n) }

// Timeout bounds one run: its context is cancelled then. The default, 0,
// means no bound.
func Timeout(d time.Duration) Option { return timeoutOption(d) }

// Meta is a JSON object that travels with the job, for people and
// middleware. It can take part in the key ([ByMeta]).
func Meta(m map[string]any) Option { return metaOption(m) }

// Tags are labels for people: at most 32, each 1 to 128 printable bytes.
func Tags(tags ...string) Option { return tagsOption(tags) }

// Retention is how long the finished job is kept. The default is 24 hours;
// 0 deletes the job in the step that finishes it. [RetentionFailed] is for jobs
// that failed.
func Retention(d time.Duration) Option { return retentionOption(d) }

// RetentionFailed is how long the job is kept if it ends discarded or
// cancelled, in place of Retention: usually longer, so that people can look at
// it and retry it. 0 deletes it in the step that ends it. As long as it is kept
// its ID is taken, and its key too if it is held [UntilDeleted], or
// [UntilSucceeded].
func RetentionFailed(d time.Duration) Option { return failedOption(d) }

// UniqueKey makes the job unique by a key of the caller's own in place of
// the args: not blank, at most 1 KiB, used verbatim. Its scope is the kind
// unless said otherwise, so two kinds cannot take each other's key by
// accident. Scopes are [ByKind], [ByQueue], or [ByKey] for the text alone.
func UniqueKey(key string, scope ...Part) Option {
	o := uniqueKeyOption{key: key}
	for _, p := range scope {
		o.scope |= p
	}
	if len(scope) == 0 {
		o.scope = ByKind
	}
	return o
}

// OnConflict says what to do when the key is held. The default is [Skip].
func OnConflict(p ConflictPolicy) Option { return conflictOption{p} }

// Resend repeats an enqueue whose answer was lost, with the ID and token of
// its [*UncertainError]. It never makes a second job while the first is
// kept. Args and the other options must be those of the first call.
func Resend(err error) Option { return resendOption{err} }

// The switches.
const (
	// NotUnique switches uniqueness off. A later Unique or UniqueKey
	// switches it on again, with what was said before.
	NotUnique UniqueSwitch = iota
	// ResetUnique forgets what earlier levels said about uniqueness,
	// including the conflict policy.
	ResetUnique
)

func (o queueOption) apply(s *settings) { s.queue, s.queueAt = string(o), s.at }
func (o idOption) apply(s *settings)    { s.id, s.idAt = string(o), s.at }
func (o delayOption) apply(s *settings) {
	if s.runAtAt == s.at {
		s.fail(invalid("Delay", time.Duration(o), "and {RunAt} are both {said %s}: keep one of them", s.at))
	}
	s.delay, s.delayAt, s.runAt, s.runAtAt = time.Duration(o), s.at, time.Time{}, unsaid
}
func (o runAtOption) apply(s *settings) {
	if s.delayAt == s.at {
		s.fail(invalid("RunAt", time.Time(o), "and {Delay} are both {said %s}: keep one of them", s.at))
	}
	s.runAt, s.runAtAt, s.delay, s.delayAt = time.Time(o), s.at, 0, unsaid
}
func (o priorityOption) apply(s *settings)    { s.priority, s.priorityAt = int(o), s.at }
func (o maxAttemptsOption) apply(s *settings) { s.maxAttempts, s.maxAttemptsAt = int(o), s.at }
func (o timeoutOption) apply(s *settings)     { s.timeout, s.timeoutAt = time.Duration(o), s.at }
func (o retentionOption) apply(s *settings)   { s.retention, s.retentionAt = time.Duration(o), s.at }
func (o failedOption) apply(s *settings)      { s.failed, s.failedAt = time.Duration(o), s.at }
func (o metaOption) apply(s *settings)        { s.meta, s.metaAt = o, s.at }
func (o tagsOption) apply(s *settings)        { s.tags, s.tagsAt = o, s.at }

func (o conflictOption) apply(s *settings) {
	if isNil(o.policy) {
		s.fail(invalid("OnConflict", fmt.Sprintf("%T", o.policy), "must not be nil: say one of "+policies))
		return
	}
	policy, err := o.value()
	if err != nil {
		s.fail(err)
		return
	}
	s.policy, s.policyAt = policy, s.at
	if p, ok := s.policy.(Policy); ok && p > Supersede {
		s.fail(invalid("OnConflict", uint8(p), "must be one of "+policies))
	}
}

func (o conflictOption) value() (p ConflictPolicy, err error) {
	defer recovered(&err, "OnConflict", o.policy, "a policy in it")
	return o.policy.value(), nil
}

func (o resendOption) apply(s *settings) {
	if o.err == nil {
		return // the first try in a loop has no error yet
	}
	var err error
	if s.resend, err = uncertainIn(o.err); err != nil {
		s.fail(err)
	} else if s.resend == nil {
		s.fail(invalid("Resend", o.err, "must get the *UncertainError of the call that is repeated"))
	}
}

func (o UniqueSwitch) apply(s *settings) {
	s.unique, s.uniqueAt, s.notUnique = false, s.at, o == NotUnique
	if o == ResetUnique {
		s.dropParts()
		s.until, s.untilAt = 0, unsaid
		s.window, s.windowAt, s.ttl, s.ttlAt = 0, unsaid, 0, unsaid
		s.fromEnqueue, s.fromEnqueueAt = false, unsaid
		s.customKey, s.customScope, s.customAt = "", 0, unsaid
		s.secrecy, s.secrecyAt = 0, unsaid
		s.policy, s.policyAt = Skip, unsaid
	}
}

// dropParts forgets which parts of the job make up its key.
func (s *settings) dropParts() {
	s.by, s.byAt, s.fields, s.fieldsAt, s.metaFields, s.metaFieldsAt = 0, unsaid, nil, unsaid, nil, unsaid
	s.allowBlank, s.allowBlankAt = false, unsaid
}

func (u Unique) apply(s *settings) {
	s.unique, s.uniqueAt = true, s.at
	if parts := u.compares(); parts != "" {
		if s.customAt == s.at {
			s.bothSaid("UniqueKey", "Unique."+parts)
		}
		s.customKey, s.customScope, s.customAt = "", 0, unsaid
	}
	if u.By != 0 {
		s.by, s.byAt = u.By, s.at
	}
	if u.Fields != nil {
		s.fields, s.fieldsAt = u.Fields, s.at
	}
	if u.MetaFields != nil {
		s.metaFields, s.metaFieldsAt = u.MetaFields, s.at
	}
	if u.AllowBlank {
		s.allowBlank, s.allowBlankAt = true, s.at
	}
	if u.Until != untilUnsaid {
		s.until, s.untilAt = u.Until, s.at
	}
	if u.Window != 0 {
		s.window, s.windowAt = u.Window, s.at
	}
	if u.TTL != 0 {
		s.ttl, s.ttlAt = u.TTL, s.at
	}
	if u.FromEnqueue {
		s.fromEnqueue, s.fromEnqueueAt = true, s.at
	}
}

// compares returns the first field that says what makes up the key; "" =
// none does.
func (u Unique) compares() string {
	switch {
	case u.Fields != nil:
		return "Fields"
	case u.MetaFields != nil:
		return "MetaFields"
	case u.By != 0:
		return "By"
	}
	return ""
}

func (s *settings) bothSaid(a, b string) {
	s.fail(invalid(a, "", "and {%s} are both {said %s}: a key of your own takes the place of the args, keep one of "+
		"them", b, s.at))
}

func (o uniqueKeyOption) apply(s *settings) {
	if s.fieldsAt == s.at {
		s.bothSaid("UniqueKey", "Unique.Fields")
	} else if s.metaFieldsAt == s.at {
		s.bothSaid("UniqueKey", "Unique.MetaFields")
	} else if s.byAt == s.at {
		s.bothSaid("UniqueKey", "Unique.By")
	}
	s.unique, s.uniqueAt = true, s.at
	s.dropParts()
	s.customKey, s.customScope, s.customAt = o.key, o.scope, s.at
}

// hold returns the terms on which the job will hold its key, with the
// defaults filled in.
func (s *settings) hold() Hold {
	h := Hold{Until: s.until, Window: s.window, TTL: s.ttl, FromEnqueue: s.fromEnqueue}
	if h.Until == untilUnsaid {
		h.Until = s.policy.until()
	}
	if h.TTL == Forever {
		h.TTL = 0
	}
	return h
}

func marshalMeta(m map[string]any) (raw []byte, err error) {
	if len(m) == 0 {
		return nil, nil
	}
	defer recovered(&err, "meta", m, "a value in it")
	raw, err = json.Marshal(m)
	if err != nil {
		return nil, invalid("meta", "", "must be encodable as JSON: %v", err)
	}
	return raw, nil
}
