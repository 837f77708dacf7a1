package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
)

// terms is all that can be said about an enqueue besides its kind and args:
// as flags, or as members of a line of a file. nil = not said.
type terms struct {
	queue       *string
	id          *string
	delay       *time.Duration
	at          *time.Time
	priority    *int
	maxAttempts *int
	timeout     *time.Duration
	retention   *time.Duration
	meta        *map[string]any
	tags        *[]string

	unique      *bool
	by          *onceq.Part
	fields      *[]string
	metaFields  *[]string
	allowBlank  *bool
	key         *string
	keyScope    *onceq.Part
	until       *onceq.Until
	window      *time.Duration
	ttl         *time.Duration
	fromEnqueue *bool
	onConflict  *onceq.ConflictPolicy
}

// A setting is one of them: a flag, and the member of a line.
type setting struct {
	name, help string
	value      settingValue
}

// member is the name of a setting in a line: that of the flag with _ in place
// of -, but for three. A line says unique_key because "key" is the hash in
// everything that is answered, and run_at because the answer says so too.
func (s setting) member() string {
	switch s.name {
	case "key":
		return "unique_key"
	case "key-scope":
		return "unique_scope"
	case "at":
		return "run_at"
	}
	return strings.ReplaceAll(s.name, "-", "_")
}

type settingValue interface {
	pflag.Value
	fromJSON(raw json.RawMessage) error
}

func (t *terms) all() []setting {
	return []setting{
		{"queue", `the queue (default "default")`, optional("NAME", &t.queue, parseString)},
		{"id", "the job's ID in place of a generated one; an ID is there once", optional("ID", &t.id, parseString)},
		{"unique", "one at a time: by kind, queue and args, until it is finished, unless the flags below say otherwise",
			optional("bool", &t.unique, strconv.ParseBool)},
		{"by", "what makes two jobs the same: some of kind,queue,args,meta", optional("PARTS", &t.by, parseBy)},
		{"fields", "only these members of args count: names, or JSON Pointers (/repo/id)", list("NAMES", &t.fields)},
		{"meta-fields", "only these members of meta count; needs meta in --by", list("NAMES", &t.metaFields)},
		{"allow-blank", "take --fields that are all null or blank text",
			optional("bool", &t.allowBlank, strconv.ParseBool)},
		{"key", "a key of your own in place of the args", optional("KEY", &t.key, parseString)},
		{"key-scope", "with --key: kind, queue, kind,queue or key (the literal alone) (default kind)",
			optional("PARTS", &t.keyScope, parseScope)},
		{"until", "hold the key until the job is due, started, finished, succeeded, failed, deleted or window-ends " +
			"(default finished)", optional("EVENT", &t.until, parseUntil)},
		{"window", "hold the key at least this long", optional("DURATION", &t.window, parseDuration)},
		{"ttl", "hold the key at most this long", optional("DURATION", &t.ttl, parseTTL)},
		{"from-enqueue", "count --window and --ttl from the enqueue, not from the run time",
			optional("bool", &t.fromEnqueue, strconv.ParseBool)},
		{"on-conflict", "when the key is held: skip, reject, coalesce, supersede, replace:args,run_at or " +
			"debounce:10s (default skip)", optional("POLICY", &t.onConflict, parsePolicy)},
		{"delay", "due this much later: 30s, 2h, 7d", optional("DURATION", &t.delay, parseDuration)},
		{"at", `due at this time: 2026-12-24T18:00:00+01:00, or "2026-12-24 18:00" here`,
			optional("TIME", &t.at, parseTime)},
		{"priority", "0 is first, 9 last (default 5)", optional("0-9", &t.priority, parseInt)},
		{"max-attempts", "attempts before it is discarded (default 25)", optional("N", &t.maxAttempts, parseInt)},
		{"timeout", "stop a run that takes longer (default none)", optional("DURATION", &t.timeout, parseDuration)},
		{"meta", "an object that travels with the job", optional("JSON", &t.meta, parseMeta)},
		{"tags", "labels for people", list("TAGS", &t.tags)},
		{"retention", "how long the finished job is kept; 0 deletes it at once (default 24h)",
			optional("DURATION", &t.retention, parseDuration)},
	}
}

// flags adds all of them to a command.
func (t *terms) flags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	for _, f := range t.all() {
		flag := fs.VarPF(f.value, f.name, "", f.help)
		if f.value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// options makes options of an enqueue from what was said. say returns the name
// of a setting there: asFlag or asMember.
func (t *terms) options(say func(flag string) string) ([]onceq.Option, error) {
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
func (t *terms) uniqueness() []onceq.Option {
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
func (t *terms) saysUnique() bool {
	return t.by != nil || t.fields != nil || t.metaFields != nil || t.allowBlank != nil || t.until != nil ||
		t.window != nil || t.ttl != nil || t.fromEnqueue != nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// sense refuses combinations that the library does not see, because a flag or
// a member left something out. say returns the name of a setting there.
func (t *terms) sense(say func(flag string) string) error {
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

func asFlag(name string) string   { return "--" + name }
func asMember(name string) string { return setting{name: name}.member() }

// setMember sets a member of a line. A length of time is a text, or with _ms
// behind its name a number.
func (t *terms) setMember(name string, raw json.RawMessage) (known bool, err error) {
	length, ms := strings.CutSuffix(name, "_ms")
	for _, f := range t.all() {
		switch {
		case f.member() == name:
			return true, f.value.fromJSON(raw)
		case ms && f.member() == length && f.value.Type() == "DURATION":
			if n, err := strconv.ParseUint(string(raw), 10, 63); err == nil {
				return true, f.value.fromJSON(strconv.AppendQuote(nil, strconv.FormatUint(n, 10)+"ms"))
			}
			return true, errors.New("must be a whole number of milliseconds")
		}
	}
	return false, nil
}

// opt is a value that remembers whether it was said.
type opt[T any] struct {
	typ   string
	to    **T
	parse func(string) (T, error)
	said  string
}

func optional[T any](typ string, to **T, parse func(string) (T, error)) settingValue {
	return &opt[T]{typ: typ, to: to, parse: parse}
}

func (o *opt[T]) String() string { return o.said }
func (o *opt[T]) Type() string   { return o.typ }
func (o *opt[T]) Set(s string) error {
	v, err := o.parse(s)
	if err != nil {
		return err
	}
	*o.to, o.said = &v, s
	return nil
}

// fromJSON reads a string where a flag takes words, and numbers, true,
// false and objects as they are.
func (o *opt[T]) fromJSON(raw json.RawMessage) error {
	if *o.to != nil {
		return errors.New("is said twice: keep the text, or the number with _ms")
	}
	var zero T
	var text bool
	switch any(zero).(type) {
	case int, bool, map[string]any:
	default:
		text = true
	}
	switch {
	case text && raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		return o.Set(s)
	case text && raw[0] == '[': // parts may be a list
		words, err := stringList(raw)
		if err != nil {
			return err
		}
		return o.Set(strings.Join(words, ","))
	case text && o.typ == "DURATION":
		return errors.New(`must be a text such as "90s"; a number of milliseconds has _ms behind the name`)
	case text:
		return errors.New("must be a string")
	case raw[0] == '"' || string(raw) == "null": // no words are expected here
		switch any(zero).(type) {
		case int:
			return errors.New("must be a number")
		case bool:
			return errors.New("must be true or false")
		}
	}
	return o.Set(string(raw))
}

// words is a list: flags add to it, separated by commas.
type words struct {
	typ string
	to  **[]string
}

func list(typ string, to **[]string) settingValue { return words{typ, to} }

func (w words) String() string {
	if w.to == nil || *w.to == nil {
		return ""
	}
	return strings.Join(**w.to, ",")
}
func (w words) Type() string { return w.typ }
func (w words) Set(s string) error {
	all := []string{} // an empty list is not none
	if *w.to != nil {
		all = slices.Clone(**w.to)
	}
	all = append(all, split(s)...)
	*w.to = &all
	return nil
}

func (w words) fromJSON(raw json.RawMessage) error {
	all, err := stringList(raw)
	*w.to = &all
	return err
}

// stringList reads ["a","b"], or "a,b".
func stringList(raw json.RawMessage) ([]string, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil && raw[0] == '"' {
		return split(s), nil
	}
	all := []string{}
	if raw[0] != '[' || json.Unmarshal(raw, &all) != nil {
		return nil, errors.New("must be a list of strings")
	}
	return all, nil
}

// split splits a list at its commas. A comma in a name is written as \,.
func split(s string) []string {
	all := []string{""}
	for i := 0; i < len(s); i++ {
		last := &all[len(all)-1]
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == ',':
			*last += ","
			i++
		case s[i] == ',':
			all = append(all, "")
		default:
			*last += s[i : i+1]
		}
	}
	if s == "" {
		return []string{}
	}
	return all
}

func parseString(s string) (string, error) { return s, nil }

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, errors.New("must be a whole number")
	}
	return n, nil
}

// parseDuration reads durations as Go writes them, with days (d) and weeks
// (w) in front: 90s, 1h30m, 7d, 1w2d12h.
func parseDuration(s string) (time.Duration, error) {
	bad := errors.New("must be a length of time such as 90s, 10m, 1h30m or 7d")
	rest, sum := s, time.Duration(0)
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		digits, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || int64(n) > math.MaxInt64/int64(unit.d)-1 {
			return 0, bad
		}
		sum, rest = sum+time.Duration(n)*unit.d, after
	}
	if rest == "" && s != "" {
		return sum, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-sum {
		return 0, bad
	}
	return sum + d, nil
}

func parseUntil(s string) (onceq.Until, error) {
	until, err := onceq.ParseUntil(s)
	var invalid *onceq.InvalidError
	if errors.As(err, &invalid) {
		err = errors.New(invalid.Rule) // the flag and the value are said already
	}
	return until, err
}

func parseTTL(s string) (time.Duration, error) {
	if s == "forever" {
		return onceq.Forever, nil
	}
	return parseDuration(s)
}

// parseTime reads RFC 3339, and local times without a zone.
func parseTime(s string) (time.Time, error) { return parseTimeIn(s, time.Local) }

func parseTimeIn(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04",
		"2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return onTheClock(t, zone)
		}
	}
	return time.Time{}, errors.New(
		`must be a time such as 2026-12-24T18:00:00+01:00, or "2026-12-24 18:00" in the local zone`)
}

// onTheClock is the first instant at which the clocks of a zone show this
// date and time.
func onTheClock(wall time.Time, zone *time.Location) (first time.Time, err error) {
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // before and after the clocks change
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if t.Format(time.DateTime) == wall.Format(time.DateTime) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() {
		where := zone.String()
		if zone == time.Local {
			where = "the local zone"
		}
		err = fmt.Errorf("does not exist in %v: the clocks are put forward then; say it with its offset, as in "+
			"2026-12-24T18:00:00+01:00", where)
	}
	return first, err
}

func parseMeta(s string) (map[string]any, error) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil || m == nil || len(bytes.TrimSpace([]byte(s[dec.InputOffset():]))) > 0 {
		return nil, errors.New(`must be a JSON object such as {"source":"import"}`)
	}
	if name, twice := twin([]byte(s)); twice {
		return nil, fmt.Errorf("has a member %q twice", name)
	}
	return m, nil
}

// twin finds a name that is there twice in an object of a JSON text, at any depth.
func twin(text []byte) (name string, twice bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var open []map[string]bool // the names of each object that is open; nil of a list
	named := false             // the next token of an object is a value
	for {
		t, err := dec.Token()
		if err != nil {
			return "", false
		}
		if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
			open, named = open[:len(open)-1], false
			continue
		}
		if n := len(open); n > 0 && open[n-1] != nil && !named {
			name, _ := t.(string)
			if open[n-1][name] {
				return name, true
			}
			open[n-1][name], named = true, true
			continue
		}
		named = false
		switch t {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		}
	}
}

func parseBy(s string) (onceq.Part, error) {
	return parseParts(s, "kind, queue, args and meta", map[string]onceq.Part{
		"kind": onceq.ByKind, "queue": onceq.ByQueue, "args": onceq.ByArgs, "meta": onceq.ByMeta})
}

func parseScope(s string) (onceq.Part, error) {
	return parseParts(s, "kind and queue, or key alone", map[string]onceq.Part{
		"kind": onceq.ByKind, "queue": onceq.ByQueue, "key": onceq.ByKey})
}

func parseParts(s, which string, known map[string]onceq.Part) (parts onceq.Part, err error) {
	for _, name := range split(s) {
		p, ok := known[strings.TrimSpace(name)]
		if !ok {
			return 0, fmt.Errorf("must be of %s, separated by commas", which)
		}
		parts |= p
	}
	if parts == 0 {
		return 0, fmt.Errorf("must be of %s, separated by commas", which)
	}
	return parts, nil
}

// policyWords are what a policy begins with.
var policyWords = []string{"skip", "reject", "coalesce", "supersede", "replace:", "debounce:"}

// parsePolicy reads skip, reject, coalesce, supersede,
// replace:FIELDS[:STATES] and debounce:MAXWAIT.
func parsePolicy(s string) (onceq.ConflictPolicy, error) {
	name, rest, more := strings.Cut(s, ":")
	plain := map[string]onceq.ConflictPolicy{"skip": onceq.Skip, "reject": onceq.Reject, "coalesce": onceq.Coalesce,
		"supersede": onceq.Supersede}
	if p, ok := plain[name]; ok && !more {
		return p, nil
	}
	switch name {
	case "replace":
		return parseReplace(rest)
	case "debounce":
		d, err := parseDuration(rest)
		if err != nil {
			return nil, errors.New("must say how long at most to put the run off, such as debounce:10s")
		}
		return onceq.Debounce{MaxWait: d}, nil
	}
	return nil, errors.New("must be skip, reject, coalesce, supersede, replace:args,run_at or debounce:10s")
}

func parseReplace(s string) (onceq.ConflictPolicy, error) {
	var r onceq.Replace
	fields, states, _ := strings.Cut(s, ":")
	known := map[string]*bool{"args": &r.Args, "meta": &r.Meta, "priority": &r.Priority, "run_at": &r.RunAt,
		"at":    &r.RunAt,
		"delay": &r.RunAt, "max_attempts": &r.MaxAttempts, "tags": &r.Tags}
	for _, name := range split(fields) {
		to, ok := known[strings.ReplaceAll(strings.TrimSpace(name), "-", "_")]
		if !ok {
			return nil, errors.New("must name what to replace: replace: and some of args, meta, priority, run_at, " +
				"max_attempts, tags")
		}
		*to = true
	}
	if !(r.Args || r.Meta || r.Priority || r.RunAt || r.MaxAttempts || r.Tags) {
		return nil, errors.New("must name what to replace, such as replace:args,run_at")
	}
	for _, st := range split(states) {
		r.Only = append(r.Only, onceq.State(strings.TrimSpace(st)))
	}
	return r, nil
}
