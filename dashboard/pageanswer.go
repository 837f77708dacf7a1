package dashboard

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
)

const formBody = 64 << 10 // bytes of a form

// form reads the form that a page has sent. Members that it does not have are
// refused.
func (c *call) form(known ...string) (url.Values, error) {
	text, err := c.read(formBody)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, problem("malformed", "the form cannot be read: "+err.Error())
	}
	for name := range values {
		if !contains(known, name) {
			return nil, invalid(bound(name), "", "is not known here")
		}
	}
	return values, nil
}

// redirect sends a browser to another page. The place is relative to this one:
// under which prefix it stands, only the browser knows.
func (c *call) redirect(place string) error {
	c.w.Header().Set("Location", place)
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// root is the way from this page to the first one: "./", "../", "../../" …
func (c *call) root() string {
	depth := strings.Count(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/")
	return cmp.Or(strings.Repeat("../", depth), "./")
}
