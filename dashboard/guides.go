package dashboard

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"github.com/onceq/onceq/docs"
)

// guide is a page of docs as HTML.
type guide struct {
	Name  string // of its file, without .md
	Title string // its first heading
	HTML  template.HTML
}

const elsewhere = "https://github.com/onceq/onceq/blob/main/" // what no guide is

// readGuide renders a guide. What Markdown says is escaped, and HTML in it is left
// out, so that it needs nothing that the policy of the pages forbids. root is the
// way to the first page. ok is false if there is none of that name.
func readGuide(name, root string) (g guide, ok bool) {
	source, err := docs.Pages.ReadFile(name + ".md")
	if err != nil {
		return guide{}, false
	}
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	md := goldmark.New(goldmark.WithExtensions(extension.Linkify, extension.Strikethrough,
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	ids := parser.NewContext(parser.WithIDs(&headingIDs{seen: map[string]int{}}))
	doc := md.Parser().Parse(text.NewReader(source), parser.WithContext(ids))
	g.Name = name
	var left []ast.Node
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it returns what this returns
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			n.Destination = []byte(guideLink(string(n.Destination), root))
		case *ast.Image:
			n.Destination = []byte(root + "static/" + staticNames[path.Base(string(n.Destination))])
		case *ast.HTMLBlock, *ast.RawHTML:
			left = append(left, n)
		case *ast.Heading:
			if n.Level == 1 && g.Title == "" {
				g.Title = string(n.Lines().Value(source))
			}
		}
		return ast.WalkContinue, nil
	})
	for _, n := range left {
		n.Parent().RemoveChild(n.Parent(), n)
	}
	var b bytes.Buffer
	if err := md.Renderer().Render(&b, source, doc); err != nil {
		return guide{}, false
	}
	g.HTML = template.HTML(scrolling(b.String()))
	return g, true
}

// scrolling lets a table that is wider than the window scroll by itself, by
// keyboard too. In text the tag would be escaped.
func scrolling(page string) string {
	var b strings.Builder
	for i, part := range strings.Split(page, "<table>") {
		if i > 0 {
			fmt.Fprintf(&b, `<div class="wide" role="group" tabindex="0" aria-label="Table %d"><table>`, i)
		}
		b.WriteString(strings.ReplaceAll(part, "</table>", "</table></div>"))
	}
	return b.String()
}

// guideLink is where a link of a guide leads from here: to another guide, or to
// the page of the project.
func guideLink(to, root string) string {
	file, anchor, _ := strings.Cut(to, "#")
	if anchor != "" {
		anchor = "#" + anchor
	}
	switch name, isPage := strings.CutSuffix(file, ".md"); {
	case file == "" || strings.Contains(to, ":"):
		return to
	case isPage && name == "README":
		return root + "help" + anchor
	case isPage && !strings.Contains(name, "/"):
		return root + "help/" + name + anchor
	}
	return elsewhere + path.Join("docs", file) + anchor
}

// headingIDs names headings as the code host does, since links are written so.
type headingIDs struct {
	seen map[string]int
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)

// Generate is for goldmark.
func (h *headingIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	id := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(string(value))), "")
	id = strings.ReplaceAll(id, " ", "-")
	n := h.seen[id]
	if h.seen[id]++; n > 0 {
		id = fmt.Sprintf("%s-%d", id, n)
	}
	return []byte(id)
}

// Put is for goldmark.
func (h *headingIDs) Put(value []byte) { h.seen[string(value)]++ }

// guidePage shows a guide; without a name their list.
func (c *call) guidePage() error {
	name := c.params["name"]
	if name == "" {
		name = "README"
	}
	g, ok := readGuide(name, c.root())
	if !ok || strings.ContainsAny(name, "/.") {
		return problem("not-found", "there is no such guide: the page Guides has all of them")
	}
	v := c.newView(g.Title, "help", g)
	v.Live = false
	return c.show(http.StatusOK, "guide", v)
}
