package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/onceq/onceq"
)

// explainForm is what the form asks about: the members of a job, as texts.
var explainNames = []string{
	"kind",
	"args",
	"other",
	"queue",
	"id",
	"by",
	"fields",
	"unique_key",
	"until",
	"window",
	"ttl",
	"on_conflict",
	"do",
	"sure",
}

// lists are the members that are lists in a job as JSON.
var lists = []string{"by", "fields"}

// explained is an enqueue, and what it would do.
type explained struct {
	*onceq.Explanation
	Said, Outside []string
}

// explanationPage is what the page shows.
type explanationPage struct {
	Form         url.Values
	Field, Wrong string // what is wrong with the form; "" = nothing
	Job, Other   *explained
	SameKey      bool
	Differ       []difference
	JSON, CLI    string
	May          bool // who asks may enqueue it
}

// difference is a member in which two enqueues differ.
type difference struct {
	Name, A, B string
	InKey      bool
}

func (c *call) explainPage() error {
	return c.showExplanation(http.StatusOK, &explanationPage{Form: c.r.URL.Query()})
}

func (c *call) showExplanation(status int, p *explanationPage) error {
	p.May = c.config.Authorize(c.r, Enqueue) == nil
	return c.show(status, "explain", c.newView("Explain", "explain", p))
}

// explainForm says what an enqueue would do. The args come in a form and not in a
// URL, which would stand in logs and histories.
func (c *call) explainForm() error {
	form, err := c.bigForm(explainNames...)
	if err != nil {
		return err
	}
	p := &explanationPage{Form: form}
	fail := func(err error) error {
		said := problemOf(err)
		if statuses[said.kind].status >= 500 {
			return err
		}
		p.Wrong = said.detail
		for _, m := range said.more {
			if m.name == "field" {
				p.Field = strings.TrimPrefix(fmt.Sprint(m.value), "other/")
			}
		}
		return c.showExplanation(http.StatusUnprocessableEntity, p)
	}
	text, err := jobOfForm(form, "args")
	if err != nil {
		return fail(err)
	}
	p.JSON, p.CLI = string(text), commandOf(form)
	if form.Get("do") == "enqueue" {
		return c.enqueueForm(text, fail)
	}
	e, err := c.explainOne(text, "")
	if err != nil {
		return fail(err)
	}
	p.Job = &explained{Explanation: &e, Outside: outside(e.Text, []byte(form.Get("args")))}
	if strings.TrimSpace(form.Get("other")) == "" {
		return c.showExplanation(http.StatusOK, p)
	}
	other, err := jobOfForm(form, "other")
	if err != nil {
		return fail(err)
	}
	o, err := c.explainOne(other, "other/")
	if err != nil {
		return fail(err)
	}
	p.Other = &explained{Explanation: &o}
	p.SameKey = e.Key != nil && o.Key != nil && *e.Key == *o.Key
	p.Differ = differences([]byte(form.Get("args")), []byte(form.Get("other")), p.Job.Outside)
	return c.showExplanation(http.StatusOK, p)
}

// bigForm reads a form that has args.
func (c *call) bigForm(known ...string) (url.Values, error) {
	text, err := c.read(2 * c.jobBody())
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, problem("malformed", "the form cannot be read: "+err.Error())
	}
	for name := range values {
		if !contains(known, name) {
			return nil, invalid(bound(name), "", "is not known here")
		}
	}
	return values, nil
}

// enqueueForm does what was explained.
func (c *call) enqueueForm(text []byte, fail func(error) error) error {
	it, err := item(text, "")
	if err != nil {
		return fail(err)
	}
	receipt, err := c.client.Enqueue(c.r.Context(), it.Args, it.Options...)
	if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
		return fail(err)
	}
	v := c.newView("", "", nil)
	switch {
	case receipt.Job != nil && !receipt.Duplicate():
		return c.redirect(string(v.To("jobs", receipt.Job.ID)) + "?done=enqueue")
	case receipt.Conflict != nil && receipt.Conflict.By == "key":
		return c.redirect(string(v.To("keys", receipt.Conflict.Key)))
	}
	return c.redirect(string(v.To("jobs")))
}

// jobOfForm makes a job as JSON. Members that were left empty are not said.
func jobOfForm(form url.Values, args string) ([]byte, error) {
	members := map[string]any{"unique": true}
	for _, name := range explainNames {
		value := strings.TrimSpace(form.Get(name))
		switch {
		case value == "" || contains([]string{"do", "sure", "args", "other"}, name):
		case contains(lists, name):
			members[name] = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		default:
			members[name] = value
		}
	}
	if raw := strings.TrimSpace(form.Get(args)); raw != "" {
		if !json.Valid([]byte(raw)) {
			return nil, invalid(args, "", `must be JSON, such as {"to":1}`)
		}
		members["args"] = json.RawMessage(raw)
	}
	if members["kind"] == nil {
		return nil, invalid("kind", "", "is missing: it names the type of job")
	}
	return json.Marshal(members)
}

// commandOf is the same as a line for a shell.
func commandOf(form url.Values) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	line := "onceq explain " + quote(form.Get("kind"))
	if args := strings.TrimSpace(form.Get("args")); args != "" {
		line += " " + quote(args)
	}
	line += " --unique"
	for _, name := range []string{"queue", "id", "by", "fields", "unique_key", "until", "window", "ttl",
		"on_conflict"} {
		if value := strings.TrimSpace(form.Get(name)); value != "" {
			line += " --" + strings.ReplaceAll(name, "_", "-") + " " + quote(value)
		}
	}
	return line
}

// differences are the members in which two args differ.
func differences(a, b []byte, outside []string) (all []difference) {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return nil
	}
	names := map[string]bool{}
	for name := range x {
		names[name] = true
	}
	for name := range y {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if left, right := short(x[name]), short(y[name]); left != right {
			all = append(all, difference{"/" + name, left, right, !contains(outside, "/"+name)})
		}
	}
	return all
}

func short(raw json.RawMessage) string {
	var b bytes.Buffer
	if raw == nil || json.Compact(&b, raw) != nil {
		return "absent"
	}
	return bound(b.String())
}

// Would says in words what the enqueue would do.
func (e *explained) Would() string {
	switch e.Outcome {
	case onceq.Skipped:
		return "Nothing would be written: the job that is there stands for it."
	case onceq.Rejected:
		return "It would be refused as a duplicate."
	case onceq.Replaced:
		return "No new job would be made: the one that waits would take values of this enqueue."
	case onceq.Coalesced:
		return "A new job would stand behind the run under way, and start when that has ended."
	case onceq.Superseded:
		return "The job that is there would be cancelled, or asked to stop, and a new job take its place."
	}
	if e.Key == nil {
		return "A new job would be made, without a key."
	}
	return "A new job would be made, and hold the key."
}
