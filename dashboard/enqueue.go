package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fingerprint"
	"github.com/onceq/onceq/internal/idempotency"
)

// statusOf is the status of an enqueue that was not refused.
func statusOf(o onceq.Outcome) int {
	if o == onceq.Skipped || o == onceq.Replaced || o == onceq.Rejected {
		return http.StatusOK
	}
	return http.StatusCreated
}

// hideReceipt leaves out what a caller may not see of a job that is not its own.
func (c *call) hideReceipt(r *onceq.Receipt) {
	if r.Job == nil || !r.Duplicate() || c.mayReadArgs() {
		return
	}
	strip(r.Job, nil, false)
	r.Job.Tags = nil
	if r.Conflict != nil {
		r.Conflict.Text = ""
	}
}

// traced is the context of a request, with the trace in its headers unless a
// middleware has begun a span.
func (c *call) traced() context.Context {
	ctx := c.r.Context()
	if onceq.TraceFrom(ctx) != (onceq.TraceContext{}) {
		return ctx
	}
	return onceq.TraceContext{Traceparent: c.r.Header.Get("traceparent"),
		Tracestate: strings.Join(c.r.Header.Values("tracestate"), ",")}.Into(ctx)
}

func (c *call) enqueue() error {
	text, err := c.body(c.jobBody())
	if err != nil {
		return err
	}
	it, err := item(text, "")
	if err != nil {
		return err
	}
	key, opts, err := c.idempotent(text, 255)
	if err != nil {
		return err
	}
	named := false
	if key != "" {
		if named, err = c.keeps(it); err != nil {
			return err
		}
		it.Options = append(it.Options, opts(-1, named)...)
	}
	began := time.Now()
	receipt, err := c.client.Enqueue(c.traced(), it.Args, it.Options...)
	duplicate := (*onceq.DuplicateError)(nil)
	refused := errors.As(err, &duplicate)
	if err != nil && !refused {
		return err
	}
	if key != "" && !named && receipt.Conflict != nil && receipt.Conflict.By == "id" {
		return reused(receipt.Job)
	}
	c.hideReceipt(&receipt)
	if refused {
		p := problemOf(err)
		if receipt.Job != nil {
			p = p.with("job", receipt.Job)
		}
		return p
	}
	if key != "" && !receipt.Duplicate() && receipt.Job.EnqueuedAt.Before(began.Truncate(time.Millisecond)) {
		c.w.Header().Set("Idempotency-Replayed", "true")
	}
	status := statusOf(receipt.Outcome)
	if status == http.StatusCreated {
		c.w.Header().Set("Location", "jobs/"+url.PathEscape(receipt.Job.ID))
	}
	return c.answer(status, receipt)
}

func reused(job *onceq.JobRow) error {
	return problem("idempotency-key-reused",
		"this Idempotency-Key was sent with another request before: use a new one "+
			"for each request").with("job", map[string]any{"id": job.ID, "kind": job.Kind})
}

// idempotent reads the header Idempotency-Key. It returns the options of the
// item with an index; -1 = there is one item. The ID of the job is the key,
// unless the item names its own, and its token says which request it was: so
// the store itself answers a repeat as the first time, and no table of keys is
// needed.
func (c *call) idempotent(body []byte, most int) (key string, opts func(index int, named bool) []onceq.Option,
	err error) {
	key, times := idempotency.Key(c.r.Header)
	switch times {
	case 0:
		return "", nil, nil
	case 1:
	default:
		return "", nil, problem("malformed", "Idempotency-Key is there twice").with("at", 0)
	}
	if key == "" || len(key) > most {
		return "", nil, invalid("Idempotency-Key", bound(key), fmt.Sprintf("must be 1 to %d bytes", most))
	}
	digest, err := fingerprint.Digest(body, true) // by value: neither white space nor the order of members counts
	if err != nil {
		return "", nil, invalid("body", "", err.Error())
	}
	who := c.config.Who(c.r)
	return key, func(index int, named bool) []onceq.Option {
		id := key
		if index >= 0 {
			id = fmt.Sprintf("%s/%d", key, index)
		}
		h := sha256.New()
		for _, part := range []string{"onceq-idempotency-1", who, id, string(digest[:])} {
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			h.Write([]byte(part))
		}
		token := onceq.Token([16]byte(h.Sum(nil)[:16]))
		if named {
			return []onceq.Option{token}
		}
		return []onceq.Option{onceq.ID(id), token}
	}, nil
}

// keeps refuses a job whose repeat nobody could know. named says that the job
// has an ID of the caller's.
func (c *call) keeps(it onceq.Item) (named bool, err error) {
	row, err := c.client.Prepare(it.Args, it.Options...)
	if err != nil {
		return false, err
	}
	for _, kept := range []struct {
		field string
		d     time.Duration
	}{{"retention", row.Retention}, {"retention_failed", row.RetentionFailed}} {
		if kept.d == 0 {
			return false, invalid(kept.field, "0s",
				"does not go with Idempotency-Key: a job that is not kept cannot be known again")
		}
	}
	return !row.Made(), nil
}

func (c *call) enqueueBatch() error {
	text, err := c.body(batchBody)
	if err != nil {
		return err
	}
	var said struct {
		Jobs []rawJSON `json:"jobs"`
	}
	if err := decode(text, &said); err != nil {
		return err
	}
	if len(said.Jobs) == 0 || len(said.Jobs) > mostItems {
		return invalid("jobs", fmt.Sprint(len(said.Jobs)), fmt.Sprintf("must be a list of 1 to %d jobs", mostItems))
	}
	key, opts, err := c.idempotent(text, 240)
	if err != nil {
		return err
	}
	items, named := make([]onceq.Item, len(said.Jobs)), make([]bool, len(said.Jobs))
	for i, raw := range said.Jobs {
		at := fmt.Sprintf("jobs/%d/", i)
		if items[i], err = item(raw, at); err != nil {
			return err
		}
		if key != "" {
			if named[i], err = c.keeps(items[i]); err != nil {
				return within(at, err)
			}
			items[i].Options = append(items[i].Options, opts(i, named[i])...)
		}
	}
	receipts, err := c.client.EnqueueMany(c.traced(), items)
	answers := make([]*onceq.Receipt, len(receipts))
	for i := range receipts {
		r := &receipts[i]
		if r.Job == nil {
			continue
		}
		if key != "" && !named[i] && r.Conflict != nil && r.Conflict.By == "id" {
			return reused(r.Job)
		}
		c.hideReceipt(r)
		answers[i] = r
	}
	if uncertain := (*onceq.UncertainError)(nil); errors.As(err, &uncertain) {
		return problemOf(err).with("receipts", answers)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Receipts []*onceq.Receipt `json:"receipts"`
	}{answers})
}

// within says where in the body a problem is.
func within(at string, err error) error {
	p := problemOf(err)
	for i, m := range p.more {
		if m.name == "field" {
			p.more[i].value = at + fmt.Sprint(m.value)
		}
	}
	return p
}

func (c *call) explain() error {
	text, err := c.body(2 * c.jobBody())
	if err != nil {
		return err
	}
	var both struct {
		Job   rawJSON `json:"job"`
		Other rawJSON `json:"other"`
	}
	var members map[string]rawJSON
	_ = json.Unmarshal(text, &members) // what is no object is refused below
	if members["job"] == nil && members["other"] == nil {
		e, err := c.explainOne(text, "")
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, e)
	}
	if err := decode(text, &both); err != nil {
		return err
	}
	if both.Job == nil || both.Other == nil {
		return invalid("other", "", `is compared with "job": send both, or the members of one job`)
	}
	a, err := c.explainOne(both.Job, "job/")
	if err != nil {
		return err
	}
	b, err := c.explainOne(both.Other, "other/")
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Job     onceq.Explanation `json:"job"`
		Other   onceq.Explanation `json:"other"`
		SameKey bool              `json:"same_key"`
		Differ  []string          `json:"differ"`
	}{a, b, a.Key != nil && b.Key != nil && *a.Key == *b.Key, differ(both.Job, both.Other)})
}

func (c *call) explainOne(text []byte, at string) (onceq.Explanation, error) {
	it, err := item(text, at)
	if err != nil {
		return onceq.Explanation{}, err
	}
	e, err := c.client.Explain(c.r.Context(), it.Args, it.Options...)
	if err != nil {
		return e, within(at, err)
	}
	if e.Conflict != nil && !c.mayReadArgs() {
		e.Conflict.Text = ""
	}
	return e, nil
}
