package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/internal/wire"
)

// statuses are the types of problems (RFC 9457), each with its status and title.
var statuses = map[string]struct {
	status int
	title  string
}{
	"malformed":              {http.StatusBadRequest, "Malformed request"},
	"unauthorized":           {http.StatusUnauthorized, "Unauthorized"},
	"forbidden":              {http.StatusForbidden, "Forbidden"},
	"cross-origin":           {http.StatusForbidden, "Cross-origin request"},
	"not-found":              {http.StatusNotFound, "Not found"},
	"method-not-allowed":     {http.StatusMethodNotAllowed, "Method not allowed"},
	"duplicate":              {http.StatusConflict, "Duplicate"},
	"wrong-state":            {http.StatusConflict, "Wrong state"},
	"wrong-holder":           {http.StatusConflict, "Wrong holder"},
	"lease-lost":             {http.StatusConflict, "Lease lost"},
	"busy":                   {http.StatusConflict, "Busy"},
	"gone":                   {http.StatusGone, "Gone"},
	"too-large":              {http.StatusRequestEntityTooLarge, "Too large"},
	"unsupported-media-type": {http.StatusUnsupportedMediaType, "Unsupported media type"},
	"misdirected":            {http.StatusMisdirectedRequest, "Misdirected request"},
	"invalid":                {http.StatusUnprocessableEntity, "Invalid request"},
	"idempotency-key-reused": {http.StatusUnprocessableEntity, "Idempotency-Key reused"},
	"too-many-requests":      {http.StatusTooManyRequests, "Too many requests"},
	"internal":               {http.StatusInternalServerError, "Internal error"},
	"uncertain":              {http.StatusServiceUnavailable, "Uncertain"},
	"unavailable":            {http.StatusServiceUnavailable, "Unavailable"},
}

// problemError is a problem to be answered.
type problemError struct {
	kind, detail string
	more         []member
}

type member struct {
	name  string
	value any
}

func problem(kind, detail string) *problemError { return &problemError{kind: kind, detail: detail} }

func (p *problemError) with(name string, value any) *problemError {
	p.more = append(p.more, member{name, value})
	return p
}

func (p *problemError) Error() string { return p.kind + ": " + p.detail }

// invalid is the problem of a value. field is a JSON pointer without its first
// "/", or the name of a parameter.
func invalid(field, value, rule string) *problemError {
	detail := field + " " + rule
	if value != "" {
		detail = fmt.Sprintf("%s %q %s", field, value, rule)
	}
	return problem("invalid", detail).with("field", field).with("value", value).with("rule", rule)
}

// problemOf makes a problem of an error of package onceq.
func problemOf(err error) *problemError {
	var (
		p         *problemError
		refused   *onceq.InvalidError
		duplicate *onceq.DuplicateError
		uncertain *onceq.UncertainError
		tooLarge  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &uncertain): // its cause may be one of the others
		p := problem("uncertain",
			"the answer of the store was lost, and it may have happened or not: send it again with "+
				"the same Idempotency-Key or ID").with("ids", uncertain.IDs)
		if uncertain.IDs == nil {
			p.more[0].value = []string{uncertain.ID}
		}
		if uncertain.Items != nil {
			p = p.with("indexes", uncertain.Items)
		}
		return p
	case errors.As(err, &refused):
		said := refused.In(wire.Member)
		field := strings.Join(said.Path, "/")
		if field == "" {
			field = said.Field
		}
		if field == "state" && !strings.HasPrefix(said.Rule, "must be one of") { // that is one that is not known

			return problem("wrong-state", said.Error()).with("state", said.Value)
		}
		p := invalid(field, said.Value, said.Rule)
		p.detail = said.Error()
		return p
	case errors.As(err, &duplicate):
		return problem("duplicate", duplicate.Error()).with("conflict", &duplicate.Conflict)
	case errors.Is(err, onceq.ErrNotFound):
		return problem("not-found", "there is none of this name, or it is not kept any more")
	case errors.Is(err, onceq.ErrLeaseLost):
		return problem("lease-lost", "the run is no longer this worker's: nothing has changed")
	case errors.As(err, &tooLarge):
		return problem("too-large", fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)).with("limit",
			tooLarge.Limit)
	case errors.Is(err, onceq.ErrUncertain):
		return problem("uncertain",
			"the answer of the store was lost, and it may have happened or not: look, or send it "+
				"again")
	case errors.Is(err, onceq.ErrClosed), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem("unavailable", "the store does not answer: try again")
	}
	return problem("internal", "something went wrong here: the log of the server has it under the request_id")
}

// fail answers with a problem.
func (c *call) fail(err error) {
	hidden := c.client.sent(c.sent)
	p := hidden.problem(problemOf(err))
	known := statuses[p.kind]
	if known.status >= 500 {
		c.log.Error("onceq: request failed", "request", c.id, "status", known.status, "error",
			hidden.hide(err.Error()))
	}
	if known.status == http.StatusServiceUnavailable || known.status == http.StatusTooManyRequests {
		if h := c.w.Header(); h.Get("Retry-After") == "" {
			h.Set("Retry-After", "1")
		}
	}
	c.hideMet(p)
	if c.route == nil && p.kind == "not-found" && c.wantsPage() {
		c.failPage(problem("not-found", "There is nothing at this address."))
		return
	}
	if c.route != nil && c.route.page {
		if !c.toLogin(p) {
			c.failPage(p)
		}
		return
	}
	text := append(c.text(p), '\n')
	c.w.Header().Set("Content-Type", "application/problem+json")
	c.w.WriteHeader(known.status)
	_, _ = c.w.Write(text) // nobody is there to hear of it
}

// wantsPage reports whether a browser asks for what could be a page.
func (c *call) wantsPage() bool {
	return c.r.Method == http.MethodGet && strings.Contains(c.r.Header.Get("Accept"), "text/html") &&
		!strings.HasPrefix(c.r.URL.Path, "/api/")
}

// text is a problem as JSON.
func (c *call) text(p *problemError) []byte {
	known := statuses[p.kind]
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range append([]member{{"type", "urn:onceq:" + p.kind}, {"title", known.title}, {"status", known.status},
		{"detail", p.detail}, {"request_id", c.id}}, p.more...) {
		value, err := jsontext.Encode(m.value)
		if err != nil {
			value = []byte("null")
		}
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name)
		b.Write(append(append(name, ':'), value...))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// hideMet leaves out of a problem what who asks may not see: the job and the
// key that were met.
func (c *call) hideMet(p *problemError) {
	met := slices.ContainsFunc(p.more, func(m member) bool { return m.name == "job" || m.name == "conflict" })
	if !met || c.mayReadArgs() {
		return
	}
	p.more = slices.DeleteFunc(p.more, func(m member) bool { return m.name == "job" })
	for i, m := range p.more {
		if conflict, ok := m.value.(*onceq.Conflict); ok {
			hidden := *conflict
			hidden.Text = ""
			p.more[i].value, p.detail = &hidden, "it is there already: a job holds the key or has the ID"
		}
	}
}

// answer answers with a value as JSON.
func (c *call) answer(status int, v any) error {
	var b bytes.Buffer
	if err := wire.WriteLine(&b, v); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // nobody is there to hear of it
	return nil
}
