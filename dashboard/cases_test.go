package dashboard

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestTheSameIdempotencyKeyWithOtherArgsIs422(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, nil)
		w.is(w.ask("POST", "jobs", `{"kind":"mail","args":{"to":1}}`, "Idempotency-Key", "k"), http.StatusCreated)
		for _, other := range []string{`{"kind":"mail","args":{"to":2}}`, `{"kind":"mail"}`,
			`{"kind":"other","args":{"to":1}}`,
			`{"kind":"mail","args":{"to":1},"unique":true}`, `{"kind":"mail","args":{"to":1},"priority":5}`} {
			w.problem(w.ask("POST", "jobs", other, "Idempotency-Key", "k"), "idempotency-key-reused", `"id":"k"`)
		}
		if a := w.is(w.ask("GET", "jobs", ""), http.StatusOK); len(a.json["jobs"].([]any)) != 1 {
			t.Error(a.body)
		}
	})
}

func TestWhiteSpaceAndMemberOrderDoNotMakeAnotherRequest(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, nil)
		var first string
		for _, same := range []string{`{"kind":"mail","args":{"a":1,"b":[1,"é"]},"unique":true}`,
			" {\n\"unique\" : true,\t\"args\":{\"b\":[1.0,\"\\u00e9\"],\"a\":1e0},\"kind\":\"mail\"}\n"} {
			a := w.is(w.ask("POST", "jobs", same, "Idempotency-Key", "k"), http.StatusCreated)
			if first == "" {
				first = a.body
			}
			if a.body != first {
				t.Errorf("%s\n%s", a.body, first)
			}
		}
		const other = `{"kind":"mail","args":{"a":1,"b":["é",1]},"unique":true}`
		w.problem(w.ask("POST", "jobs", other, "Idempotency-Key", "k"),
			"idempotency-key-reused", "") // the order of elements does matter
	})
}

func TestAnIdempotencyKeyWithRetentionZeroIsRefused(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, nil)
		for _, retention := range []string{`"retention":"0s"`, `"retention_ms":0`} {
			job := `{"kind":"mail",` + retention + `}`
			w.problem(w.ask("POST", "jobs", job, "Idempotency-Key", "k"), "invalid", `"field":"retention"`)
			w.problem(w.ask("POST", "jobs/batch", `{"jobs":[{"kind":"mail"},`+job+`]}`, "Idempotency-Key", "k"),
				"invalid", `"field":"jobs/1/retention"`)
		}
		if a := w.is(w.ask("GET", "jobs", ""), http.StatusOK); len(a.json["jobs"].([]any)) != 0 {
			t.Error(a.body)
		}
		w.is(w.ask("POST", "jobs", `{"kind":"mail","retention":"0s"}`), http.StatusCreated)
	})
}

func TestALateFinishIs409AndChangesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, nil)
		id := w.enqueue(`{"kind":"mail","unique":true}`)
		late := w.join("late")
		w.fetch(late, 1, "[]")
		w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"leave":true}`, late)), http.StatusOK)
		for _, outcome := range []string{"completed", "failed", "discarded", "snoozed"} { // while it waits
			before := dump(t, w.store)
			w.problem(w.finish(id, late, 1, outcome), "lease-lost", "nothing has changed")
			if after := dump(t, w.store); after != before {
				t.Errorf("%s changed\n%s\nto\n%s", outcome, before, after)
			}
		}
		next := w.join("next")
		w.fetch(next, 1, "[]")
		before := dump(t, w.store)
		w.problem(w.finish(id, late, 1, "completed"), "lease-lost", "") // while another runs it
		w.problem(w.finish(id, late, 2, "completed"), "lease-lost", "") // nor by the number of the other's run
		if after := dump(t, w.store); after != before {
			t.Errorf("changed\n%s\nto\n%s", before, after)
		}
		w.is(w.finish(id, next, 2, "failed"), http.StatusOK)
		before = dump(t, w.store)
		w.problem(w.finish(id, late, 1, "completed"), "lease-lost", "") // after that
		if after := dump(t, w.store); after != before {
			t.Errorf("changed\n%s\nto\n%s", before, after)
		}
	})
}

func TestATokenCannotFinishAnotherTokensRun(t *testing.T) {
	onStores(t, func(t *testing.T, store onceq.Store) {
		w := serveOn(t, store, nil)
		id := w.enqueue(`{"kind":"mail","unique":true}`)
		w.token = workToken
		mine := w.join("py")
		w.fetch(mine, 1, "[]")
		w.token = otherToken
		hand := fmt.Sprintf(`[{"id":%q,"run":1}]`, id)
		before := dump(t, w.store)
		for _, outcome := range []string{"completed", "failed", "returned"} {
			w.problem(w.finish(id, mine, 1, outcome), "lease-lost", "")
		}
		if after := dump(t, w.store); after != before {
			t.Errorf("changed\n%s\nto\n%s", before, after)
		}
		a := w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"runs":%s,"fetches_done":1}`, mine, hand)),
			http.StatusOK)
		if a.at("lost/0/id") != id {
			t.Error(a.body)
		}
		w.is(w.ask("POST", "extend", fmt.Sprintf(`{"worker":%q,"leave":true}`, mine)), http.StatusOK)
		w.token = workToken
		if a := w.is(w.finish(id, mine, 1, "completed"), http.StatusOK); a.json["state"] != "completed" {
			t.Error(a.body)
		}
	})
}

// millionLines is the body of an import, made as it is read.
type millionLines struct {
	left int
	heap uint64 // the largest that was seen
	rest []byte
}

func (m *millionLines) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.left == 0 {
			return 0, io.EOF
		}
		n := min(m.left, 500)
		m.left -= n
		m.rest = []byte(strings.Repeat(`{"kind":"mail","args":{"to":1},"unique":true}`+"\n", n))
		if m.left%10_000 == 0 {
			var s runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&s)
			m.heap = max(m.heap, s.HeapAlloc)
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// lastLine keeps the end of an answer.
type lastLine struct {
	header http.Header
	b      []byte
	n      int
}

func (l *lastLine) Header() http.Header { return l.header }
func (l *lastLine) WriteHeader(int)     {}
func (l *lastLine) Flush()              {}
func (l *lastLine) Write(p []byte) (int, error) {
	l.n += len(p)
	l.b = append([]byte(nil), p...)
	return len(p), nil
}

// TestAnImportOfAMillionLinesKeepsMemoryFlatAndCountsEveryLine imports a job and
// its duplicates, so that the store stays small: what grows is the import's. The
// million itself is for ONCEQ_LONG, a twentieth of it for every day.
func TestAnImportOfAMillionLinesKeepsMemoryFlatAndCountsEveryLine(t *testing.T) {
	w := serve(t, nil)
	quiet, err := onceq.NewClient(w.store, &onceq.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	w.Dashboard.client.Client = quiet // else the log of each duplicate is what grows
	lines := 50_000
	if os.Getenv("ONCEQ_LONG") != "" {
		lines = 1_000_000
	}
	body := &millionLines{left: lines}
	r := w.request("POST", "jobs/import", "")
	r.Body, r.ContentLength = io.NopCloser(body), -1
	r.Header.Set("Content-Type", "application/x-ndjson")
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	before, began := s.HeapAlloc, time.Now()
	answer := &lastLine{header: http.Header{}}
	w.ServeHTTP(answer, r)
	var last struct {
		Summary summary
		Ended   string
	}
	if err := json.Unmarshal(answer.b, &last); err != nil {
		t.Fatalf("%v: %s", err, answer.b)
	}
	if last.Ended != "eof" || last.Summary.Lines != lines || last.Summary.Inserted != 1 ||
		last.Summary.Skipped != lines-1 || last.Summary.LastLine != lines {
		t.Errorf("%+v", last)
	}
	if grown := int64(body.heap) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	t.Logf("%v, %d bytes of an answer", time.Since(began), answer.n)
}

// TestEveryBodyThatTestsSeeFitsTheOpenAPIDocument tries the check that each
// request of these tests goes through (world.checked): it must find a member
// that is not in the document, one that is missing and one of another type.
func TestEveryBodyThatTestsSeeFitsTheOpenAPIDocument(t *testing.T) {
	w := serve(t, nil)
	w.enqueue(`{"kind":"mail","id":"a","unique":true,"args":{"to":1}}`)
	doc := theDocument()
	for path, name := range map[string]string{"jobs/{id}": "jobs/a", "queues": "queues", "jobs": "jobs",
		"keys": "keys"} {
		place := []string{"paths", "/" + path, "get", "responses", "200", "content", "application/json", "schema"}
		body := w.is(w.ask("GET", name, ""), http.StatusOK).json
		if m := doc.misfit(any(body), append([]string(nil), place...)...); m != "" {
			t.Errorf("%s: %s", path, m)
		}
		body["undocumented"] = 1.0
		if doc.misfit(any(body), append([]string(nil), place...)...) == "" {
			t.Errorf("%s: a member that is not in the document was taken", path)
		}
		delete(body, "undocumented")
		if _, isList := body[name]; isList {
			body[name] = "x"
		} else {
			body["id"] = 1.0
		}
		if doc.misfit(any(body), append([]string(nil), place...)...) == "" {
			t.Errorf("%s: a member of another type was taken: %v", path, body)
		}
	}
}
