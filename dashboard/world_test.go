package dashboard

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	readToken    = "read-0123456789abcdefghij"
	enqueueToken = "enqueue-0123456789abcdefghij"
	workToken    = "work-0123456789abcdefghij"
	otherToken   = "other-0123456789abcdefghij"
	operateToken = "operate-0123456789abcdefghij"
	allTokens    = "# for tests\nread " + readToken + " r\nenqueue " + enqueueToken + " e\nwork " + workToken +
		" w\nwork " +
		otherToken + " o\noperate " + operateToken + "\n"
)

// world is a Dashboard on a store, and a caller with a token.
type world struct {
	*testing.T
	*Dashboard
	store  onceq.Store
	client *onceq.Client
	log    *lines
	token  string
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T, change func(*Config)) *world { return serveOn(t, memstore.New(nil), change) }

func serveOn(t *testing.T, store onceq.Store, change func(*Config)) *world {
	t.Helper()
	w := &world{T: t, store: store, log: &lines{}, token: operateToken}
	logger := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.client, err = onceq.NewClient(store, &onceq.Config{Logger: logger}); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(strings.NewReader(allTokens))
	if err != nil {
		t.Fatal(err)
	}
	remote, err := onceq.NewRemote(store, &onceq.RemoteConfig{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Authorize: tokens.Authorize, Who: tokens.Who, Login: tokens, Remote: remote, Logger: logger}
	if change != nil {
		change(c)
	}
	if w.Dashboard, err = New(w.client, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Dashboard.Close()
		w.client.Close()
	})
	return w
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a answer) at(path string) any {
	var v any = a.json
	for name := range strings.SplitSeq(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, _ := strconv.Atoi(name)
			if i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// request makes a request below api/v1; one that begins with / is taken as it is.
func (w *world) request(method, path, body string, header ...string) *http.Request {
	if !strings.HasPrefix(path, "/") {
		path = "/api/v1/" + path
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Add(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	return r
}

// where is the path of a route, with parameters that some replacer gives.
func (r *route) where(params *strings.Replacer) string {
	return params.Replace("/" + strings.Join(r.segments, "/"))
}

// form makes a request as a page does.
func (w *world) form(path, body string, header ...string) *http.Request {
	r := w.request("POST", path, body, header...)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// ask sends a request, and compares both bodies with openapi.json.
func (w *world) ask(method, path, body string, header ...string) answer {
	w.Helper()
	return w.send(w.request(method, path, body, header...), body)
}

// through sends a request through a handler in front of this one.
func (w *world) through(h http.Handler, r *http.Request) answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func (w *world) send(r *http.Request, body string) answer {
	w.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return w.checked(r, body, rec.Result())
}

func (w *world) checked(r *http.Request, body string, res *http.Response) answer {
	w.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	res.Body.Close()
	a := answer{res.StatusCode, res.Header, string(text), nil}
	if res.Header.Get("X-Request-Id") == "" {
		w.Errorf("%s %s: no request ID", r.Method, r.URL)
	}
	if res.Header.Get("Content-Security-Policy") != policyOfPages ||
		res.Header.Get("X-Content-Type-Options") != "nosniff" {
		w.Errorf("%s %s: %v", r.Method, r.URL, res.Header)
	}
	for name := range res.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			w.Errorf("%s %s: %s", r.Method, r.URL, name)
		}
	}
	kind := res.Header.Get("Content-Type")
	if !strings.Contains(kind, "json") {
		return a
	}
	if err := json.Unmarshal(text, &a.json); err != nil {
		w.Fatalf("%s %s: %v: %s", r.Method, r.URL, err, text)
	}
	segments, _ := segmentsOf(r.URL.EscapedPath())
	c := call{Dashboard: w.Dashboard, r: r, w: &answerWriter{ResponseWriter: httptest.NewRecorder()}}
	if len(segments) < 3 {
		return a
	}
	doc := theDocument()
	if c.find(segments) != nil {
		if m := doc.misfit(any(a.json), "components", "schemas", "Problem"); m != "" {
			w.Errorf("%s %s: %s: %s", r.Method, r.URL, m, text)
		}
		return a
	}
	path, method := "/"+c.route.path, strings.ToLower(r.Method)
	op, said := doc.Paths[path][method], strconv.Itoa(res.StatusCode)
	if _, known := op.Responses[said]; !known {
		said = "default"
	}
	if _, ok := op.Responses[said].Content[kind]; !ok {
		w.Errorf("%s %s: %d with %s is not in openapi.json", r.Method, r.URL, res.StatusCode, kind)
		return a
	}
	if c.route.path != "openapi.json" {
		if m := doc.misfit(any(a.json), "paths", path, method, "responses", said, "content", kind, "schema"); m != "" {
			w.Errorf("%s %s: %s: %s", r.Method, r.URL, m, text)
		}
	}
	if res.StatusCode < 300 && body != "" { // what is accepted is documented
		sent, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			w.Errorf("%s: %v", body, err)
		}
		if m := doc.misfit(sent, "paths", path, method, "requestBody", "content", "application/json",
			"schema"); m != "" {
			w.Errorf("%s %s was accepted: %s: %s", r.Method, r.URL, m, body)
		}
	}
	return a
}

// is wants a status.
func (w *world) is(a answer, status int) answer {
	w.Helper()
	if a.status != status {
		w.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// problem wants a problem of a type, and that its detail or a member has a text.
func (w *world) problem(a answer, kind, text string) answer {
	w.Helper()
	if a.json["type"] != "urn:onceq:"+kind || a.status != statuses[kind].status || !strings.Contains(a.body, text) ||
		a.header.Get("Content-Type") != "application/problem+json" ||
		a.json["request_id"] != a.header.Get("X-Request-Id") {
		w.Fatalf("want the problem %s with %q, got %d %s", kind, text, a.status, a.body)
	}
	return a
}

// enqueue makes a job and returns its ID.
func (w *world) enqueue(body string) string {
	w.Helper()
	return w.is(w.ask("POST", "jobs", body), http.StatusCreated).at("job/id").(string)
}
