package examples

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/redistest"
)

// An application on asynq is run as it is, and behind a guard: two lines of it
// differ, and what makes the guard is added.
func TestAnAsynqApplicationIsDeduplicatedByTwoLines(t *testing.T) {
	t.Parallel()
	lines := func(name string) []string {
		text, err := os.ReadFile(filepath.Join("asynq", name, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	before, after := lines("before"), lines("after")
	lost := slices.DeleteFunc(slices.Clone(before), func(line string) bool { return slices.Contains(after, line) })
	if more := len(after) - len(before); len(lost) != 2 || more > 20 { // its comment, and the client
		t.Errorf("%d lines more, and these are changed:\n%s", more, strings.Join(lost, "\n"))
	}
	for name, want := range map[string]int{"before": 3, "after": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			welcomes, refused := play(t, "./asynq/"+name)
			if welcomes != want || refused != 3-want {
				t.Errorf("%d welcomes and %d tasks refused, want %d and %d", welcomes, refused, want, 3-want)
			}
		})
	}
}

// play runs a program for as long as it takes three tasks, and counts what it
// prints.
func play(t *testing.T, program string) (welcomes, refused int) {
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary, redistest.Start(t).Addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	for text := bufio.NewScanner(out); text.Scan(); {
		switch line := text.Text(); {
		case line == `welcome {"user": 42}`:
			welcomes++
		case strings.HasPrefix(line, "not enqueued: task already exists: "):
			refused++
		default:
			t.Errorf("it prints %q", line)
		}
		if welcomes+refused == 3 { // a fourth would be printed before it ends
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	return welcomes, refused
}
