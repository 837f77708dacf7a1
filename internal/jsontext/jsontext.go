// Package jsontext writes JSON as every answer of onceq is written.
package jsontext

import (
	"bytes"
	"encoding/json"
	"time"
)

// Encode is json.Marshal, but it leaves <, > and & as they are.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Join is one object with the members of several, in their order.
func Join(objects ...any) ([]byte, error) {
	all := []byte{'{'}
	for _, o := range objects {
		b, err := Encode(o)
		if err != nil {
			return nil, err
		}
		members := b[1 : len(b)-1]
		if len(members) > 0 && len(all) > 1 {
			all = append(all, ',')
		}
		all = append(all, members...)
	}
	return append(all, '}'), nil
}

// Time is an instant as it is written: RFC 3339 in UTC, always with three
// digits of a second, so that texts of instants can be compared. With omitzero
// the zero time is left out.
type Time time.Time

// IsZero reports whether it is the zero time.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

func (t Time) String() string { return time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z") }

// MarshalText is String.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
