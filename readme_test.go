package onceq_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The program that the README shows is the first that people run: it builds,
// and does what stands beside its lines.
func TestTheProgramOfTheReadmeRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(page), "```go\npackage main\n")
	program, _, closed := strings.Cut(program, "```")
	if !found || !closed {
		t.Fatal("the README has no program")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	binary := filepath.Join(dir, "try")
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(source, []byte("package main\n"+program))
	// A folder that is not there, so that the program is built as a part of this module.
	replaced, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(here, "internal", "readme", "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	write(overlay, replaced)
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary,
		"./internal/readme").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	try := exec.Command(binary)
	try.Dir = dir
	var log bytes.Buffer
	try.Stderr = &log
	out, err := try.Output()
	want := regexp.MustCompile(`^inserted (\w{26})\nskipped (\w{26})\nreindex 42 because of a push\n$`)
	m := want.FindStringSubmatch(string(out))
	if err != nil || m == nil || m[1] != m[2] {
		t.Errorf("%v\n%s%s", err, out, &log)
	}
}

// In the table beside others each cell says where it is proved, and what it says of
// onceq is on a page here.
func TestEveryCellOfTheTableHasItsProof(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "## Beside others\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var header []string
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if header == nil {
			header = cells
			continue
		}
		rows++
		if len(cells) != len(header) {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		for i, c := range cells[1:] {
			if want := map[bool]string{true: "](docs/", false: "](https://"}[i == 0]; !strings.Contains(c, want) {
				t.Errorf("%s of %s: %s has no proof", cells[0], header[i+1], c)
			}
		}
	}
	if !found || rows < 8 || len(header) != 6 {
		t.Errorf("the table has %d rows and %d columns", rows, len(header))
	}
}
