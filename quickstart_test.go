package onceq_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/quick-start.md asks people to paste works in an empty folder. This
// module stands in for the published one, by a replace directive.
func TestTheQuickStartCanBePasted(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	page, err := os.ReadFile("docs/quick-start.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(?:sh)?\n(.*?)^```$").FindAllSubmatch(page, 2)
	if len(blocks) != 2 {
		t.Fatal("the page has no block to paste, with what it prints")
	}
	script, printed := string(blocks[0][1]), string(blocks[1][1])
	if _, program, _ := strings.Cut(script, "<<'END'\n"); strings.Count(program, "\n") > 45 {
		t.Errorf("the program has %d lines: nobody reads that", strings.Count(program, "\n"))
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const tidy = "go mod tidy\n"
	if !strings.Contains(script, tidy) {
		t.Fatalf("the block has no %q", tidy)
	}
	replace := "go mod edit -replace github.com/onceq/onceq='" + filepath.ToSlash(here) + "'\n"
	script = strings.Replace(script, tidy, replace+tidy, 1)
	env, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	cmd := exec.Command("sh", "-e")
	cmd.Stdin, cmd.Dir = strings.NewReader(script), t.TempDir()
	// Modules that this one needs are in the cache; the rest is asked for as usual.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOSUMDB=off", "GOPROXY=file://"+
		filepath.ToSlash(cache)+"/cache/download,"+proxy)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &log)
	}
	id := regexp.MustCompile(`[0-9A-Z]{26}`)
	if got := id.ReplaceAllString(string(out), "ID"); got != id.ReplaceAllString(printed, "ID") {
		t.Errorf("it printed\n%s\nthe page says\n%s", out, printed)
	}
	if ids := id.FindAllString(string(out), -1); len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("the two enqueues have the jobs %v", ids)
	}
}
