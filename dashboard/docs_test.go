package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// shown is a command of a page, and what it prints there.
type shown struct {
	command string
	prints  []string
}

// commandsOf are the commands in the blocks of a page. A line that is indented
// goes on with the one before.
func commandsOf(page string) (all []shown) {
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			switch command, isOne := strings.CutPrefix(line, "$ "); {
			case isOne:
				all = append(all, shown{command: command})
			case strings.HasPrefix(line, "    "):
				all[len(all)-1].command += "\n" + line
			default:
				all[len(all)-1].prints = append(all[len(all)-1].prints, line)
			}
		}
	}
	return all
}

// likeness compares what a page prints with what came. "…" stands for anything,
// and names that are made anew each time are remembered.
type likeness struct {
	names map[string]string // of the page: what they are here
}

var (
	newName = regexp.MustCompile(`^(01[0-9A-Z]{24}|py-[0-9a-z]{10}-[0-9a-z])$`)
	anyText = regexp.MustCompile(`…`)
)

// elided makes JSON of JSON with … in it.
func elided(text string) string {
	var b strings.Builder
	var open []rune
	inString, escaped := false, false
	for _, c := range text {
		switch {
		case inString:
			inString = c != '"' || escaped
			escaped = c == '\\' && !escaped
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			open = append(open, c)
		case c == '}' || c == ']':
			open = open[:len(open)-1]
		case c == '…' && open[len(open)-1] == '{':
			b.WriteString(`"…":0`)
			continue
		case c == '…':
			b.WriteString(`"…"`)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (l *likeness) text(want, got string) bool {
	var parts []string
	for _, part := range anyText.Split(want, -1) {
		for name, is := range l.names {
			part = strings.ReplaceAll(part, name, is)
		}
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(got)
}

// differ says where a value is not as it was printed; "" = it is.
func (l *likeness) differ(want, got any, at string) string {
	switch x := want.(type) {
	case map[string]any:
		y, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v", at, got)
		}
		_, open := x["…"]
		for _, name := range slices.Sorted(maps.Keys(x)) {
			if _, there := y[name]; !there && name != "…" {
				return at + "/" + name + " is missing"
			} else if name != "…" {
				if d := l.differ(x[name], y[name], at+"/"+name); d != "" {
					return d
				}
			}
		}
		for name := range y {
			if _, there := x[name]; !there && !open {
				return at + "/" + name + " is not on the page"
			}
		}
		return ""
	case []any:
		y, ok := got.([]any)
		if open := len(x) > 0 && x[len(x)-1] == "…"; ok && open && len(y) >= len(x)-1 {
			x, y = x[:len(x)-1], y[:len(x)-1]
		}
		if len(x) != len(y) || !ok {
			return fmt.Sprintf("%s is %v", at, got)
		}
		for i := range x {
			if d := l.differ(x[i], y[i], fmt.Sprintf("%s/%d", at, i)); d != "" {
				return d
			}
		}
		return ""
	case string:
		y, ok := got.(string)
		if _, known := l.names[x]; ok && newName.MatchString(x) && newName.MatchString(y) && !known {
			l.names[x] = y
		}
		if ok && l.text(x, y) {
			return ""
		}
	case float64:
		if _, ok := got.(float64); ok && (want == got || strings.HasSuffix(at, "_ms")) {
			return ""
		}
	}
	if want == got {
		return ""
	}
	return fmt.Sprintf("%s is %v, and on the page %v", at, got, want)
}

// printed compares the lines that a command printed.
func (l *likeness) printed(t *testing.T, c shown, out string) {
	t.Helper()
	want := c.prints
	if head, body, ok := strings.Cut(out, "\r\n\r\n"); ok { // with its headers
		for len(want) > 0 && !strings.HasPrefix(want[0], "{") {
			if name, _, _ := strings.Cut(want[0], " "); name == "Location:" && len(want) > 1 {
				var body any
				_ = json.Unmarshal([]byte(elided(want[1])), &body) // the name is made in it
				var got any
				_ = json.Unmarshal([]byte(out[strings.Index(out, "\r\n\r\n"):]), &got)
				l.differ(body, got, "")
			}
			if !slices.ContainsFunc(strings.Split(head, "\r\n"), func(h string) bool { return l.text(want[0], h) }) {
				t.Errorf("%s\nhas no header %s:\n%s", c.command, want[0], head)
			}
			want = want[1:]
		}
		out = body
	}
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if strings.HasPrefix(out, "{\n") {
		got = []string{out} // openapi.json
	}
	if len(got) != len(want) {
		t.Errorf("%s\nprints\n%s\nand on the page\n%s", c.command, out, strings.Join(want, "\n"))
		return
	}
	for i := range want {
		var x, y any
		if err := json.Unmarshal([]byte(elided(want[i])), &x); err != nil {
			t.Errorf("the page: %v: %s", err, want[i])
		} else if err := json.Unmarshal([]byte(got[i]), &y); err != nil {
			t.Errorf("%s\nprints %s", c.command, got[i])
		} else if d := l.differ(x, y, ""); d != "" {
			t.Errorf("%s\n%s\n%s", c.command, d, got[i])
		}
	}
}

// Each call stands in docs/http.md with curl, and what it prints there is what it
// prints.
func TestEachCurlOfTheDocsPrintsWhatThePageSays(t *testing.T) {
	for _, program := range []string{"curl", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(program + " is not installed")
		}
	}
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlitestore.Open(filepath.Join(t.TempDir(), "q.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	remote, err := onceq.NewRemote(store, &onceq.RemoteConfig{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := serveOn(t, store, func(c *Config) { c.Authorize, c.Remote = Everyone, remote })
	s := httptest.NewServer(w)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- remote.Run(ctx) }()
	defer func() { stop(); <-ended }()
	l := &likeness{names: map[string]string{"localhost:8080": strings.TrimPrefix(s.URL, "http://")}}
	called := map[string]bool{}
	for _, c := range commandsOf(string(page)) {
		command := c.command
		for name, is := range l.names {
			command = strings.ReplaceAll(command, name, is)
		}
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && (!strings.Contains(command, "--max-time") ||
			!asExit(err, &exit) || exit.ExitCode() != 28) { // a stream that has no end is cut
			t.Errorf("%s\n%v\n%s", command, err, out)
		}
		if !strings.Contains(command, "--max-time") {
			l.printed(t, c, string(out))
		}
		called[w.called(c.command)] = true
	}
	for _, r := range w.routes {
		if !r.page && !called[r.method+" "+r.path] {
			t.Errorf("docs/http.md has no curl for %s %s", r.method, r.path)
		}
	}
	if t.Failed() {
		t.Log("the names of the page are here", l.names)
	}
}

func asExit(err error, to **exec.ExitError) bool {
	exit, ok := err.(*exec.ExitError)
	*to = exit
	return ok
}

// called is the route that a command calls.
func (w *world) called(command string) string {
	m := regexp.MustCompile(`localhost:8080(/[^' ?]*)`).FindStringSubmatch(command)
	if m == nil {
		return ""
	}
	method := "GET"
	if said := regexp.MustCompile(`-X ([A-Z]+)`).FindStringSubmatch(command); said != nil {
		method = said[1]
	} else if strings.Contains(command, "--json") || strings.Contains(command, "--data") {
		method = "POST"
	}
	segments, err := segmentsOf(m[1])
	if err != nil {
		w.Fatal(err)
	}
	c := call{Dashboard: w.Dashboard, r: w.request(method, m[1], ""),
		w: &answerWriter{ResponseWriter: httptest.NewRecorder()}}
	if err := c.find(segments); err != nil {
		w.Errorf("%s: %v", command, err)
		return ""
	}
	return method + " " + c.route.path
}
