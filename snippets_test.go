package onceq_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A snippet of a page may take for granted what stands in a comment before
// it, which no reader sees:
//
//	<!-- given
//	type Invoice struct{ Number int64 }
//	-->
var block = regexp.MustCompile("(?ms)^(?:<!-- given\n(.*?)^-->\n+)?```go\n(.*?)^```$")

// Names that every snippet may use without a word.
const givenEverywhere = `
var (
	ctx    context.Context
	store  onceq.Store
	client *onceq.Client
	worker *onceq.Worker
	err    error
)
`

// Packages that snippets use, by their names.
var packagesOfSnippets = map[string]string{
	"onceq":       "github.com/onceq/onceq",
	"onceqtest":   "github.com/onceq/onceq/onceqtest",
	"sqlitestore": "github.com/onceq/onceq/sqlitestore",
	"pgstore":     "github.com/onceq/onceq/pgstore",
	"redisstore":  "github.com/onceq/onceq/redisstore",
	"storeurl":    "github.com/onceq/onceq/storeurl",
	"guard":       "github.com/onceq/onceq/guard",
	"guardhttp":   "github.com/onceq/onceq/guard/guardhttp",
	"context":     "context",
	"errors":      "errors",
	"fmt":         "fmt",
	"http":        "net/http",
	"json":        "encoding/json",
	"log":         "log",
	"metric":      "go.opentelemetry.io/otel/metric",
	"os":          "os",
	"pgx":         "github.com/jackc/pgx/v5",
	"pgxpool":     "github.com/jackc/pgx/v5/pgxpool",
	"redis":       "github.com/redis/go-redis/v9",
	"signal":      "os/signal",
	"slog":        "log/slog",
	"sql":         "database/sql",
	"strings":     "strings",
	"syscall":     "syscall",
	"time":        "time",
	"trace":       "go.opentelemetry.io/otel/trace",
}

// These exporters are not among what this module needs.
var snippetsOfOtherModules = []string{"prometheus.New(", "otlptracegrpc.New("}

// The snippets of this page are run, by onceqtest/guide_test.go.
const pageThatRuns = "docs/testing.md"

// Every snippet of the README and of the pages compiles. A page is a package:
// its snippets share their types.
func TestEverySnippetOfThePagesCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a package for each page")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, replaced, folders, snippets := t.TempDir(), map[string]string{}, map[string]bool{}, 0
	for _, page := range filesOf(t, ".md") {
		if page == pageThatRuns {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ToLower(strings.NewReplacer("/", "_", "-", "_").Replace(strings.TrimSuffix(page, ".md")))
		for i, m := range block.FindAllSubmatchIndex(text, -1) {
			given, body := "", string(text[m[4]:m[5]])
			if slices.ContainsFunc(snippetsOfOtherModules, func(s string) bool { return strings.Contains(body, s) }) {
				continue
			}
			snippets++
			if m[2] >= 0 {
				given = string(text[m[2]:m[3]])
			}
			line := 1 + bytes.Count(text[:m[4]], []byte("\n"))
			source, folder := fileOfSnippet(t, page, line, given, body), filepath.Join("internal", "snippets", name)
			if strings.HasPrefix(body, "package ") {
				folder += fmt.Sprint("_", i)
			}
			folders["./"+filepath.ToSlash(folder)] = true
			file := filepath.Join(dir, fmt.Sprintf("%s_%d.go", name, i))
			if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			replaced[filepath.Join(here, folder, fmt.Sprintf("snippet%d.go", i))] = file
		}
		// What is given everywhere stands once in each package.
		common := filepath.Join(dir, name+"_given.go")
		source := "package snippets\n\nimport (\n\t\"context\"\n\n\t\"github.com/onceq/onceq\"\n)\n" + givenEverywhere
		if err := os.WriteFile(common, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if folder := filepath.Join("internal", "snippets", name); folders["./"+filepath.ToSlash(folder)] {
			replaced[filepath.Join(here, folder, "given.go")] = common
		}
	}
	if snippets < 10 {
		t.Errorf("only %d snippets were found: the expression no longer finds them", snippets)
	}
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	build := append([]string{"build", "-gcflags=-e", "-overlay", overlay}, slices.Sorted(maps.Keys(folders))...)
	if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// fileOfSnippet is a Go file with this snippet in it: as it is when it is a
// whole file, beside what is given when it declares something, and as the
// body of a function when it is statements. Mistakes in it are reported with
// the line of the page.
func fileOfSnippet(t *testing.T, page string, line int, given, body string) string {
	t.Helper()
	if strings.HasPrefix(body, "package ") {
		return fmt.Sprintf("//line %s:%d\n%s", page, line, body)
	}
	at := fmt.Sprintf("//line %s:%d\n", page, line)
	declares := "package snippets\n" + at + body
	if _, err := parser.ParseFile(token.NewFileSet(), "", declares, 0); err != nil {
		at, body = "func _() error {\n"+at, body+usedAndReturned(t, page, line, body)+"}\n"
	}
	var imports strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packagesOfSnippets)) {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(given + body) {
			fmt.Fprintf(&imports, "import %q\n", packagesOfSnippets[name])
		}
	}
	return "package snippets\n" + imports.String() + given + "\n" + at + body
}

// usedAndReturned is what makes a function of a snippet's statements: a use
// of each variable that it declares, and a return if it has none.
func usedAndReturned(t *testing.T, page string, line int, body string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() error {\n"+body+"}\n", 0)
	if err != nil {
		t.Fatalf("%s:%d: the snippet does not parse: %v", page, line, err)
	}
	list := file.Decls[0].(*ast.FuncDecl).Body.List
	if _, ends := list[len(list)-1].(*ast.ReturnStmt); ends {
		return ""
	}
	end := ""
	for _, s := range list {
		if a, ok := s.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
			for _, x := range a.Lhs {
				if id, ok := x.(*ast.Ident); ok && id.Name != "_" {
					end += "_ = " + id.Name + "\n"
				}
			}
		}
	}
	return end + "return nil\n"
}
