package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// block is what a page asks to paste, and what it says that is printed.
type block struct{ script, printed string }

func blocksOf(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```(sh)?\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if m[1] == "sh" {
			all = append(all, block{script: m[2]})
		} else {
			all[len(all)-1].printed = m[2]
		}
	}
	return all
}

var madeID = regexp.MustCompile(`01[0-9A-Z]{24}`)

// matches compares what was printed with a page: "…" stands for anything, and all
// IDs are one.
func matches(want, got string) bool {
	var parts []string
	for part := range strings.SplitSeq(madeID.ReplaceAllString(want, "ID"), "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(`^` + strings.Join(parts, `[^\n]*`) + `$`).MatchString(madeID.ReplaceAllString(got, "ID"))
}

// A newcomer has an empty folder, the command, and docs/quick-start-http.md. What
// it asks to paste is pasted, and what it says is on the pages is looked for there.
func TestANewcomersPathOverHTTP(t *testing.T) {
	for _, name := range []string{"curl", "python3", "sh"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(name + " is not installed")
		}
	}
	blocks := blocksOf(t, "../../docs/quick-start-http.md")
	worker, err := os.ReadFile("../../examples/worker.py")
	if err != nil || len(blocks) != 4 || !strings.Contains(blocks[2].script, string(worker)) {
		t.Fatalf("%v: %d blocks, or the worker of the page is not examples/worker.py", err, len(blocks))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := l.Addr().String()
	l.Close()
	folder := t.TempDir()
	start := func(b block) (*exec.Cmd, io.Reader) {
		// exec, so that what is killed is what was started.
		lines := strings.Split(strings.TrimSuffix(b.script, "\n"), "\n")
		lines[len(lines)-1] = "exec " + lines[len(lines)-1]
		cmd := exec.Command("sh", "-ec", strings.ReplaceAll(strings.Join(lines, "\n"), "127.0.0.1:8080", here))
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "ONCEQ_LISTEN="+here, "ONCEQ_STORE=", "ONCEQ_TOKEN=", "ONCEQ_TOKEN_FILE=")
		r, w := io.Pipe()
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = r.Close()
			_ = cmd.Wait()
		})
		return cmd, r
	}
	// says reads as many lines as the page has.
	says := func(b block, from io.Reader) {
		t.Helper()
		want := strings.ReplaceAll(b.printed, "127.0.0.1:8080", here)
		lines := bufio.NewReader(from)
		got := ""
		for range strings.Count(want, "\n") {
			line, err := lines.ReadString('\n')
			if got += line; err != nil {
				t.Fatalf("%v: it printed\n%s", err, got)
			}
		}
		if !matches(want, got) {
			t.Fatalf("it printed\n%s\nthe page says\n%s", got, want)
		}
		go func() { _, _ = io.Copy(io.Discard, from) }()
	}
	run := func(b block) string {
		cmd := exec.Command("sh", "-ec", strings.ReplaceAll(b.script, "127.0.0.1:8080", here))
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	_, server := start(blocks[0])
	says(blocks[0], server)
	twice := run(blocks[1])
	ids := madeID.FindAllString(twice, -1)
	if !matches(blocks[1].printed, twice) || len(ids) != 3 || ids[0] != ids[1] || ids[0] != ids[2] {
		t.Fatalf("it printed\n%s\nthe page says\n%s", twice, blocks[1].printed)
	}
	id := madeID.FindString(twice)
	// The key is clicked, and the page of it says who holds it, and whom it met.
	list := until(t, "http://"+here+"/keys", `href="\./keys/[0-9a-f]{64}"`)
	key := "http://" + here + "/" + regexp.MustCompile(`keys/[0-9a-f]{64}`).FindString(list)
	until(t, key, id, `kind=mail`, `How the next one gets in`, `(?s)The life of this key.*Duplicate skipped`)
	_, python := start(blocks[2])
	says(blocks[2], python)
	done := regexp.MustCompile(`"state":"completed"`)
	got := run(blocks[3])
	for deadline := time.Now().Add(time.Minute); !done.MatchString(got) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		got = run(blocks[3])
	}
	if !matches(blocks[3].printed, got) || madeID.FindString(got) != id {
		t.Fatalf("it printed\n%s\nthe page says\n%s", got, blocks[3].printed)
	}
	until(t, "http://"+here+"/jobs/"+id, "completed", "http/anyone/py-")
	if a := run(blocks[1]); !strings.Contains(a, `"inserted"`) || strings.Contains(a, id) {
		t.Errorf("the key is not free: %s", a)
	}
}

// until loads a page until it has all texts, and returns it.
func until(t *testing.T, at string, texts ...string) string {
	t.Helper()
	page, missing := "", ""
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(at)
		if err == nil {
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			page, missing = string(text), ""
			for _, s := range texts {
				if !regexp.MustCompile(s).MatchString(page) {
					missing = s
				}
			}
			if missing == "" {
				return page
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no %s: %v\n%s", at, missing, err, page)
		}
	}
}
