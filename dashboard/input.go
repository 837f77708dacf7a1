package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/nearest"
	"github.com/onceq/onceq/internal/terms"
	"github.com/onceq/onceq/internal/wire"
)

const (
	smallBody = 1 << 20  // bytes
	batchBody = 16 << 20 // of a batch
	mostItems = onceq.MaxBatch
)

// jobBody is how large a body with one job may be: args in base64, and the rest.
func (c *call) jobBody() int64 { return max(smallBody, int64(c.config.MaxArgs)/3*4+64<<10) }

// read reads the body, of at most so many bytes.
func (c *call) read(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, err
	}
	if err != nil {
		return nil, problem("malformed", "the body did not come whole").with("at", len(text))
	}
	return text, nil
}

// body reads a body that must be one JSON value; nothing is the empty object.
func (c *call) body(limit int64) ([]byte, error) {
	text, err := c.read(limit)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(text) {
		var v json.RawMessage
		at, what := len(text), "it ends in the middle"
		if syntax := (*json.SyntaxError)(nil); errors.As(json.Unmarshal(text, &v), &syntax) {
			if at, what = int(syntax.Offset), syntax.Error(); at >= len(text) {
				what = "it ends in the middle"
			}
		}
		return nil, problem("malformed", fmt.Sprintf("the body is not valid JSON: %s, at byte %d", what,
			at)).with("at", at)
	}
	c.sent = text
	return text, nil
}

// decode reads an object into a struct. Members that it does not have are
// refused.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typ):
		return invalid(strings.ReplaceAll(typ.Field, ".", "/"), "", "must not be a "+typ.Value)
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		name, _ = strconv.Unquote(name)
		rule := "is not known"
		if near := nearest.Name(name, membersOf(into)); near != "" {
			rule += fmt.Sprintf(": did you mean %q?", near)
		}
		return invalid(name, "", rule)
	}
	return problem("malformed", "the body is not an object as it is wanted here: "+err.Error()).with("at",
		int(d.InputOffset()))
}

func membersOf(into any) (names []string) {
	typ := reflect.TypeOf(into).Elem()
	if typ.Kind() != reflect.Struct {
		return nil
	}
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

var jobSource = terms.Source{Name: "the body", Hint: "see docs/json.md for its members"}

// item reads a job that goes in. at is where it stands in the body: "", or
// "jobs/3/".
func item(text []byte, at string) (onceq.Item, error) {
	it, err := jobSource.ParseItem(text)
	var refused *onceq.InvalidError
	switch {
	case errors.As(err, &refused):
		said := refused.In(wire.Member)
		field := at + said.Field
		p := invalid(field, said.Value, said.Rule)
		p.detail = at + said.Error()
		return it, p
	case err != nil:
		return it, invalid(strings.TrimSuffix(at, "/"), "", err.Error())
	}
	return it, nil
}

// query is the parameters of a request, of which route.checkQuery knows that
// they are known.
type query struct {
	c   *call
	err error
}

func (q *query) text(name string) string { return q.c.r.URL.Query().Get(name) }

func (q *query) refuse(name, rule string) {
	if q.err == nil {
		q.err = invalid(name, bound(q.text(name)), rule)
	}
}

func (q *query) number(name string, most int) int {
	s := q.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		q.refuse(name, fmt.Sprintf("must be 1 to %d", most))
	}
	return n
}

func (q *query) time(name string) time.Time {
	s := q.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		q.refuse(name, "must be an instant such as 2026-11-27T02:50:19Z")
	}
	return t
}

func (q *query) span(name string) time.Duration {
	s := q.text(name)
	if s == "" {
		return 0
	}
	d, err := terms.ParseDuration(s)
	if err != nil {
		q.refuse(name, err.Error())
	}
	return d
}

func (q *query) key(name string) *onceq.Key {
	s := q.text(name)
	if s == "" {
		return nil
	}
	key, err := onceq.ParseKey(s)
	if err != nil {
		q.refuse(name, "must be a key: 64 hexadecimal digits")
	}
	return &key
}

// set reads a list of names.
func (q *query) set(name string, known ...string) map[string]bool {
	s := q.text(name)
	all := map[string]bool{}
	if s == "" {
		return all
	}
	for one := range strings.SplitSeq(s, ",") {
		if !contains(known, one) {
			q.refuse(name, "must be of "+strings.Join(known, ", "))
		}
		all[one] = true
	}
	return all
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// bound cuts what a problem repeats.
func bound(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}
