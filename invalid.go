package onceq

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/onceq/onceq/internal/fingerprint"
)

// InvalidError is the error of refused input: nothing was sent and nothing
// was written.
type InvalidError struct {
	Field string // what was wrong, as it is called in Go: "queue", "Unique.Window"
	// Path is the same as a member of a job as JSON: ["window"], or
	// ["jobs", "3", "window"] in a batch. nil where there is no such member:
	// only a program can make that mistake.
	Path  []string
	Value string // the value, at most 100 bytes of it
	Rule  string // what it must be, and what to do

	said said // Field, Value and Rule, with the names of options marked
}

// said is a text of an error, in which the names of options and their values
// are marked so that another surface can say its own.
type said struct{ field, value, rule string }

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s %s", e.Field, e.Rule)
	}
	return fmt.Sprintf("%s %q %s", e.Field, bound(e.Value, 100), e.Rule)
}

// In returns the error in the words of a surface other than Go, such as the
// flags of a command. word gets a name that the error mentions
// ("Unique.Window", "ByArgs", "said at the call") and returns what it is called
// there.
func (e *InvalidError) In(word func(name string) string) *InvalidError {
	if e.said == (said{}) { // a store made it
		return &InvalidError{Field: word(e.Field), Path: e.Path, Value: e.Value, Rule: e.Rule}
	}
	return &InvalidError{Path: e.Path, Field: spell(e.said.field, word), Value: bound(spell(e.said.value, word), 100),
		Rule: spell(e.said.rule, word)}
}

// invalid makes an InvalidError. Names of options in rule stand in braces.
func invalid(field string, value any, rule string, args ...any) *InvalidError {
	text := fmt.Sprint(value)
	if parts, ok := value.(Part); ok {
		text = parts.marked()
	}
	return invalidOf(marked(field), []string{members[field]}, text, fmt.Sprintf(braces.Replace(rule), args...))
}

func invalidOf(field string, path []string, value, rule string) *InvalidError {
	if path[len(path)-1] == "" {
		path = nil
	}
	e := &InvalidError{Path: path, said: said{field, value, rule}}
	e.Field, e.Value, e.Rule = spell(field, inGo), bound(spell(value, inGo), 100), spell(rule, inGo)
	return e
}

// ofItem is the error of an item of a batch.
func (e *InvalidError) ofItem(i int) *InvalidError {
	path := []string{""}
	if e.Path != nil {
		path = append([]string{"jobs", strconv.Itoa(i)}, e.Path...)
	}
	return invalidOf(fmt.Sprintf("item %d: %s", i, e.said.field), path, e.said.value, e.said.rule)
}

// ofPeriodic is the error of a schedule in the code of a worker.
func (e *InvalidError) ofPeriodic(i int) *InvalidError {
	return invalidOf(fmt.Sprintf("WorkerConfig.Periodic[%d]: %s", i, e.said.field), []string{""}, e.said.value,
		e.said.rule)
}

// invalidFrom makes an InvalidError of one about the parts of a key. secret
// leaves out the value of a key of the caller's own.
func invalidFrom(err error, secret bool) error {
	var e *fingerprint.Error
	if errors.As(err, &e) {
		value, rule := e.Value, e.Rule
		if pointer, at, ok := strings.Cut(value, " at byte "); ok { // a place is no value
			value, rule = "", "at byte "+at+": "+rule
			if pointer != `""` {
				rule = "at " + pointer + ", " + rule[3:]
			}
		}
		field := map[string]string{"By": "Unique.By", "Fields": "Unique.Fields", "MetaFields": "Unique.MetaFields",
			"key": "UniqueKey"}[e.Field]
		field = cmp.Or(field, e.Field)
		if secret && e.Field == "key" {
			value = ""
		}
		value = strings.ReplaceAll(value, `"`, "") // the message quotes it again
		return invalidOf(marked(field), []string{members[field]}, value, braces.Replace(rule))
	}
	return err
}

// The marks around a name. No text of a caller's has them, and if one has, it
// is only taken for a name.
const (
	opens  = "\x02"
	closes = "\x03"
)

var (
	braces = strings.NewReplacer("{}", "{}", "{", opens, "}", closes)
	names  = regexp.MustCompile(opens + "[^" + opens + closes + "]*" + closes)
)

func marked(name string) string { return opens + name + closes }

func (p Part) marked() string {
	return marked(strings.ReplaceAll(p.String(), "|", closes+"|"+opens))
}

// spell writes each marked name as word says.
func spell(text string, word func(string) string) string {
	if !strings.Contains(text, opens) {
		return text
	}
	return names.ReplaceAllStringFunc(text, func(name string) string { return word(name[1 : len(name)-1]) })
}

func inGo(name string) string { return name }

// members are the fields that an InvalidError names, with the member of a job
// as JSON that says the same; "" = only a program says it.
var members = map[string]string{
	"args": "args", "kind": "kind", "queue": "queue", "ID": "id", "meta": "meta", "tag": "tags", "tags": "tags",
	"delay": "delay", "Delay": "delay", "run at": "run_at", "RunAt": "run_at", "priority": "priority",
	"max attempts": "max_attempts", "timeout": "timeout", "retention": "retention",
	"retention failed": "retention_failed",
	"Backoff.Initial":  "backoff", "Backoff.Max": "backoff", "Backoff.Factor": "backoff",
	"Unique.By": "by", "Unique.Fields": "fields", "Unique.MetaFields": "meta_fields",
	"Unique.AllowBlank": "allow_blank", "UniqueKey": "unique_key", "UniqueKey's scope": "unique_scope",
	"Unique.Until": "until", "until": "until", "Unique.Window": "window", "Unique.TTL": "ttl",
	"Unique.FromEnqueue": "from_enqueue",
	"OnConflict":         "on_conflict", "Replace.Only": "on_conflict", "Debounce.MaxWait": "on_conflict",
	"items": "jobs", "key": "key", "state": "state", "limit": "limit", "filter": "filter", "before": "before",
	"text": "text", "from": "prefix", "cursor": "cursor", "most": "", "span": "span", "schedule": "schedule",
	"n": "", "when": "", "pause": "",
	"Periodic.Name": "name", "Periodic.Location": "zone", "Periodic.CatchUp": "catch_up", "Periodic.Jitter": "jitter",
	"Token": "", "Resend": "", "option": "", "store": "", "context": "", "Tx": "", "Bulk.Op": "", "Bulk.Budget": "",
	"Config.MaxResult": "", "result": "", "job": "", "receipt": "", "Config.Middleware": "",
	"Config.Codec": "", "RemoteConfig.Lease": "", "worker": "worker", "no": "no", "queues": "queues", "kinds": "kinds",
	"runs": "runs", "wait": "wait_ms", "owner": "", "name": "name", "fetches_done": "fetches_done",
	"outcome":        "outcome",
	"Config.MaxArgs": "", "Config.Kinds": "", "Run": "", "WorkerConfig.Kinds": "", "WorkerConfig.ID": "",
}
