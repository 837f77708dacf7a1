package terms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// opt is a value that remembers whether it was said.
type opt[T any] struct {
	typ   string
	to    **T
	parse func(string) (T, error)
	said  string
}

// Optional is a value that is read by parse into *to.
func Optional[T any](typ string, to **T, parse func(string) (T, error)) Value {
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

// List is a value that is a list of texts.
func List(typ string, to **[]string) Value { return words{typ, to} }

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
	all = append(all, Split(s)...)
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
		return Split(s), nil
	}
	all := []string{}
	if raw[0] != '[' || json.Unmarshal(raw, &all) != nil {
		return nil, errors.New("must be a list of strings")
	}
	return all, nil
}

// Split splits a list at its commas. A comma in a name is written as \,.
func Split(s string) []string {
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
