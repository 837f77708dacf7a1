package test

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
)

var quietLog = slog.New(slog.DiscardHandler)

// page is one that was read without a browser, so without scripts.
type page struct {
	at     *url.URL
	status int
	header http.Header
	text   string
	root   *html.Node
}

// visitor opens pages and sends forms.
type visitor struct {
	*testing.T
	base string // every address begins with it
}

// visit opens a page, or sends a form where there is one.
func (v *visitor) visit(at string, form url.Values) *page {
	v.Helper()
	if !strings.HasPrefix(at, v.base) {
		v.Fatalf("%s is not below %s", at, v.base)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(v.Context(), http.MethodGet, at, nil)
	if form != nil {
		r, err = http.NewRequestWithContext(v.Context(), http.MethodPost, at, strings.NewReader(form.Encode()))
	}
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	if res.StatusCode == http.StatusSeeOther {
		to, err := res.Location()
		if err != nil {
			v.Fatal(err)
		}
		return v.visit(to.String(), nil)
	}
	p := &page{at: res.Request.URL, status: res.StatusCode, header: res.Header, text: string(text)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		if p.root, err = html.Parse(strings.NewReader(p.text)); err != nil {
			v.Fatal(err)
		}
	}
	return p
}

// each goes through the elements of a page.
func (p *page) each(do func(*html.Node)) {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode {
			do(n)
		}
	}
}

// attr is an attribute of an element.
func attr(n *html.Node, name string) (value string, has bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// target is where an address of the page leads.
func (v *visitor) target(p *page, ref string) string {
	v.Helper()
	u, err := p.at.Parse(ref)
	if err != nil {
		v.Errorf("%s has the address %q: %v", p.at, ref, err)
		return v.base
	}
	u.Fragment = ""
	return u.String()
}

// crawl opens every page that can be reached from the first by links.
func (v *visitor) crawl() map[string]*page {
	v.Helper()
	pages := map[string]*page{}
	for todo := []string{v.base}; len(todo) > 0; todo = todo[1:] {
		if pages[todo[0]] != nil {
			continue
		}
		p := v.visit(todo[0], nil)
		pages[todo[0]] = p
		if p.status != http.StatusOK {
			v.Errorf("%s is %d: %.300s", todo[0], p.status, p.text)
		}
		if p.root == nil {
			continue
		}
		p.each(func(n *html.Node) {
			for _, name := range []string{"href", "src"} {
				ref, has := attr(n, name)
				inGuide := strings.Contains(p.at.Path, "/help") && strings.Contains(ref, "://") // to the world
				if has && !inGuide {
					todo = append(todo, v.target(p, ref))
				}
			}
		})
	}
	maps.DeleteFunc(pages, func(_ string, p *page) bool { return p.root == nil })
	return pages
}

// posts are the forms of a page that change something, as a browser without
// scripts sends them: each by each of its buttons.
func (v *visitor) posts(p *page) (all []form) {
	p.each(func(n *html.Node) {
		if method, _ := attr(n, "method"); n.Data != "form" || method != "post" {
			return
		}
		action, _ := attr(n, "action")
		id, _ := attr(n, "id")
		one := form{to: v.target(p, action), values: url.Values{}}
		p.each(func(field *html.Node) {
			owner, elsewhere := attr(field, "form")
			if !slices.Contains(slices.Collect(field.Ancestors()), n) && (!elsewhere || owner != id) {
				return
			}
			name, _ := attr(field, "name")
			value, _ := attr(field, "value")
			kind, _ := attr(field, "type")
			switch {
			case field.Data == "input" && name == "word":
				one.word = true
			case field.Data == "input" && kind == "checkbox":
				one.boxes = append(one.boxes, value)
			case field.Data == "input" && name != "":
				one.values.Add(name, value)
			case field.Data == "button":
				b := one
				if other, has := attr(field, "formaction"); has {
					b.to = v.target(p, other)
				}
				if name != "" { // buttons with a name stand behind the fields
					b.values = maps.Clone(one.values)
					b.values.Set(name, value)
				}
				all = append(all, b)
			}
		})
	})
	return all
}

// form is what a button sends.
type form struct {
	to     string
	values url.Values
	word   bool     // a word has to be typed
	boxes  []string // what can be chosen
}

// press sends a form, and says yes to the question that comes. It returns the
// page that is there in the end.
func (v *visitor) press(f form) *page {
	v.Helper()
	if f.values = maps.Clone(f.values); len(f.boxes) > 0 { // other buttons send the same fields
		f.values.Set("id", f.boxes[0])
	}
	p := v.visit(f.to, f.values)
	for range 2 {
		if p.root == nil || p.status >= 500 {
			v.Fatalf("%s answers %d %s", f.to, p.status, p.text)
		}
		questions := slices.DeleteFunc(v.posts(p), func(q form) bool { return q.values.Get("sure") == "" })
		if len(questions) != 1 {
			return p
		}
		if questions[0].word {
			questions[0].values.Set("word", map[bool]string{true: "release", false: "delete"}[strings.HasSuffix(f.to,
				"/release")])
		}
		p = v.visit(questions[0].to, questions[0].values)
	}
	return p
}

// schedules makes some: one has made a job, and one is paused.
func (w *pageWorld) schedules() {
	w.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	must(err)
	put := func(p onceq.Periodic) {
		w.Helper()
		_, err := w.client.PutPeriodic(w.Context(), p)
		must(err)
	}
	put(onceq.Periodic{Name: "weekly report", Schedule: "0 6 * * 1", Location: berlin,
		Args: onceq.JSON("report", []byte(`{"month":"last"}`))})
	put(onceq.Periodic{Name: "cleanup", Schedule: "@every 10m", Args: onceq.JSON("cleanup", []byte(`{}`)),
		Options: []onceq.Option{onceq.Queue("maintenance")}})
	_, err = w.client.TickNow(w.Context(), "cleanup")
	must(err)
	put(onceq.Periodic{Name: "nightly-index", Schedule: "30 2 * * *", Args: onceq.JSON("reindex", []byte(`{}`)),
		Options: []onceq.Option{onceq.Queue("index")}})
	must(w.client.PausePeriodic(w.Context(), "nightly-index"))
}

// under serves the pages of a world under a prefix.
func (w *pageWorld) under(prefix string) *visitor {
	w.Helper()
	d, err := dashboard.New(w.client, &dashboard.Config{Authorize: dashboard.Everyone, Logger: quietLog})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { d.Close() })
	mux := http.NewServeMux()
	mux.Handle(prefix, http.StripPrefix(strings.TrimSuffix(prefix, "/"), d))
	s := httptest.NewServer(mux)
	w.Cleanup(s.Close)
	return &visitor{w.T, s.URL + prefix}
}

// TestEveryPageWorksWithoutJavaScriptAndUnderAnyPrefix goes to each page by
// links, and presses each button, as a browser that runs no script: under three
// prefixes, of which the server is told nothing.
func TestEveryPageWorksWithoutJavaScriptAndUnderAnyPrefix(t *testing.T) {
	for _, prefix := range []string{"/", "/onceq/", "/a/b/"} {
		t.Run(strings.Trim(strings.ReplaceAll(prefix, "/", "_"), "_"), func(t *testing.T) {
			w := newPageWorld(t)
			w.fill()
			v := w.under(prefix)
			pages := v.crawl()
			for _, name := range []string{"", "jobs", "queues", "workers", "periodic", "keys", "conflicts", "explain",
				"policies", "system", "help"} {
				if pages[v.base+name] == nil {
					t.Errorf("no link leads to %q", name)
				}
			}
			if len(pages) < 80 {
				t.Errorf("only %d pages were reached", len(pages))
			}
			done := map[string]bool{}
			for _, at := range slices.Sorted(maps.Keys(pages)) {
				for _, f := range v.posts(pages[at]) {
					if f.boxes != nil { // no row is chosen: it must not mean all
						none := v.visit(f.to, f.values)
						if none.status != http.StatusUnprocessableEntity {
							t.Errorf("%s on %s without a choice is %d", f.to, at, none.status)
						}
					}
					p := v.press(f)
					op := f.to[strings.LastIndex(f.to, "/")+1:]
					if f.boxes != nil {
						op = "chosen " + op
					}
					// What is chosen later may be gone by then: then the page says so.
					if done[op] = done[op] || p.status == http.StatusOK; p.status != http.StatusOK && p.status < 400 {
						t.Errorf("%s on %s leads to %d", op, at, p.status)
					}
				}
			}
			for _, op := range []string{"cancel", "retry", "run", "delete", "release", "pause", "resume", "explain",
				"system", "chosen cancel", "chosen retry", "chosen run", "chosen delete"} {
				if !done[op] {
					t.Errorf("no button of any page leads to %q: %v", op, done)
				}
			}
			left := 0
			for range w.client.Jobs(t.Context(), onceq.JobFilter{All: true}) {
				left++
			}
			if left > 3 { // those that run, or that a schedule made since
				t.Errorf("%d jobs are left, although each button to delete them was pressed", left)
			}
		})
	}
}

// risky are elements that no page needs.
var risky = []string{"style", "base", "iframe", "object", "embed", "applet", "frame", "frameset", "animate", "set",
	"portal", "template"}

// inlined is what the policy of a page would stop, or what could run without it.
func inlined(p *page) (found []string) {
	p.each(func(n *html.Node) {
		src, _ := attr(n, "src")
		switch {
		case n.Data == "script" && (src == "" || n.FirstChild != nil),
			slices.Contains(risky, n.Data):
			found = append(found, "<"+n.Data+">")
		}
		for _, a := range n.Attr {
			name := strings.ToLower(a.Key)
			if name == "style" || name == "srcdoc" || name == "http-equiv" || strings.HasPrefix(name, "on") {
				found = append(found, "<"+n.Data+" "+name+">")
			}
			if slices.Contains([]string{"href", "src", "action", "formaction", "data", "poster", "xlink:href"}, name) {
				if u, err := p.at.Parse(strings.TrimSpace(a.Val)); err != nil || u.Scheme != "http" &&
					u.Scheme != "https" {
					found = append(found, "<"+n.Data+" "+name+"="+a.Val+">")
				}
			}
		}
	})
	return found
}

const wantedPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"

// guarded wants the policy of a page, and that the page does not need what the
// policy forbids.
func (v *visitor) guarded(p *page) {
	v.Helper()
	for name, want := range map[string]string{"Content-Security-Policy": wantedPolicy,
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store"} {
		if got := p.header.Get(name); got != want {
			v.Errorf("%s: %s is %q, want %q", p.at, name, got, want)
		}
	}
	for _, found := range inlined(p) {
		v.Errorf("%s has %s", p.at, found)
	}
}

func TestEveryPageHasThePolicyAndNoInlineScriptOrStyle(t *testing.T) {
	w := newPageWorld(t)
	jobs := w.fill()
	v := w.under("/onceq/")
	pages := v.crawl()
	for _, p := range pages {
		v.guarded(p)
		for _, f := range v.posts(p) { // the questions
			v.guarded(v.visit(f.to, f.values))
		}
	}
	for _, at := range []string{"nope", "jobs/nope", "jobs?statee=running"} {
		v.guarded(v.visit(v.base+at, nil))
	}
	v.guarded(v.visit(v.base+"jobs/"+jobs["running"].ID+"/cancel", url.Values{"state": {"available"}, "sure": {"yes"}}))
	w.broken.Store(true)
	v.guarded(v.visit(v.base+"jobs", nil))
	if len(pages) < 80 {
		t.Errorf("only %d pages were seen", len(pages))
	}
	for _, bad := range []string{`<b onclick=x>`, `<script>x</script>`, `<script src=x>y</script>`, `<p style="x">`,
		`<a href="JavaScript:x">`, `<a href=" javascript:x">`, `<base href=/>`, `<iframe src=x>`, `<svg><set>`,
		`<meta http-equiv=refresh>`, `<form action="data:x">`, `<svg><a xlink:href="javascript:x">`} {
		root, err := html.Parse(strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		at, _ := url.Parse("http://here/")
		if len(inlined(&page{root: root, at: at})) == 0 {
			t.Errorf("this test finds nothing in %s", bad)
		}
	}
}
