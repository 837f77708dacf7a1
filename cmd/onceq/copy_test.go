//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// printed runs onceq and returns its standard output.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("onceq", args...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("onceq %v: %v\n%s%s", args, err, out, &errOut)
	}
	return string(out)
}

// jobsIn counts the jobs of a store; 0 while there is no store.
func jobsIn(url string) (n int) {
	out, _ := exec.Command("onceq", "queues", "--json", "--store", url).Output()
	for line := range strings.Lines(string(out)) {
		var queue struct{ Counts map[string]int }
		_ = json.Unmarshal([]byte(line), &queue)
		for _, c := range queue.Counts {
			n += c
		}
	}
	return n
}

// A copy that is killed in its middle goes on when it is begun again, from each
// kind of store to each, and in the end all is there once.
func TestACopyThatIsKilledGoesOn(t *testing.T) {
	postgres, redis := pgtest.Start(t).URL(), redistest.Start(t, "--appendonly", "yes").URL()
	made := 0
	url := map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"postgres": func() string { made++; return fmt.Sprintf("%s&namespace=c%d", postgres, made) },
		"redis":    func() string { made++; return fmt.Sprintf("%s?namespace=c%d", redis, made) },
	}
	const waiting, finished = 1200, 400
	var lines strings.Builder
	for n := range waiting + finished {
		kind, more := "waits", ""
		if n < finished {
			kind, more = "ends", `,"until":"deleted"`
		}
		fmt.Fprintf(&lines, `{"kind":%q,"args":{"n":%d},"unique":true%s}`+"\n", kind, n, more)
	}
	file := filepath.Join(t.TempDir(), "jobs.jsonl")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for _, from := range []string{"sqlite", "postgres", "redis"} {
		source := url[from]()
		printed(t, "enqueue", "--file", file, "--store", source)
		printed(t, "jobs", "cancel", "--kind", "ends", "--store", source)
		for _, to := range []string{"sqlite", "postgres", "redis"} {
			target := url[to]()
			want := fmt.Sprintf(`"keys":%d,"paused":0,"refused":[],"violations":[]}`, waiting+finished)
			for try := 0; ; try++ {
				if try == 2 { // two kills are enough
					if out := printed(t, "copy", source, target, "--json"); !strings.Contains(out, want) {
						t.Fatalf("%s to %s: %s", from, to, out)
					}
					break
				}
				if killedCopy(t, source, target) {
					kills++
				}
			}
			out := printed(t, "copy", source, target, "--json")
			if nothing := fmt.Sprintf(`{"waiting":0,"waiting_there":%d,"finished":0,"finished_there":%d,%s`, waiting,
				finished, want); strings.TrimSpace(out) != nothing {
				t.Errorf("%s to %s again:\n%swant\n%s", from, to, out, nothing)
			}
			if n := jobsIn(target); n != waiting+finished {
				t.Errorf("%s to %s: %d jobs", from, to, n)
			}
		}
	}
	if kills < 9 {
		t.Errorf("only %d of 18 copies were killed before their end", kills)
	}
}

// killedCopy copies and kills the copy soon after it began to write. It reports
// whether the copy was under way.
func killedCopy(t *testing.T, source, target string) bool {
	t.Helper()
	cmd := exec.Command("onceq", "copy", source, target)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	before := jobsIn(target)
	for jobsIn(target) == before {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	time.Sleep(rand.N(100 * time.Millisecond))
	_ = cmd.Process.Kill()
	return <-ended != nil
}
