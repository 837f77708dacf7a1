package examples

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes traces by OTLP.
type collector struct {
	mu    sync.Mutex
	spans []*spans.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	text, _ := io.ReadAll(body)
	var request otlp.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(text, &request) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range request.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// named returns the spans of a name.
func (c *collector) named(t *testing.T, name string, want int) (all []*spans.Span) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			all = append(all, s)
		}
	}
	if len(all) != want {
		t.Fatalf("%d spans %q, want %d: %v", len(all), name, want, c.spans)
	}
	return all
}

// The shop shows the metrics of the board, and its traces arrive at a collector:
// a mail is linked to its request, and so is the request that came twice.
func TestTheShopCanBeWatched(t *testing.T) {
	t.Parallel()
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	cmd := exec.Command(programOf(t, "observe"), "-listen", "127.0.0.1:0", "-traces", server.URL)
	cmd.Dir = t.TempDir()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	at := strings.TrimPrefix(lines.Text(), "listening on ")
	ask := func(method, path string) string {
		t.Helper()
		request, _ := http.NewRequestWithContext(t.Context(), method, at+path, nil)
		request.URL.RawQuery = url.Values{"id": {"7"}}.Encode()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	first, second := strings.Fields(ask("POST", "/orders")), strings.Fields(ask("POST", "/orders"))
	if first[0] != "inserted" || second[0] != "skipped" || first[1] != second[1] {
		t.Errorf("%v, then %v", first, second)
	}
	if lines.Scan(); lines.Text() != "sent the mail of order 7" {
		t.Errorf("%q", lines.Text())
	}
	metrics := ask("GET", "/metrics")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}

	enqueues, runs := c.named(t, "enqueue default", 2), c.named(t, "process default", 2)
	c.named(t, "POST /orders", 2)
	c.named(t, "talk to the mail server", 2)
	for _, s := range append(runs, enqueues[1]) {
		if len(s.Links) != 1 || hex.EncodeToString(s.Links[0].TraceId) != first[1] {
			t.Errorf("%s is linked to %v, not to %s", s.Name, s.Links, first[1])
		}
	}
	if hex.EncodeToString(enqueues[0].TraceId) != first[1] || runs[0].Status.GetMessage() != "the mail server is down" {
		t.Errorf("the enqueue is in %x; the first run: %v", enqueues[0].TraceId, runs[0].Status)
	}

	board, err := os.ReadFile("../docs/grafana.json")
	if err != nil || !json.Valid(board) {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`onceq_[a-z_]+`).FindAllString(string(board), -1)
	if len(names) < 10 {
		t.Fatalf("the board has %q", names)
	}
	for _, name := range names {
		if !strings.Contains(metrics, name) {
			t.Errorf("the board asks for %s, which the shop does not show", name)
		}
	}
}
