package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/internal/wire"
)

func TestAnEnqueueIs201ADuplicate200AndARejectedOne409WithTheHolder(t *testing.T) {
	onStores(t, testAnEnqueueIs201ADuplicate200AndARejectedOne409WithTheHolder)
}

func testAnEnqueueIs201ADuplicate200AndARejectedOne409WithTheHolder(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const job = `{"kind":"mail","args":{"to":1},"unique":true}`
	a := w.is(w.ask("POST", "jobs", job), http.StatusCreated)
	id := a.at("job/id").(string)
	if a.header.Get("Location") != "jobs/"+id || a.at("outcome") != "inserted" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if a := w.is(w.ask("POST", "jobs", job), http.StatusOK); a.at("outcome") != "skipped" || a.at("job/id") != id ||
		a.at("conflict/holder") != id {
		t.Error(a.body)
	}
	reject := strings.Replace(job, `"unique"`, `"on_conflict":"reject","unique"`, 1)
	a = w.problem(w.ask("POST", "jobs", reject), "duplicate", "is held by job "+id)
	if a.at("conflict/holder") != id || a.at("job/id") != id {
		t.Error(a.body)
	}
	if a := w.is(w.ask("POST", "jobs", `{"kind":"mail","args":{"to":1},"unique":true,"on_conflict":"supersede"}`),
		http.StatusCreated); a.at("outcome") != "superseded" {
		t.Error(a.body)
	}
}

func TestTheTraceOfARequestGoesWithTheJob(t *testing.T) {
	onStores(t, testTheTraceOfARequestGoesWithTheJob)
}

func testTheTraceOfARequestGoesWithTheJob(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	a := w.is(w.ask("POST", "jobs", `{"kind":"mail"}`, "traceparent", place, "tracestate", "vendor=1"),
		http.StatusCreated)
	if a.at("job/trace/traceparent") != place || a.at("job/trace/tracestate") != "vendor=1" {
		t.Error(a.body)
	}
	if a := w.fetch(w.join("py"), 1, "[]"); a.at("jobs/0/trace/traceparent") != place {
		t.Error(a.body)
	}
	a = w.is(w.ask("POST", "jobs/batch", `{"jobs":[{"kind":"mail"}]}`, "traceparent", place), http.StatusOK)
	if a.at("receipts/0/job/trace/traceparent") != place {
		t.Error(a.body)
	}
	a = w.is(w.ask("POST", "jobs", `{"kind":"mail"}`, "traceparent", "x"), http.StatusCreated)
	if a.at("job/trace") != nil {
		t.Error(a.body)
	}
}

func TestTheReceiptOverHTTPIsTheReceiptOfTheCommand(t *testing.T) {
	onStores(t, testTheReceiptOverHTTPIsTheReceiptOfTheCommand)
}

func testTheReceiptOverHTTPIsTheReceiptOfTheCommand(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	w.enqueue(`{"kind":"mail","args":{"to": 1},"id":"a","unique":true}`)
	over := w.is(w.ask("POST", "jobs", `{"kind":"mail","args":{"to":1},"id":"b","unique":true}`), http.StatusOK)
	r, err := w.client.Enqueue(t.Context(), onceq.JSON("mail", []byte(`{"to":1}`)), onceq.ID("b"), onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := wire.WriteLine(&b, r); err != nil || b.String() != over.body { // as the command prints it
		t.Errorf("%v\n%s%s", err, over.body, b.String())
	}
}

func TestAnInvalidFieldIsNamedAsTheJSONMember(t *testing.T) {
	onStores(t, testAnInvalidFieldIsNamedAsTheJSONMember)
}

func testAnInvalidFieldIsNamedAsTheJSONMember(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for _, c := range []struct{ body, field, text string }{
		{`{"kind":"mail","windoww":"5m"}`, "windoww", `did you mean \"window\"?`},
		{`{"kind":"mail","unique":true,"window":"5x"}`, "window", "5x"},
		{`{"kind":"mail","priority":44}`, "priority", "0 (first) to 9 (last)"},
		{`{"kind":"mail","priority":"44"}`, "priority", "number"},
		{`{"kind":"mail","unique":true,"fields":["nope"]}`, "fields", "nope"},
		{`{"args":{}}`, "kind", "missing"},
		{`{"kind":"mail","unique":true,"window":"2h","ttl":"1h"}`, "window", "at least 2h"},
		{`{"kind":"mail","unique":true,"until":"never"}`, "until", "never"},
		{`{"kind":"mail","queue":"onceq.x"}`, "queue", "onceq."},
		{`{"kind":"mail","args":1,"args_base64":"AA=="}`, "args_base64", "keep one"},
		{`{"kind":"mail","kind":"mail"}`, "kind", "twice"},
		{`{"kind":"mail","unique_key":"k","by":["args"]}`, "", "unique_key"},
	} {
		a := w.problem(w.ask("POST", "jobs", c.body), "invalid", "")
		if c.field != "" && a.json["field"] != c.field || !strings.Contains(a.body, c.text) {
			t.Errorf("%s: field %v: %s", c.body, a.json["field"], a.body)
		}
		for _, word := range []string{"Unique.", "Config.", "onceq.By", "--"} { // neither Go's words nor the command's
			if strings.Contains(a.body, word) {
				t.Errorf("%s: %s in %s", c.body, word, a.body)
			}
		}
	}
	a := w.problem(w.ask("POST", "jobs", `{"kind":`), "malformed", "middle")
	if a.json["at"] != 8.0 {
		t.Error(a.body)
	}
	w.problem(w.ask("POST", "jobs", `{"kind":x}`), "malformed", "byte 9")
	w.problem(w.ask("POST", "jobs", `[1]`), "invalid", "not a JSON object")
}

func TestTheSameIdempotencyKeyGetsTheFirstAnswerAlsoAfterTheJobHasEnded(t *testing.T) {
	onStores(t, testTheSameIdempotencyKeyGetsTheFirstAnswerAlsoAfterTheJobHasEnded)
}

func testTheSameIdempotencyKeyGetsTheFirstAnswerAlsoAfterTheJobHasEnded(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const job = `{"kind":"mail","args":{"to":1,"cc":2},"unique":true}`
	first := w.is(w.ask("POST", "jobs", job, "Idempotency-Key", `"k 1"`), http.StatusCreated)
	if first.at("job/id") != "k 1" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%v %s", first.header, first.body)
	}
	time.Sleep(2 * time.Millisecond) // so that the clock has moved
	again := func(body string) {
		t.Helper()
		a := w.is(w.ask("POST", "jobs", body, "Idempotency-Key", "k 1"), http.StatusCreated)
		if a.header.Get("Idempotency-Replayed") != "true" || a.at("outcome") != "inserted" || a.at("job/id") != "k 1" {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	again(job)
	again(` { "unique":true, "args":{"cc":2, "to":1.0},"kind":"mail" } `) // white space and order do not matter
	if _, err := w.client.Cancel(t.Context(), "k 1"); err != nil {
		t.Fatal(err)
	}
	again(job)
	w.problem(w.ask("POST", "jobs", `{"kind":"mail","args":{"to":2},"unique":true}`, "Idempotency-Key", "k 1"),
		"idempotency-key-reused", "new one")
	w.problem(w.ask("POST", "jobs", `{"kind":"other"}`, "Idempotency-Key", "k 1"), "idempotency-key-reused", "k 1")
	w.token = enqueueToken // another caller's request is another request
	w.problem(w.ask("POST", "jobs", job, "Idempotency-Key", "k 1"), "idempotency-key-reused", "")
	w.token = operateToken
	w.problem(w.ask("POST", "jobs", `{"kind":"mail","retention":"0s"}`, "Idempotency-Key", "k2"), "invalid",
		"retention")
	w.problem(w.ask("POST", "jobs", `{"kind":"mail","retention_failed":"0s"}`, "Idempotency-Key", "k2"), "invalid",
		"retention_failed")
	w.problem(w.ask("POST", "jobs", job, "Idempotency-Key", "a", "Idempotency-Key", "b"), "malformed", "twice")
	w.problem(w.ask("POST", "jobs", job, "Idempotency-Key", strings.Repeat("k", 256)), "invalid", "255")

	batch := `{"jobs":[{"kind":"mail","args":1},{"kind":"mail","args":1}]}`
	one := w.is(w.ask("POST", "jobs/batch", batch, "Idempotency-Key", "b"), http.StatusOK)
	two := w.is(w.ask("POST", "jobs/batch", batch, "Idempotency-Key", "b"), http.StatusOK)
	if one.body != two.body || one.at("receipts/1/job/id") != "b/1" {
		t.Errorf("%s%s", one.body, two.body)
	}
	w.problem(w.ask("POST", "jobs/batch", strings.Replace(batch, ":1}", ":2}", 1), "Idempotency-Key", "b"),
		"idempotency-key-reused", "")
}

// A job that names its own ID keeps it, and the key says which request it was:
// so a client can repeat its own call, and others are duplicates as usual.
func TestAnIdempotencyKeyGoesWithAnIDOfTheCallersOwn(t *testing.T) {
	onStores(t, testAnIdempotencyKeyGoesWithAnIDOfTheCallersOwn)
}

func testAnIdempotencyKeyGoesWithAnIDOfTheCallersOwn(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const job = `{"kind":"mail","id":"welcome:42"}`
	const batch = `{"jobs":[{"kind":"mail","id":"a"},{"kind":"mail","id":"welcome:42"},{"kind":"mail"}]}`
	for range 2 { // the second time is a repeat
		a := w.is(w.ask("POST", "jobs", job, "Idempotency-Key", "k"), http.StatusCreated)
		if a.at("job/id") != "welcome:42" || a.at("outcome") != "inserted" {
			t.Error(a.body)
		}
		a = w.is(w.ask("POST", "jobs/batch", batch, "Idempotency-Key", "b"), http.StatusOK)
		if a.at("receipts/0/outcome") != "inserted" || a.at("receipts/1/outcome") != "skipped" ||
			a.at("receipts/2/job/id") != "b/2" {
			t.Error(a.body)
		}
	}
	for _, other := range []string{"k2", "k"} { // another call, and another request of the same name
		body := job
		if other == "k" {
			body = `{"kind":"mail","id":"welcome:42","args":{"to":1}}`
		}
		a := w.is(w.ask("POST", "jobs", body, "Idempotency-Key", other), http.StatusOK)
		if a.at("outcome") != "skipped" || a.at("conflict/by") != "id" {
			t.Error(a.body)
		}
	}
}

func TestAHundredCallsWithOneIdempotencyKeyAtOnceMakeOneJobAndEqualAnswers(t *testing.T) {
	onStores(t, testAHundredCallsWithOneIdempotencyKeyAtOnceMakeOneJobAndEqualAnswers)
}

func testAHundredCallsWithOneIdempotencyKeyAtOnceMakeOneJobAndEqualAnswers(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	bodies := make([]string, 100)
	var all sync.WaitGroup
	for i := range bodies {
		all.Go(func() {
			bodies[i] = w.ask("POST", "jobs", `{"kind":"mail","unique":true}`, "Idempotency-Key", "k").body
		})
	}
	all.Wait()
	for _, b := range bodies {
		if b != bodies[0] {
			t.Fatalf("%s%s", b, bodies[0])
		}
	}
	if a := w.is(w.ask("GET", "jobs", ""), http.StatusOK); len(a.json["jobs"].([]any)) != 1 {
		t.Error(a.body)
	}
}

// forgetful loses the answer to each enqueue, after it was done.
type forgetful struct {
	onceq.Store
	lose bool
}

func (f *forgetful) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	results, err := f.Store.Enqueue(ctx, r)
	if err == nil && f.lose {
		return nil, fmt.Errorf("%w: the line was cut", onceq.ErrUncertain)
	}
	return results, err
}

func TestALostAnswerIs503UncertainAndRepeatingFindsTheJob(t *testing.T) {
	store := &forgetful{memstore.New(nil), true}
	w := serveOn(t, store, nil)
	// With a retention the client finds out by itself.
	a := w.problem(w.ask("POST", "jobs", `{"kind":"mail","id":"a","retention":"0s"}`), "uncertain", "again")
	if a.at("ids/0") != "a" || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "the line was cut") {
		t.Errorf("%v %s", a.header, a.body)
	}
	store.lose = false
	if a := w.is(w.ask("POST", "jobs", `{"kind":"mail","id":"a","retention":"0s"}`),
		http.StatusOK); a.at("job/id") != "a" {
		t.Error(a.body)
	}
}

func TestOneInvalidItemRefusesTheBatchAndNamesItsIndex(t *testing.T) {
	onStores(t, testOneInvalidItemRefusesTheBatchAndNamesItsIndex)
}

func testOneInvalidItemRefusesTheBatchAndNamesItsIndex(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for bad, field := range map[string]string{
		`{"kind":"mail","window":"5m","unique":true,"until":"never"}`: "jobs/1/until",
		`{"kind":"mail","priority":44}`:                               "jobs/1/priority",
		`{"kind":"mail","unique":true,"fields":["x"]}`:                "jobs/1/fields",
		`{"kind":"mail","knd":1}`:                                     "jobs/1/knd",
	} {
		a := w.problem(w.ask("POST", "jobs/batch", `{"jobs":[{"kind":"mail"},`+bad+`]}`), "invalid", "")
		if a.json["field"] != field {
			t.Errorf("%s: %s", bad, a.body)
		}
	}
	if a := w.is(w.ask("GET", "jobs", ""), http.StatusOK); len(a.json["jobs"].([]any)) != 0 {
		t.Error(a.body)
	}
	a := w.is(w.ask("POST", "jobs/batch", `{"jobs":[{"kind":"mail","unique":true},{"kind":"mail","unique":true},
		{"kind":"mail","unique":true,"on_conflict":"reject"}]}`), http.StatusOK)
	if a.at("receipts/0/outcome") != "inserted" || a.at("receipts/1/outcome") != "skipped" ||
		a.at("receipts/2/outcome") != "rejected" {
		t.Error(a.body)
	}
	w.problem(w.ask("POST", "jobs/batch", `{"jobs":[]}`), "invalid", "1 to 10000")
	w.problem(w.ask("POST", "jobs/batch", `{"job":[]}`), "invalid", `did you mean \"jobs\"?`)
}

func TestExplainSaysWhatEnqueueThenDoes(t *testing.T) {
	onStores(t, testExplainSaysWhatEnqueueThenDoes)
}

func testExplainSaysWhatEnqueueThenDoes(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for i, policy := range []string{"skip", "reject", "coalesce", "supersede", "replace:args", "skip"} {
		job := fmt.Sprintf(`{"kind":"mail","args":{"to":1,"n":%d},"unique":true,"fields":["to"],"on_conflict":%q}`, i,
			policy)
		said := w.is(w.ask("POST", "explain", job), http.StatusOK).at("outcome")
		a := w.ask("POST", "jobs", job)
		if done := a.at("outcome"); done != said && !(said == "rejected" && a.status == http.StatusConflict) {
			t.Errorf("%s: explained %v, done %s", job, said, a.body)
		}
	}
	a := w.is(w.ask("POST", "explain", `{"job":{"kind":"mail","args":{"a":1},"unique":true},
		"other":{"kind":"mail","args":{"a":1.0},"unique":true}}`), http.StatusOK)
	if a.at("same_key") != true || a.at("job/key") != a.at("other/key") {
		t.Error(a.body)
	}
	if a := w.problem(w.ask("POST", "explain", `{"job":{"kind":"mail"},"other":{"kind":"mail","priority":44}}`),
		"invalid",
		""); a.json["field"] != "other/priority" {
		t.Error(a.body)
	}
	w.problem(w.ask("POST", "explain", `{"job":{"kind":"mail"}}`), "invalid", "send both")
}

func TestEveryJobIsListedOnceWhileOthersComeAndGo(t *testing.T) {
	onStores(t, testEveryJobIsListedOnceWhileOthersComeAndGo)
}

func testEveryJobIsListedOnceWhileOthersComeAndGo(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	stay := map[string]int{}
	for i := range 30 {
		stay[w.enqueue(fmt.Sprintf(`{"kind":"mail","args":%d,"tags":["keep"]}`, i))] = 0
	}
	for path := "jobs?limit=7"; path != ""; {
		a := w.is(w.ask("GET", path, ""), http.StatusOK)
		for _, j := range a.json["jobs"].([]any) {
			job := j.(map[string]any)
			if _, ok := stay[job["id"].(string)]; ok {
				stay[job["id"].(string)]++
			}
			if job["args"] != nil || job["meta"] != nil {
				t.Errorf("a list has args: %v", job)
			}
		}
		gone := w.enqueue(`{"kind":"mail"}`)
		w.is(w.ask("DELETE", "jobs/"+gone, ""), http.StatusOK)
		next, _ := a.json["next"].(string)
		if path = ""; next != "" {
			path = "jobs?limit=7&cursor=" + url.QueryEscape(next)
			w.problem(w.ask("GET", path+"&queue=x", ""), "invalid", "cursor") // a cursor of another filter
		}
	}
	for id, n := range stay {
		if n != 1 {
			t.Errorf("job %s was listed %d times", id, n)
		}
	}
	a := w.is(w.ask("GET", "jobs?include=args,errors&limit=1&state=available&state=running", ""), http.StatusOK)
	if a.at("jobs/0/args") == nil || a.at("now") == nil {
		t.Error(a.body)
	}
}

func TestAMistypedFilterIsRefusedNotIgnored(t *testing.T) {
	onStores(t, testAMistypedFilterIsRefusedNotIgnored)
}

func testAMistypedFilterIsRefusedNotIgnored(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for path, text := range map[string]string{
		"jobs?stat=running":               `did you mean \"state\"?`,
		"jobs?queue=a&queue=b":            "twice",
		"jobs?limit=0":                    "1 to 200",
		"jobs?limit=201":                  "1 to 200",
		"jobs?include=arg":                "args, meta, errors",
		"jobs?state=runing":               "runing",
		"jobs?key=xyz":                    "64 hexadecimal digits",
		"jobs?after=yesterday":            "instant",
		"keys?prefix=zz":                  "prefix",
		"stats?span=9d":                   "span",
		"queues?limit=1":                  "not known",
		"keys/" + strings.Repeat("z", 64): "64 hexadecimal digits",
	} {
		w.problem(w.ask("GET", path, ""), "invalid", text)
	}
	w.problem(w.ask("GET", "jobs?a="+strings.Repeat("a", 5000), ""), "too-large", "query")
	w.problem(w.ask("GET", "jobs?a=%zz", ""), "malformed", "query")
}

func TestIDsWithSlashesDotsPercentAndNewLinesAreReached(t *testing.T) {
	onStores(t, testIDsWithSlashesDotsPercentAndNewLinesAreReached)
}

func testIDsWithSlashesDotsPercentAndNewLinesAreReached(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	for _, id := range []string{"a/b", "a%2Fb", "...", "a b?c#d", "ü\u2028", "batch", "a;b=c&d"} {
		body, _ := json.Marshal(map[string]any{"kind": "mail", "id": id})
		a := w.is(w.ask("POST", "jobs", string(body)), http.StatusCreated)
		where := a.header.Get("Location")
		if got := w.is(w.ask("GET", where, ""), http.StatusOK).at("id"); got != id {
			t.Errorf("%q: got %q", id, got)
		}
		if got := w.is(w.ask("POST", where+"/cancel", ""), http.StatusOK).at("state"); got != "cancelled" {
			t.Errorf("%q is %s", id, got)
		}
	}
	for path, kind := range map[string]string{"jobs/nope": "not-found", "jobs/../cancel": "method-not-allowed",
		"nope":  "not-found",
		"jobs/": "not-found", "/api/v2/jobs": "not-found", "//": "not-found", "jobs/%zz": "not-found"} {
		r := w.request("GET", "jobs", "")
		if !strings.HasPrefix(path, "/") {
			path = "/api/v1/" + path
		}
		r.URL.RawPath, r.URL.Path = path, path
		if u, err := url.PathUnescape(path); err == nil {
			r.URL.Path = u
		}
		w.problem(w.send(r, ""), kind, "")
	}
	a := w.problem(w.ask("PUT", "jobs", ""), "method-not-allowed", "PUT")
	if allow := a.header.Get("Allow"); allow != "POST, GET" {
		t.Errorf("Allow: %s", allow)
	}
	w.problem(w.ask("OPTIONS", "jobs", ""), "method-not-allowed", "")
}

func TestAKeyIsReleasedOnlyFromTheHolderThatWasSeen(t *testing.T) {
	onStores(t, testAKeyIsReleasedOnlyFromTheHolderThatWasSeen)
}

func testAKeyIsReleasedOnlyFromTheHolderThatWasSeen(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const job = `{"kind":"mail","args":{"to":1},"unique":true}`
	first := w.is(w.ask("POST", "jobs", job), http.StatusCreated)
	key, old := first.at("job/key").(string), first.at("job/id").(string)
	w.problem(w.ask("DELETE", "keys/"+key, ""), "invalid", "holder")
	w.is(w.ask("POST", "jobs/"+old+"/cancel", ""), http.StatusOK)
	now := w.enqueue(job)
	if a := w.problem(w.ask("DELETE", "keys/"+key+"?holder="+old, ""), "wrong-holder", ""); a.json["holder"] != now {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "keys?prefix="+key[:8], ""), http.StatusOK); a.at("keys/0/holder") != now ||
		a.at("keys/0/key_text") == nil {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "jobs/"+now, ""), http.StatusOK); a.at("held_key/holder") != now ||
		a.at("args/to") != 1.0 {
		t.Error(a.body)
	}
	if a := w.is(w.ask("DELETE", "keys/"+key+"?holder="+now, ""), http.StatusOK); a.json["was"] != now ||
		a.json["now"] != nil {
		t.Error(a.body)
	}
	w.problem(w.ask("GET", "keys/"+key, ""), "not-found", "")
	w.problem(w.ask("DELETE", "keys/"+key+"?holder="+now, ""), "not-found", "")
}

func TestRetryOfAJobWhoseKeyIsHeldIs409AndNamesTheHolder(t *testing.T) {
	onStores(t, testRetryOfAJobWhoseKeyIsHeldIs409AndNamesTheHolder)
}

func testRetryOfAJobWhoseKeyIsHeldIs409AndNamesTheHolder(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	const job = `{"kind":"mail","args":{"to":1},"unique":true}`
	old := w.enqueue(job)
	w.is(w.ask("POST", "jobs/"+old+"/cancel", ""), http.StatusOK)
	now := w.enqueue(job)
	if a := w.problem(w.ask("POST", "jobs/"+old+"/retry", ""), "duplicate", now); a.at("conflict/holder") != now {
		t.Error(a.body)
	}
	w.problem(w.ask("POST", "jobs/"+old+"/retry", `{"without":true}`), "invalid", `did you mean \"without_key\"?`)
	if a := w.is(w.ask("POST", "jobs/"+old+"/retry", `{"without_key":true}`),
		http.StatusOK); a.at("state") != "available" {
		t.Error(a.body)
	}
	a := w.problem(w.ask("POST", "jobs/"+old+"/retry", ""), "wrong-state", "")
	if a.json["state"] != "available" || a.at("job/id") != old {
		t.Error(a.body)
	}
	w.is(w.ask("POST", "jobs/"+old+"/run", ""), http.StatusOK)
	w.is(w.ask("DELETE", "jobs/"+old, ""), http.StatusOK)
	w.problem(w.ask("GET", "jobs/"+old, ""), "not-found", "")
	w.problem(w.ask("DELETE", "jobs/"+old, ""), "not-found", "")
}

func TestQueuesWorkersAndCountsAreShown(t *testing.T) {
	onStores(t, testQueuesWorkersAndCountsAreShown)
}

func testQueuesWorkersAndCountsAreShown(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	w.enqueue(`{"kind":"mail","queue":"a/b"}`)
	if a := w.is(w.ask("POST", "queues/a%2Fb/pause", ""), http.StatusOK); a.json["paused"] != true {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "queues/a%2Fb", ""), http.StatusOK); a.at("counts/available") != 1.0 ||
		a.json["paused"] != true {
		t.Error(a.body)
	}
	if a := w.is(w.ask("POST", "queues/a%2Fb/resume", "{}"), http.StatusOK); a.json["paused"] != false {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "queues", ""), http.StatusOK); a.at("queues/0/queue") != "a/b" {
		t.Error(a.body)
	}
	w.problem(w.ask("GET", "queues/nope", ""), "not-found", "")
	ctx := t.Context()
	key := onceq.Key{1}
	err := w.store.Note(ctx, onceq.Notes{Nonce: [16]byte{1},
		Tallies: []onceq.Tally{{Queue: "default", Kind: "mail", Terms: "by args",
			Count: onceq.Count{Enqueued: [6]int64{3, 2},
				Ended: [6]int64{1}, RunMS: 7}}},
		Hot: []onceq.HotKey{{Key: key, Kind: "mail", Text: "kind=mail s3cr3t", Holder: "x", Count: 2}},
		Seen: []onceq.Sighting{{Queue: "default", Kind: "mail", Outcome: onceq.Skipped,
			Conflict: onceq.Conflict{By: "key", Key: key, Text: "kind=mail s3cr3t", Holder: "x",
				State: onceq.Running}}}})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.is(w.ask("GET", "stats?span=10m&kind=mail", ""), http.StatusOK); a.at("series/0/kind") != "mail" ||
		!strings.Contains(a.body, `"skipped":[`) {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "conflicts", ""), http.StatusOK); a.at("hot/0/at_least") != 2.0 ||
		a.at("seen/0/conflict/holder") != "x" {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "policies", ""), http.StatusOK); a.at("policies/0/terms") != "by args" {
		t.Error(a.body)
	}
	if a := w.is(w.ask("GET", "doctor", ""), http.StatusOK); a.json["state"] != "none" {
		t.Error(a.body)
	}
	w.is(w.ask("POST", "doctor", ""), http.StatusAccepted)
	w.running.Wait()
	if a := w.is(w.ask("GET", "doctor", ""), http.StatusOK); a.json["state"] != "done" || a.at("report/ok") != true {
		t.Error(a.body)
	}
}

func TestReadinessFollowsTheStore(t *testing.T) {
	store := &deadStore{Store: memstore.New(nil)}
	w := serveOn(t, store, nil)
	w.token = ""
	w.is(w.ask("GET", "/healthz", "", "Host", "10.1.2.3"), http.StatusOK)
	w.is(w.ask("GET", "/readyz", "", "Host", "10.1.2.3"), http.StatusOK)
	store.dead = errors.New("password=hunter2")
	w.ready.at = time.Time{} // a second later
	if a := w.is(w.ask("GET", "/readyz", ""),
		http.StatusServiceUnavailable); a.body != `{"ready":false,"why":"store"}`+"\n" {
		t.Error(a.body)
	}
	w.is(w.ask("GET", "/healthz", ""), http.StatusOK)
	w.Drain()
	if a := w.is(w.ask("GET", "/readyz", ""), http.StatusServiceUnavailable); !strings.Contains(a.body, "draining") {
		t.Error(a.body)
	}
}

// deadStore is a store whose reads fail when dead says why.
type deadStore struct {
	onceq.Store
	dead  error
	calls int
}

func (d *deadStore) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	if d.calls++; d.dead != nil {
		return onceq.KeyPage{}, d.dead
	}
	return d.Store.Keys(ctx, r)
}

func (d *deadStore) Queues(ctx context.Context, r onceq.QueuesRequest) (onceq.QueueList, error) {
	if d.calls++; d.dead != nil {
		return onceq.QueueList{}, d.dead
	}
	return d.Store.Queues(ctx, r)
}

func TestAnInternalErrorShowsARequestIDAndNoCause(t *testing.T) {
	store := &deadStore{Store: memstore.New(nil), dead: errors.New("connect as onceq with password=hunter2")}
	w := serveOn(t, store, nil)
	a := w.problem(w.ask("GET", "queues", ""), "internal", "log of the server")
	if strings.Contains(a.body, "hunter2") || !strings.Contains(w.log.String(), a.json["request_id"].(string)) {
		t.Errorf("%s\n%s", a.body, w.log)
	}
	store.dead = onceq.ErrClosed
	w.problem(w.ask("GET", "queues", ""), "unavailable", "try again")
}
