package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checker is a program that scripts/servers has brought from npm, in the folder
// of caches.
func checker(t *testing.T, entry string) string {
	t.Helper()
	folder, err := os.UserCacheDir()
	path := filepath.Join(folder, "onceq", entry)
	if _, statErr := os.Stat(path); err != nil || statErr != nil {
		if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
			t.Fatal(statErr, ": scripts/servers installs it")
		}
		t.Skip("make servers installs what checks types")
	}
	return path
}

var complaint = regexp.MustCompile(`(?m)([\w.]+)(?::(\d+):\d+ - error|\((\d+),\d+\): error)`)

// complains wants that a checker complains of the lines of a program that say
// that they are wrong, and of no others.
func complains(t *testing.T, file string, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput() // it fails where it complains
	if err == nil || len(out) == 0 {
		t.Errorf("it complains of nothing: %v", err)
	}
	var got, want []string
	for _, m := range complaint.FindAllSubmatch(out, -1) {
		got = append(got, fmt.Sprintf("%s:%s%s", m[1], m[2], m[3]))
	}
	text, err := os.ReadFile(filepath.Join("testdata", "types", file))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, "# WRONG") || strings.Contains(line, "// WRONG") {
			want = append(want, fmt.Sprintf("%s:%d", file, i+1))
		}
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("it complains of\n%v, and these are wrong:\n%v\n%s", got, want, out)
	}
}

func TestThePythonClientIsTyped(t *testing.T) {
	t.Parallel()
	pyright := checker(t, "pyright-1.1.414/index.js")
	node := tool(t, "node")
	out, err := exec.Command(node, pyright, "-p", "python").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	complains(t, "types.py", exec.Command(node, pyright, "-p", "testdata/types/pyrightconfig.json"))
}

func TestTheTypeScriptClientIsTyped(t *testing.T) {
	t.Parallel()
	tsc := checker(t, "typescript-6.0.3/bin/tsc")
	node := tool(t, "node")
	out, err := exec.Command(node, tsc, "-p", "typescript").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	complains(t, "types.ts", exec.Command(node, tsc, "-p", "testdata/types"))
}
