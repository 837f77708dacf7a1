// Package examples runs the examples as people do: as processes, against real
// databases.
package examples

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/sqlitestore"
	"github.com/onceq/onceq/storeurl"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m).Run()) }

// The service is run on each database, with the worker in the process of the
// web server and in another one.
func TestTheService(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "service")
	if out, err := exec.Command("go", "build", "-o", binary, "./service").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for database, open := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "service.db") },
		"postgres": newDatabase,
	} {
		for _, apart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, worker apart %v", database, apart), func(t *testing.T) {
				t.Parallel()
				newStage(t, binary, open(t)).play(apart)
			})
		}
	}
}

// newDatabase is a PostgreSQL database of its own.
func newDatabase(t *testing.T) string {
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	name := fmt.Sprint("service_", time.Now().UnixNano())
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = name
	return u.String()
}

// stage is the service, and what can be seen from outside.
type stage struct {
	*testing.T
	binary, url string
	store       onceq.Store
	client      *onceq.Client
	traces      collector
	collects    string // its address
}

func newStage(t *testing.T, binary, url string) *stage {
	s := &stage{T: t, binary: binary, url: url}
	var err error
	if s.store, err = storeurl.Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	if s.client, err = onceq.NewClient(s.store, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	server := httptest.NewServer(&s.traces)
	t.Cleanup(server.Close)
	s.collects = server.URL
	return s
}

func (s *stage) play(apart bool) {
	web := s.start(fmt.Sprintf("-work=%v", !apart), "-render=10m")
	worker := web
	if apart {
		worker = s.start("-work", "-render=10m")
	}
	var last *onceq.JobRow
	for i := range 3 {
		last = s.push(web, i)
		s.until("its preview is rendered", func() bool {
			return slices.Equal(s.states("preview"), append(slices.Repeat([]string{"cancelled"}, i), "running"))
		})
	}
	s.sees(last)
	s.pays(web)
	if status, text := web.post("/hooks/repo", "", nil); status != http.StatusBadRequest {
		s.Errorf("a delivery without an ID: %d %s", status, text)
	}
	web.hasMetric(`onceq_enqueues_total{.*kind="delivery".*outcome="skipped".*} 3`)
	worker.hasMetric(`onceq_runs_total{.*kind="payment".*state="completed".*} 1`)
	worker.hasMetric(`onceq_worker_slots{.*queue="default".*use="busy".*} 1`)

	// The preview still runs: it is handed back, and its attempt is not spent.
	worker.stop()
	if apart {
		web.stop()
	}
	preview := s.jobs("preview")[2]
	if preview.State.Finished() || preview.State == onceq.Running || preview.Attempt != 0 {
		s.Errorf("after the stop the preview is %s, attempt %d", preview.State, preview.Attempt)
	}
	again := s.start("-render=0s")
	s.wait(preview.ID)
	again.stop()
	s.isTraced()
}

// isTraced wants each delivery's run to be linked to its request, the request
// that came twice to the first, and what the run enqueues to belong to the run.
func (s *stage) isTraced() {
	s.Helper()
	places := func(spans []*spans.Span) (all []string) {
		for _, span := range spans {
			all = append(all, string(span.SpanId))
		}
		return all
	}
	requests, runs := s.traces.named(s.T, "enqueue hooks", 6), s.traces.named(s.T, "process hooks", 3)
	linked := 0
	for _, span := range append(slices.Clone(requests), runs...) {
		if len(span.Links) == 1 && slices.Contains(places(requests), string(span.Links[0].SpanId)) {
			linked++
		}
	}
	if linked != 6 {
		s.Errorf("%d of 6 spans are linked to the first request: %v", linked, append(requests, runs...))
	}
	for _, batch := range s.traces.named(s.T, "enqueue default", 3+2) { // two are of payments
		if len(batch.ParentSpanId) > 0 && !slices.Contains(places(runs), string(batch.ParentSpanId)) {
			s.Errorf("a handler's enqueue does not belong to its run: %v", batch)
		}
	}
}

// push sends a delivery twice, and waits until it was handled.
func (s *stage) push(web *process, i int) *onceq.JobRow {
	s.Helper()
	id := ""
	for _, outcome := range []string{"inserted", "skipped"} {
		path := fmt.Sprintf("/hooks/repo?after=sha%d", i)
		status, text := web.post(path, fmt.Sprint("delivery", i), nil)
		was, of, _ := strings.Cut(strings.TrimSpace(text), " ")
		if status != http.StatusOK || was != outcome || id != "" && of != id {
			s.Fatalf("delivery %d: %d %s, want %s %s", i, status, text, outcome, id)
		}
		id = of
	}
	return s.wait(id)
}

// sees looks at what came of the pushes; last is the last delivery.
func (s *stage) sees(last *onceq.JobRow) {
	s.Helper()
	s.until("the last reindexing began after the last push", func() bool {
		all := s.jobs("reindex")
		job := all[len(all)-1]
		return job.State == onceq.Completed && !job.StartedAt.Before(last.StartedAt)
	})
	digests := s.jobs("digest")
	if len(digests) != 1 || digests[0].State != onceq.Scheduled || !strings.Contains(string(digests[0].Args), "sha2") {
		s.Fatalf("%d digests, the first %s %s; want one, of the last push, put off", len(digests), digests[0].State,
			digests[0].Args)
	}
	if _, err := s.client.RunNow(s.Context(), digests[0].ID); err != nil {
		s.Fatal(err)
	}
	s.wait(digests[0].ID)
}

// pays asks for a payment twice, and looks into the table.
func (s *stage) pays(web *process) {
	s.Helper()
	for _, outcome := range []string{"inserted", "skipped"} {
		status, text := web.post("/payments", "", url.Values{"order": {"7"}, "cents": {"995"}})
		was, id, _ := strings.Cut(strings.TrimSpace(text), " ")
		if status != http.StatusOK || was != outcome {
			s.Fatalf("%d %s, want %s", status, text, outcome)
		}
		s.wait(id)
	}
	var rows int
	const count = "SELECT count(*) FROM payments WHERE order_id = '7' AND cents = '995'"
	if store, ok := s.store.(*sqlitestore.Store); ok {
		if err := store.DB().QueryRowContext(s.Context(), count).Scan(&rows); err != nil {
			s.Fatal(err)
		}
	} else {
		conn, err := pgx.Connect(s.Context(), s.url)
		if err != nil {
			s.Fatal(err)
		}
		defer conn.Close(s.Context())
		if err := conn.QueryRow(s.Context(), count).Scan(&rows); err != nil {
			s.Fatal(err)
		}
	}
	if rows != 1 {
		s.Errorf("%d payments of one order", rows)
	}
}

// wait waits until the job is completed.
func (s *stage) wait(id string) *onceq.JobRow {
	s.Helper()
	ctx, stop := context.WithTimeout(s.Context(), time.Minute)
	defer stop()
	job, err := s.client.Wait(ctx, id)
	if err != nil {
		s.Fatalf("job %s: %v", id, err)
	}
	return job
}

func (s *stage) until(what string, is func() bool) {
	s.Helper()
	for began := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			s.Fatalf("after a minute it is not so that %s", what)
		}
	}
}

// jobs are the jobs of a kind, oldest first.
func (s *stage) jobs(kind string) (all []*onceq.JobRow) {
	s.Helper()
	for job, err := range s.client.Jobs(s.Context(), onceq.JobFilter{Kind: kind, Args: true}) {
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, job)
	}
	slices.Reverse(all)
	return all
}

func (s *stage) states(kind string) (all []string) {
	s.Helper()
	for _, job := range s.jobs(kind) {
		all = append(all, string(job.State))
	}
	return all
}

// process is one process of the service.
type process struct {
	*stage
	cmd   *exec.Cmd
	said  *bytes.Buffer // on standard error; complete when read has ended
	read  chan struct{}
	where string // its address
}

func (s *stage) start(args ...string) *process {
	s.Helper()
	p := &process{stage: s, said: &bytes.Buffer{}, read: make(chan struct{})}
	p.cmd = exec.Command(s.binary, append(args, "-store", s.url, "-listen=127.0.0.1:0", "-quiet=1h", "-grace=50ms")...)
	p.cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+s.collects)
	errors, err := p.cmd.StderrPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.read
		p.cmd.Wait()
		if s.Failed() {
			s.Logf("%v said\n%s", args, p.said)
		}
	})
	address := make(chan string, 1)
	go func() {
		defer close(p.read)
		defer close(address)
		for lines := bufio.NewScanner(errors); lines.Scan(); {
			fmt.Fprintln(p.said, lines.Text())
			if _, where, listens := strings.Cut(lines.Text(), "listening on "); listens {
				address <- where
			}
		}
	}()
	if p.where = <-address; p.where == "" {
		s.Fatal("the service ended at once")
	}
	return p
}

// stop ends the process as a supervisor does.
func (p *process) stop() {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("after SIGTERM: %v", err)
	}
}

func (p *process) post(path, delivery string, form url.Values) (status int, text string) {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), "POST", "http://"+p.where+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-GitHub-Delivery", delivery)
	return p.do(r)
}

func (p *process) do(r *http.Request) (status int, text string) {
	p.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// hasMetric looks at what Prometheus would scrape. The end of a run is counted
// when the store has it, which may be a moment after others see it.
func (p *process) hasMetric(line string) {
	p.Helper()
	p.until("the metrics have "+line, func() bool {
		r, err := http.NewRequestWithContext(p.Context(), "GET", "http://"+p.where+"/metrics", nil)
		if err != nil {
			p.Fatal(err)
		}
		_, text := p.do(r)
		return regexp.MustCompile("(?m)^" + line + "$").MatchString(text)
	})
}

func TestTheServiceIsShort(t *testing.T) {
	files, err := filepath.Glob("service/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lines := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines > 250 {
		t.Errorf("%d lines, with its own tests: 250 are enough to see how it is done", lines)
	}
}
