package onceq_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const proofs = "testdata/coming-from.txt"

// A line of docs/coming-from.md is a claim about two systems. None stands there
// without what shows it, and nothing is named that does not exist.
func TestEveryClaimOfComingFromHasItsTest(t *testing.T) {
	said := map[string][]string{} // of a heading and a first cell
	heading := ""
	row := ""
	for line := range strings.Lines(read(t, proofs)) {
		name, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "\t")
		switch {
		case strings.HasPrefix(line, "## "):
			heading = name
		case indented:
			said[row] = append(said[row], name)
		case name != "" && heading != "":
			row = heading + ": " + unquoted(name)
		}
	}
	exist := map[string]bool{"-": true}
	named := regexp.MustCompile(`\{"([a-z0-9_]+)", |(?m:^)func (Test\w+)\(`)
	for _, path := range filesOf(t, ".go") {
		if strings.HasPrefix(path, "storetest/") || strings.HasSuffix(path, "_test.go") {
			for _, m := range named.FindAllStringSubmatch(read(t, path), -1) {
				exist[m[1]+m[2]] = true
			}
		}
	}
	page, err := os.ReadFile("docs/coming-from.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "## ") {
			heading = strings.TrimSpace(line)
		}
		cells := strings.Split(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == "there" || strings.HasPrefix(heading, "## Whole programs") {
			continue
		}
		rows++
		row = heading + ": " + unquoted(cells[0])
		names, ok := said[row]
		switch nothing := len(cells) > 1 && cells[1] == "–"; {
		case !ok:
			t.Errorf("docs/coming-from.md: %s %s: %s names no test for this line", heading, cells[0], proofs)
		case nothing != (len(names) == 1 && names[0] == "-"):
			t.Errorf("%s: a dash here stands for a dash there", row)
		}
		for _, name := range names {
			if !exist[name] {
				t.Errorf("%s: there is no case and no test %s", row, name)
			}
		}
		delete(said, row)
	}
	for row := range said {
		t.Errorf("docs/coming-from.md has no line %s", row)
	}
	if rows < 90 {
		t.Errorf("only %d lines were found: the expression no longer finds them", rows)
	}
}

// unquoted is a cell without its quotes and the marks of code.
func unquoted(cell string) string { return strings.NewReplacer("`", "", `"`, "").Replace(cell) }
