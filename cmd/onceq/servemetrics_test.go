package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// scrapeAt reads metrics; they are nil where the status is another than 200.
func scrapeAt(t *testing.T, url, token string) (families map[string]*dto.MetricFamily, status int) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if families, err = parser.TextToMetricFamilies(res.Body); err != nil {
		t.Fatal(err)
	}
	return families, res.StatusCode
}

// TestServeShowsTheMetricsThatTheDocsName compares both ways.
func TestServeShowsTheMetricsThatTheDocsName(t *testing.T) {
	t.Setenv("ONCEQ_TOKEN", serveToken)
	url, _ := serving(t, nil)
	for _, call := range []string{"GET /nope", "BREW /", "GET /api/v1/jobs/a%2Fb", "POST /api/v1/jobs"} {
		method, path, _ := strings.Cut(call, " /")
		r, err := http.NewRequest(method, url+path, strings.NewReader(`{"kind":"mail","unique":true}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+serveToken)
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	if _, status := scrapeAt(t, url+"metrics", ""); status != http.StatusUnauthorized {
		t.Errorf("metrics without a token: %d", status)
	}
	families, _ := scrapeAt(t, url+"metrics", serveToken)
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"onceq_queue_jobs", []string{"queue=default", "state=available"}, 1},
		{"onceq_queue_jobs", []string{"queue=default", "state=completed"}, 0},
		{"onceq_queue_paused", []string{"queue=default"}, 0},
		{"onceq_enqueues_total", []string{"kind=mail", "outcome=inserted"}, 1},
		{"onceq_http_requests_total", []string{"route=(other)", "method=GET", "code=404"}, 1},
		{"onceq_http_requests_total", []string{"method=(other)", "code=405"}, 1},
		{"onceq_http_requests_total", []string{"route=api/v1/jobs/{id}", "method=GET", "code=404"}, 1},
		{"onceq_http_requests_total", []string{"route=api/v1/jobs", "method=POST", "code=201"}, 1},
		{"onceq_http_duration_seconds", []string{"route=metrics"}, 1},
		{"onceq_workers", []string{"late=true"}, 0},
		{"onceq_look_errors_total", nil, 0},
	} {
		if got := value(families[c.name], c.labels...); got != c.want || families[c.name] == nil {
			t.Errorf("%s%v is %v, not %v", c.name, c.labels, got, c.want)
		}
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(onceq_[a-z_]+)` \\| `[a-z._]+` \\| (\\w+) \\| `[^`]+` \\| ([^|]+) \\|").
		FindAllStringSubmatch(string(page), -1)
	named := map[string]bool{}
	for _, row := range rows {
		f := families[row[1]]
		if named[row[1]] = true; f == nil || strings.ToLower(f.GetType().String()) != row[2] || f.GetHelp() == "" {
			t.Errorf("%s: %v", row[1], f)
			continue
		}
		var want, has []string
		for _, label := range strings.Split(row[3], ", ") {
			if label = strings.Trim(label, "`"); label != "–" {
				want = append(want, label)
			}
		}
		for _, l := range f.Metric[0].Label {
			has = append(has, l.GetName())
		}
		slices.Sort(want)
		if slices.Sort(has); !slices.Equal(want, has) {
			t.Errorf("%s has the labels %v, the docs say %v", row[1], has, want)
		}
	}
	others := documented(t)
	for name := range families {
		if others[name] == nil && !named[name] {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	if len(rows) < 9 {
		t.Errorf("the docs have %d rows", len(rows))
	}
}

func TestMetricsListenKeepsThemFromTheOtherPort(t *testing.T) {
	t.Setenv("ONCEQ_TOKEN", serveToken)
	url, log := serving(t, func(s *httpServer) { s.metrics = "127.0.0.1:0" })
	_, at, ok := strings.Cut(log.String(), "onceq: metrics at ")
	if at, _, _ = strings.Cut(at, "\n"); !ok {
		t.Fatal(log)
	}
	if families, _ := scrapeAt(t, at, ""); families["onceq_http_polls"] == nil {
		t.Errorf("%v", families)
	}
	if _, status := scrapeAt(t, url+"metrics", serveToken); status != http.StatusNotFound {
		t.Errorf("both have them: %d", status)
	}
}

// lookedAt counts looks, and fails or hangs if it is told to.
type lookedAt struct {
	onceq.Store
	n    int
	fail error
	hang bool
	many int
}

func (l *lookedAt) Queues(ctx context.Context, _ onceq.QueuesRequest) (list onceq.QueueList, err error) {
	l.n++
	if l.hang {
		<-ctx.Done()
		return list, ctx.Err()
	}
	for i := range l.many {
		list.Queues = append(list.Queues, onceq.QueueInfo{Name: fmt.Sprintf("%05d", i),
			Counts: map[onceq.State]int{onceq.Available: 1}, OldestDue: list.Now})
	}
	return list, l.fail
}

func TestAScrapeLooksOnceInFiveSecondsAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &lookedAt{Store: memstore.New(nil), many: 1000}
		client, err := onceq.NewClient(store, &onceq.Config{Logger: slog.New(slog.DiscardHandler), NoTally: true})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		m, err := newServeMetrics(sdk.NewMeterProvider())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if queues, workers, _ := m.look(t.Context(), client); len(queues) != mostQueues+1 ||
				queues[mostQueues].Counts[onceq.Available] != 800 || len(workers) != 2 {
				t.Errorf("%d queues, %v", len(queues), workers)
			}
			time.Sleep(time.Second)
		}
		if store.n != 2 {
			t.Errorf("%d looks in ten seconds", store.n)
		}
		store.fail = errors.New("away")
		time.Sleep(looksFor)
		if queues, workers, _ := m.look(t.Context(), client); queues != nil || workers != nil {
			t.Errorf("%v %v", queues, workers)
		}
		store.fail, store.hang = nil, true
		time.Sleep(looksFor)
		before := time.Now()
		if queues, _, _ := m.look(t.Context(), client); queues != nil || time.Since(before) > lookTakes {
			t.Errorf("%v after %v", queues, time.Since(before))
		}
	})
}
