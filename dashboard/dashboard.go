package dashboard

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// Action is what somebody asks to do.
type Action string

// The actions. Public is never asked for.
const (
	Read     Action = "read"      // look at jobs, keys, queues, workers and counts
	ReadArgs Action = "read_args" // see args, meta, results, texts of errors and of keys too
	Enqueue  Action = "enqueue"   // make jobs, and explain what an enqueue would do
	Work     Action = "work"      // fetch jobs and finish them
	Operate  Action = "operate"   // change jobs, keys and queues, and run the doctor

	public Action = ""
)

// ErrUnauthenticated, from Config.Authorize, says that nobody knows who asks:
// the answer is 401. Any other error is 403.
var ErrUnauthenticated = errors.New("say who you are: Authorization: Bearer TOKEN")

// Everyone lets everyone do everything. It is for a server that only this
// machine can reach.
func Everyone(*http.Request, Action) error { return nil }

// ReadOnly lets everyone look, and nobody change anything.
func ReadOnly(_ *http.Request, a Action) error {
	if a == Read || a == ReadArgs {
		return nil
	}
	return errors.New("only reading is allowed here")
}

// Visibility says whether args may be shown.
type Visibility uint8

// What is shown.
const (
	ArgsOnClick Visibility = iota // what Authorize allows
	ArgsShown                     // the same
	ArgsHidden                    // nobody sees args, but for workers and those who may operate
)

// Config configures a [Dashboard].
type Config struct {
	Authorize func(*http.Request, Action) error // required; see [Everyone], [ReadOnly] and [Tokens]
	// Who names who asks, in at most 40 letters, digits, ".", "_" and "-": a
	// worker belongs to who joined it. nil = "anyone".
	Who func(*http.Request) string
	// Login lets people sign in with one of these tokens, for a session of twelve
	// hours in this browser; nil = there is no page for that.
	Login  *Tokens
	Secure bool          // browsers come over https, although TLS ends in front of this handler
	Remote *onceq.Remote // nil = workers cannot take part: their calls are not found
	// Hosts are names under which the server is reached, besides those of this
	// machine: a browser must not be led here under a name of somebody else's.
	// {"*"} = your own server checks that.
	Hosts   []string
	Origins []string   // of pages elsewhere that may call, as "https://example.com"
	Args    Visibility // whether args are shown
	// Mask names members that are never shown to anybody, by the kind of the job:
	// JSON Pointers into args, meta and results ("/card/number"). "***" stands in
	// their place, also in readable keys, and their values are looked for in the
	// texts of errors. What was made of a value by somebody else, such as a part
	// of it in an error, is not known. Workers get their jobs as they are. nil =
	// nothing is masked.
	Mask     func(kind string) []string
	MaxArgs  int // as onceq.Config.MaxArgs; 0 = onceq.DefaultMaxArgs
	MaxPolls int // fetches that wait at once; 0 = 1000
	// MaxStreams is how many streams of events are open at once; 0 = 64.
	MaxStreams int
	Logger     *slog.Logger // nil = slog.Default()
	Metrics    http.Handler // answers GET metrics, for whoever may read; nil = there is none
	Answered   func(Answer) // is told of each request, for metrics; nil = nobody is
	Audit      func(Event)  // is told of each change; nil = a line of the log
	Version    string       // of the program, for people
	Store      string       // which store it is, for people, without its password
}

// Event is a change that somebody made.
type Event struct {
	At        time.Time // when it was answered
	Who       string    // Config.Who
	Action    Action    // what was asked for
	Method    string    // of the request
	Path      string    // of the request, without a prefix that was stripped
	Status    int       // of the answer
	RequestID string    // that the answer has too
}

// Answer is a request that was answered.
type Answer struct {
	Route  string        // of the table of routes, such as "api/v1/jobs/{id}"; "" = of none
	Method string        // of the request; "" = one that nobody uses
	Status int           // of the answer
	Took   time.Duration // from its arrival to the end of the answer
}

// Dashboard is an [http.Handler].
type Dashboard struct {
	client   *maskingClient
	config   Config
	log      *slog.Logger
	origins  *http.CrossOriginProtection
	routes   []route
	began    time.Time
	polls    atomic.Int64
	drains   atomic.Bool
	closed   context.Context // ends what a Dashboard does by itself
	close    context.CancelFunc
	running  sync.WaitGroup
	doctor   doctor
	told     *events
	drained  sync.Once
	draining chan struct{} // closed by Drain
	ready    readiness
	live     pace
	glance   atomic.Pointer[glance]
}

// New makes a Dashboard. The client, and its store, are the caller's to close,
// after the Dashboard.
func New(client *onceq.Client, config *Config) (*Dashboard, error) {
	if client == nil {
		return nil, errors.New("dashboard: the client is nil")
	}
	if config == nil || config.Authorize == nil {
		return nil, errors.New("dashboard: Config.Authorize is missing: it says who may do what. " +
			"dashboard.ReadOnly lets everyone look, dashboard.Everyone lets everyone do everything")
	}
	d := &Dashboard{client: &maskingClient{client, config.Mask}, config: *config, began: time.Now(),
		origins: http.NewCrossOriginProtection()}
	c := &d.config
	if c.Who == nil {
		c.Who = func(*http.Request) string { return "anyone" }
	}
	c.MaxArgs, c.MaxPolls = cmp.Or(c.MaxArgs, onceq.DefaultMaxArgs), cmp.Or(c.MaxPolls, 1000)
	c.MaxStreams = cmp.Or(c.MaxStreams, mostStreams)
	if d.log = c.Logger; d.log == nil {
		d.log = slog.Default()
	}
	for _, o := range c.Origins {
		if err := d.origins.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("dashboard: Config.Origins: %w", err)
		}
	}
	d.closed, d.close = context.WithCancel(context.Background())
	d.draining, d.told = make(chan struct{}), newEvents(d)
	d.routes = d.table()
	return d, nil
}

// Drain makes the server look unready, so that it gets no new requests, and ends
// streams of events: their readers come again, to another server.
func (d *Dashboard) Drain() {
	d.drains.Store(true)
	d.drained.Do(func() { close(d.draining) })
}

// Close ends what the Dashboard does by itself, and waits for it.
func (d *Dashboard) Close() error {
	d.Drain()
	d.close()
	d.running.Wait()
	return nil
}

// call is one request.
type call struct {
	*Dashboard
	w      *answerWriter
	r      *http.Request
	id     string // of the request
	sent   []byte // the body, if it is JSON
	route  *route
	params map[string]string // of the path
}

// answerWriter knows what was answered.
type answerWriter struct {
	http.ResponseWriter
	status int
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP answers one request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	var id [8]byte
	rand.Read(id[:])
	c := &call{Dashboard: d, w: &answerWriter{ResponseWriter: w}, r: r, id: hex.EncodeToString(id[:])}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			d.log.Error("onceq: request panicked", "request", c.id, "panic", fmt.Sprint(p), "stack",
				string(debug.Stack()))
			if c.w.status == 0 {
				c.fail(errInternal)
			}
		}
		c.audit()
		c.answered(time.Since(began))
	}()
	h := w.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy", policyOfPages)
	h.Set("Cache-Control", "no-store")
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

const maxQuery = 4 << 10 // bytes

// policyOfPages lets a page load and send to this server alone, and lets it run
// no script and no style that stands in the page itself. What is stored in a
// job can therefore do nothing there, even if it were not escaped.
const policyOfPages = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; " +
	"require-trusted-types-for 'script'"

// serve does what is the same for all routes, in the order in which it is
// cheapest to refuse.
func (c *call) serve() error {
	segments, pathErr := segmentsOf(c.r.URL.EscapedPath())
	if pathErr == nil && len(segments) == 1 && (segments[0] == "healthz" || segments[0] == "readyz") {
		return c.health(segments[0]) // probes come without a name and a token
	}
	if !c.knownHost() {
		return problem("misdirected", fmt.Sprintf("nothing is served under the name %q: Config.Hosts (--host) names "+
			"those under which this server is reached", hostOf(c.r)))
	}
	if c.r.URL.Path == "" { // the prefix without its slash: links would lead beside it
		c.w.Header().Set("Location", path.Base(c.outerPath())+"/")
		c.w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	if len(c.r.URL.RawQuery) > maxQuery {
		return problem("too-large", "the query is too long").with("limit", maxQuery)
	}
	if pathErr != nil {
		return problem("not-found", "the path is not one of this service")
	}
	if err := c.find(segments); err != nil {
		return err
	}
	if c.origins.Check(c.r) != nil {
		return problem("cross-origin", "a page of another origin may not do that: Config.Origins names those that may")
	}
	if body := c.r.ContentLength != 0; body && c.contentType() != c.route.takes() && c.r.Method != http.MethodGet {
		return problem("unsupported-media-type", "the body must be of another kind: Content-Type: "+c.route.takes())
	}
	if c.route.action != public {
		if err := c.config.Authorize(c.r, c.route.action); err != nil {
			return c.unauthorized(err)
		}
	}
	if err := c.route.checkQuery(c.r); err != nil {
		return err
	}
	if c.route.page {
		return c.answerPage()
	}
	return c.route.do(c)
}

func (c *call) contentType() string {
	kind, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// outerPath is the path as it was before somebody stripped a prefix.
func (c *call) outerPath() string {
	before, _, _ := strings.Cut(c.r.RequestURI, "?")
	return before
}

func (c *call) unauthorized(err error) error {
	var slow *slowedError
	switch {
	case errors.As(err, &slow):
		c.w.Header().Set("Retry-After", fmt.Sprint(int(slow.wait/time.Second)+1))
		return problem("too-many-requests", "too many wrong tokens came from this address: wait")
	case errors.Is(err, ErrUnauthenticated):
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		return problem("unauthorized", ErrUnauthenticated.Error())
	}
	return problem("forbidden", err.Error()).with("action", c.route.action)
}

// mayReadArgs reports whether who asks may see what jobs are about.
func (c *call) mayReadArgs() bool {
	want := ReadArgs
	if c.config.Args == ArgsHidden {
		want = Operate
	}
	return c.config.Authorize(c.r, want) == nil
}

// hostOf is the name under which the server was called, without the port.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

func (c *call) knownHost() bool {
	host := hostOf(c.r)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(c.config.Hosts, func(known string) bool {
		return known == "*" || strings.EqualFold(known, host)
	})
}

// answered tells of a request, in words of which there are few.
func (c *call) answered(took time.Duration) {
	if c.config.Answered == nil {
		return
	}
	a := Answer{Method: c.r.Method, Status: cmp.Or(c.w.status, http.StatusOK), Took: took}
	if c.route != nil {
		a.Route = cmp.Or(strings.Join(c.route.segments, "/"), "overview")
	}
	if !contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, a.Method) {
		a.Method = ""
	}
	c.config.Answered(a)
}

// Polls is how many fetches wait now.
func (d *Dashboard) Polls() int { return int(d.polls.Load()) }

// Streams is how many streams of events are open now.
func (d *Dashboard) Streams() int { return d.told.count() }

func (c *call) metrics() error {
	c.config.Metrics.ServeHTTP(c.w, c.r)
	return nil
}

// audit tells of a change.
func (c *call) audit() {
	if c.route == nil || c.r.Method == http.MethodGet || c.route.action == Work {
		return
	}
	e := Event{At: time.Now(), Who: c.config.Who(c.r), Action: c.route.action, Method: c.r.Method, Path: c.r.URL.Path,
		Status: c.w.status, RequestID: c.id}
	if c.config.Audit != nil {
		c.config.Audit(e)
		return
	}
	if c.route.action == Operate {
		c.log.Info("onceq: operator changed something", "who", e.Who, "method", e.Method, "path", e.Path, "status",
			e.Status,
			"request", e.RequestID)
	}
}
