//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// TestALimitedQueueRunsOneJobAtATimeInFourProcesses of which two are killed:
// what they had is free when their leases are over, and never before.
func TestALimitedQueueRunsOneJobAtATimeInFourProcesses(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t).URL() },
		"redis":    func(t *testing.T) string { return redistest.Start(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limitedInProcesses(t, url(t))
		})
	}
}

func limitedInProcesses(t *testing.T, store string) {
	const jobs = 40
	dir := t.TempDir()
	var lines strings.Builder
	for i := range jobs {
		fmt.Fprintf(&lines, `{"kind":"report","args":%d,"queue":"reports"}`+"\n", i)
	}
	file := filepath.Join(dir, "jobs.jsonl")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	printed(t, "enqueue", "--file", file, "--store", store)
	run := `if mkdir lock; then echo ran >> runs; sleep 0.05; rmdir lock; else echo overlap >> overlaps; fi`
	start := func() *exec.Cmd {
		cmd := exec.Command("onceq", "work", "--exec", run, "--queues", "reports=4", "--global", "reports=1",
			"--lease", "2s", "--store", store)
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		})
		return cmd
	}
	workers := []*exec.Cmd{start(), start(), start(), start()}
	runs := func() int {
		text, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return strings.Count(string(text), "\n")
	}
	for i, after := range []int{5, 20} { // so many jobs have run
		eventually(t, "jobs run", func() bool { return runs() >= after })
		_ = workers[i].Process.Kill()
		_ = workers[i].Wait()
		start()
	}
	eventually(t, "all jobs are completed", func() bool {
		return strings.Contains(printed(t, "queues", "--store", store, "--json"), fmt.Sprintf(`"completed":%d,`, jobs))
	})
	if text, err := os.ReadFile(filepath.Join(dir, "overlaps")); err == nil {
		t.Errorf("runs began while another was under way: %q", text)
	}
}
