// Package guardhttp makes a handler of net/http answer a repeated request as
// it answered the first, by the header Idempotency-Key: the client of a payment
// API sends its request again after a time-out, and the card is charged once.
//
//	idempotent, err := guardhttp.New(g, guardhttp.Config{Principal: userOf})
//	http.Handle("POST /charges", idempotent(http.HandlerFunc(charge)))
//
// The first request of a key runs the handler under a claim of package guard,
// and its answer is kept with the claim. A repeat gets that answer, and does not
// run. The statuses are those of the IETF's draft
// (draft-ietf-httpapi-idempotency-key-header), the rules those of Stripe's API.
// docs/guard.md has the table.
package guardhttp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/internal/idempotency"
)

// Kind is the kind of the claims. Options of guard.Config.Kinds for it count:
// onceq.Retention says how long an answer is kept (24 hours), onceq.Timeout how
// long a handler may take (no limit).
const Kind = "http"

// Config says how requests are kept apart and what is kept.
type Config struct {
	// Principal says who makes a request: the name of the account that was
	// authenticated. It is required, for otherwise one caller could read the
	// answer of another by sending its key. A request for which it returns ""
	// is refused with 400 if it has a key.
	Principal func(r *http.Request) string
	// Required refuses a POST or PATCH without the header, with 400. Otherwise
	// it runs unguarded.
	Required bool
	// MaxRequest is how many bytes the body of a request with a key may have; a
	// longer one is answered with 413. 0 = 1 MiB.
	MaxRequest int64
	// MaxResponse is how many bytes of a body are kept, at most 512 KiB. A
	// longer answer goes to the client, and its repeat gets 409. 0 = 64 KiB.
	MaxResponse int
	// Headers are kept besides those of the content (Content-Type, Location,
	// ETag and the like). Set-Cookie is not kept unless it is said.
	Headers []string
	// Keep says whether the answer of this status is final. If not, the claim
	// counts as failed, and a repeat runs the handler again. nil = every answer
	// is kept, 5xx too: the handler may have done half of its work.
	Keep func(status int) bool
	// Wait is how long a repeat waits for a first request that still runs,
	// before it is answered with 409. 0 = it does not wait.
	Wait time.Duration

	Logger *slog.Logger // nil = slog.Default()
}

// maxKept keeps an answer, as JSON in base64, below onceq.MaxResultSize.
const maxKept = 512 << 10

// storeLimit is how long a request waits for a store that does not answer.
const storeLimit = 10 * time.Second

// contentHeaders are kept with every answer.
var contentHeaders = []string{"Allow", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
	"Content-Location", "Content-Type", "ETag", "Expires", "Last-Modified", "Link", "Location", "Retry-After", "Vary"}

// New makes a middleware that guards POST and PATCH requests which have the
// header Idempotency-Key. It stands behind whatever authenticates a request and
// before what compresses an answer. Several of one guard share their keys. The
// claim of a key has an ID made of the principal and the key.
//
// The handler runs to its end when the client has gone: its context ends when
// the lease of the claim is lost, or its onceq.Timeout is over. Its answer is
// held back until it is recorded. A handler that flushes or hijacks its
// connection sends its answer as it comes, and that answer is not kept.
func New(g *guard.Guard, config Config) (func(http.Handler) http.Handler, error) {
	c := &config
	switch {
	case g == nil:
		return nil, &onceq.InvalidError{Field: "guard", Value: "nil", Rule: "must not be nil"}
	case c.Principal == nil:
		return nil, &onceq.InvalidError{Field: "Config.Principal", Value: "nil",
			Rule: "must say who makes a request, so that nobody gets the answer of another"}
	case c.MaxRequest < 0:
		return nil, &onceq.InvalidError{Field: "Config.MaxRequest", Value: strconv.FormatInt(c.MaxRequest, 10),
			Rule: "must not be negative"}
	case c.MaxResponse < 0 || c.MaxResponse > maxKept:
		return nil, &onceq.InvalidError{Field: "Config.MaxResponse", Value: strconv.Itoa(c.MaxResponse),
			Rule: fmt.Sprintf("must be at most %d", maxKept)}
	case c.Wait < 0:
		return nil, &onceq.InvalidError{Field: "Config.Wait", Value: c.Wait.String(), Rule: "must not be negative"}
	}
	if c.MaxRequest == 0 {
		c.MaxRequest = 1 << 20
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = 64 << 10
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	m := &middleware{g: g, config: *c, headers: slices.Concat(contentHeaders, c.Headers)}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}, nil
}

type middleware struct {
	g       *guard.Guard
	config  Config
	headers []string
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.Method != http.MethodPost && r.Method != http.MethodPatch {
		next.ServeHTTP(w, r)
		return
	}
	key, times := idempotency.Key(r.Header)
	who := ""
	if times > 0 {
		who = m.config.Principal(r)
	}
	switch {
	case times == 0 && !m.config.Required:
		next.ServeHTTP(w, r)
		return
	case times == 0:
		refuse(w, missing)
		return
	case times > 1 || key == "" || len(key) > 255:
		refuse(w, malformed)
		return
	case who == "":
		refuse(w, nobody)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, m.config.MaxRequest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, large)
		return
	case err != nil: // the client has gone, or sent nonsense; nothing has happened
		refuse(w, cut)
		return
	}
	m.guarded(w, r, next, idOf(who, key), body)
}

// idOf is the ID of a claim. Method and path are not in it: a key that comes
// with another request is to be met.
func idOf(who, key string) string { return "http-" + hex.EncodeToString(hash(who, key)) }

// hash is that of some texts; where one ends counts.
func hash(texts ...string) []byte {
	h := sha256.New()
	for _, t := range texts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t))))
		h.Write([]byte(t))
	}
	return h.Sum(nil)
}

// guarded answers a request that has a key.
func (m *middleware) guarded(w http.ResponseWriter, r *http.Request, next http.Handler, id string, body []byte) {
	args := onceq.Bytes(Kind, hash(r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), string(body)))
	run, err := m.begin(r, id, args)
	var other *onceq.DuplicateError
	switch {
	case err == nil:
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		m.run(w, r.WithContext(run.Context()), next, run)
	case errors.As(err, &other):
		refuse(w, reused)
	case errors.Is(err, guard.ErrDone):
		m.replay(w, r, id)
	case errors.Is(err, guard.ErrBusy):
		m.busy(w, r, id)
	default:
		m.config.Logger.ErrorContext(r.Context(), "onceq: idempotent request refused",
			"claim", id, "error", err)
		refuse(w, away)
	}
}

// begin begins the run. Its context does not end with the client.
func (m *middleware) begin(r *http.Request, id string, args onceq.Args) (*guard.Run, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	late := time.AfterFunc(storeLimit, func() { cancel(context.DeadlineExceeded) })
	path := r.URL.Path
	run, err := m.g.Begin(ctx, id, args, onceq.Meta(map[string]any{"method": r.Method,
		"path": path[:min(len(path), 200)]}))
	if !late.Stop() && err == nil { // the context of the run has ended already
		err = context.DeadlineExceeded
		_ = run.Done(err)
	}
	return run, err
}

// run calls the handler, records its answer, and sends it.
func (m *middleware) run(w http.ResponseWriter, r *http.Request, next http.Handler, run *guard.Run) {
	rec := &recorder{w: w, most: m.config.MaxResponse}
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover() // nil = runtime.Goexit
		_ = run.Done(fmt.Errorf("the handler did not return: %v", p))
		if p != nil {
			panic(p)
		}
	}()
	next.ServeHTTP(rec, r)
	returned = true
	rec.WriteHeader(http.StatusOK) // unless it has said another
	var end error
	switch {
	case m.config.Keep != nil && !m.config.Keep(rec.status):
		end = fmt.Errorf("the handler answered with status %d, which is not kept", rec.status)
	case !rec.through:
		end = run.SetResult(rec.kept(m.headers))
	}
	if err := run.Done(end); err != nil {
		m.config.Logger.ErrorContext(r.Context(), "onceq: answer not recorded", "status", rec.status, "error", err)
	}
	rec.send()
}

// replay answers as the first request was answered.
func (m *middleware) replay(w http.ResponseWriter, r *http.Request, id string) {
	ctx, cancel := context.WithTimeout(r.Context(), storeLimit)
	defer cancel()
	m.answer(w, r, id)(m.g.Result(ctx, guard.Token(id)))
}

// busy answers a request whose first one still runs.
func (m *middleware) busy(w http.ResponseWriter, r *http.Request, id string) {
	if m.config.Wait == 0 {
		refuse(w, running)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), m.config.Wait)
	defer cancel()
	m.answer(w, r, id)(m.g.Wait(ctx, guard.Token(id)))
}

// answer sends what is kept of an answer.
func (m *middleware) answer(w http.ResponseWriter, r *http.Request, id string) func(json.RawMessage, error) {
	return func(raw json.RawMessage, err error) {
		var k kept
		switch {
		case errors.Is(err, guard.ErrBusy), errors.Is(err, onceq.ErrNotFound), errors.Is(err, context.DeadlineExceeded),
			errors.Is(err, context.Canceled):
			refuse(w, running) // or it was pruned just now, and the next one begins anew
		case err == nil && raw == nil:
			refuse(w, notKept)
		case err == nil:
			if err = json.Unmarshal(raw, &k); err == nil {
				k.send(w)
				return
			}
			fallthrough
		default:
			m.config.Logger.ErrorContext(r.Context(), "onceq: kept answer cannot be read", "claim", id, "error", err)
			refuse(w, away)
		}
	}
}
