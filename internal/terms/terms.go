// Package terms reads all that can be said about an enqueue besides its kind
// and args: as flags of a command, or as members of a JSON object.
package terms

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// Terms is what was said about one enqueue, by the settings that All
// returns. The zero value says nothing.
type Terms struct {
	// nil = not said
	queue       *string
	id          *string
	delay       *time.Duration
	at          *time.Time
	priority    *int
	maxAttempts *int
	timeout     *time.Duration
	retention   *time.Duration
	failed      *time.Duration // the retention of one that failed
	backoff     *onceq.Backoff
	meta        *map[string]any
	tags        *[]string

	unique      *bool
	by          *onceq.Part
	fields      *[]string
	metaFields  *[]string
	allowBlank  *bool
	secretKey   *bool
	key         *string
	keyScope    *onceq.Part
	until       *onceq.Until
	window      *time.Duration
	ttl         *time.Duration
	fromEnqueue *bool
	onConflict  *onceq.ConflictPolicy
}

// Setting is one thing that can be said: a flag, and a member of an object.
type Setting struct {
	Name  string // of the flag, without --
	Help  string // what it does, for the help of a command
	Value Value  // what reads it
}

// Member returns the name as a member: that of the flag with _ in place of -,
// but for three. A member is unique_key because "key" is the hash in
// everything that is answered, and run_at because the answer says so too.
func (s Setting) Member() string {
	switch s.Name {
	case "key":
		return "unique_key"
	case "key-scope":
		return "unique_scope"
	case "at":
		return "run_at"
	}
	return strings.ReplaceAll(s.Name, "-", "_")
}

// Value reads what a setting says. It is a pflag.Value.
type Value interface {
	String() string        // what was said; "" = nothing
	Set(text string) error // reads the text of a flag
	Type() string          // what the text is, such as DURATION
	fromJSON(raw json.RawMessage) error
}

// HasID reports whether the ID was said.
func (t *Terms) HasID() bool { return t.id != nil }

// All returns the settings. Setting a value changes t.
func (t *Terms) All() []Setting {
	return []Setting{
		{"queue", `the queue (default "default")`, Optional("NAME", &t.queue, parseString)},
		{"id", "the job's ID in place of a generated one; an ID is there once", Optional("ID", &t.id, parseString)},
		{"unique", "one at a time: by kind, queue and args, until it is finished, unless the flags below say otherwise",
			Optional("bool", &t.unique, strconv.ParseBool)},
		{"by", "what makes two jobs the same: some of kind,queue,args,meta", Optional("PARTS", &t.by, parseBy)},
		{"fields", "only these members of args count: names, or JSON Pointers (/repo/id)", List("NAMES", &t.fields)},
		{"meta-fields", "only these members of meta count; needs meta in --by", List("NAMES", &t.metaFields)},
		{"allow-blank", "take --fields that are all null or blank text",
			Optional("bool", &t.allowBlank, strconv.ParseBool)},
		{"secret-key", "keep a digest in place of the readable text of the key",
			Optional("bool", &t.secretKey, strconv.ParseBool)},
		{"key", "a key of your own in place of the args", Optional("KEY", &t.key, parseString)},
		{"key-scope", "with --key: kind, queue, kind,queue or key (the literal alone) (default kind)",
			Optional("PARTS", &t.keyScope, parseScope)},
		{"until", "hold the key until the job is due, started, finished, succeeded, failed, deleted or window-ends " +
			"(default finished)", Optional("EVENT", &t.until, parseUntil)},
		{"window", "hold the key at least this long", Optional("DURATION", &t.window, ParseDuration)},
		{"ttl", "hold the key at most this long", Optional("DURATION", &t.ttl, parseTTL)},
		{"from-enqueue", "count --window and --ttl from the enqueue, not from the run time",
			Optional("bool", &t.fromEnqueue, strconv.ParseBool)},
		{"on-conflict", "when the key is held: skip, reject, coalesce, supersede, replace:args,run_at or " +
			"debounce:10s (default skip)", Optional("POLICY", &t.onConflict, parsePolicy)},
		{"delay", "due this much later: 30s, 2h, 7d", Optional("DURATION", &t.delay, ParseDuration)},
		{"at", `due at this time: 2026-12-24T18:00:00+01:00, or "2026-12-24 18:00" here`,
			Optional("TIME", &t.at, ParseTime)},
		{"priority", "0 is first, 9 last (default 5)", Optional("0-9", &t.priority, parseInt)},
		{"max-attempts", "attempts before it is discarded (default 25)", Optional("N", &t.maxAttempts, parseInt)},
		{"timeout", "stop a run that takes longer (default none)", Optional("DURATION", &t.timeout, ParseDuration)},
		{"backoff", "wait so long after a failed attempt, twice as long after each: 10s; or FIRST,LONGEST[,FACTOR]: " +
			"10s,1h,3", Optional("BACKOFF", &t.backoff, parseBackoff)},
		{"meta", "an object that travels with the job", Optional("JSON", &t.meta, parseMeta)},
		{"tags", "labels for people", List("TAGS", &t.tags)},
		{"retention", "how long the finished job is kept; 0 deletes it at once (default 24h)",
			Optional("DURATION", &t.retention, ParseDuration)},
		{"retention-failed", "how long it is kept if it ends discarded or cancelled (default as --retention)",
			Optional("DURATION", &t.failed, ParseDuration)},
	}
}

// options makes options of an enqueue from what was said. say returns the name
// of a Setting there: AsFlag or AsMember.
func (t *Terms) Options(say func(flag string) string) ([]onceq.Option, error) {
	var opts []onceq.Option
	add := func(o onceq.Option) { opts = append(opts, o) }
	if t.queue != nil {
		add(onceq.Queue(*t.queue))
	}
	if t.id != nil {
		add(onceq.ID(*t.id))
	}
	if t.delay != nil {
		add(onceq.Delay(*t.delay))
	}
	if t.at != nil {
		add(onceq.RunAt(*t.at))
	}
	if t.priority != nil {
		add(onceq.Priority(*t.priority))
	}
	if t.maxAttempts != nil {
		add(onceq.MaxAttempts(*t.maxAttempts))
	}
	if t.timeout != nil {
		add(onceq.Timeout(*t.timeout))
	}
	if t.retention != nil {
		add(onceq.Retention(*t.retention))
	}
	if t.failed != nil {
		add(onceq.RetentionFailed(*t.failed))
	}
	if t.backoff != nil {
		add(*t.backoff)
	}
	if t.meta != nil {
		add(onceq.Meta(*t.meta))
	}
	if t.tags != nil {
		add(onceq.Tags(*t.tags...))
	}
	if t.onConflict != nil {
		add(onceq.OnConflict(*t.onConflict))
	}
	return append(opts, t.uniqueness()...), t.sense(say)
}

// uniqueness returns the options that say whether, and how, the job holds a
// key. Each of the flags switches it on.
func (t *Terms) uniqueness() []onceq.Option {
	var opts []onceq.Option
	if t.unique != nil && !*t.unique {
		return []onceq.Option{onceq.NotUnique}
	}
	var u onceq.Unique
	set(&u.By, t.by)
	set(&u.Fields, t.fields)
	set(&u.MetaFields, t.metaFields)
	set(&u.AllowBlank, t.allowBlank)
	set(&u.Until, t.until)
	set(&u.Window, t.window)
	set(&u.TTL, t.ttl)
	set(&u.FromEnqueue, t.fromEnqueue)
	if t.unique != nil || t.saysUnique() {
		opts = append(opts, u)
	}
	if t.secretKey != nil {
		opts = append(opts, map[bool]onceq.Option{true: onceq.SecretKey, false: onceq.ReadableKey}[*t.secretKey])
	}
	if t.key != nil {
		if t.keyScope != nil {
			opts = append(opts, onceq.UniqueKey(*t.key, *t.keyScope))
		} else {
			opts = append(opts, onceq.UniqueKey(*t.key))
		}
	}
	return opts
}

// saysUnique reports whether a flag says how the job is unique, apart from
// a key of its own.
func (t *Terms) saysUnique() bool {
	return t.by != nil || t.fields != nil || t.metaFields != nil || t.allowBlank != nil || t.until != nil ||
		t.window != nil || t.ttl != nil || t.fromEnqueue != nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// sense refuses combinations that the library does not see, because a flag or
// a member left something out. say returns the name of a Setting there.
func (t *Terms) sense(say func(flag string) string) error {
	refuse := func(what, rule string) error { return &onceq.InvalidError{Field: what, Rule: rule} }
	switch {
	case t.keyScope != nil && t.key == nil:
		return refuse(say("key-scope"), "is of a "+say("key")+", and there is none: say "+say("by")+" to choose what "+
			"makes two jobs the same")
	case t.unique != nil && !*t.unique && (t.key != nil || t.saysUnique()):
		return refuse(say("unique")+"=false", "switches uniqueness off, and others say how to be unique: keep one")
	case t.ttl != nil && *t.ttl == 0:
		return refuse(say("ttl"), "must be at least 1ms: leave it away to have none")
	case t.window != nil && *t.window == 0:
		return refuse(say("window"), "must be at least 1ms: leave it away to have none")
	}
	return nil
}

// AsFlag is how a message calls a setting where it is a flag.
func AsFlag(name string) string { return "--" + name }

// AsMember is how a message calls it where it is a member.
func AsMember(name string) string { return Setting{Name: name}.Member() }

// setMember sets a member of a line. A length of time is a text, or with _ms
// behind its name a number.
func (t *Terms) setMember(name string, raw json.RawMessage) (known bool, err error) {
	length, ms := strings.CutSuffix(name, "_ms")
	for _, f := range t.All() {
		switch {
		case f.Member() == name:
			return true, f.Value.fromJSON(raw)
		case ms && f.Member() == length && f.Value.Type() == "DURATION":
			if n, err := strconv.ParseUint(string(raw), 10, 63); err == nil {
				return true, f.Value.fromJSON(strconv.AppendQuote(nil, strconv.FormatUint(n, 10)+"ms"))
			}
			return true, errors.New("must be a whole number of milliseconds")
		}
	}
	return false, nil
}

// parseBackoff reads FIRST, FIRST,LONGEST or FIRST,LONGEST,FACTOR.
func parseBackoff(s string) (b onceq.Backoff, err error) {
	parts := strings.Split(s, ",")
	if len(parts) > 3 {
		return b, errors.New("must be FIRST, FIRST,LONGEST or FIRST,LONGEST,FACTOR, such as 10s,1h,3")
	}
	if b.Initial, err = ParseDuration(parts[0]); err == nil && len(parts) > 1 {
		b.Max, err = ParseDuration(parts[1])
	}
	if err == nil && len(parts) > 2 {
		if b.Factor, err = strconv.ParseFloat(parts[2], 64); err != nil {
			err = errors.New("must end in a number, the factor, such as 10s,1h,3")
		}
	}
	return b, err
}
