package onceq_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// Each field that a refusal of this package names is in the table that gives
// it a path, and no refusal is made past the table.
func TestEveryFieldOfARefusalHasAPathOrIsOfPrograms(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || path == "invalid.go" {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "InvalidError" {
					t.Errorf("%s: use invalid", fset.Position(n.Pos()))
				}
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.Ident)
				if !ok || !slices.Contains([]string{"invalid", "checkName", "checkQueue", "checkKind", "checkDuration"},
					f.Name) {
					return true
				}
				lit, ok := n.Args[0].(*ast.BasicLit)
				if !ok {
					return true // it is handed on, or has an index in it
				}
				field, _ := strconv.Unquote(lit.Value)
				if found++; strings.HasPrefix(field, "WorkerConfig.") {
					return true
				}
				if _, known := onceq.MemberOf(field); !known {
					t.Errorf("%s: %q is not in the table of members", fset.Position(n.Pos()), field)
				}
			}
			return true
		})
	}
	if found < 50 {
		t.Errorf("only %d refusals were found: does this test still read the sources?", found)
	}
}

func TestAPathNamesTheMemberThatIsWrong(t *testing.T) {
	unique := onceq.Unique{}
	for path, opts := range map[string][]onceq.Option{
		"queue": {onceq.Queue("")}, "id": {onceq.ID(" ")}, "delay": {onceq.Delay(-1)},
		"run_at": {onceq.RunAt(time.Time{})}, "priority": {onceq.Priority(10)}, "max_attempts": {onceq.MaxAttempts(0)},
		"timeout": {onceq.Timeout(1)}, "retention": {onceq.Retention(-1)}, "tags": {onceq.Tags("")},
		"meta": {onceq.Meta(map[string]any{"x": make(chan int)})}, "by": {onceq.Unique{By: 128}},
		"fields": {onceq.Unique{Fields: []string{}}}, "until": {onceq.Unique{Until: 99}},
		"meta_fields": {onceq.Unique{By: onceq.ByMeta, MetaFields: []string{}}},
		"window":      {onceq.Unique{Window: -1}}, "ttl": {onceq.Unique{TTL: -1}},
		"from_enqueue": {onceq.Unique{FromEnqueue: true}}, "unique_key": {onceq.UniqueKey("")},
		"unique_scope": {onceq.UniqueKey("k", onceq.ByArgs)},
		"on_conflict":  {unique, onceq.OnConflict(onceq.Debounce{})}, "": {onceq.Resend(errors.New("x"))},
	} {
		if err := refused(t, nil, push{1, "x"}, opts...); strings.Join(err.Path, "/") != path {
			t.Errorf("%v: %q, not %q", err, err.Path, path)
		}
	}
	client, err := onceq.NewClient(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(push{1, "x"}),
		onceq.NewItem(push{1, "x"}, onceq.Unique{Window: -1})})
	var invalid *onceq.InvalidError
	if !errors.As(err, &invalid) || !slices.Equal(invalid.Path, []string{"jobs", "1", "window"}) ||
		!strings.HasPrefix(invalid.Error(), `item 1: Unique.Window "-1ns" must be`) {
		t.Errorf("%v: %q", err, invalid.Path)
	}
	loud := func(name string) string { return "<" + strings.ToUpper(name) + ">" }
	if got := invalid.In(loud).Error(); got != `item 1: <UNIQUE.WINDOW> "-1ns" must be at least 1ms` {
		t.Error(got)
	}
}
