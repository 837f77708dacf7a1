package onceq_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const promised = "testdata/promised.txt"

// TestEveryPromisedCaseExists finds each line of the list: the case in its
// chapter, the test in its package, and the rules in what a history says when it
// fails. No name stands twice in a chapter, so none hides another.
func TestEveryPromisedCaseExists(t *testing.T) {
	t.Parallel()
	chapters := chaptersOf(t)
	redis := bodiesOf(t, "redisstore")
	lines := 0
	_, list, _ := strings.Cut(read(t, promised), "\n\n")
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "## ") {
			continue
		}
		lines++
		if where := strings.Split(line, ": "); len(where) > 1 {
			shown(t, where)
			continue
		}
		chapter, name, _ := strings.Cut(line, "/")
		if !slices.Contains(chapters[chapter], name) {
			t.Errorf("%s: chapter %q has no case %s", promised, chapter, name)
		}
		for _, test := range []string{"TestStoreInEightPartitionsBehindADecorator", "TestStoreOnACluster"} {
			if !strings.Contains(redis[test], strconv.Quote(chapter)) && !slices.Contains(chapters["Seam"], chapter) {
				t.Errorf("%s: %s of redisstore does not see chapter %q", promised, test, chapter)
			}
		}
	}
	if lines < 60 {
		t.Errorf("%s: only %d lines were found", promised, lines)
	}
}

// shown wants a test in a package, and rules that it names.
func shown(t *testing.T, where []string) {
	t.Helper()
	var text strings.Builder
	files, err := filepath.Glob(where[0] + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text.WriteString(read(t, path))
	}
	name := regexp.QuoteMeta(where[1])
	if !regexp.MustCompile(`(?m)^func ` + name + `\(t |t\.Run\("` + name + `",`).MatchString(text.String()) {
		t.Errorf("%s: there is no test %s in %s", promised, where[1], where[0])
	}
	for _, rule := range strings.Fields(strings.Join(where[2:], " ")) {
		if !regexp.MustCompile(`"[^"\n]*\b` + rule + `\b[^"\n]*"`).MatchString(text.String()) {
			t.Errorf("%s: no message in %s names %s", promised, where[0], rule)
		}
	}
}

// chaptersOf reads the suite: the cases of each chapter, and the chapters of Seam.
func chaptersOf(t *testing.T) map[string][]string {
	t.Helper()
	cases, nouns := map[string][]string{}, map[string]string{} // of a variable
	files, err := filepath.Glob("storetest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			v, ok := g.Specs[0].(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				continue
			}
			list, ok := v.Values[0].(*ast.CompositeLit)
			if !ok {
				continue
			}
			for _, e := range list.Elts {
				first := e
				item, isStruct := e.(*ast.CompositeLit)
				if isStruct && len(item.Elts) == 2 {
					first = item.Elts[0]
				}
				text, ok := first.(*ast.BasicLit)
				if !ok || text.Kind != token.STRING {
					continue
				}
				name, _ := strconv.Unquote(text.Value)
				if v.Names[0].Name == "suite" {
					nouns[item.Elts[1].(*ast.Ident).Name] = name
					continue
				}
				if slices.Contains(cases[v.Names[0].Name], name) {
					t.Errorf("%s: the case %s stands there twice", path, name)
				}
				cases[v.Names[0].Name] = append(cases[v.Names[0].Name], name)
			}
		}
	}
	chapters := map[string][]string{"Seam": cases["Seam"]}
	for variable, noun := range nouns {
		chapters[noun] = cases[variable]
	}
	return chapters
}

// bodiesOf is the text of each test of a package.
func bodiesOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	bodies := map[string]string{}
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(`(?ms)^func (Test\w+)\(.*?^}`)
	for _, path := range files {
		for _, m := range test.FindAllStringSubmatch(read(t, path), -1) {
			bodies[m[1]] = m[0]
		}
	}
	return bodies
}
