package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/docs"
)

//go:embed pages static
var pageFiles embed.FS

// pageRoutes are the pages for people. Each works without scripts:
// what it changes it changes by a form, after a page that asks.
func pageRoutes() []route {
	all := []route{
		{method: "GET", path: "static/{file}", action: public, do: (*call).static},
		{method: "GET", path: "", action: Read, do: (*call).overviewPage},
		{method: "GET", path: "find", action: Read, do: (*call).findPage, query: []string{"q"}},
		{method: "GET", path: "jobs", action: Read, do: (*call).jobsPage, query: []string{"state", "queue", "kind",
			"key", "tag", "worker", "cursor", "done"}},
		{method: "POST", path: "jobs/{op}", action: Operate, do: (*call).changeJobsPage},
		{method: "GET", path: "jobs/{id}", action: Read, do: (*call).jobPage, query: []string{"done"}},
		{method: "POST", path: "jobs/{id}/{op}", action: Operate, do: (*call).changeJobPage},
		{method: "GET", path: "keys", action: Read, do: (*call).keysPage, query: []string{"queue", "kind", "prefix",
			"text", "cursor"}},
		{method: "GET", path: "keys/{key}", action: Read, do: (*call).keyPage, query: []string{"done"}},
		{method: "POST", path: "keys/{key}/release", action: Operate, do: (*call).releasePage},
		{method: "GET", path: "conflicts", action: Read, do: (*call).conflictsPage, query: []string{"span", "queue",
			"kind"}},
		{method: "GET", path: "explain", action: Read, do: (*call).explainPage, query: []string{"kind", "queue"}},
		{method: "POST", path: "explain", action: Enqueue, do: (*call).explainForm},
	}
	all = append(all, []route{
		{method: "GET", path: "queues", action: Read, do: (*call).queuesPage, query: []string{"done"}},
		{method: "POST", path: "queues/{name}/{op}", action: Operate, do: (*call).changeQueuePage},
		{method: "GET", path: "workers", action: Read, do: (*call).workersPage},
		{method: "GET", path: "policies", action: Read, do: (*call).policiesPage},
		{method: "GET", path: "periodic", action: Read, do: (*call).periodicPage, query: []string{"done"}},
		{method: "POST", path: "periodic/{name}/{op}", action: Operate, do: (*call).changePeriodicPage},
		{method: "GET", path: "system", action: Read, do: (*call).systemPage, query: []string{"done"}},
		{method: "POST", path: "system", action: Operate, do: (*call).doctorPage},
	}...)
	for i := range all {
		all[i].page = true
	}
	return all
}

// view is what every page is made of.
type view struct {
	call  *call
	Title string // of the page
	Here  string // the entry of the navigation that is marked
	Root  string // the way to the first page
	Now   time.Time
	Done  string   // what the page before has done, for people
	Live  bool     // the page may be loaded again by itself
	tells []string // topics of events after which it should be
	Data  any
}

// Events is the stream that tells when the page should be loaded
// again; "" = there is none of it.
func (v *view) Events() template.URL {
	if len(v.tells) == 0 {
		return ""
	}
	return v.With("api/v1/events", "topics", strings.Join(v.tells, ","))
}

// tell says which topics of events a page is about.
func (v *view) tell(topics ...string) { v.tells = append(v.tells, topics...) }

// tellJob says that a page is about a job.
func (v *view) tellJob(id string) { v.tell("job:" + url.PathEscape(id)) }

// tellKey says that a page is about a key.
func (v *view) tellKey(k onceq.Key) { v.tell("key:" + k.String()) }

// May reports whether who asks may do something.
func (v *view) May(action string) bool {
	return v.call.config.Authorize(v.call.r, Action(action)) == nil
}

// Args reports whether who asks may see what jobs are about.
func (v *view) Args() bool { return v.call.mayReadArgs() }

// To is the way to another page. What follows its name are
// segments, which are escaped.
func (v *view) To(name string, segments ...any) template.URL {
	place := v.Root + name
	for _, s := range segments {
		place += "/" + url.PathEscape(fmt.Sprint(s))
	}
	return template.URL(place)
}

// With is a page with parameters: names and values by turns. Empty
// ones are left away.
func (v *view) With(name string, pairs ...any) template.URL {
	values := url.Values{}
	var flat []any
	for _, p := range pairs { // a list stands for what is in it
		if list, ok := p.([]any); ok {
			flat = append(flat, list...)
		} else {
			flat = append(flat, p)
		}
	}
	pairs = flat
	for i := 0; i+1 < len(pairs); i += 2 {
		if s := fmt.Sprint(pairs[i+1]); s != "" {
			values.Add(fmt.Sprint(pairs[i]), s)
		}
	}
	place := v.Root + name
	if len(values) > 0 {
		place += "?" + values.Encode()
	}
	return template.URL(place)
}

// SignedIn reports whether the browser has a session, which it can
// end.
func (v *view) SignedIn() bool {
	if v.call.config.Login == nil {
		return false
	}
	_, ok := v.call.config.Login.findSession(v.call.r)
	return ok
}

// Version is that of the program.
func (v *view) Version() string { return v.call.config.Version }

// newView begins a page.
func (c *call) newView(title, here string, data any) *view {
	return &view{call: c, Title: title, Here: here, Root: c.root(), Now: time.Now(), Data: data,
		Done: doneTexts[c.r.URL.Query().Get("done")], Live: c.r.Method == http.MethodGet}
}

// doneTexts are what a page says after a change. A link can choose
// only among them.
var doneTexts = map[string]string{
	"cancel":  "The job is cancelled. One that runs was asked to stop.",
	"retry":   "The job is due again.",
	"run":     "The job is due now.",
	"delete":  "The job is deleted.",
	"release": "The key is released: the next enqueue of it makes a new job.",
	"enqueue": "The job is enqueued.",
	"pause":   "It is paused.",
	"resume":  "It goes on.",
	"doctor":  "The check has begun.",
}

// templates are the pages, each with the layout.
var templates = func() map[string]*template.Template {
	common := template.Must(template.New("").Funcs(pageFuncs).ParseFS(pageFiles, "pages/layout.html",
		"pages/parts.html"))
	all := map[string]*template.Template{}
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base != "layout" && base != "parts" {
			all[base] = template.Must(template.Must(common.Clone()).ParseFS(pageFiles, name))
		}
	}
	return all
}()

// show answers with a page.
func (c *call) show(status int, name string, v *view) error {
	var b bytes.Buffer
	if err := templates[name].ExecuteTemplate(&b, "layout", v); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // nobody is there to hear of it
	return nil
}

// failPage answers a page with a problem, and with the way out of
// it.
func (c *call) failPage(p *problemError) {
	status, detail, wayOut, last := statuses[p.kind].status, p.detail, waysOut[p.kind], ""
	if c.route == nil { // it is no job that is not there
		wayOut = ""
	}
	if p.kind == "internal" {
		detail = "The store, or this server, has failed."
	}
	if g := c.glance.Load(); g != nil && status >= 500 && c.config.Authorize(c.r, Read) == nil {
		last = g.text()
	}
	v := c.newView(statuses[p.kind].title, "", struct {
		Status                   int
		Detail, WayOut, Last, ID string
		Again                    bool
	}{status, detail, wayOut, last, c.id, status >= 500})
	if err := c.show(statuses[p.kind].status, "problem", v); err != nil {
		c.log.Error("onceq: page failed", "request", c.id, "error", err)
	}
}

// waysOut say what to do about a problem.
var waysOut = map[string]string{
	"unauthorized": "Ask whoever runs this server for a token.",
	"forbidden":    "A token of another role may do it: ask whoever runs this server.",
	"not-found": "A job that has ended is removed when its retention is over. Look for its key, which may still " +
		"be held.",
	"invalid":     "Go back, and change what is named above.",
	"wrong-state": "Look at the job as it is now.",
	"unavailable": "The store did not answer. Nothing was changed; the page can be loaded again at any time.",
	"uncertain":   "The answer of the store was lost. Look whether it has happened before you try again.",
	"internal":    "The log of the server has the cause under the number of this request.",
}

// static answers with a style, a script or an icon. Their names
// have a digest, so that a browser may keep them for ever.
func (c *call) static() error {
	file, known := statics[c.params["file"]]
	if !known {
		return problem("not-found", "there is no such file")
	}
	h := c.w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = c.w.Write(file.content)
	return nil
}

type staticFile struct {
	kind    string
	content []byte
}

// statics are the files, and the pictures of the guides, by the
// names that they are served under, and staticNames those names by
// theirs.
var statics, staticNames = func() (map[string]staticFile, map[string]string) {
	files, names := map[string]staticFile{}, map[string]string{}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml"}
	for folder, in := range map[string]fs.ReadDirFS{"static": pageFiles, "pictures": docs.Pictures} {
		entries, err := in.ReadDir(folder)
		if err != nil {
			panic(err)
		}
		for _, e := range entries {
			content, err := fs.ReadFile(in, folder+"/"+e.Name())
			if err != nil {
				panic(err)
			}
			sum, ext := sha256.Sum256(content), path.Ext(e.Name())
			names[e.Name()] = strings.TrimSuffix(e.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
			files[names[e.Name()]] = staticFile{kinds[ext], content}
		}
	}
	return files, names
}()

// findPage leads to what somebody looks for: a job by its ID, a
// key by its first digits, or keys by what they are made of.
func (c *call) findPage() error {
	v := c.newView("", "", nil)
	q := strings.TrimSpace(c.r.URL.Query().Get("q"))
	if q == "" {
		return c.redirect(string(v.To("jobs")))
	}
	if name, value, ok := strings.Cut(q, ":"); ok && value != "" &&
		contains([]string{"state", "queue", "kind", "tag", "worker"}, name) {
		return c.redirect(string(v.With("jobs", name, value)))
	}
	if len(q) <= onceq.MaxIDSize {
		if j, err := c.client.Job(c.r.Context(), q); err == nil {
			return c.redirect(string(v.To("jobs", j.ID)))
		}
	}
	if key, err := onceq.ParseKey(q); err == nil {
		return c.redirect(string(v.To("keys", key)))
	}
	if isHex := strings.Trim(q, "0123456789abcdefABCDEF") == ""; isHex && len(q) >= 6 && len(q) < 64 || !v.Args() {
		return c.redirect(string(v.With("keys", "prefix", q)))
	}
	return c.redirect(string(v.With("keys", "text", q)))
}
