package terms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/nearest"
)

// Source is where the JSON of a job comes from, for messages.
type Source struct {
	Name string // such as "the line"
	Hint string // what else to do where it is not such an object; begins a clause
}

// ParseItem reads a job: an object with the members "kind", "args" or
// "args_base64", and those of the settings.
func (s Source) ParseItem(text []byte) (onceq.Item, error) {
	var t Terms
	var kind string
	var args json.RawMessage
	var opaque []byte // nil = there is no args_base64
	err := s.members(text, func(name string, raw json.RawMessage) (err error) {
		switch name {
		case "kind":
			if json.Unmarshal(raw, &kind) != nil || raw[0] != '"' {
				return errors.New("must be a string")
			}
			return nil
		case "args":
			args = raw
			return nil
		case "args_base64":
			var text string
			if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
				return errors.New("must be a string")
			}
			if opaque, err = base64.StdEncoding.DecodeString(text); err != nil {
				return fmt.Errorf("must be base64 (with + and /, and = at the end): %w", err)
			}
			return nil
		}
		known, err := t.setMember(name, raw)
		if !known {
			return &onceq.InvalidError{Field: name, Rule: "is not known: " + s.meant(name, &t)}
		}
		return err
	})
	if err != nil {
		return onceq.Item{}, err
	}
	if kind == "" {
		return onceq.Item{}, &onceq.InvalidError{Field: "kind",
			Rule: "is missing: " + s.Name + ` must be {"kind":…,"args":…}, or ` + s.Hint}
	}
	opts, err := t.Options(AsMember)
	switch {
	case err != nil:
		return onceq.Item{}, err
	case opaque == nil && args == nil:
		args = json.RawMessage("{}")
		fallthrough
	case opaque == nil:
		return onceq.NewItem(onceq.JSON(kind, args), opts...), nil
	case args != nil:
		return onceq.Item{}, &onceq.InvalidError{Field: "args_base64", Rule: "and args are both there: keep one"}
	}
	return onceq.NewItem(onceq.Bytes(kind, opaque), opts...), nil
}

func (s Source) meant(name string, t *Terms) string {
	names := []string{"kind", "args", "args_base64"}
	for _, f := range t.All() {
		if f.Name == name || strings.ReplaceAll(f.Name, "-", "_") == name {
			return fmt.Sprintf("did you mean %q?", f.Member())
		}
		names = append(names, f.Member())
	}
	if near := nearest.Name(name, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return s.Hint
}

// members calls do for each member of a JSON object, with its value byte
// for byte. A name that occurs twice is an error.
func (s Source) members(text []byte, do func(name string, raw json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New(s.Name + ` is not a JSON object: it must be {"kind":…,"args":…}, or ` + s.Hint)
	}
	var seen []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return s.notJSON(err)
		}
		name, _ := t.(string)
		if slices.Contains(seen, name) {
			return &onceq.InvalidError{Field: name, Rule: "is there twice"}
		}
		seen = append(seen, name)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return s.notJSON(err)
		}
		err = do(name, raw)
		var invalid *onceq.InvalidError
		switch {
		case errors.As(err, &invalid):
			return err
		case err != nil:
			return &onceq.InvalidError{Field: name, Value: shown(raw), Rule: err.Error()}
		}
	}
	if _, err := dec.Token(); err != nil {
		return s.notJSON(err)
	}
	if rest := bytes.TrimSpace(text[dec.InputOffset():]); len(rest) > 0 {
		return errors.New(s.Name + " goes on after the object: one object a line")
	}
	return nil
}

// shown is a value as a message shows it: a string without its quotes.
func shown(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	if r := []rune(s); len(r) > 100 {
		s = string(r[:99]) + "…"
	}
	return s
}

func (s Source) notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends in the middle")
	}
	return fmt.Errorf("%s is not valid JSON: %w", s.Name, err)
}
