package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// firstVersion is the commit whose stores and programs later ones must live
// with.
const firstVersion = "3398775"

// oldProgram builds these tests as they were at the first version: their
// producers and workers are those of a deployment before the last. "" where
// this is no clone with that history.
func oldProgram(t *testing.T) string {
	t.Helper()
	if err := exec.Command("git", "-C", root, "cat-file", "-e", firstVersion+"^{commit}").Run(); err != nil {
		t.Logf("commit %s is not in this clone's history: no old program takes part", firstVersion)
		return ""
	}
	dir := t.TempDir()
	tree, program := filepath.Join(dir, "tree"), filepath.Join(dir, "old")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"git -C '" + root + "' archive " + firstVersion + " | tar -x -C '" + tree + "'",
		"cd '" + tree + "/test' && go test -c -o '" + program + "' .",
	} {
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	return program
}
