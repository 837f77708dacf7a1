package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// documented are the rows of the table in docs/metrics.md, by their names for
// Prometheus.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 8 && strings.HasPrefix(cells[1], " `onceq.") {
			for i := range cells {
				cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
			}
			rows[cells[2]] = cells
		}
	}
	if len(rows) < 10 {
		t.Fatalf("docs/metrics.md has a table of %d rows", len(rows))
	}
	return rows
}

// metricsWorker is an onceq work in a process of its own, which shows metrics.
type metricsWorker struct {
	cmd *exec.Cmd
	url string
}

func startMetricsWorker(t *testing.T, dir string, args ...string) *metricsWorker {
	t.Helper()
	w := &metricsWorker{cmd: exec.Command("onceq", append([]string{"work", "--metrics-listen", ":0"}, args...)...)}
	w.cmd.Dir, w.cmd.Env = dir, append(os.Environ(), "ONCEQ_STORE=sqlite:jobs.db", "GORACE=atexit_sleep_ms=0")
	said, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); _ = w.cmd.Wait() })
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "onceq: metrics at "); ok {
			w.url = url
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	if !strings.HasPrefix(w.url, "http://127.0.0.1:") {
		t.Fatalf("the metrics are at %q", w.url)
	}
	return w
}

func (w *metricsWorker) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	answer, err := http.Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", answer.Status, err)
	}
	return families
}

// value is the sum of a counter or gauge over what has these labels.
func value(f *dto.MetricFamily, labels ...string) (sum float64) {
	for _, m := range f.GetMetric() {
		has := 0
		for _, l := range m.Label {
			if slices.Contains(labels, l.GetName()+"="+l.GetValue()) {
				has++
			}
		}
		if has == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func enqueueIn(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("onceq", append([]string{"enqueue"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "ONCEQ_STORE=sqlite:jobs.db", "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAWorkerProcessShowsTheMetricsThatTheDocsName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := `{"kind":"mail","id":"m1"}` + "\n" + `{"kind":"mail","id":"m2"}` + "\n" +
		`{"kind":"bad","id":"b1","max_attempts":1}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "jobs"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	enqueueIn(t, dir, "--file", "jobs")
	w := startMetricsWorker(t, dir, "--exec", `test "$ONCEQ_KIND" = mail`, "--queues", "default=2")
	var families map[string]*dto.MetricFamily
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		families = w.scrape(t)
		if value(families["onceq_runs_total"]) == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the runs are %v", families["onceq_runs_total"])
		}
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"onceq_runs_total", []string{"kind=mail", "queue=default", "state=completed"}, 2},
		{"onceq_runs_total", []string{"kind=bad", "queue=default", "state=discarded"}, 1},
		{"onceq_run_duration_seconds", []string{"kind=mail"}, 2},
		{"onceq_run_wait_seconds", []string{"kind=mail"}, 2},
		{"onceq_rescues_total", nil, 0},
		{"onceq_worker_slots", []string{"queue=default"}, 2},
	} {
		if got := value(families[c.name], c.labels...); got != c.want {
			t.Errorf("%s%v is %v, not %v", c.name, c.labels, got, c.want)
		}
	}
	agree(t, families, documented(t))
}

// agree checks what is exported against the table of the docs. What only an
// enqueue has may be missing.
func agree(t *testing.T, families map[string]*dto.MetricFamily, rows map[string][]string) {
	t.Helper()
	for name, f := range families {
		row := rows[name]
		if row == nil {
			t.Errorf("%s is not in docs/metrics.md", name)
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != row[3] || f.GetHelp() == "" {
			t.Errorf("%s is a %s with the help %q, and the docs say %s", name, kind, f.GetHelp(), row[3])
		}
		if (row[4] == "s") != strings.HasSuffix(name, "_seconds") ||
			(row[3] == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s of unit %s", name, row[3], row[4])
		}
		var labels []string
		if row[5] != "–" {
			labels = strings.Split(row[5], ", ")
			slices.Sort(labels)
		}
		for _, m := range f.Metric {
			var has []string
			for _, l := range m.Label {
				has = append(has, l.GetName())
				if !regexp.MustCompile(`^[a-z()_]{1,20}$`).MatchString(l.GetValue()) {
					t.Errorf("%s has %s=%q", name, l.GetName(), l.GetValue())
				}
			}
			slices.Sort(has)
			if !slices.Equal(has, labels) {
				t.Errorf("%s has the labels %v, and the docs say %v", name, has, labels)
			}
		}
	}
	for name, row := range rows {
		ofEnqueues := strings.Contains(row[5], "outcome") || name == "onceq_resends_total" || name == "onceq_batch_rows"
		if families[name] == nil && !ofEnqueues {
			t.Errorf("%s is in docs/metrics.md, and is not exported", name)
		}
	}
}

func TestMetricsEndWithTheWorkerAndNeedAPortOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	enqueueIn(t, dir, "mail")
	w := startMetricsWorker(t, dir, "--exec", "true")
	w.scrape(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(w.url, "http://"), "/metrics")

	other := t.TempDir()
	var errOut bytes.Buffer
	code := run([]string{"work", "--exec", "true", "--drain", "--metrics-listen", addr, "--store",
		"sqlite:" + filepath.Join(other, "new.db")}, strings.NewReader(""), io.Discard, &errOut)
	want := fmt.Sprintf("onceq: --metrics-listen %s: bind: address already in use: choose another port, or 0 for one "+
		"that is free\n", addr)
	if code != exitFailed || errOut.String() != want {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
	if made, _ := os.ReadDir(other); len(made) > 0 {
		t.Errorf("it made %v", made)
	}

	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Errorf("somebody still listens at %s", addr)
	}
}

func TestAConnectionThatSaysNothingDoesNotHoldTheEnd(t *testing.T) {
	t.Parallel()
	shown, err := exportMetrics("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(shown.url, "http://"), "/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { shown.end(); cancel() }()
	<-ctx.Done()
	if ctx.Err() == context.DeadlineExceeded {
		t.Error("it did not end")
	}
}

func TestMetricsListenWantsAnAddress(t *testing.T) {
	for _, listen := range []string{"", "9464", "host", "a:b:c"} {
		var errOut bytes.Buffer
		code := run([]string{"work", "--exec", "true", "--metrics-listen", listen}, strings.NewReader(""), io.Discard,
			&errOut)
		if want := fmt.Sprintf("onceq: --metrics-listen %q must be HOST:PORT, or :PORT for this machine alone\n",
			listen); code != exitUsage || errOut.String() != want {
			t.Errorf("exit code %d: %s", code, errOut.String())
		}
	}
}
