package dashboard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A session is what a browser has in place of a token: a cookie that names the
// token, and when the session ends, with a code that only somebody with the
// token could make. No server keeps a list of them, so that each of several
// servers knows all, and a session ends with its token.

const (
	sessionCookie = "onceq_session"
	sessionTime   = 12 * time.Hour
)

// code is what proves that a session is of a token.
func (k *token) code(until int64) string {
	h := hmac.New(sha256.New, k.digest[:])
	fmt.Fprintf(h, "onceq-session-1 %s %d", k.name, until)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// session makes the value of a cookie.
func (k *token) session(now time.Time) string {
	until := now.Add(sessionTime).Unix()
	return fmt.Sprintf("%s:%d:%s", k.name, until, k.code(until))
}

// findSession finds the token of a cookie. A cookie that is of no token, or is
// over, is as none: a browser sends what it has.
func (t *Tokens) findSession(r *http.Request) (token, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return token{}, false
	}
	name, rest, _ := strings.Cut(cookie.Value, ":")
	end, code, _ := strings.Cut(rest, ":")
	until, err := strconv.ParseInt(end, 10, 64)
	if err != nil || !time.Now().Before(time.Unix(until, 0)) {
		return token{}, false
	}
	for _, k := range t.current() {
		if k.name == name {
			return k, hmac.Equal([]byte(code), []byte(k.code(until)))
		}
	}
	return token{}, false
}

// showLogin asks for a token.
func (c *call) showLogin() error {
	if _, ok := c.config.Login.findSession(c.r); ok {
		return c.redirect("./")
	}
	return c.loginPage(http.StatusOK, "")
}

// login begins a session. The token comes in a form, never in a URL, which
// would stand in logs and histories.
func (c *call) login() error {
	values, err := c.form("token")
	if err != nil {
		return err
	}
	tokens := c.config.Login
	k, ok := tokens.findSecret(values.Get("token"))
	if !ok {
		wrong, status := "This is not a token of this server.", http.StatusUnauthorized
		if wait := tokens.failed(c.r); wait > 0 {
			wrong, status = "Too many wrong tokens came from this address: wait a minute.", http.StatusTooManyRequests
			c.w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		}
		return c.loginPage(status, wrong)
	}
	c.setSession(k.session(time.Now()), int(sessionTime/time.Second))
	return c.redirect("./")
}

// logout ends the session of this browser.
func (c *call) logout() error {
	if _, err := c.form(); err != nil {
		return err
	}
	c.setSession("", -1)
	return c.redirect("login")
}

// setSession sets the cookie. It has no path of its own: for a browser it is
// then good below the path of the login page, under any prefix.
func (c *call) setSession(value string, seconds int) {
	http.SetCookie(c.w, &http.Cookie{Name: sessionCookie, Value: value, MaxAge: seconds, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: c.r.TLS != nil || c.config.Secure})
}

// loginPage asks for a token, and says what was wrong with the last.
func (c *call) loginPage(status int, wrong string) error {
	v := c.newView("Sign in", "", wrong)
	v.Live = false
	return c.show(status, "login", v)
}

// toLogin asks a browser that came for a page to sign in, if it can.
func (c *call) toLogin(p *problemError) bool {
	if p.kind != "unauthorized" || c.config.Login == nil || c.r.Method != http.MethodGet {
		return false
	}
	_ = c.redirect(c.root() + "login") // it has no error
	return true
}
