package main

import (
	"bytes"
	"encoding/json"
	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// odd are names that can be said at an enqueue, and that a shell, a flag or
// a list might take for something else.
var odd = []string{
	"-x", "-", "--", "--json", "-h", "--help", "a b", "a=b", "a=5", "a=5=b", "=", "=x", "x=", "a,b", ",", `a\`, `a\b`,
	`a\,b`, `\,`, `"`, `"q"`, `a"b`, "'", "*", "?", "[x]", "a/b", "/", "%", "%2F", "#",
	"a:b", "a|b", "a;b", "$HOME", "`x`", "~", "!", "0", "5", "true", "null", "{}", "ünï", "Ω", "日本", "a.b", "@", "+",
	"help", "default=10",
}

// listed is a name as an item of a list that commas part.
func listed(name string) string { return strings.ReplaceAll(name, ",", `\,`) }

// A name that can be enqueued can be said to every command that takes such
// a name.
func TestEveryNameThatIsEnqueuedCanBeAddressed(t *testing.T) {
	for _, name := range odd {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
			onceqs := func(want int, args ...string) string {
				t.Helper()
				var out, errOut bytes.Buffer
				if code := run(append([]string{"--store", store}, args...), strings.NewReader(""), &out,
					&errOut); code != want {
					t.Fatalf("onceq %q: exit code %d, not %d\n%s%s", args, code, want, &out, &errOut)
				}
				return out.String()
			}
			lines := func(args ...string) int {
				t.Helper()
				return strings.Count(onceqs(0, append(args, "--json")...), "\n")
			}
			has := func(what string, got, want int) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %d, not %d", what, got, want)
				}
			}
			onceqs(0, "enqueue", "plain", "--queue", "default", "--id", "plain", "--key", "plain")
			onceqs(0, "enqueue", "--queue", name, "--id", name, "--tags", listed(name), "--key", "k"+name, "--",
				name, `{"n":1}`)
			has("jobs of the queue", lines("jobs", "--queue", name), 1)
			has("jobs of the kind", lines("jobs", "--kind", name), 1)
			has("keys of the queue", lines("keys", "--queue", name), 1)
			has("keys of the kind", lines("keys", "--kind", name), 1)
			var job struct {
				ID, Kind, Queue string
				Tags            []string
			}
			if err := json.Unmarshal([]byte(onceqs(0, "job", "show", "--json", "--", name)), &job); err != nil ||
				job.Queue != name || job.Kind != name || job.ID != name || len(job.Tags) != 1 || job.Tags[0] != name {
				t.Errorf("%v: %+v", err, job)
			}
			onceqs(0, "explain", "--queue", name, "--id", name, "--", name, `{"n":1}`)
			onceqs(0, "queue", "pause", "--", name)
			onceqs(0, "queue", "resume", "--", name)
			onceqs(0, "job", "run", "--", name)
			onceqs(0, "job", "cancel", "--", name)
			onceqs(0, "job", "retry", "--", name)
			kinds := []string{"no-such," + listed(name)} // a name that ends in \ is the last of its list
			if !strings.HasSuffix(name, `\`) {
				kinds = append(kinds, listed(name)+",no-such")
			}
			for i, queues := range []string{listed(name) + "=1,default=1", "default=1," + listed(name) + "=1"} {
				onceqs(0, "work", "--exec", `test "$ONCEQ_KIND" != plain && test "$ONCEQ_QUEUE" != default`, "--drain",
					"--queues", queues, "--kinds", kinds[i%len(kinds)])
				has("completed jobs", lines("jobs", "--state", "completed"), 1)
				has("due jobs", lines("jobs", "--state", "available"), 1)
				onceqs(0, "jobs", "retry", "--queue", name, "--kind", name)
			}
			if !strings.Contains(name, "=") { // the number of a queue may be left away
				onceqs(0, "work", "--exec", "true", "--drain", "--queues", listed(name))
				has("completed jobs", lines("jobs", "--state", "completed"), 1)
				onceqs(0, "jobs", "retry", "--queue", name)
			}
			onceqs(0, "jobs", "run", "--kind", name)
			onceqs(0, "jobs", "cancel", "--queue", name)
			onceqs(0, "job", "delete", "--", name)
			onceqs(0, "enqueue", "--file", lineOf(t, name))
			onceqs(0, "job", "show", "--", name)
			onceqs(0, "jobs", "delete", "--queue", name, "--kind", name)
			has("jobs", lines("jobs"), 1)
		})
	}
}

// lineOf is a file with a job whose every name is this.
func lineOf(t *testing.T, name string) string {
	t.Helper()
	line, err := json.Marshal(map[string]any{"kind": name, "queue": name, "id": name, "unique_key": "k" + name,
		"tags": []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(line))
}

// Whoever forgets the -- is told of it.
func TestANameThatLooksLikeAFlagIsExplained(t *testing.T) {
	store := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
	for _, id := range []string{"-x", "--frob", "-xyz=1"} {
		for _, words := range [][]string{{"job", "show"}, {"job", "cancel"}, {"job", "retry"}, {"job", "run"},
			{"job", "delete"}, {"queue", "pause"}, {"queue", "resume"}, {"enqueue"}, {"explain"}} {
			var out bytes.Buffer
			code := run(append(append(words, id), "--store", store), strings.NewReader(""), &out, &out)
			if want := "onceq " + strings.Join(words, " ") + " -- " + id; code != exitUsage ||
				!strings.Contains(out.String(), want) {
				t.Errorf("onceq %q %s: exit code %d: %s\nwhich does not say %s", words, id, code, &out, want)
			}
		}
	}
}

func TestQueuesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]map[string]int{
		"default=10,mail=2": {"default": 10, "mail": 2}, "mail": {"mail": 10}, "a=b=3": {"a=b": 3}, "a=5=3": {"a=5": 3},
		`a\,b=2,c`: {"a,b": 2, "c": 10}, `"a"`: {`"a"`: 10}, "==1": {"=": 1}, " mail=2, x ": {"mail": 2, "x": 10},
	} {
		got, err := parseQueues(terms.Split(text), false)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		for name, n := range want {
			if got[name].Concurrency != n {
				t.Errorf("%s: %v", text, got)
			}
		}
	}
	for _, text := range []string{"a=b", "=", "=1", "", "a,,b", "a=0", "a=-1", "a=1,a=2", "a=1.5", "a="} {
		if got, err := parseQueues(terms.Split(text), false); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestWeightsAreReadAsTheyAreWritten(t *testing.T) {
	type queue = onceq.QueueConfig
	for text, want := range map[string]map[string]queue{
		"critical*6,default*3,low": {"critical": {Weight: 6}, "default": {Weight: 3}, "low": {}},
		"a*6*2,b=4,*":              {"a*6": {Weight: 2}, "b": {Concurrency: 4}, "*": {}},
		"a*6=2":                    {"a*6": {Concurrency: 2}}, "a*": {"a*": {}}, "*6": {"*6": {}},
	} {
		if got, err := parseQueues(terms.Split(text), true); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a*0", "a*1001", "a*99999999999999999999", "a*1,a*2", "a*1,a=2"} {
		if got, err := parseQueues(terms.Split(text), true); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	if _, err := parseQueues([]string{"a*6"}, false); err == nil || !strings.Contains(err.Error(), "--concurrency") {
		t.Errorf("a weight without slots to share: %v", err)
	}
}

// An argument that is much too long is not repeated in full.
func TestNoErrorRepeatsALongArgument(t *testing.T) {
	long := strings.Repeat("0", 10_000)
	store := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
	var made bytes.Buffer
	if code := run([]string{"--store", store, "enqueue", "a"}, strings.NewReader(""), &made, &made); code != exitDone {
		t.Fatal(made.String())
	}
	for _, args := range [][]string{
		{"job", "show", long}, {"job", "delete", long}, {"job", "show", "a", long}, {long}, {"jobs", "--state", long},
		{"jobs", "--key", long}, {"key", "show", long}, {"queue", "pause", long},
		{"enqueue", long}, {"enqueue", "a", "--at", long}, {"enqueue", "a", "--id", long}, {"enqueue", "a", long, "x"},
		{"work", "--exec", "true", "--drain", "--queues", long}, {"jobs", "--f" + long},
		{"help", long}, {"job", long}, {"jobs", "--store", long}, {"enqueue", "--file", long},
	} {
		var out bytes.Buffer
		code := run(append([]string{"--store", store}, args...), strings.NewReader(""), &out, &out)
		if code == exitDone || out.Len() > 1500 {
			t.Errorf("onceq %.20q: exit code %d and %d bytes", args, code, out.Len())
		}
	}
}

// The command lines in the text of a page stand between backquotes.
var inline = regexp.MustCompile("`onceq ([^`\n]+)`")

// What the README and the docs show to type is understood.
func TestTheCommandsOfTheDocsAreUnderstood(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range commandsOf(string(text)) {
			seen++
			args, _, _ = strings.Cut(args, " #")
			args, _, _ = strings.Cut(args, " |")
			words := fields(args)
			if i := slices.Index(words, "--"); i >= 0 {
				words = words[:i] // the command of onceq once
			}
			words = append(words, "x", "--help") // x is the value of a flag that ends the line
			var out bytes.Buffer
			if code := run(words, strings.NewReader(""), &out, &out); code != exitDone {
				t.Errorf("%s: onceq %s: exit code %d\n%s", page, args, code, &out)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were found", seen)
	}
}

// commandsOf are the lines of a page that begin with "onceq ", without that:
// those of its blocks for a shell, and those in its text.
func commandsOf(page string) (all []string) {
	for i, block := range strings.Split(page, "```") {
		rest, shell := strings.CutPrefix(block, "sh\n")
		switch {
		case i%2 == 0:
			for _, m := range inline.FindAllStringSubmatch(block, -1) {
				all = append(all, m[1])
			}
		case shell:
			for line := range strings.Lines(rest) {
				if args, ok := strings.CutPrefix(strings.TrimSpace(line), "onceq "); ok {
					all = append(all, args)
				}
			}
		}
	}
	return all
}

// fields splits a command line as a shell would, as far as quotes go.
func fields(line string) (all []string) {
	quoted := strings.Split(line, "'")
	for i, part := range quoted {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}
