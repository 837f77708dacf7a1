package dashboard

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// importing sends lines over a real connection, and returns those of the
// answer. cut breaks the connection after the lines.
func (w *world) importing(url, query, body string, cut bool) (lines []string, err error) {
	w.Helper()
	in, out := io.Pipe()
	go func() {
		_, _ = io.WriteString(out, body) // who is gone hears nothing
		if cut {
			out.CloseWithError(io.ErrUnexpectedEOF)
		}
		out.Close()
	}()
	r, err := http.NewRequestWithContext(w.Context(), "POST", url+"/api/v1/jobs/import"+query, in)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Authorization", "Bearer "+w.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		w.Fatalf("%d %s", res.StatusCode, text)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}

func TestAnImportCountsEveryLineAndNamesThoseThatAreRefused(t *testing.T) {
	onStores(t, testAnImportCountsEveryLineAndNamesThoseThatAreRefused)
}

func testAnImportCountsEveryLineAndNamesThoseThatAreRefused(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	w.token = enqueueToken
	var body strings.Builder
	for i := range 1234 { // each twice, in three steps
		fmt.Fprintf(&body, `{"kind":"mail","args":{"to":%d},"unique":true}`+"\n", i/2)
	}
	body.WriteString("\n" + `{"kind":"mail","windoww":"5m"}` + "\nnonsense\n" + `{"kind":"mail","queue":"onceq.x"}`)
	lines, err := w.importing(s.URL, "", body.String(), false)
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v: %d lines: %v", err, len(lines), lines)
	}
	for i, want := range []string{`"line":1236,"refused":{"type":"urn:onceq:invalid"`, `"line":1237`, `"line":1238`} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("%s has no %s", lines[i], want)
		}
	}
	if !strings.Contains(lines[0], `did you mean \"window\"?`) || !strings.Contains(lines[2], `"field":"queue"`) {
		t.Errorf("%v", lines)
	}
	var end struct {
		Summary summary `json:"summary"`
		Ended   string  `json:"ended"`
	}
	if err := json.Unmarshal([]byte(lines[3]), &end); err != nil {
		t.Fatal(err)
	}
	if want := (summary{Lines: 1238, Inserted: 617, Skipped: 617, Refused: 3, LastLine: 1238}); end.Summary != want ||
		end.Ended != "eof" {
		t.Errorf("\n got %+v\nwant %+v", end, want)
	}
	lines, err = w.importing(s.URL, "?answers=all", `{"kind":"mail","args":{"to":0},"unique":true}`, false)
	if err != nil || len(lines) != 2 || !strings.Contains(lines[0], `{"line":1,"receipt":{"outcome":"skipped"`) ||
		strings.Contains(lines[0], `"args"`) { // it is not this token's job
		t.Errorf("%v: %v", err, lines)
	}
	lines, err = w.importing(s.URL, "?answers=none", "nonsense\n", false)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], `"refused":1`) {
		t.Errorf("%v: %v", err, lines)
	}
	long := strings.Repeat("a", onceq.DefaultMaxArgs*2+importLine)
	lines, err = w.importing(s.URL, "", `{"kind":"last"}`+"\n"+long+"\n"+`{"kind":"never"}`, false)
	if err != nil || len(lines) != 2 || !strings.Contains(lines[0], "too-large") ||
		!strings.Contains(lines[1], `"inserted":1`) || !strings.Contains(lines[1], `"ended":"client"`) {
		t.Errorf("%v: %v", err, lines)
	}
}

func TestAnImportThatIsCutHasNoSummaryAndCanBeSentAgainWithoutDoubles(t *testing.T) {
	onStores(t, testAnImportThatIsCutHasNoSummaryAndCanBeSentAgainWithoutDoubles)
}

func testAnImportThatIsCutHasNoSummaryAndCanBeSentAgainWithoutDoubles(t *testing.T, store onceq.Store) {
	w := serveOn(t, store, nil)
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	var body strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&body, `{"kind":"mail","id":"j%04d"}`+"\n", i)
	}
	lines, err := w.importing(s.URL, "", body.String(), true)
	if whole := strings.Join(lines, ""); strings.Contains(whole, "summary") || err == nil {
		t.Fatalf("%v: %s", err, whole)
	}
	lines, err = w.importing(s.URL, "", body.String(), false)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], `"lines":1200`) ||
		!strings.Contains(lines[0], `"ended":"eof"`) {
		t.Fatalf("%v: %v", err, lines)
	}
	n := 0
	for _, err := range w.client.Jobs(t.Context(), onceq.JobFilter{}) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 1200 {
		t.Errorf("%d jobs", n)
	}
}
