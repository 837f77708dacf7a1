package onceq_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a workflow or a page asks make for is a target.
func TestWhatWorkflowsMakeIsThere(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	asked := regexp.MustCompile("(?m)(?:run: (?:sudo )?|^|`)make ([a-z]+)")
	targets := 0
	for _, path := range append(files, filesOf(t, ".md")...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
			targets++
			if !regexp.MustCompile("(?m)^" + m[1] + ":").Match(makefile) {
				t.Errorf("%s says make %s, and the Makefile has no such target", path, m[1])
			}
		}
	}
	if targets < 8 {
		t.Errorf("only %d uses of make were found", targets)
	}
}

// An adapter is a module of its own, which others get at the same version as onceq:
// it has to ask for that one, and not for a version that is nowhere.
func TestAdaptersAskForTheVersionThatIsReleasedNext(t *testing.T) {
	changelog := read(t, "CHANGELOG.md")
	next := regexp.MustCompile(`(?m)^This will be (\S+),|^## \[(\d\S*)\]`).FindStringSubmatch(changelog)
	if next == nil {
		t.Fatal("CHANGELOG.md says no version")
	}
	files, err := filepath.Glob("guard/*/go.mod")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		if want := "github.com/onceq/onceq v" + next[1] + next[2] + "\n"; !strings.Contains(read(t, path), want) {
			t.Errorf("%s does not ask for %s", path, want)
		}
	}
}

// A tag without its heading in the changelog, and changes that are not committed,
// are refused before anything is built.
func TestAReleaseIsOfACommitThatTheChangelogNames(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	script, err := os.ReadFile("scripts/release")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "scripts", "release"))
		cmd.Env = append(os.Environ(), "TARGETS=")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v %s, want %q", err, out, want)
		}
	}
	write("scripts/release", string(script), 0o700)
	write("CHANGELOG.md", "# Changelog\n\n## [0.1.0] - 2026-12-01\n", 0o600)
	git("init", "-q")
	git("add", ".")
	git("commit", "-qm", "x")
	git("tag", "v0.2.0")
	refused(`CHANGELOG.md has no heading "## [0.2.0] - DATE"`)
	write("CHANGELOG.md", "# Changelog\n\n## [0.2.0] - 2026-12-02\n", 0o600)
	write("guard/guardx/go.mod", "module x\n\nrequire github.com/onceq/onceq v0.1.0\n", 0o600)
	git("add", ".")
	git("commit", "-qm", "y")
	git("tag", "-f", "v0.2.0")
	refused("guard/guardx/go.mod does not ask for github.com/onceq/onceq v0.2.0")
	write("new", "", 0o600)
	refused("not committed")
}
