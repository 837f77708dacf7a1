package storeurl

import (
	"errors"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"
)

// Redacted returns the URL without what may be a secret, for messages: the
// password, and parameters with a name that suggests one. If the URL does
// not parse, nothing of it is repeated.
func Redacted(url string) string {
	const unknown = "a URL that does not parse"
	s, err := parse(url)
	if err != nil {
		return unknown
	}
	if s.file != nil {
		if path, ok := s.file(url); !ok && path == "" {
			return unknown
		}
		return url
	}
	u, err := split(url)
	if err != nil {
		return unknown
	}
	var shown []string
	for pair := range strings.SplitSeq(u.query, "&") {
		if pair != "" && !secretParameter(pair) {
			shown = append(shown, pair)
		}
	}
	rest := u.host + u.path
	if u.user != "" {
		rest = u.user + "@" + rest
	}
	if len(shown) > 0 {
		rest += "?" + strings.Join(shown, "&")
	}
	return u.scheme + "://" + rest
}

func secretParameter(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	return strings.Contains(strings.ToLower(name), "pass")
}

// parts are the parts of a server's URL, as they are written.
type parts struct {
	scheme, user, password, host, path, query string
}

// split takes the URL of a server apart. It refuses a URL whose secrets
// cannot be told from the rest; the error repeats nothing of it.
func split(url string) (u parts, err error) {
	var rest string
	var found bool
	if u.scheme, rest, found = strings.Cut(url, "://"); !found {
		return u, malformed(u.scheme, "there is no :// after the scheme")
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, u.query, _ = strings.Cut(rest, "?")
	authority := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, u.path = rest[:i], rest[i:]
	}
	u.host = authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		u.user, u.password, _ = strings.Cut(authority[:i], ":")
		u.host = authority[i+1:]
		if strings.HasPrefix(u.scheme, "redis") && u.password == "" {
			u.user, u.password = "", u.user // redis://PASSWORD@host is a common slip
		}
	}
	if _, err := neturl.Parse("x://" + authority[:len(authority)-len(u.host)] + "h"); err != nil {
		return u, malformed(u.scheme, "its user or password is not encoded as a URL's")
	}
	if strings.Contains(u.path, "@") && u.scheme != "unix" {
		return u, malformed(u.scheme, "there is an @ behind the host")
	}
	for host := range strings.SplitSeq(u.host, ",") {
		port := host[strings.LastIndexByte(host, ']')+1:]
		if _, port, found = strings.Cut(port, ":"); found && strings.Trim(port, "0123456789") != "" {
			return u, malformed(u.scheme, "the port is not a number")
		}
	}
	return u, nil
}

// malformed is the error about a URL that does not parse. It repeats
// nothing of it.
func malformed(scheme, why string) error {
	form := "redis://USER:PASSWORD@HOST:PORT/0"
	if strings.HasPrefix(scheme, "postgres") {
		form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE"
	}
	return fmt.Errorf("the store URL does not parse: %s. Write %s, and in a password %%40 for @, %%3A for :, %%2F "+
		"for /, %%3F for ?, %%23 for #, %%25 for %% "+
		"(the URL is not repeated here, since a password may be in it)", why, form)
}

// openError is why a store could not be opened.
type openError struct {
	text  string
	cause error
}

func (e *openError) Error() string        { return e.text }
func (e *openError) Is(target error) bool { return errors.Is(e.cause, target) }

// Failure makes an error from opening the store at url into one without the
// secrets of the URL. errors.Is finds the cause; errors.As and Unwrap do
// not, because the text of the cause may have a secret. Errors of [Open] are
// like this already. nil stays nil.
func Failure(url string, err error) error {
	if s, unknown := parse(url); unknown != nil || s.file != nil || err == nil {
		return err
	}
	u, malformed := split(url)
	if malformed != nil {
		return malformed
	}
	text := err.Error()
	if url != Redacted(url) {
		text = strings.ReplaceAll(text, url, "the URL")
	}
	text = mask(text, secrets(u))
	if text == err.Error() {
		return err
	}
	return &openError{text, err}
}

// secrets are the password, and the parameters with a name that suggests
// one, as written and decoded.
func secrets(u parts) []string {
	decoded, _ := neturl.PathUnescape(u.password)
	all := []string{u.password, decoded}
	for pair := range strings.SplitSeq(u.query, "&") {
		if _, value, _ := strings.Cut(pair, "="); secretParameter(pair) {
			decoded, _ := neturl.QueryUnescape(value)
			all = append(all, value, decoded)
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// mask removes the secrets from a text, except where one is part of a
// longer word.
func mask(text string, secrets []string) string {
	letter := func(s string, i int) bool {
		return i >= 0 && i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z')
	}
	for _, secret := range secrets {
		for at := 0; ; {
			i := strings.Index(text[at:], secret)
			if i < 0 {
				break
			}
			i += at
			end := i + len(secret)
			if letter(text, i-1) && letter(text, i) || letter(text, end-1) && letter(text, end) {
				at = i + 1
				continue
			}
			text, at = text[:i]+"xxxxx"+text[end:], i+len("xxxxx")
		}
	}
	return text
}
