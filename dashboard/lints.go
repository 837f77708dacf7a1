package dashboard

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
	"github.com/onceq/onceq/internal/terms"
)

// finding is what looks like a mistake in the terms of a kind.
type finding struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// The bounds of the findings.
const (
	enoughToJudge = 1000          // enqueues
	enoughKeys    = 20            // keys that were looked at
	sameTime      = 2 * time.Hour // in which two terms of a kind are both in use: they are noted once an hour
	tooLong       = 100           // mean runs that a key is held for
)

// evidence is what is known of a kind, besides its terms.
type evidence struct {
	terms onceq.KindTerms
	all   []onceq.KindTerms // of every kind
	count onceq.Count       // of a day
	keys  []*onceq.HeldKey  // some of those that its jobs hold
	now   time.Time         // of the store
}

// said are the terms by name.
func (e *evidence) said() map[string]string {
	said := map[string]string{}
	for _, w := range strings.Fields(e.terms.Terms) {
		name, value, _ := strings.Cut(w, "=")
		said[name] = value
	}
	return said
}

// span is a length of time that the terms say; 0 = they do not.
func span(text string) time.Duration {
	d, err := terms.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

func added(all [6]int64) (n int64) {
	for _, one := range all {
		n += one
	}
	return n
}

// findings are rules about the terms of a kind, and what came of
// them.
func (e *evidence) findings() (found []finding) {
	add := func(code, text string, values ...any) {
		found = append(found, finding{code, fmt.Sprintf(text, values...)})
	}
	said, c := e.said(), &e.count
	enqueues, runs := added(c.Enqueued), added(c.Ended)
	met := c.Duplicates() + c.Enqueued[4] + c.Enqueued[5]
	part := e.randomPart()
	switch {
	case said["unique"] == "false":
	case part != "" && met == 0 && enqueues >= enoughKeys:
		add("random-uuid", "Each key that was looked at has a random UUID in %s, and none of %s was a duplicate. If "+
			"the UUID is made anew for each enqueue, no two are ever the same: leave it out of the key.", part,
			phrase.Count(enqueues, "enqueue"))
	case enqueues >= enoughToJudge && met == 0:
		add("never-conflicts", "%s enqueues and not one duplicate in a day: perhaps the key has a part that is new "+
			"each time, such as a time or a random ID.", phrase.Thousands(enqueues))
	case enqueues >= enoughToJudge && met*100 >= enqueues*99:
		add("always-conflicts", "%s of %s enqueues met a held key: perhaps the key lacks a part that tells them "+
			"apart, or is held too long.", phrase.Thousands(met), phrase.Thousands(enqueues))
	}
	if e.two() {
		add("two-policies", "The same kind is enqueued on other terms too: two programs, or two versions of one, do "+
			"not agree on what a duplicate is.")
	}
	if said["until"] == "succeeded" && c.Ended[2] > 0 {
		add("held-by-failed", "%s failed for good: each keeps its key, and turns away enqueues, until it is retried "+
			"or deleted.", phrase.Count(c.Ended[2], "job"))
	}
	if window, kept := span(said["window"]), span(said["retention"]); said["retention"] != "" && window > kept {
		add("window-beyond-retention", "The window of %s is longer than the %s for which an ended job is kept: "+
			"after that a duplicate names a holder that nobody can look at. Make Retention as long as the window.",
			phrase.Span(window), phrase.Span(kept))
	}
	if runs == 0 {
		return found
	}
	mean := time.Duration(c.RunMS/runs) * time.Millisecond
	if ttl := span(said["ttl"]); ttl > 0 && ttl < mean {
		add("ttl-below-run", "The TTL of %s is over before a run is, which takes %s: a second job may run at the same "+
			"time.", phrase.Span(ttl), phrase.Span(mean))
	}
	if n, longest := e.heldLong(mean); n > 0 && said["until"] != "deleted" {
		add("held-long", "%s for more than %d times as long as a run takes (%s); the longest, by job %s, since %s. "+
			"Its run may hang, or a failed job waits for somebody to retry it.", isHeld(n), tooLong, phrase.Span(mean),
			middle(longest.Holder), phrase.Span(e.now.Sub(longest.Since)))
	}
	return found
}

func isHeld(n int) string {
	if n == 1 {
		return "1 key is held"
	}
	return phrase.Thousands(n) + " keys are held"
}

// two reports whether the kind has other terms too, at the same
// time.
func (e *evidence) two() bool {
	t := e.terms
	for _, o := range e.all {
		if o.Kind == t.Kind && o.Queue == t.Queue && o.Terms != t.Terms && o.LastAt.Sub(t.LastAt).Abs() < sameTime {
			return true
		}
	}
	return false
}

// heldLong counts the keys that are held far longer than a run
// takes: by a job that does not wait for its run, and not because
// of a window or a TTL.
func (e *evidence) heldLong(mean time.Duration) (n int, longest *onceq.HeldKey) {
	limit := max(tooLong*mean, time.Minute)
	for _, k := range e.keys {
		if k.State.Waiting() || !k.FreesAt.IsZero() || e.now.Sub(k.Since) <= limit {
			continue
		}
		if n++; longest == nil || k.Since.Before(longest.Since) {
			longest = k
		}
	}
	return n, longest
}

// randomUUID is a value that is a random UUID (version 4), with
// the name of its member before it.
var randomUUID = regexp.MustCompile(`(?i)(?:(/[^\s=]+)=|"([^"]+)":)?"?\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-` +
	`[89ab][0-9a-f]{3}-[0-9a-f]{12}\b`)

// randomPart is the member that has a random UUID in each key that
// was looked at; "" = there is none.
func (e *evidence) randomPart() (part string) {
	if len(e.keys) < enoughKeys {
		return ""
	}
	for _, k := range e.keys {
		m := randomUUID.FindStringSubmatch(k.Text)
		if m == nil {
			return ""
		}
		switch {
		case m[1] != "":
			part = m[1]
		case m[2] != "":
			part = "/" + m[2]
		default:
			part = "the key of the caller"
		}
	}
	return clean(part)
}
