package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// pageFuncs are what the pages can say.
var pageFuncs = template.FuncMap{
	"away":   phrase.Away,
	"span":   phrase.Span,
	"num":    func(n any) string { return phrase.Thousands(asInt(n)) },
	"count":  func(n any, what string) string { return phrase.Count(asInt(n), what) },
	"hold":   phrase.Hold,
	"origin": phrase.Origin,
	"hex":    func(k any) string { return fmt.Sprint(k)[:8] },
	"middle": middle,
	"clean":  clean,
	"pretty": pretty,
	"stamp":  func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"asset":  func(name string) string { return staticNames[name] },
	"dict":   dict,
	"states": onceq.States,
}

func asInt(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	panic(fmt.Sprintf("%T is no number", n))
}

// dict makes what a part of a page is shown with.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// middle leaves out the middle of a long ID: both ends tell jobs apart.
func middle(s string) string {
	if r := []rune(clean(s)); len(r) > 18 {
		return string(r[:7]) + "…" + string(r[len(r)-8:])
	}
	return clean(s)
}

// clean shows what cannot be seen, or would change the order of letters, as a
// sign that can be seen.
func clean(s string) string {
	if !strings.ContainsFunc(s, unseen) && utf8.ValidString(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return '␣'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

func unseen(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }

// pretty writes args for people: JSON with a line for each member.
func pretty(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return clean(string(raw))
	}
	return clean(b.String())
}
