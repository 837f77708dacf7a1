package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// signIn returns the cookie of a new session, as a browser sends it.
func (w *world) signIn(token string) (cookie string, set *http.Cookie) {
	w.Helper()
	w.token = ""
	a := w.is(w.send(w.form("/login", url.Values{"token": {token}}.Encode()), ""), http.StatusSeeOther)
	all, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil || a.header.Get("Location") != "./" {
		w.Fatalf("%v: %v", err, a.header)
	}
	return all.Name + "=" + all.Value, all
}

func TestASessionCookieIsHTTPOnlyStrictAndDiesWithItsToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(allTokens)
	tokens, err := ReadTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(c *Config) { c.Authorize, c.Who, c.Login = tokens.Authorize, tokens.Who, tokens }
	w := serve(t, change)
	cookie, set := w.signIn(readToken)
	if !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Secure || set.Path != "" || set.Domain != "" ||
		set.MaxAge != 12*60*60 {
		t.Errorf("%+v", set)
	}
	if strings.Contains(set.Value, readToken) {
		t.Error("the cookie has the token")
	}
	w.is(w.ask("GET", "queues", "", "Cookie", cookie), http.StatusOK)
	w.problem(w.ask("POST", "jobs", `{"kind":"mail"}`, "Cookie", cookie), "forbidden", "role read")
	if a := w.ask("GET", "/login", "", "Cookie", cookie); a.status != http.StatusSeeOther {
		t.Errorf("signed in, and asked to sign in: %d", a.status)
	}
	other := serve(t, change) // another server knows it, without having been told
	other.token = ""
	other.is(other.ask("GET", "queues", "", "Cookie", cookie), http.StatusOK)
	write(strings.Replace(allTokens, "read "+readToken, "read "+readToken+"new", 1)) // the same name
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	tokens.looked = time.Time{} // a second later
	w.problem(w.ask("GET", "queues", "", "Cookie", cookie), "unauthorized", "")
	a := w.is(w.send(w.form("/logout", ""), ""), http.StatusSeeOther)
	if gone := a.header.Get("Set-Cookie"); !strings.Contains(gone, "Max-Age=0") {
		t.Error(gone)
	}
	secure := serve(t, func(c *Config) { c.Secure = true })
	if _, set := secure.signIn(readToken); !set.Secure {
		t.Errorf("%+v", set)
	}
}

func TestASessionEndsAndACookieThatWasChangedIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, nil)
		cookie, _ := w.signIn(readToken)
		parts := strings.Split(cookie, ":")
		for _, bad := range []string{
			strings.Replace(cookie, "=r:", "=e:", 1), // another token's name
			parts[0] + ":99999999999:" + parts[2],    // a later end
			parts[0] + ":" + parts[1] + ":", cookie + "A", "onceq_session=", "onceq_session=::", parts[0],
		} {
			w.problem(w.ask("GET", "queues", "", "Cookie", bad), "unauthorized", "")
		}
		w.is(w.ask("GET", "queues", "", "Cookie", cookie), http.StatusOK)
		time.Sleep(12*time.Hour + time.Second)
		w.problem(w.ask("GET", "queues", "", "Cookie", cookie), "unauthorized", "")
	})
}

func TestSigningInIsGuardedAsTokensAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, nil)
		w.token = ""
		wrong := func() answer { return w.send(w.form("/login", "token=wrong-0123456789abcdefghijk"), "") }
		for range 10 {
			if a := w.is(wrong(), http.StatusUnauthorized); a.header.Get("Set-Cookie") != "" ||
				!strings.Contains(a.body, "not a token") {
				t.Error(a.body)
			}
		}
		if a := w.is(wrong(), http.StatusTooManyRequests); a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
		w.signIn(readToken)
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
			a := w.send(w.form("/login", "token="+readToken, header...), "")
			if a.status != http.StatusForbidden || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%v: %d", header, a.status)
			}
		}
		r := w.request("POST", "/login", "token="+readToken) // as JSON
		w.is(w.send(r, ""), http.StatusUnsupportedMediaType)
		w.is(w.send(w.form("/login", "tokn="+readToken), ""), http.StatusUnprocessableEntity)
		w.is(w.ask("GET", "/login?token="+readToken, ""), http.StatusUnprocessableEntity)
		w.is(w.send(w.form("/login", "token="+strings.Repeat("a", formBody)), ""), http.StatusRequestEntityTooLarge)
		if log := w.log.String(); strings.Contains(log, readToken) {
			t.Error(log)
		}
		none := serve(t, func(c *Config) { c.Login = nil })
		none.problem(none.ask("GET", "/login", ""), "not-found", "")
	})
}

func TestAPrefixWithoutItsSlashLeadsToIt(t *testing.T) {
	w := serve(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/a/onceq", http.StripPrefix("/a/onceq", w))
	mux.Handle("/a/onceq/", http.StripPrefix("/a/onceq", w))
	for path, want := range map[string]string{"/a/onceq": "onceq/", "/a/onceq?x=1": "onceq/"} {
		a := w.through(mux, w.request("GET", path, ""))
		if a.status != http.StatusPermanentRedirect || a.header.Get("Location") != want {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
	if a := w.through(mux, w.request("GET", "/a/onceq/login", "")); a.status != http.StatusOK ||
		!strings.Contains(a.body, `action="./login"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestNoAnswerHasACORSHeader asks each route as a page of another origin asks
// whether it may.
func TestNoAnswerHasACORSHeader(t *testing.T) {
	w := serve(t, nil)
	params := strings.NewReplacer(
		"{id}",
		"x",
		"{key}",
		strings.Repeat("0", 64),
		"{name}",
		"default",
		"{op}",
		"cancel",
		"{file}",
		"x",
	)
	for _, r := range w.routes {
		for _, method := range []string{r.method, "OPTIONS"} {
			a := w.ask(method, r.where(params), "", "Origin", "https://evil.example", "Access-Control-Request-Method",
				"POST", "Access-Control-Request-Headers", "authorization")
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s", method, r.path, name)
				}
			}
			if method == "OPTIONS" {
				w.problem(a, "method-not-allowed", fmt.Sprint(r.method))
			}
		}
	}
}
