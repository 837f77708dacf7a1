package dashboard

import (
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/onceq/onceq/docs"
)

var (
	hrefs       = regexp.MustCompile(`href="([^"]*)"`)
	anchorNames = regexp.MustCompile(`\bid="([^"]*)"`)
	inPage      = regexp.MustCompile(`(?i)<script(?: src="[^"]*" defer)?>[^<]|<style|\sstyle=|\son[a-z]+=|` +
		`javascript:|<!--`)
)

// The guides are on the pages, each is reached from their list, and what they link
// to is there, under any prefix. Nothing in them would be stopped by the policy.
func TestTheGuidesAreOnThePagesAndTheirLinksLeadSomewhere(t *testing.T) {
	w := serve(t, nil)
	under := http.StripPrefix("/a/b", w)
	pages := map[string]string{} // by path
	var visit func(at string)
	visit = func(at string) {
		if _, seen := pages[at]; seen {
			return
		}
		r := w.request("GET", at, "")
		r.RequestURI = at
		rec := httptest.NewRecorder()
		under.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", at, rec.Code, rec.Body)
		}
		pages[at] = rec.Body.String()
		if m := inPage.FindString(pages[at]); m != "" {
			t.Errorf("%s has %s", at, m)
		}
		_, article, _ := strings.Cut(pages[at], "<article")
		article, _, _ = strings.Cut(article, "</article>")
		for _, m := range hrefs.FindAllStringSubmatch(article, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			switch {
			case strings.Contains(to, "://"), strings.HasPrefix(to, "mailto:"), to == "":
			case strings.HasSuffix(to, ".md"):
				t.Errorf("%s links to %s", at, to)
			default:
				visit(path.Join(path.Dir(at), to))
			}
		}
	}
	visit("/a/b/help")
	for at, page := range pages {
		for _, m := range hrefs.FindAllStringSubmatch(page, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if anchor == "" || strings.Contains(file, ":") || anchor == "main" {
				continue
			}
			to := at
			if file != "" {
				to = path.Join(path.Dir(at), file)
			}
			found := false
			for _, id := range anchorNames.FindAllStringSubmatch(pages[to], -1) {
				found = found || id[1] == anchor
			}
			if !found {
				t.Errorf("%s links to %s: %s has no such heading", at, m[1], to)
			}
		}
	}
	all, err := docs.Pages.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		name := strings.TrimSuffix(e.Name(), ".md")
		if _, seen := pages["/a/b/help/"+name]; !seen && name != "README" {
			t.Errorf("no link leads to the guide %s", name)
		}
	}
	for _, want := range []string{"<title>Uniqueness · onceq</title>", "<table", elsewhere} {
		if !strings.Contains(pages["/a/b/help/uniqueness"], want) {
			t.Errorf("a guide has no %s", want)
		}
	}
	for _, name := range []string{"nope", "..%2FREADME", "README.md", "%2E%2E"} {
		w.is(w.ask("GET", "/help/"+name, ""), http.StatusNotFound)
	}
	w.token = enqueueToken
	w.is(w.ask("GET", "/help", ""), http.StatusForbidden)
}

// HTML in a guide is left out, and text is escaped.
func TestAGuideCannotRunAnything(t *testing.T) {
	if g, ok := readGuide("periodic", ""); !ok || strings.Contains(string(g.HTML), "var berlin") ||
		strings.Contains(string(g.HTML), "<!--") {
		t.Error("HTML of the source is on the page")
	}
	if g, ok := readGuide("json", ""); !ok || !strings.Contains(string(g.HTML), "&lt;b&gt;") {
		t.Error("a text that looks like HTML is not escaped")
	}
}
