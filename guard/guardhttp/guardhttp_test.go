package guardhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardhttp"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/redisstore"
	"github.com/onceq/onceq/storeurl"
)

func TestMain(m *testing.M) {
	if serveForTest() {
		return
	}
	goleak.VerifyTestMain(pgtest.Main(m))
}

// api is a server whose handler is guarded.
type api struct {
	*testing.T
	store  onceq.Store
	guard  *guard.Guard
	config guardhttp.Config
	handle http.HandlerFunc
	url    string
	ran    atomic.Int64 // how often the handler was called
	client http.Client
}

var namespaces atomic.Int64

func namespace() string { return fmt.Sprintf("http%x%d", time.Now().UnixNano(), namespaces.Add(1)) }

// urls are the stores that have one, each fresh.
var urls = map[string]func(t *testing.T) string{
	"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
	"postgres": func(t *testing.T) string { return with(pgtest.URL(t), namespace()) },
	"redis":    func(t *testing.T) string { return with(redistest.URL(t), namespace()) },
}

func with(url, namespace string) string {
	if strings.Contains(url, "?") {
		return url + "&namespace=" + namespace
	}
	return url + "?namespace=" + namespace
}

// onStores runs a test on each kind of store.
func onStores(t *testing.T, config guardhttp.Config, handle http.HandlerFunc, test func(a *api)) {
	t.Parallel()
	open := map[string]func(t *testing.T) (onceq.Store, error){
		"memory": func(*testing.T) (onceq.Store, error) { return memstore.New(time.Now), nil },
		"partitioned redis": func(t *testing.T) (onceq.Store, error) {
			return redisstore.Open(t.Context(), redistest.URL(t), &redisstore.Config{Namespace: namespace(),
				Partitions: 4, Logger: slog.New(slog.DiscardHandler)})
		},
	}
	for name, url := range urls {
		open[name] = func(t *testing.T) (onceq.Store, error) { return storeurl.Open(t.Context(), url(t)) }
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			a := newAPI(t, store, config, handle)
			test(a)
		})
	}
}

func newAPI(t *testing.T, store onceq.Store, config guardhttp.Config, handle http.HandlerFunc) *api {
	t.Helper()
	a := &api{T: t, store: store, config: config, handle: handle}
	var err error
	if a.guard, err = guard.New(store, &guard.Config{Lease: time.Second,
		Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.guard.Close() })
	a.client.Transport = &http.Transport{MaxConnsPerHost: 100}
	t.Cleanup(a.client.CloseIdleConnections)
	a.url = a.serve(a.guard)
	return a
}

// serve begins another server on the same keys.
func (a *api) serve(g *guard.Guard) string {
	a.Helper()
	config := a.config
	if config.Principal == nil {
		config.Principal = func(r *http.Request) string { return r.Header.Get("Caller") }
	}
	config.Logger = slog.New(slog.DiscardHandler)
	guarded, err := guardhttp.New(g, config)
	if err != nil {
		a.Fatal(err)
	}
	s := httptest.NewServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ran.Add(1)
		a.handle(w, r)
	})))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	a.Cleanup(s.Close)
	return s.URL
}

// answer is what a client got.
type answer struct {
	status   int
	header   http.Header
	body     string
	replayed bool
}

func (a answer) String() string {
	return fmt.Sprintf("%d %q replayed=%v", a.status, a.body, a.replayed)
}

// request is a POST to /charges by ann, unless told otherwise.
type request struct {
	method, path, caller, key, body string
	header                          http.Header
}

func (a *api) ask(url string, q request) (answer, error) {
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.path == "" {
		q.path = "/charges"
	}
	if q.caller == "" {
		q.caller = "ann"
	}
	r, err := http.NewRequestWithContext(a.Context(), q.method, url+q.path, strings.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Caller", q.caller)
	if q.key != "" {
		r.Header.Set("Idempotency-Key", q.key)
	}
	for name, values := range q.header {
		r.Header[name] = values
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), resp.Header.Get("Idempotency-Replayed") == "true"}, err
}

// is asks, and wants a status.
func (a *api) is(status int, q request) answer {
	a.Helper()
	got, err := a.ask(a.url, q)
	if err != nil {
		a.Fatal(err)
	}
	if got.status != status {
		a.Fatalf("%v, want status %d", got, status)
	}
	if status >= 400 && got.header.Get("Content-Type") == "application/problem+json" &&
		!strings.Contains(got.body, fmt.Sprintf(`"status":%d`, status)) {
		a.Fatalf("the problem is %s", got.body)
	}
	return got
}

// runs wants the handler to have been called so often.
func (a *api) runs(n int64) {
	a.Helper()
	if got := a.ran.Load(); got != n {
		a.Fatalf("the handler was called %d times, not %d", got, n)
	}
}

// charge answers with 201, the body it got, and some headers.
func charge(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/charge")
	w.Header().Set("Location", "/charges/1")
	w.Header().Set("Set-Cookie", "session=secret")
	w.Header().Set("X-Mine", "kept")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "charged %s", body)
}

func TestARepeatGetsTheFirstAnswerAndDoesNotRun(t *testing.T) {
	onStores(t, guardhttp.Config{Headers: []string{"x-mine"}}, charge, func(a *api) {
		first := a.is(201, request{key: "k", body: "5 €"})
		if first.body != "charged 5 €" || first.replayed || first.header.Get("Set-Cookie") == "" {
			a.Errorf("%v %v", first, first.header)
		}
		for _, key := range []string{"k", `"k"`, ` "k" `} { // a string of RFC 9651, or bare
			again := a.is(201, request{key: key, body: "5 €"})
			if again.body != first.body || !again.replayed {
				a.Errorf("%v", again)
			}
			for _, name := range []string{"Content-Type", "Location", "X-Mine", "Content-Length"} {
				if again.header.Get(name) != first.header.Get(name) {
					a.Errorf("%s: %q", name, again.header.Get(name))
				}
			}
			if again.header.Get("Set-Cookie") != "" {
				a.Error("a cookie was replayed")
			}
		}
		a.runs(1)
		a.is(201, request{key: "other", body: "5 €"})
		a.runs(2)
	})
}

func TestWithoutAKeyRequestsPassUnlessOneIsRequired(t *testing.T) {
	onStores(t, guardhttp.Config{}, charge, func(a *api) {
		for range 2 {
			a.is(201, request{})
			a.is(201, request{method: "PUT", key: "k"})
			a.is(201, request{method: "DELETE", key: "k"})
		}
		a.runs(6)
		a.config.Required = true
		a.url = a.serve(a.guard)
		for _, method := range []string{"POST", "PATCH"} {
			if got := a.is(400, request{method: method}); !strings.Contains(got.body, "idempotency-key-missing") {
				a.Errorf("%v", got)
			}
		}
		a.is(201, request{method: "PUT"})
		a.runs(7)
	})
}

func TestTheSameKeyWithAnotherRequestIs422(t *testing.T) {
	onStores(t, guardhttp.Config{}, charge, func(a *api) {
		a.is(201, request{key: "k", path: "/charges?a=1", body: "5"})
		for _, q := range []request{{body: "6"}, {path: "/refunds?a=1"}, {path: "/charges?a=2"}, {method: "PATCH"},
			{header: http.Header{"Content-Type": {"text/plain"}}}} {
			q.key = "k"
			if q.body == "" {
				q.body = "5"
			}
			if q.path == "" {
				q.path = "/charges?a=1"
			}
			if got := a.is(422, q); !strings.Contains(got.body, "idempotency-key-reused") {
				a.Errorf("%v", got)
			}
		}
		a.runs(1)
	})
}

// The answer of one caller is never another's, nor is its key: the case
// http_replays_the_first_response_to_the_same_caller_only.
func TestHTTPReplaysTheFirstResponseToTheSameCallerOnly(t *testing.T) {
	onStores(t, guardhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "for %s only", r.Header.Get("Caller"))
	}, func(a *api) {
		for _, caller := range []string{"ann", "bob", "ann", "bob", "annk"} {
			key := "k"
			if caller == "annk" { // where the one ends and the other begins counts
				key = "x"
				a.is(200, request{key: "kx"})
			}
			if got := a.is(200, request{key: key, caller: caller}); got.body != "for "+caller+" only" {
				a.Errorf("%s got %v", caller, got)
			}
		}
		a.runs(4)
	})
}

func TestOfAHundredRequestsAtOnceOneRuns(t *testing.T) {
	onStores(t, guardhttp.Config{Wait: 20 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		charge(w, r)
	}, func(a *api) {
		other, err := guard.New(a.store, &guard.Config{Lease: time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			a.Fatal(err)
		}
		defer other.Close()
		servers := []string{a.url, a.serve(other)}
		var all sync.WaitGroup
		var replayed atomic.Int64
		for i := range 100 {
			all.Go(func() {
				got, err := a.ask(servers[i%2], request{key: "k", body: "5"})
				if err != nil || got.status != 201 || got.body != "charged 5" {
					a.Errorf("%v, %v", got, err)
				}
				if got.replayed {
					replayed.Add(1)
				}
			})
		}
		all.Wait()
		a.runs(1)
		if n := replayed.Load(); n != 99 {
			a.Errorf("%d answers are replayed", n)
		}
	})
}

func TestARepeatWhileTheFirstRunsIs409WithRetryAfter(t *testing.T) {
	onStores(t, guardhttp.Config{}, nil, func(a *api) {
		began, end := make(chan struct{}, 10), make(chan struct{}, 10)
		a.handle = func(w http.ResponseWriter, r *http.Request) {
			began <- struct{}{}
			<-end
			charge(w, r)
		}
		first := make(chan answer, 1)
		go func() { got, _ := a.ask(a.url, request{key: "k"}); first <- got }()
		<-began
		got := a.is(409, request{key: "k"})
		if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "idempotency-key-in-use") {
			a.Errorf("%v %v", got, got.header)
		}
		a.is(422, request{key: "k", body: "other"})
		a.runs(1)
		end <- struct{}{}
		if got := <-first; got.status != 201 {
			a.Errorf("%v", got)
		}
		a.is(201, request{key: "k"})
		a.runs(1)
	})
}

// Once the handler has begun, its answer counts, also that something went
// wrong: it may have done half of its work.
func TestErrorsAreKeptTooUnlessKeepSaysOtherwise(t *testing.T) {
	onStores(t, guardhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no luck", http.StatusServiceUnavailable)
	}, func(a *api) {
		a.is(503, request{key: "k"})
		if got := a.is(503, request{key: "k"}); !got.replayed || got.body != "no luck\n" {
			a.Errorf("%v", got)
		}
		a.runs(1)
		a.config.Keep = func(status int) bool { return status < 500 }
		a.url = a.serve(a.guard)
		for range 2 {
			if got := a.is(503, request{key: "k2"}); got.replayed {
				a.Errorf("%v", got)
			}
		}
		a.is(422, request{key: "k2", body: "other"})
		a.runs(3)
	})
}

func TestAHandlerThatPanicsIsRunAgain(t *testing.T) {
	onStores(t, guardhttp.Config{}, nil, func(a *api) {
		a.handle = func(w http.ResponseWriter, r *http.Request) {
			if a.ran.Load() == 1 {
				w.WriteHeader(202)
				panic(http.ErrAbortHandler)
			}
			charge(w, r)
		}
		a.client.Transport.(*http.Transport).DisableKeepAlives = true // else the client repeats it by itself
		if got, err := a.ask(a.url, request{key: "k"}); err == nil {
			a.Errorf("%v", got)
		}
		a.is(422, request{key: "k", body: "other"})
		if got := a.is(201, request{key: "k"}); got.replayed {
			a.Errorf("%v", got)
		}
		if got := a.is(201, request{key: "k"}); !got.replayed {
			a.Errorf("%v", got)
		}
		a.runs(2)
	})
}

func TestAnAnswerThatIsTooLargeOrStreamedIsDoneAndNotKept(t *testing.T) {
	onStores(t, guardhttp.Config{MaxResponse: 1000}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			for range 11 {
				fmt.Fprint(w, strings.Repeat("x", 100))
			}
		case "/full":
			fmt.Fprint(w, strings.Repeat("x", 1000))
		case "/stream":
			w.Header().Set("Trailer", "Sum")
			fmt.Fprint(w, "one ")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			fmt.Fprint(w, "two")
			w.Header().Set("Sum", "2")
		case "/hijack":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
			conn.Close()
		}
	}, func(a *api) {
		for path, want := range map[string]string{"/large": strings.Repeat("x", 1100), "/stream": "one two",
			"/hijack": "taken"} {
			if got := a.is(200, request{key: path, path: path}); got.body != want {
				a.Errorf("%s: %v", path, got)
			}
			for { // the answer is there before the run is over
				got := a.is(409, request{key: path, path: path})
				if strings.Contains(got.body, "idempotency-key-done") {
					break
				} else if !strings.Contains(got.body, "idempotency-key-in-use") {
					a.Fatalf("%s: %v", path, got)
				}
			}
		}
		a.runs(3)
		a.is(200, request{key: "full", path: "/full"})
		if got := a.is(200, request{key: "full", path: "/full"}); len(got.body) != 1000 || !got.replayed {
			a.Errorf("%v", got)
		}
	})
}

// A flush reaches the client at once.
func TestAStreamIsNotHeldBack(t *testing.T) {
	onStores(t, guardhttp.Config{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begun")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(a *api) {
		r, _ := http.NewRequest("POST", a.url, nil)
		r.Header.Set("Idempotency-Key", "k")
		r.Header.Set("Caller", "ann")
		resp, err := a.client.Do(r)
		if err != nil {
			a.Fatal(err)
		}
		line := make([]byte, 6)
		if _, err := io.ReadFull(resp.Body, line); err != nil || string(line) != "begun\n" {
			a.Fatalf("%q, %v", line, err)
		}
		resp.Body.Close()
		a.guard.Close() // ends the run
	})
}

func TestTheHandlerGoesOnWhenItsClientHasGone(t *testing.T) {
	onStores(t, guardhttp.Config{Wait: 10 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			http.Error(w, "the context has ended", 500)
		case <-time.After(500 * time.Millisecond):
			charge(w, r)
		}
	}, func(a *api) {
		ctx, cancel := context.WithTimeout(a.Context(), 150*time.Millisecond)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "POST", a.url+"/charges", nil)
		r.Header.Set("Idempotency-Key", "k")
		r.Header.Set("Caller", "ann")
		if _, err := a.client.Do(r); !errors.Is(err, context.DeadlineExceeded) {
			a.Fatalf("got %v", err)
		}
		if got := a.is(201, request{key: "k"}); !got.replayed {
			a.Errorf("%v", got)
		}
		a.runs(1)
	})
}

func TestRequestsThatCannotBeGuardedAreRefused(t *testing.T) {
	onStores(t, guardhttp.Config{MaxRequest: 10}, charge, func(a *api) {
		a.is(400, request{header: http.Header{"Idempotency-Key": {"a", "b"}}})
		a.is(400, request{header: http.Header{"Idempotency-Key": {""}}})
		a.is(400, request{header: http.Header{"Idempotency-Key": {`""`}}})
		a.is(400, request{key: strings.Repeat("k", 256)})
		a.is(400, request{key: "k", header: http.Header{"Caller": {""}}})
		a.is(413, request{key: "k", body: strings.Repeat("x", 11)})
		a.runs(0)
		a.is(201, request{key: strings.Repeat("k", 255), body: strings.Repeat("x", 10)})
		a.is(201, request{body: strings.Repeat("x", 11)}) // without a key nothing is read
	})
}

func TestWithoutTheStoreNothingRuns(t *testing.T) {
	onStores(t, guardhttp.Config{}, charge, func(a *api) {
		a.is(201, request{key: "k"})
		a.store.Close()
		for _, key := range []string{"k", "new"} {
			if got := a.is(503, request{key: key}); got.header.Get("Retry-After") == "" {
				a.Errorf("%v %v", got, got.header)
			}
		}
		a.is(201, request{}) // what has no key passes
		a.runs(2)
	})
}

func TestAConfigThatHasNoMeaningIsRefused(t *testing.T) {
	t.Parallel()
	g, err := guard.New(memstore.New(time.Now), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	who := func(*http.Request) string { return "ann" }
	for name, c := range map[string]guardhttp.Config{"Principal": {}, "MaxRequest": {Principal: who, MaxRequest: -1},
		"MaxResponse": {Principal: who, MaxResponse: 1 << 20}, "Wait": {Principal: who, Wait: -1}} {
		var invalid *onceq.InvalidError
		if _, err := guardhttp.New(g, c); !errors.As(err, &invalid) || invalid.Field != "Config."+name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := guardhttp.New(nil, guardhttp.Config{Principal: who}); err == nil {
		t.Error("a guard that is nil was taken")
	}
}
