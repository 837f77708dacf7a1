package onceq_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The widths of a line, in characters; a tab counts as four.
const (
	codeWidth    = 120
	commentWidth = 100
)

// stillWide is how many lines from before the rule there may be: it only
// goes down.
const stillWide = 0

func TestLinesAreNotTooWide(t *testing.T) {
	var wide []string
	for _, file := range filesOf(t, ".go", ".sql", ".lua") {
		for i, line := range linesOf(t, file) {
			limit := codeWidth
			if comment(file, line) != "" {
				limit = commentWidth
			}
			if n := columns(line); n > limit {
				wide = append(wide, fmt.Sprintf("%s:%d is %d columns wide: wrap it at %d", file, i+1, n, limit))
			}
		}
	}
	t.Logf("%d wide lines", len(wide))
	if len(wide) > stillWide {
		t.Errorf("%d lines are too wide, %d may be: wrap those you wrote. The first are\n%s",
			len(wide), stillWide, strings.Join(wide[:min(40, len(wide))], "\n"))
	}
}

// The lengths of a file and of a function, in lines.
const (
	fileLength     = 500
	functionLength = 80
)

// whyLong begins the comment at the top of a file that says why it is
// longer than others.
const whyLong = "// One long file, because "

func TestFilesAndFunctionsAreNotTooLong(t *testing.T) {
	long := map[string]int{}
	goFiles(t, func(_ string, fset *token.FileSet, file *ast.File) {
		name := filepath.ToSlash(fset.Position(file.Pos()).Filename)
		lines := linesOf(t, name)
		top := strings.Join(lines[:min(len(lines), 10)], "\n")
		if len(lines) > fileLength && !strings.Contains(top, whyLong) {
			long[name] = len(lines)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > functionLength {
					long[name+" "+f.Name.Name] = n
				}
			}
		}
	})
	for name, n := range long {
		t.Errorf("%s has %d lines: at most %d for a function, and for a file %d unless its top says %q",
			name, n, functionLength, fileLength, whyLong)
	}
}

// What a merge leaves behind where it could not decide compiles in a page, a
// style or a text: people saw it in the navigation.
func TestNoFileHasMarksOfAMerge(t *testing.T) {
	n := 0
	for _, file := range filesOf(t, ".go", ".sql", ".lua", ".html", ".css", ".js", ".md", ".json", ".yaml", ".txt",
		".txtar", ".py", ".ts", ".mjs") {
		n++
		for i, line := range linesOf(t, file) {
			if strings.HasPrefix(line, "<<<<<<"+"< ") || strings.HasPrefix(line, ">>>>>>"+"> ") {
				t.Errorf("%s:%d has a mark of a merge: %s", file, i+1, line)
			}
		}
	}
	if n < 500 {
		t.Errorf("only %d files were read", n)
	}
}

// TestProse prints, with -v, how dense the comments are and how wide the
// lines, over Go, SQL and Lua without tests. A comment line is a line of
// its own with at least one word.
func TestProse(t *testing.T) {
	type sums struct{ lines, wide, comments, wideComments, words int }
	byFolder := map[string]*sums{"all": {}}
	for _, file := range filesOf(t, ".go", ".sql", ".lua") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		folder := path.Dir(file)
		if byFolder[folder] == nil {
			byFolder[folder] = &sums{}
		}
		for _, line := range linesOf(t, file) {
			for _, s := range []*sums{byFolder[folder], byFolder["all"]} {
				s.lines++
				if columns(line) > codeWidth {
					s.wide++
				}
				if words := len(strings.Fields(comment(file, line))); words > 0 {
					s.comments++
					s.words += words
					if columns(line) > commentWidth {
						s.wideComments++
					}
				}
			}
		}
	}
	report := fmt.Sprintf("\n%-22s %7s %9s %8s %13s %9s\n", "", "lines", "comments", "words",
		"comments>100", "lines>120")
	for _, folder := range slices.Sorted(maps.Keys(byFolder)) {
		s := byFolder[folder]
		report += fmt.Sprintf("%-22s %7d %9d %8.1f %13d %5d %.1f‰\n", folder, s.lines, s.comments,
			float64(s.words)/float64(max(s.comments, 1)), s.wideComments,
			s.wide, 1000*float64(s.wide)/float64(s.lines))
	}
	t.Log(report)
	all := byFolder["all"]
	if mean := float64(all.words) / float64(all.comments); mean > mostWords {
		t.Errorf("a comment line has %.2f words on average, more than %.1f: wrap at 80 columns", mean, mostWords)
	}
}

// mostWords is how many words a comment line has on average, at the most.
const mostWords = 10.5

func linesOf(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func columns(line string) int {
	return utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
}

// comment is the text of a line that is a comment and nothing else, or "".
func comment(file, line string) string {
	mark := "--"
	if filepath.Ext(file) == ".go" {
		mark = "//"
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(line), mark)
	if !ok || strings.HasPrefix(text, "go:") {
		return ""
	}
	return strings.TrimSpace(text)
}
