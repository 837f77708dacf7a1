package onceqtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fingerprint"
)

// RequireEnqueued fails the test unless a job with this kind and these args,
// compared by value, waits or runs. It returns the job.
//
// What opts say must be true of the job as well: its [onceq.Queue],
// [onceq.Priority], [onceq.Tags], [onceq.Meta], [onceq.MaxAttempts],
// [onceq.Timeout], [onceq.Backoff], [onceq.Retention], [onceq.RetentionFailed],
// [onceq.ID] and run time. [onceq.Delay] is
// the time from its enqueue to its run time. With [onceq.Unique] or
// [onceq.UniqueKey] the job has the key that the client gives to such an
// enqueue, and with [onceq.NotUnique] none. OnConflict is not a property of a
// job, and is not compared.
func RequireEnqueued(t testing.TB, client *onceq.Client, args onceq.Args, opts ...onceq.Option) *onceq.JobRow {
	t.Helper()
	w := wantedBy(t, client, args, opts)
	found, others := w.find(t, client)
	if len(found) == 0 {
		t.Fatalf("onceqtest: no such job waits or runs:%s\n%s", w, others)
	}
	return found[0]
}

// RequireEnqueuedCount fails the test unless exactly so many jobs wait or run
// that [RequireEnqueued] would accept. It returns them.
func RequireEnqueuedCount(t testing.TB, client *onceq.Client, args onceq.Args, count int,
	opts ...onceq.Option) []*onceq.JobRow {
	t.Helper()
	w := wantedBy(t, client, args, opts)
	found, others := w.find(t, client)
	if len(found) != count {
		t.Fatalf("onceqtest: %d such jobs wait or run, not %d:%s\n%s", len(found), count, w, others)
	}
	return found
}

// RequireNotEnqueued fails the test if a job waits or runs that
// [RequireEnqueued] would accept.
func RequireNotEnqueued(t testing.TB, client *onceq.Client, args onceq.Args, opts ...onceq.Option) {
	t.Helper()
	w := wantedBy(t, client, args, opts)
	if found, others := w.find(t, client); len(found) > 0 {
		t.Fatalf("onceqtest: such a job waits or runs, and none should:%s\n%s", w, others)
	}
}

// RequireDuplicate fails the test unless an enqueue with these args and options
// would be a duplicate now: no job would be made for it. It enqueues nothing,
// and returns what it would meet.
func RequireDuplicate(t testing.TB, client *onceq.Client, args onceq.Args, opts ...onceq.Option) *onceq.Conflict {
	t.Helper()
	w := wantedBy(t, client, args, opts)
	e := w.explained
	if !(onceq.Receipt{Outcome: e.Outcome}).Duplicate() {
		why := "it has no key and no ID of yours, so it meets nothing"
		switch {
		case e.Conflict != nil:
			why = e.Conflict.String()
		case e.Key != nil:
			why = "nobody holds its key " + e.Text
		case w.said["id"]:
			why = "there is no job with its ID"
		}
		t.Fatalf("onceqtest: this enqueue would be %s, not a duplicate: %s:%s\n%s", e.Outcome, why, w,
			w.others(t, client))
	}
	return e.Conflict
}

// wanted is what a job must be.
type wanted struct {
	row       onceq.NewRow // that the client makes of the enqueue
	explained onceq.Explanation
	said      map[string]bool // at the call, by the name of the term
	args      []byte
	digest    [16]byte
}

func wantedBy(t testing.TB, client *onceq.Client, args onceq.Args, opts []onceq.Option) *wanted {
	t.Helper()
	w := &wanted{said: map[string]bool{}}
	var err error
	if w.explained, err = client.Explain(t.Context(), args, opts...); err == nil {
		w.row, err = client.Prepare(args, opts...)
	}
	if err == nil {
		w.args, w.digest, err = argsOf(t, client, &onceq.JobRow{Kind: w.row.Kind, Args: w.row.Args,
			Encoding: w.row.Encoding})
	}
	if err != nil {
		t.Fatalf("onceqtest: an enqueue with these args and options would fail: %v", err)
	}
	for _, term := range w.explained.Terms {
		if term.From == "call" {
			w.said[term.Name] = true
		}
	}
	return w
}

// argsOf returns the args of a job as they were before a codec of the client
// encoded them, and their digest.
func argsOf(t testing.TB, client *onceq.Client, job *onceq.JobRow) (args []byte, digest [16]byte, err error) {
	plain, err := client.DecodeArgs(t.Context(), job)
	if err != nil {
		return job.Args, digest, err
	}
	digest, err = fingerprint.Digest(plain.Args, plain.Encoding == onceq.EncodingJSON)
	return plain.Args, digest, err
}

// property is one thing that an option says of a job.
type property struct {
	name string
	of   []string // terms that say it
	got  func(*onceq.JobRow) any
	want func(*wanted) any
}

var properties = []property{
	{"queue", []string{"queue"}, func(j *onceq.JobRow) any { return j.Queue },
		func(w *wanted) any { return w.row.Queue }},
	{"ID", []string{"id"}, func(j *onceq.JobRow) any { return j.ID }, func(w *wanted) any { return w.row.ID }},
	{"delay", []string{"delay_ms"}, func(j *onceq.JobRow) any { return j.RunAt.Sub(j.EnqueuedAt) },
		func(w *wanted) any { return w.row.Delay }},
	{"run time", []string{"run_at"}, func(j *onceq.JobRow) any { return instant(j.RunAt) },
		func(w *wanted) any { return instant(w.row.RunAt) }},
	{"priority", []string{"priority"}, func(j *onceq.JobRow) any { return j.Priority },
		func(w *wanted) any { return w.row.Priority }},
	{"attempts", []string{"max_attempts"}, func(j *onceq.JobRow) any { return j.MaxAttempts },
		func(w *wanted) any { return w.row.MaxAttempts }},
	{"timeout", []string{"timeout_ms"}, func(j *onceq.JobRow) any { return j.Timeout },
		func(w *wanted) any { return w.row.Timeout }},
	{"backoff", []string{"backoff"}, func(j *onceq.JobRow) any { return j.Backoff() },
		func(w *wanted) any { return (&onceq.JobRow{Extra: w.row.Extra}).Backoff() }},
	{"retention", []string{"retention_ms"}, func(j *onceq.JobRow) any { return j.Retention },
		func(w *wanted) any { return w.row.Retention }},
	{"retention if it fails", []string{"retention_failed_ms"},
		func(j *onceq.JobRow) any { return j.RetentionFailed },
		func(w *wanted) any { return w.row.RetentionFailed }},
	{"tags", []string{"tags"}, func(j *onceq.JobRow) any { return fmt.Sprintf("%q", j.Tags) },
		func(w *wanted) any { return fmt.Sprintf("%q", w.row.Tags) }},
	{"meta", []string{"meta"}, func(j *onceq.JobRow) any { return inOrder(j.Meta) },
		func(w *wanted) any { return inOrder(json.RawMessage(w.row.Meta)) }},
	{"key",
		[]string{"unique", "unique_key", "unique_scope", "by", "fields", "meta_fields", "allow_blank", "secret_key"},
		func(j *onceq.JobRow) any { return keyText(j.Key, j.KeyText) },
		func(w *wanted) any { return keyText(w.explained.Key, w.explained.Text) }},
	{"hold", []string{"until", "window_ms", "ttl_ms", "from_enqueue"},
		func(j *onceq.JobRow) any { return holdText(j.Key, j.Hold) },
		func(w *wanted) any {
			if w.row.Claim == nil {
				return holdText(nil, onceq.Hold{})
			}
			return holdText(w.explained.Key, w.row.Claim.Hold)
		}},
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// inOrder is a value as JSON, with the members of objects in order.
func inOrder(v any) string {
	raw, err := json.Marshal(v)
	if err == nil {
		var plain any
		if err = json.Unmarshal(raw, &plain); err == nil {
			raw, err = json.Marshal(plain)
		}
	}
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// keyText names a key; two keys have the same text only if they are the same.
func keyText(key *onceq.Key, text string) string {
	if key == nil {
		return "none"
	}
	return fmt.Sprintf("%s (%.8s)", text, key.String())
}

func holdText(key *onceq.Key, h onceq.Hold) string {
	if key == nil {
		return "none"
	}
	text := "until " + h.Until.String()
	for name, d := range map[string]time.Duration{" window ": h.Window, " TTL ": h.TTL} { // never both
		if d != 0 {
			text += name + d.String()
		}
	}
	if h.FromEnqueue {
		text += " from the enqueue"
	}
	return text
}

func (p *property) asked(w *wanted) bool {
	return slices.ContainsFunc(p.of, func(term string) bool { return w.said[term] })
}

// String is what is wanted, a line for each property.
func (w *wanted) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  kind %q\n  args %.1000s", w.row.Kind, w.args)
	for _, p := range properties {
		if p.asked(w) {
			fmt.Fprintf(&b, "\n  %s %v", p.name, p.want(w))
		}
	}
	return b.String()
}

// unlike says in what a job of this kind, with this digest of its args, is not
// as wanted.
func (w *wanted) unlike(job *onceq.JobRow, digest [16]byte) (all []string) {
	if digest != w.digest {
		all = append(all, "other args")
	}
	for _, p := range properties {
		if got, want := p.got(job), p.want(w); p.asked(w) && got != want {
			all = append(all, fmt.Sprintf("%s is %v", p.name, got))
		}
	}
	if job.State.Finished() {
		all = append(all, "it has ended")
	}
	return all
}

// atMost is how many jobs a message lists.
const atMost = 20

// find returns the jobs that are as wanted, the oldest first, and a text about
// all jobs of the kind, those that are most like it first.
func (w *wanted) find(t testing.TB, client *onceq.Client) (found []*onceq.JobRow, others string) {
	t.Helper()
	type one struct {
		line   string
		unlike int
	}
	var list []one
	for job, err := range client.Jobs(t.Context(), onceq.JobFilter{Kind: w.row.Kind, Args: true}) {
		if err != nil {
			t.Fatalf("onceqtest: %v", err)
		}
		args, digest, err := argsOf(t, client, job)
		if err != nil {
			t.Fatalf("onceqtest: the args of job %s: %v", job.ID, err)
		}
		unlike := w.unlike(job, digest)
		what := strings.Join(unlike, ", ")
		if len(unlike) == 0 {
			found, what = append(found, job), "as wanted"
		}
		line := fmt.Sprintf("\n  %s %s args %.200s: %s", job.ID, job.State, args, what)
		list = append(list, one{line, len(unlike)})
	}
	if len(list) == 0 {
		return nil, w.otherKinds(t, client)
	}
	slices.Reverse(found)
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b one) int { return a.unlike - b.unlike })
	others = fmt.Sprintf("jobs of kind %q:", w.row.Kind)
	for i, job := range list {
		if i == atMost {
			others += fmt.Sprintf("\n  and %d more", len(list)-atMost)
			break
		}
		others += job.line
	}
	return found, others
}

func (w *wanted) others(t testing.TB, client *onceq.Client) string {
	t.Helper()
	_, others := w.find(t, client)
	return others
}

func (w *wanted) otherKinds(t testing.TB, client *onceq.Client) string {
	t.Helper()
	counts := map[string]int{}
	for job, err := range client.Jobs(t.Context(), onceq.JobFilter{}) {
		if err != nil {
			t.Fatalf("onceqtest: %v", err)
		}
		counts[fmt.Sprintf("kind %q", job.Kind)]++
	}
	if len(counts) == 0 {
		return "the store has no jobs at all"
	}
	return fmt.Sprintf("there is no job of kind %q; there are:%s", w.row.Kind, lines(counts))
}
