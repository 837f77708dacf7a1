package onceq_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goFiles calls visit for every Go file of the module that is no test,
// parsed with its comments.
func goFiles(t *testing.T, visit func(folder string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	for _, path := range filesOf(t, ".go") {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "bench/") ||
			strings.HasPrefix(path, "examples/") || strings.HasPrefix(path, "test/") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		visit(filepath.ToSlash(filepath.Dir(path)), fset, file)
	}
}

// filesOf lists the files below this folder whose names end in one of
// these, sorted.
func filesOf(t *testing.T, ends ...string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (d.Name() == "testdata" || d.Name() == "node_modules" ||
			strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !d.IsDir() && slices.Contains(ends, filepath.Ext(path)):
			paths = append(paths, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Methods of the standard library's interfaces need no comment: their names
// say what they do.
var standardMethods = []string{"Error", "String", "Is", "As", "Unwrap", "MarshalJSON", "UnmarshalJSON", "MarshalText",
	"UnmarshalText"}

func TestEverythingExportedIsDocumented(t *testing.T) {
	packages := map[string]bool{}
	goFiles(t, func(folder string, fset *token.FileSet, file *ast.File) {
		packages[folder] = packages[folder] || file.Doc.Text() != ""
		if file.Name.Name == "main" {
			return
		}
		missing := func(at token.Pos, name string) {
			t.Errorf("%s: %s has no comment: say what it means, its unit and its zero value", fset.Position(at), name)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				on := receiver(d)
				if d.Name.IsExported() && (on == "" || ast.IsExported(on)) && d.Doc.Text() == "" &&
					(on == "" || !slices.Contains(standardMethods, d.Name.Name)) {
					missing(d.Pos(), strings.TrimPrefix(on+"."+d.Name.Name, "."))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					undocumented(d, spec, missing)
				}
			}
		}
	})
	for folder, documented := range packages {
		if !documented {
			t.Errorf("package %s has no package comment", folder)
		}
	}
}

// undocumented reports the exported names of a declaration that have no
// comment of their own.
func undocumented(d *ast.GenDecl, spec ast.Spec, missing func(token.Pos, string)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc.Text() == "" && s.Comment.Text() == "" &&
				(d.Lparen.IsValid() || d.Doc.Text() == "") {
				missing(name.Pos(), name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if s.Doc.Text() == "" && s.Comment.Text() == "" && d.Doc.Text() == "" {
			missing(s.Pos(), s.Name.Name)
		}
		var members *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			members = typ.Fields
		case *ast.InterfaceType:
			members = typ.Methods
		default:
			return
		}
		for _, f := range members.List {
			for _, name := range f.Names {
				if name.IsExported() && f.Doc.Text() == "" && f.Comment.Text() == "" {
					missing(name.Pos(), s.Name.Name+"."+name.Name)
				}
			}
		}
	}
}

// receiver is the name of the type that a method belongs to, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return fmt.Sprintf("%T", typ)
		}
	}
}

// A comment's link is [Name], [*Name] or [Name.Member].
var docLink = regexp.MustCompile(`(^|[\s(])\[\*?([A-Z]\w*)(?:\.([A-Z]\w*))?\]`)

func TestLinksInCommentsLeadSomewhere(t *testing.T) {
	names := map[string]map[string]bool{} // of each folder: Name and Name.Member
	goFiles(t, func(folder string, _ *token.FileSet, file *ast.File) {
		if names[folder] == nil {
			names[folder] = map[string]bool{}
		}
		declared(file, names[folder])
	})
	links := 0
	goFiles(t, func(folder string, fset *token.FileSet, file *ast.File) {
		for _, group := range file.Comments {
			for _, m := range docLink.FindAllStringSubmatch(group.Text(), -1) {
				links++
				name := strings.TrimSuffix(m[2]+"."+m[3], ".")
				if !names[folder][name] {
					t.Errorf("%s: the comment links to [%s], which package %s does not have",
						fset.Position(group.Pos()), name, folder)
				}
			}
		}
	})
	if links < 20 {
		t.Errorf("only %d links were found: the expression no longer finds them", links)
	}
}

// declared adds the names that a file declares at its top level, with the
// members of its types.
func declared(file *ast.File, names map[string]bool) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			names[strings.TrimPrefix(receiver(d)+"."+d.Name.Name, ".")] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range s.Names {
						names[name.Name] = true
					}
				case *ast.TypeSpec:
					names[s.Name.Name] = true
					ast.Inspect(s.Type, func(n ast.Node) bool {
						if f, ok := n.(*ast.Field); ok {
							for _, name := range f.Names {
								names[s.Name.Name+"."+name.Name] = true
							}
						}
						return true
					})
				}
			}
		}
	}
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	fileInCode   = regexp.MustCompile("`([\\w./-]+/[\\w.-]+\\.(?:go|sql|lua|md|json)|[\\w-]+/)`")
)

func TestDocsNameOnlyFilesThatExist(t *testing.T) {
	for _, page := range filesOf(t, ".md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		at := func(offset int) string {
			return fmt.Sprintf("%s:%d", page, 1+strings.Count(string(text[:offset]), "\n"))
		}
		for _, m := range markdownLink.FindAllSubmatchIndex(text, -1) {
			target := string(text[m[2]:m[3]])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", at(m[0]), target)
			}
		}
		if page == "docs/design.md" || page == "CHANGELOG.md" {
			continue // dated: what they name may be gone by now
		}
		for _, m := range fileInCode.FindAllSubmatchIndex(text, -1) {
			target := string(text[m[2]:m[3]])
			_, err := os.Stat(target)
			if _, beside := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil && beside != nil {
				t.Errorf("%s names %s, which does not exist", at(m[0]), target)
			}
		}
	}
}

var (
	pageLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
)

// A link from one page to another, or to a heading, leads somewhere. Links to
// other sites are not followed: a test needs no internet.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range filesOf(t, ".md") {
		text := fenced.ReplaceAllString(read(t, page), "")
		for _, m := range pageLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			switch _, err := os.Stat(to); {
			case err != nil:
				t.Errorf("%s links to %s: %v", page, m[1], err)
			case anchor != "" && filepath.Ext(to) == ".md" && !slices.Contains(anchors(read(t, to)), anchor):
				t.Errorf("%s links to %s: %s has no such heading", page, m[1], to)
			}
		}
	}
	if links < 30 {
		t.Errorf("only %d links were found: the expression no longer finds them", links)
	}
}

// anchors are the names by which code hosts address the headings of a page.
func anchors(text string) (names []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(strings.TrimSpace(name), " ", "-"))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
