package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

func TestAWrongTokenIs401AndSaysBearerAndATokenIsNeverLogged(t *testing.T) {
	w := serve(t, nil)
	for _, token := range []string{"", "wrong-0123456789abcdefghijk", operateToken[:len(operateToken)-1],
		operateToken + "x"} {
		w.token = token
		a := w.problem(w.ask("GET", "queues", ""), "unauthorized", "Authorization: Bearer")
		if a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%v", a.header)
		}
		w.problem(w.ask("POST", "jobs", `{"kind":"mail"}`), "unauthorized", "")
	}
	w.token = operateToken
	w.enqueue(`{"kind":"mail"}`)
	w.is(w.ask("POST", "queues/default/pause", ""), http.StatusOK)
	w.token = ""
	w.is(w.ask("GET", "openapi.json", ""), http.StatusOK)
	log := w.log.String()
	for _, secret := range []string{operateToken, "wrong-0123456789"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has a token: %s", log)
		}
	}
	if !strings.Contains(log, "queues/default/pause") { // else nothing was shown: a change is logged
		t.Error(log)
	}
}

func TestGuessingTokensIsSlowedAndTheRightOneStillPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, nil)
		w.token = "wrong-0123456789abcdefghijk"
		from := func(address string) answer {
			r := w.request("GET", "queues", "")
			r.RemoteAddr = address
			return w.send(r, "")
		}
		for i := range 10 {
			w.problem(from(fmt.Sprintf("[2001:db8::%x]:1", i)), "unauthorized", "") // one network
		}
		a := w.problem(from("[2001:db8::ff]:2"), "too-many-requests", "")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
		w.problem(from("[2001:db8:0:1::1]:1"), "unauthorized", "") // another network
		w.token = operateToken
		w.is(from("[2001:db8::ff]:2"), http.StatusOK)
		w.token = "wrong-0123456789abcdefghijk"
		time.Sleep(time.Minute + time.Second)
		w.problem(from("[2001:db8::ff]:2"), "unauthorized", "")
		for i := range 3000 { // what is remembered is bounded
			from(fmt.Sprintf("10.%d.%d.1:1", i/250, i%250))
		}
	})
}

func TestACrossSitePostChangesNothing(t *testing.T) {
	w := serve(t, func(c *Config) { c.Authorize, c.Origins = Everyone, []string{"https://good.example"} })
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://localhost:1"}} {
		w.problem(w.ask("POST", "jobs", `{"kind":"mail"}`, header...), "cross-origin", "Config.Origins")
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded",
		"multipart/form-data; boundary=a", ""} {
		r := w.request("POST", "jobs", `{"kind":"mail"}`)
		r.Header.Set("Content-Type", kind)
		w.problem(w.send(r, ""), "unsupported-media-type", "application/json")
	}
	if a := w.is(w.ask("GET", "jobs", ""), http.StatusOK); len(a.json["jobs"].([]any)) != 0 {
		t.Error(a.body)
	}
	w.is(w.ask("POST", "jobs", `{"kind":"mail"}`, "Origin", "https://good.example"), http.StatusCreated)
	w.is(w.ask("POST", "jobs", `{"kind":"mail"}`, "Sec-Fetch-Site", "same-origin"), http.StatusCreated)
}

// dump is all that a store has.
func dump(t *testing.T, s onceq.Store) string {
	t.Helper()
	jobs, err := s.List(t.Context(), onceq.ListRequest{Limit: 1000, Args: true})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.Keys(t.Context(), onceq.KeysRequest{Limit: 1000, Inert: true})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := s.Queues(t.Context(), onceq.QueuesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	workers, err := s.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal([]any{jobs.Jobs, keys.Keys, queues.Queues, workers})
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestNoGetChangesAnything(t *testing.T) {
	w := serve(t, nil)
	a := w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"x","unique":true}`), http.StatusCreated)
	before := dump(t, w.store)
	paths := strings.NewReplacer("{id}", "x", "{key}", a.at("job/key").(string), "{name}", "default")
	for _, r := range w.routes {
		for _, method := range []string{"GET", "HEAD"} {
			w.ask(method, r.where(paths), "")
			if after := dump(t, w.store); after != before {
				t.Fatalf("%s %s changed\n%s\nto\n%s", method, r.path, before, after)
			}
		}
	}
}

// touched counts the calls of a store that matter to these tests.
type touched struct {
	onceq.Store
	calls atomic.Int64
}

func (s *touched) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	s.calls.Add(1)
	return s.Store.Fetch(ctx, r)
}

func (s *touched) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	s.calls.Add(1)
	return s.Store.Extend(ctx, r)
}

func (s *touched) Queues(ctx context.Context, r onceq.QueuesRequest) (onceq.QueueList, error) {
	s.calls.Add(1)
	return s.Store.Queues(ctx, r)
}

func TestAnUnknownHostIsMisdirectedBeforeAnythingIsRead(t *testing.T) {
	store, asked := &touched{Store: memstore.New(nil)}, 0
	w := serveOn(t, store, func(c *Config) {
		c.Hosts = []string{"jobs.example.com"}
		inner := c.Authorize
		c.Authorize = func(r *http.Request, a Action) error { asked++; return inner(r, a) }
	})
	for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "",
		"127.0.0.1.nip.io",
		"jobs.example.com.evil"} {
		w.problem(w.ask("GET", "queues", "", "Host", host), "misdirected", "--host")
	}
	if calls := store.calls.Load(); calls > 0 || asked > 0 {
		t.Errorf("%d calls of the store, %d of Authorize", calls, asked)
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080",
		"jobs.example.com",
		"JOBS.example.com:443", "jobs.example.com."} {
		w.is(w.ask("GET", "queues", "", "Host", host), http.StatusOK)
	}
	anywhere := serve(t, func(c *Config) { c.Hosts = []string{"*"} })
	anywhere.is(anywhere.ask("GET", "queues", "", "Host", "evil.example"), http.StatusOK)
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// endless is a body without an end.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.n += len(p)
	return len(p), nil
}

func TestABodyBeyondTheLimitIs413AndIsNotRead(t *testing.T) {
	w := serve(t, nil)
	for path, limit := range map[string]int64{"jobs": smallBody, "jobs/batch": batchBody, "extend": smallBody} {
		r := w.request("POST", path, "x")
		r.Body, r.ContentLength = io.NopCloser(unread{t}), limit+1
		a := w.problem(w.send(r, ""), "too-large", fmt.Sprint(limit))
		if a.json["limit"] != float64(limit) {
			t.Error(a.body)
		}
		body := &endless{}
		r = w.request("POST", path, "x")
		r.Body, r.ContentLength = io.NopCloser(body), -1
		w.problem(w.send(r, ""), "too-large", "")
		if body.n > int(limit)*2 {
			t.Errorf("%s: %d bytes were read", path, body.n)
		}
	}
	w.problem(w.ask("POST", "jobs", `{"kind":"mail","args":"`+strings.Repeat("a", onceq.DefaultMaxArgs)+`"}`),
		"invalid", "args")
	w.problem(w.ask("POST", "jobs", `{"kind":"mail","args":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`),
		"invalid",
		"deeper than 64")
}

func TestThePollBeyondTheLastIs429AndCostsNoStoreCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &touched{Store: memstore.New(nil)}
		w := serveOn(t, store, func(c *Config) { c.MaxPolls = 1 })
		me := w.join("w")
		done := make(chan answer)
		go func() { done <- w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":1,"queues":{"default":1}}`, me)) }()
		synctest.Wait()
		before := store.calls.Load()
		a := w.problem(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":1,"queues":{"default":1}}`,
			w.join("other"))),
			"too-many-requests", "1 fetches wait")
		if a.header.Get("Retry-After") == "" || store.calls.Load() != before+1 { // the call is that of join
			t.Errorf("%v, %d calls", a.header, store.calls.Load()-before)
		}
		if a := <-done; a.status != http.StatusOK || len(a.json["jobs"].([]any)) != 0 {
			t.Error(a.body)
		}
	})
}

func TestEveryRouteAsksForItsAction(t *testing.T) {
	w := serve(t, nil)
	tokens := map[string]string{"read": readToken, "enqueue": enqueueToken, "work": workToken, "operate": operateToken}
	paths := strings.NewReplacer("{id}", "nope", "{key}", strings.Repeat("0", 64), "{name}", "nope", "{op}",
		"cancel")
	for _, r := range w.routes {
		for role, token := range tokens {
			w.token = token
			a := w.ask(r.method, r.where(paths), "")
			may := r.action == public
			for _, action := range roles[role] {
				may = may || action == r.action
			}
			if refused := a.status == http.StatusForbidden; refused == may {
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, role, a.status, a.body)
			}
		}
		w.token = ""
		a := w.ask(r.method, r.where(paths), "")
		refused := a.status == http.StatusUnauthorized ||
			a.status == http.StatusSeeOther && strings.HasSuffix(a.header.Get("Location"), "login")
		if r.path != "logout" && refused == (r.action == public) && r.path != "login" {
			t.Errorf("%s %s without a token: %d", r.method, r.path, a.status)
		}
	}
	both, err := ReadTokens(strings.NewReader("enqueue,read " + otherToken + " app\n"))
	if err != nil {
		t.Fatal(err)
	}
	app := serve(t, func(c *Config) { c.Authorize, c.Who = both.Authorize, both.Who })
	app.token = otherToken
	app.is(app.ask("GET", "jobs/"+app.enqueue(`{"kind":"mail"}`), ""), http.StatusOK)
	app.problem(app.ask("POST", "queues/default/pause", ""), "forbidden", "the role enqueue,read may not")
	only := serve(t, func(c *Config) { c.Authorize = ReadOnly })
	only.is(only.ask("GET", "jobs?include=args", ""), http.StatusOK)
	only.problem(only.ask("POST", "jobs", `{"kind":"mail"}`), "forbidden", "reading")
	for _, config := range []*Config{nil, {}} {
		if _, err := New(w.client, config); err == nil || !strings.Contains(err.Error(), "ReadOnly") {
			t.Errorf("%v", err)
		}
	}
}

func TestAnEnqueueTokenCannotReadTheHoldersArgs(t *testing.T) {
	const secret = "s3cr3t"
	for _, hidden := range []bool{false, true} {
		w := serve(t, func(c *Config) {
			if hidden {
				c.Args = ArgsHidden
			}
		})
		holder := w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"h","args":{"to":1,"pin":"`+secret+`"},"unique":true,
			"fields":["to"],"meta":{"a":"`+secret+`"},"tags":["`+secret+`"]}`), http.StatusCreated)
		own := w.is(w.ask("POST", "jobs", `{"kind":"mail","args":{"pin":"`+secret+`"},"unique":true}`),
			http.StatusCreated)
		silent := func(a answer) {
			t.Helper()
			if strings.Contains(a.body, secret) {
				t.Errorf("hidden=%v: %s", hidden, a.body)
			}
		}
		w.token = enqueueToken
		const dup = `{"kind":"mail","args":{"to":1},"unique":true,"fields":["to"]`
		silent(w.is(w.ask("POST", "jobs", dup+`}`), http.StatusOK))
		silent(w.ask("POST", "jobs", dup+`,"on_conflict":"reject"}`))
		silent(w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"h"}`), http.StatusOK)) // whoever knows the ID
		silent(w.ask("POST", "jobs", `{"kind":"other","id":"h"}`))
		silent(w.is(w.ask("POST", "jobs/batch", `{"jobs":[`+dup+`},{"kind":"mail","id":"h"}]}`), http.StatusOK))
		silent(w.is(w.ask("POST", "explain", dup+`}`), http.StatusOK))
		silent(w.ask("POST", "jobs", `{"kind":"mail"}`, "Idempotency-Key", "h"))
		if hidden {
			w.token = readToken
			for _, path := range []string{"jobs", "jobs/h", "keys", "keys/" + own.at("job/key").(string), "doctor",
				"conflicts"} {
				silent(strippedOfTags(w.is(w.ask("GET", path, ""), http.StatusOK)))
			}
			w.problem(w.ask("GET", "jobs?include=args", ""), "forbidden", "include")
			w.problem(w.ask("GET", "jobs/h?include=meta", ""), "forbidden", "include")
			w.problem(w.ask("GET", "keys?text="+secret, ""), "forbidden", "text")
		}
		_ = holder
	}
}

// strippedOfTags leaves out tags, which are for everybody who may read.
func strippedOfTags(a answer) answer {
	a.body = strings.ReplaceAll(a.body, `"tags":["s3cr3t"]`, "")
	return a
}

func TestATokenFileIsReadAgainAndABadOneIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string, mode os.FileMode, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := errorsOf(os.Chmod(path, mode), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for text, want := range map[string]string{
		"":                           "no token",
		"read short":                 "line 1: the token must be at least 22",
		"\nroot " + readToken:        `line 2: the role "root"`,
		"read":                       "line 1 must be ROLE TOKEN",
		"read " + readToken + " a/b": "name",
		"read " + readToken + "\nwork " + readToken: "twice",
	} {
		write(text, 0o600, now)
		if _, err := ReadTokenFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	write(allTokens, 0o604, now)
	if _, err := ReadTokenFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("%v", err)
	}
	write(allTokens, 0o600, now)
	tokens, err := ReadTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, func(c *Config) { c.Authorize, c.Who = tokens.Authorize, tokens.Who })
	w.is(w.ask("GET", "queues", ""), http.StatusOK)
	write("read "+readToken, 0o600, now.Add(time.Second))
	tokens.looked = time.Time{} // a second later
	w.problem(w.ask("GET", "queues", ""), "unauthorized", "")
	w.token = readToken
	w.is(w.ask("GET", "queues", ""), http.StatusOK)
	write("nonsense", 0o600, now.Add(2*time.Second))
	tokens.looked = time.Time{}
	w.is(w.ask("GET", "queues", ""), http.StatusOK)
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAPanicIsA500AndTheServerGoesOn(t *testing.T) {
	w := serve(t, func(c *Config) {
		inner := c.Authorize
		c.Authorize = func(r *http.Request, a Action) error {
			if r.URL.Query().Get("queue") == "boom" {
				panic("boom")
			}
			return inner(r, a)
		}
	})
	r := w.request("GET", "jobs?queue=boom", "")
	if a := w.send(r, ""); a.status != http.StatusInternalServerError || strings.Contains(a.body, "boom") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.is(w.ask("GET", "jobs", ""), http.StatusOK)
}

// TestWhatChangesAsksForMoreThanToRead has a list of its own: the table of
// routes could be wrong. openapi.json is the list of the calls.
func TestWhatChangesAsksForMoreThanToRead(t *testing.T) {
	others := map[string]Action{"POST jobs": Enqueue, "POST jobs/batch": Enqueue, "POST jobs/import": Enqueue,
		"POST explain": Enqueue, "POST workers": Work, "POST fetch": Work, "POST extend": Work,
		"POST jobs/{id}/finish": Work, "POST login": public, "POST logout": public, "GET login": public,
		"GET static/{file}": public, "GET openapi.json": public}
	for _, r := range serve(t, nil).routes {
		want, known := others[r.method+" "+r.path]
		if !known {
			if want = Operate; r.method == http.MethodGet {
				want = Read
			}
		}
		if r.action != want {
			t.Errorf("%s %s asks for %q, not %q", r.method, r.path, r.action, want)
		}
	}
}
