package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
)

// masked is shown in the place of a member that must not be.
const masked = "***"

// maskingClient is a client whose answers have no masked members. All that a
// Dashboard shows comes through it, so that no page and no call can forget to
// mask. What workers fetch does not: they need the args.
type maskingClient struct {
	*onceq.Client
	mask func(kind string) []string // nil = nothing is masked
}

// pointers are the masked members of some kinds. unknown says that nobody knows
// the kind: then all has to be hidden.
func (m *maskingClient) pointers(kinds ...string) (all []string, unknown bool) {
	if m.mask == nil {
		return nil, false
	}
	unknown = true
	for _, kind := range kinds {
		if kind == "" {
			continue
		}
		unknown = false
		for _, p := range m.mask(kind) {
			if !strings.HasPrefix(p, "/") {
				p = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
			}
			all = append(all, p)
		}
	}
	return all, unknown
}

// job masks a job.
func (m *maskingClient) job(j *onceq.JobRow) {
	if j == nil || m.mask == nil {
		return
	}
	pointers, _ := m.pointers(j.Kind)
	if len(pointers) > 0 {
		args, _ := parse(j.Args) // what is no JSON has no members
		values := valuesAt(pointers, args, any(j.Meta))
		j.Args, j.Encoding = maskedArgs(j.Args, j.Encoding, pointers)
		if j.Meta != nil {
			if meta, ok := maskedValue(any(j.Meta), pointers).(map[string]any); ok {
				j.Meta = meta
			}
		}
		if j.Result != nil {
			j.Result, _ = maskedArgs(j.Result, onceq.EncodingJSON, pointers)
		}
		j.Errors = slices.Clone(j.Errors)
		for i := range j.Errors {
			e := &j.Errors[i]
			e.Error, e.Stack = values.hide(e.Error), values.hide(e.Stack)
		}
	}
	m.text(&j.KeyText, j.Kind)
}

// text masks the readable key of a job of one of some kinds.
func (m *maskingClient) text(text *string, kinds ...string) {
	if m.mask == nil || *text == "" {
		return
	}
	pointers, unknown := m.pointers(append(kinds, kindOf(*text))...)
	switch {
	case unknown:
		*text = masked
	case len(pointers) > 0:
		*text = maskedKey(*text, pointers)
	}
}

func (m *maskingClient) conflict(c *onceq.Conflict, kind string) {
	if c != nil {
		m.text(&c.Text, kind, c.HolderKind)
	}
}

func (m *maskingClient) receipt(r *onceq.Receipt, kind string) {
	m.job(r.Job)
	m.conflict(r.Conflict, kind)
}

// refused masks the error of a step that met another job.
func (m *maskingClient) refused(err error) error {
	if d := (*onceq.DuplicateError)(nil); errors.As(err, &d) {
		m.conflict(&d.Conflict, d.Kind)
	}
	return err
}

// Job is Client.Job.
func (m *maskingClient) Job(ctx context.Context, id string) (*onceq.JobRow, error) {
	return m.changed(m.Client.Job(ctx, id))
}

// JobsByID is Client.JobsByID.
func (m *maskingClient) JobsByID(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	all, err := m.Client.JobsByID(ctx, ids)
	for _, j := range all {
		m.job(j)
	}
	return all, err
}

// changed masks the answer of a step with one job.
func (m *maskingClient) changed(j *onceq.JobRow, err error) (*onceq.JobRow, error) {
	m.job(j)
	return j, m.refused(err)
}

// Cancel is Client.Cancel.
func (m *maskingClient) Cancel(ctx context.Context, id string) (*onceq.JobRow, error) {
	return m.changed(m.Client.Cancel(ctx, id))
}

// Retry is Client.Retry.
func (m *maskingClient) Retry(ctx context.Context, id string, opts ...onceq.RetryOption) (*onceq.JobRow, error) {
	return m.changed(m.Client.Retry(ctx, id, opts...))
}

// RunNow is Client.RunNow.
func (m *maskingClient) RunNow(ctx context.Context, id string) (*onceq.JobRow, error) {
	return m.changed(m.Client.RunNow(ctx, id))
}

// JobsPage is Client.JobsPage. Errors of jobs are masked by their args, so they
// are read too.
func (m *maskingClient) JobsPage(ctx context.Context, f onceq.JobFilter, cursor string) (onceq.JobPage, error) {
	args := f.Args
	f.Args = f.Args || m.mask != nil
	p, err := m.Client.JobsPage(ctx, f, cursor)
	for _, j := range p.Jobs {
		if m.job(j); !args {
			j.Args, j.Meta = nil, nil
		}
	}
	return p, err
}

// Key is Client.Key.
func (m *maskingClient) Key(ctx context.Context, key onceq.Key) (*onceq.HeldKey, error) {
	held, err := m.Client.Key(ctx, key)
	if held != nil {
		m.text(&held.Text, held.Kind)
	}
	return held, err
}

// KeysPage is Client.KeysPage. A key that a text was found in only where it is
// masked is left out: else one could guess what is there.
func (m *maskingClient) KeysPage(ctx context.Context, f onceq.KeyFilter, cursor string) (onceq.KeyPage, error) {
	p, err := m.Client.KeysPage(ctx, f, cursor)
	p.Keys = slices.DeleteFunc(p.Keys, func(k *onceq.HeldKey) bool {
		m.text(&k.Text, k.Kind)
		return m.mask != nil && !strings.Contains(strings.ToLower(k.Text), strings.ToLower(f.Text))
	})
	return p, err
}

// Enqueue is Client.Enqueue.
func (m *maskingClient) Enqueue(ctx context.Context, args onceq.Args, opts ...onceq.Option) (onceq.Receipt, error) {
	r, err := m.Client.Enqueue(ctx, args, opts...)
	m.receipt(&r, args.Kind())
	return r, m.refused(err)
}

// EnqueueMany is Client.EnqueueMany.
func (m *maskingClient) EnqueueMany(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
	all, err := m.Client.EnqueueMany(ctx, items)
	for i := range all {
		m.receipt(&all[i], items[i].Args.Kind())
	}
	return all, m.refused(err)
}

// Explain is Client.Explain.
func (m *maskingClient) Explain(ctx context.Context, args onceq.Args, opts ...onceq.Option) (onceq.Explanation,
	error) {
	e, err := m.Client.Explain(ctx, args, opts...)
	m.text(&e.Text, args.Kind())
	m.conflict(e.Conflict, args.Kind())
	if pointers, _ := m.pointers(args.Kind()); len(pointers) > 0 {
		for i := range e.Terms {
			switch t := &e.Terms[i]; t.Name {
			case "meta":
				t.Value = maskedMember(t.Value, pointers)
			case "unique_key":
				t.Value = masked // as in its readable key
			}
		}
	}
	return e, m.refused(err)
}

// Stats is Client.Stats.
func (m *maskingClient) Stats(ctx context.Context, r onceq.StatsRequest) (onceq.Stats, error) {
	s, err := m.Client.Stats(ctx, r)
	for i := range s.Hot {
		m.text(&s.Hot[i].Text, s.Hot[i].Kind)
	}
	for i := range s.Seen {
		m.conflict(&s.Seen[i].Conflict, s.Seen[i].Kind)
	}
	return s, err
}

// Doctor is Client.Doctor.
func (m *maskingClient) Doctor(ctx context.Context, progress func(done int)) (onceq.DoctorReport, error) {
	report, err := m.Client.Doctor(ctx, progress)
	for i := range report.Violations {
		m.text(&report.Violations[i].KeyText)
	}
	return report, err
}

// ChangeSome is Client.ChangeSome.
func (m *maskingClient) ChangeSome(ctx context.Context, b onceq.Bulk, cursor string) (onceq.BulkResult, error) {
	if tell := b.PassedOver; tell != nil {
		b.PassedOver = func(j *onceq.JobRow, why error) {
			m.job(j)
			tell(j, m.refused(why))
		}
	}
	return m.Client.ChangeSome(ctx, b, cursor)
}

// Periodics is Client.Periodics.
func (m *maskingClient) Periodics(ctx context.Context) ([]onceq.PeriodicInfo, error) {
	all, err := m.Client.Periodics(ctx)
	for i := range all {
		m.job(all[i].Last)
	}
	return all, err
}

// PutPeriodic is Client.PutPeriodic.
func (m *maskingClient) PutPeriodic(ctx context.Context, p onceq.Periodic) (onceq.PeriodicInfo, error) {
	info, err := m.Client.PutPeriodic(ctx, p)
	m.job(info.Last)
	return info, m.refused(err)
}

// TickNow is Client.TickNow.
func (m *maskingClient) TickNow(ctx context.Context, name string) (onceq.Receipt, error) {
	r, err := m.Client.TickNow(ctx, name)
	if r.Job != nil {
		m.receipt(&r, r.Job.Kind)
	}
	return r, m.refused(err)
}

// maskedArgs masks members of JSON. What cannot be read is hidden as a whole.
func maskedArgs(raw []byte, encoding string, pointers []string) ([]byte, string) {
	if raw == nil {
		return nil, encoding
	}
	v, err := parse(raw)
	if err == nil && encoding == onceq.EncodingJSON {
		raw, err = jsontext.Encode(maskedValue(v, pointers))
	} else {
		err = errors.Join(err, errors.New("not JSON"))
	}
	if err != nil {
		return []byte(strconv.Quote(masked)), onceq.EncodingJSON
	}
	return raw, encoding
}

// maskedMember is a copy of a value that becomes JSON.
func maskedMember(v any, pointers []string) any {
	raw, err := jsontext.Encode(v)
	if err == nil {
		v, err = parse(raw)
	}
	if err != nil {
		return masked
	}
	return maskedValue(v, pointers)
}

// parse reads a JSON value. Numbers stay as they are written.
func parse(raw []byte) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// maskedValue is a copy of a JSON value in which members are masked. "" is the
// pointer of the whole.
func maskedValue(v any, pointers []string) any {
	if slices.Contains(pointers, "") {
		return masked
	}
	below := func(name string) (all []string) {
		name = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		for _, p := range pointers {
			if rest, ok := strings.CutPrefix(p, name); ok && (rest == "" || rest[0] == '/') {
				all = append(all, rest)
			}
		}
		return all
	}
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for name, member := range v {
			c[name] = maskedValue(member, below(name))
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, element := range v {
			c[i] = maskedValue(element, below(strconv.Itoa(i)))
		}
		return c
	}
	return v
}

// maskedTexts are the values of masked members, as other texts may have them.
type maskedTexts []string

// sent finds them in the body of a request: in a job, or in those of a batch.
func (m *maskingClient) sent(body []byte) (all maskedTexts) {
	if m.mask == nil || body == nil {
		return nil
	}
	whole, _ := parse(body) // it was refused if it is no JSON
	jobs := []any{whole, at(whole, "/job"), at(whole, "/other")}
	if batch, ok := at(whole, "/jobs").([]any); ok {
		jobs = append(jobs, batch...)
	}
	for _, job := range jobs {
		if kind, ok := at(job, "/kind").(string); ok {
			pointers, _ := m.pointers(kind)
			all = append(all, valuesAt(pointers, at(job, "/args"), at(job, "/meta"))...)
		}
	}
	return all
}

// valuesAt finds them in values that may have the members.
func valuesAt(pointers []string, in ...any) (all maskedTexts) {
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, member := range v {
				add(member)
			}
		case []any:
			for _, element := range v {
				add(element)
			}
		case string:
			quoted, _ := jsontext.Encode(v)
			all = append(all, v, string(quoted[1:len(quoted)-1]), strings.Trim(strconv.Quote(v), `"`),
				url.QueryEscape(v), url.PathEscape(v))
		case json.Number, float64:
			all = append(all, fmt.Sprint(v))
		}
	}
	for _, p := range pointers {
		for _, v := range in {
			add(at(v, p))
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// at is what stands at a pointer of a JSON value; nil = nothing.
func at(v any, pointer string) any {
	if pointer == "" {
		return v
	}
	for name := range strings.SplitSeq(pointer[1:], "/") {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// hide masks the values in a text. One that is a part of a longer word or number
// is not taken for the value.
func (m maskedTexts) hide(text string) string {
	for _, value := range m {
		for from := 0; ; {
			i := strings.Index(text[from:], value)
			if i < 0 {
				break
			}
			i += from
			end := i + len(value)
			before, _ := utf8.DecodeLastRuneInString(text[:i])
			after, _ := utf8.DecodeRuneInString(text[end:])
			first, _ := utf8.DecodeRuneInString(value)
			last, _ := utf8.DecodeLastRuneInString(value)
			if len(value) < 6 && (inWord(before) && inWord(first) || inWord(last) && inWord(after)) {
				from = end
				continue
			}
			text = text[:i] + masked + text[end:]
			from = i + len(masked)
		}
	}
	return text
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// problem masks the texts of a problem.
func (m maskedTexts) problem(p *problemError) *problemError {
	if len(m) > 0 {
		p.detail = m.hide(p.detail)
		for i := range p.more {
			if text, ok := p.more[i].value.(string); ok && (p.more[i].name == "value" || p.more[i].name == "rule") {
				p.more[i].value = m.hide(text)
			}
		}
	}
	return p
}
