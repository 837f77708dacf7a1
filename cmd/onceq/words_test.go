package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/wire"
)

// ofPrograms are names that no flag and no member can lead to, as no field of
// a Config can, but for MaxArgs.
var ofPrograms = []string{"Resend", "Token", "option", "store", "context", "Tx", "Bulk.Op", "Bulk.Budget", "Run",
	"RemoteConfig.Lease",
	"items", "WorkerConfig.ID", "key", "state", "limit", "filter", "until"}

// Whatever a refusal of package onceq names is called something on the command
// line and in a job as JSON: nobody who says --window reads of Unique.Window.
func TestEveryNameInARefusalHasAWordHere(t *testing.T) {
	names := namesInRefusals(t)
	for _, some := range []string{"Unique.Window", "ByMeta", "AllowBlank", "Until: UntilWindowEnds", "said at the call",
		"(said at the call) "} {
		if !slices.Contains(names, some) {
			t.Errorf("%q was not found: does this test still read the sources?", some)
		}
	}
	upper := regexp.MustCompile(`[A-Z]`)
	for _, name := range names {
		if slices.Contains(ofPrograms, name) || strings.HasPrefix(name, "Config.") && name != "Config.MaxArgs" {
			continue
		}
		surfaces := map[string]func(string) string{"the command line": flagOf, "JSON": wire.Member}
		for surface, word := range surfaces {
			if surface == "JSON" && strings.HasPrefix(name, "WorkerConfig.") {
				continue // a worker is not said as JSON
			}
			if w := word(name); upper.MatchString(w) || w == name && strings.ContainsAny(name, ". ") {
				t.Errorf("%q is %q in the words of %s", name, w, surface)
			}
		}
	}
}

// namesInRefusals are the fields and the names in braces of all calls that
// make an InvalidError.
func namesInRefusals(t *testing.T) (names []string) {
	files, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	key, err := filepath.Glob("../../internal/fingerprint/*.go")
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) {
		for _, level := range []string{"at the call", "in Config.Defaults", "by default"} {
			if n := strings.ReplaceAll(name, "%s", level); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	inBraces := regexp.MustCompile(`\{([A-Z][^{}%]*|said at the call|\(said %s\) | \(said %s\)|said %s)\}`)
	for _, path := range append(files, key...) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		refuses := map[string]int{"invalid": 1, "clash": 3, "checkName": 1, "checkQueue": 1, "checkKind": 1,
			"checkDuration": 1, "bothSaid": 2, "invalidOf": 0, "marked": 1}
		ast.Inspect(file, func(n ast.Node) bool {
			var args []ast.Expr
			switch n := n.(type) {
			case *ast.CallExpr:
				fields, ok := refuses[calledName(n)]
				if !ok {
					return true
				}
				for i, arg := range n.Args {
					if lit, ok := arg.(*ast.BasicLit); ok && (i == 0 && fields > 0 || i == 2 && fields == 3) {
						name, _ := strconv.Unquote(lit.Value)
						add(name)
					}
				}
				args = n.Args
			case *ast.BasicLit:
				if !strings.Contains(path, "fingerprint") {
					return true
				}
				args = []ast.Expr{n} // the rules of keys stand in several places
			default:
				return true
			}
			for _, arg := range args {
				ast.Inspect(arg, func(n ast.Node) bool {
					if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						text, _ := strconv.Unquote(lit.Value)
						for _, m := range inBraces.FindAllStringSubmatch(text, -1) {
							add(m[1])
						}
					}
					return true
				})
			}
			return true
		})
	}
	return names
}

func calledName(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// The same mistake on the command line and in a line of a file, each in its
// own words.
func TestAMistakeIsToldInTheWordsInWhichItWasMade(t *testing.T) {
	store := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
	for _, c := range []struct{ args, flag, line, member string }{
		{"--window 5m --ttl 2m",
			"--window does not go with --ttl 2m0s: --window (at least 5m0s) must be shorter than --ttl (at most): " +
				"use one of them, or --until window-ends for exactly a window",
			`"window":"5m","ttl":"2m"`,
			`window (said in the job) does not go with ttl 2m0s (said in the job): window (at least 5m0s) must be ` +
				`shorter than ttl (at most): use one of them, or "until": "window-ends" for exactly a window`},
		{"--on-conflict coalesce",
			`--on-conflict "coalesce" is given, and the job has neither a key nor an ID of yours to meet: say ` +
				"--unique, --key or --id too, or leave --on-conflict away",
			`"on_conflict":"coalesce"`,
			`on_conflict "coalesce" is said in the job, and the job has neither a key nor an ID of yours to meet: ` +
				"say unique, unique_key or id too, or leave on_conflict away"},
		{"--key k --by kind",
			"--key and --by are both given: a key of your own takes the place of the args, keep one of them",
			`"unique_key":"k","by":"kind"`,
			"unique_key and by are both said in the job: a key of your own takes the place of the args, keep one of " +
				"them"},
		{"--key k --key-scope key,kind",
			`--key-scope "kind|key" has too much: key is the literal alone and goes with no other; drop key to scope ` +
				"the key",
			`"unique_key":"k","unique_scope":"key,kind"`,
			`unique_scope "kind|key" has too much: key is the literal alone and goes with no other; drop key to ` +
				"scope the key"},
		{"--key-scope key",
			"--key-scope is of a --key, and there is none: say --by to choose what makes two jobs the same",
			`"unique_scope":"key"`,
			"unique_scope is of a unique_key, and there is none: say by to choose what makes two jobs the same"},
		{"--priority 44", `--priority "44" must be 0 (first) to 9 (last)`,
			`"priority":44`, `priority "44" must be 0 (first) to 9 (last)`},
		{"--unique --until due --on-conflict supersede",
			"--on-conflict does not go with --until due: --on-conflict (supersede) follows the run of the holder and " +
				"goes with finished only: leave --until away, or use skip, reject or replace",
			`"until":"due","on_conflict":"supersede"`,
			"on_conflict (said in the job) does not go with until due (said in the job): on_conflict (supersede) " +
				"follows the run of the holder and goes with finished only: leave until away, or use skip, reject " +
				"or replace"},
		{"--fields x",
			`--fields "[/x]" name nothing: none of these is present in the args, which would make every such job the ` +
				"same; name members that are there",
			`"fields":["x"]`,
			`fields "[/x]" name nothing: none of these is present in the args, which would make every such job the ` +
				"same; name members that are there"},
		{"--max-attempts 0", `--max-attempts "0" must be 1 to 1000000`,
			`"max_attempts":0`, `max_attempts "0" must be 1 to 1000000`},
		{"--id .", `--id "." means a folder in paths and URLs, where an ID is one segment: choose another`,
			`"id":"."`, `id "." means a folder in paths and URLs, where an ID is one segment: choose another`},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"--store", store, "enqueue", "a"}, strings.Fields(c.args)...), nil, &out, &errOut)
		if got := strings.TrimSpace(errOut.String()); code != exitUsage || got != "onceq: "+c.flag {
			t.Errorf("%s: exit code %d\n%s\nwant\nonceq: %s", c.args, code, got, c.flag)
		}
		errOut.Reset()
		run([]string{"--store", store, "enqueue", "--file", write(t, `{"kind":"a",`+c.line+`}`)}, nil, &out, &errOut)
		if got := strings.TrimSpace(errOut.String()); got != "onceq: line 1 refused: "+c.member {
			t.Errorf("%s:\n%s\nwant\nonceq: line 1 refused: %s", c.line, got, c.member)
		}
		out.Reset()
		run([]string{"--store", store, "--json", "enqueue", "--file", write(t, `{"kind":"a",`+c.line+`}`)}, nil, &out,
			&errOut)
		if got := out.String(); !strings.Contains(got, `"detail":`+strconv.Quote(c.member)) {
			t.Errorf("%s: %s", c.line, got)
		}
	}
}
