package terms

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onceq/onceq"
)

func parseBy(s string) (onceq.Part, error) {
	return parseParts(s, "kind, queue, args and meta", map[string]onceq.Part{
		"kind": onceq.ByKind, "queue": onceq.ByQueue, "args": onceq.ByArgs, "meta": onceq.ByMeta})
}

func parseScope(s string) (onceq.Part, error) {
	return parseParts(s, "kind and queue, or key alone", map[string]onceq.Part{
		"kind": onceq.ByKind, "queue": onceq.ByQueue, "key": onceq.ByKey})
}

func parseParts(s, which string, known map[string]onceq.Part) (parts onceq.Part, err error) {
	for _, name := range Split(s) {
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

// PolicyWords are what a policy begins with.
var PolicyWords = []string{"skip", "reject", "coalesce", "supersede", "replace:", "debounce:"}

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
		d, err := ParseDuration(rest)
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
	for _, name := range Split(fields) {
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
	for _, st := range Split(states) {
		r.Only = append(r.Only, onceq.State(strings.TrimSpace(st)))
	}
	return r, nil
}
