package dashboard

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/onceq/onceq/internal/fingerprint"
)

const mostDiffer = 100 // members that an answer names

// differ names the members in which the args of two jobs differ by value, as
// JSON Pointers; "" = the args as a whole.
func differ(a, b rawJSON) []string {
	type job struct {
		Args   rawJSON `json:"args"`
		Opaque rawJSON `json:"args_base64"`
	}
	var x, y job
	_, _ = json.Unmarshal(a, &x), json.Unmarshal(b, &y) // both were read before
	all := []string{}
	switch {
	case x.Opaque != nil && y.Opaque != nil:
		x.Args, y.Args = x.Opaque, y.Opaque
	case x.Opaque != nil || y.Opaque != nil:
		return []string{""}
	}
	for _, j := range []*job{&x, &y} {
		if j.Args == nil {
			j.Args = rawJSON("{}")
		}
	}
	appendDiffer(&all, x.Args, y.Args, "")
	return all
}

func appendDiffer(all *[]string, a, b rawJSON, at string) {
	left, leftErr := fingerprint.Digest(a, true)
	right, rightErr := fingerprint.Digest(b, true)
	if len(*all) >= mostDiffer || left == right && leftErr == nil && rightErr == nil {
		return
	}
	x, y := objectOf(a), objectOf(b)
	if x == nil || y == nil {
		*all = append(*all, at)
		return
	}
	names := maps.Clone(x)
	maps.Copy(names, y)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		pointer := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		one, inX := x[name]
		other, inY := y[name]
		if inX != inY {
			if len(*all) < mostDiffer {
				*all = append(*all, pointer)
			}
			continue
		}
		appendDiffer(all, one, other, pointer)
	}
}

// objectOf is a JSON object by its members; nil = it is something else.
func objectOf(text rawJSON) (members map[string]rawJSON) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) || json.Unmarshal(text, &members) != nil {
		return nil
	}
	return members
}
