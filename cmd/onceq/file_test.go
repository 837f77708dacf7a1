package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/terms"
)

// The job that docs/json.md shows is one that a line can be.
func TestTheJobOfTheDocsIsALine(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```json input\n")
	text, _, found := strings.Cut(text, "```")
	item, err := jobLine.ParseItem([]byte(text))
	if err == nil {
		err = judge(t.Context(), nil, item.Args, item.Options)
	}
	if !found || err != nil {
		t.Errorf("%v: %s", err, text)
	}
	var all terms.Terms
	for _, s := range all.All() {
		if !strings.Contains(string(page), "`"+s.Member()+"`") && !strings.Contains(text, `"`+s.Member()+`"`) {
			t.Errorf("docs/json.md does not name %s", s.Member())
		}
	}
}

// write makes a file of a text.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
