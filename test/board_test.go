package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	client "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// series are the names of what is exported, each with its labels and their
// values.
type series map[string]map[string][]string

// gathered gathers until a failed run is in all series of runs.
func gathered(t *testing.T, ctx context.Context, from prometheus.Gatherer) []*client.MetricFamily {
	t.Helper()
	for ; ; time.Sleep(time.Millisecond) {
		families, err := from.Gather()
		if err != nil {
			t.Fatal(err)
		}
		open := []string{"onceq_runs_total", "onceq_run_duration_seconds", "onceq_run_wait_seconds"}
		for _, f := range families {
			if f.GetName() != "onceq_runs_total" || strings.Contains(fmt.Sprint(f.Metric), "retryable") {
				open = slices.DeleteFunc(open, func(name string) bool { return f.GetName() == name })
			}
		}
		if len(open) == 0 {
			return families
		}
		if ctx.Err() != nil {
			t.Fatalf("not exported: %v", open)
		}
	}
}

// exportedSeries are those of a real store, after some enqueues and runs.
func exportedSeries(t *testing.T) series {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(),
		exporter.WithoutTargetInfo())
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	file, err := sqlitestore.Open(filepath.Join(t.TempDir(), "jobs.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	store, err := onceq.MeasureStore(file, provider)
	if err != nil {
		t.Fatal(err)
	}
	client, err := onceq.NewClient(store, &onceq.Config{MeterProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 2 {
		if _, err := client.Enqueue(t.Context(), onceq.JSON("mail", []byte("{}")), onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
	}
	ran := make(chan struct{})
	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client, MeterProvider: provider,
		Logger: slog.New(slog.DiscardHandler), OnFinish: func(context.Context, *onceq.JobRow, error) { close(ran) }})
	if err != nil {
		t.Fatal(err)
	}
	worker.HandleAny(func(context.Context, *onceq.JobRow) error { return errors.New("failed") })
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	select {
	case <-ran:
	case <-ctx.Done():
		t.Fatal("nothing ran")
	}
	families := gathered(t, ctx, registry) // a run is counted beside OnFinish, perhaps after it
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	all := series{}
	for _, f := range families {
		values := map[string][]string{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				values[l.GetName()] = append(values[l.GetName()], l.GetValue())
			}
		}
		if f.Metric[0].Histogram == nil {
			all[f.GetName()] = values
			continue
		}
		all[f.GetName()+"_sum"], all[f.GetName()+"_count"] = values, values
		all[f.GetName()+"_bucket"] = maps.Clone(values)
		all[f.GetName()+"_bucket"]["le"] = nil
	}
	return all
}

// reporter is a test, or what counts its failures.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

type complaints int

func (c *complaints) Helper()               {}
func (c *complaints) Errorf(string, ...any) { *c++ }

// check checks an expression: every metric is exported, with every label and
// value that it is asked for. It returns the labels of the result.
func (s series) check(t reporter, where, text string) (result []string) {
	t.Helper()
	text = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$queue", ".*").Replace(text)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			s.checkSelector(t, where, n)
		case *parser.AggregateExpr:
			result = append(result, n.Grouping...)
			parser.Inspect(n.Expr, func(inner parser.Node, _ []parser.Node) error {
				if v, ok := inner.(*parser.VectorSelector); ok {
					for _, label := range n.Grouping {
						if _, has := s[v.Name][label]; !has {
							t.Errorf("%s: %s has no label %s to sum by", where, v.Name, label)
						}
					}
				}
				return nil
			})
		}
		return nil
	})
	return result
}

// someValues are those of labels that this test's few runs do not show.
var someValues = map[string][]string{"result": {"ok", "error", "uncertain"}, "op": {"sweep"}}

func (s series) checkSelector(t reporter, where string, v *parser.VectorSelector) {
	t.Helper()
	has, known := s[v.Name]
	if !known {
		t.Errorf("%s: %s is not exported", where, v.Name)
		return
	}
	for _, m := range v.LabelMatchers {
		values, labelled := has[m.Name]
		switch {
		case m.Name == model.MetricNameLabel:
		case !labelled:
			t.Errorf("%s: %s has no label %s", where, v.Name, m.Name)
		case m.Value == ".*":
		default:
			for _, value := range strings.Split(m.Value, "|") {
				if !slices.Contains(values, value) && !slices.Contains(someValues[m.Name], value) {
					t.Errorf("%s: %s has no %s=%q, but %v", where, v.Name, m.Name, value, values)
				}
			}
		}
	}
}

// names are the labels that a text for people mentions.
func names(expr, text string) (all []string) {
	for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestTheGrafanaBoardAndTheAlertsNameOnlyMetricsThatExist(t *testing.T) {
	all := exportedSeries(t)
	t.Run("board", func(t *testing.T) { checkBoard(t, all) })
	t.Run("alerts", func(t *testing.T) { checkAlerts(t, all) })
	t.Run("wrong ones are caught", func(t *testing.T) {
		for _, wrong := range []string{`sum(onceq_run_total)`, `sum by (worker) (onceq_runs_total)`,
			`sum(onceq_runs_total`, `onceq_runs_total{state="failed"}`, `onceq_runs_total{use="busy"}`,
			`histogram_quantile(0.5, sum by (le) (onceq_run_wait_seconds_count))`} {
			var caught complaints
			all.check(&caught, "", wrong)
			if caught == 0 {
				t.Errorf("%s is not caught", wrong)
			}
		}
	})
}

func checkBoard(t *testing.T, all series) {
	text, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			ID                       int
			Title, Description, Type string
			Datasource               struct{ UID string }
			FieldConfig              struct{ Defaults struct{ Unit string } }
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr, LegendFormat, RefID string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			m := regexp.MustCompile(`^label_values\(\{__name__=~"(.*)"\}, (\w+)\)$`).FindStringSubmatch(v.Definition)
			if m == nil {
				t.Fatalf("the variable %s is %s", v.Name, v.Definition)
			}
			for _, name := range strings.Split(m[1], "|") {
				if _, has := all[name][m[2]]; !has {
					t.Errorf("the variable %s: %s has no label %s", v.Name, name, m[2])
				}
			}
		}
	}
	if len(board.Panels) < 10 || len(board.Templating.List) != 2 {
		t.Errorf("%d panels, %d variables", len(board.Panels), len(board.Templating.List))
	}
	ids, used := map[int]bool{}, string(text)
	for _, p := range board.Panels {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || ids[p.ID] ||
			p.Datasource.UID != "${datasource}" || p.GridPos.X+p.GridPos.W > 24 || len(p.Targets) == 0 {
			t.Errorf("panel %d lacks something: %+v", p.ID, p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			where := fmt.Sprintf("panel %q, %s", p.Title, target.RefID)
			result := all.check(t, where, target.Expr)
			for _, label := range names(`\{\{(\w+)\}\}`, target.LegendFormat) {
				if !slices.Contains(result, label) {
					t.Errorf("%s: the legend names %s, which the expression drops", where, label)
				}
			}
		}
	}
	for name := range all {
		family := regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(name, "")
		if !strings.Contains(used, family) {
			t.Errorf("no panel shows %s", family)
		}
	}
}

func checkAlerts(t *testing.T, all series) {
	text, err := os.ReadFile("../docs/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			result := all.check(t, rule.Alert, rule.Expr)
			if seen[rule.Alert] || !strings.HasPrefix(rule.Alert, "Onceq") || rule.Labels["severity"] == "" ||
				rule.Annotations["summary"] == "" || rule.Annotations["runbook"] == "" {
				t.Errorf("%q lacks something, or is there twice", rule.Alert)
			}
			seen[rule.Alert] = true
			for _, said := range rule.Annotations {
				for _, label := range names(`\{\{ \$labels\.(\w+) \}\}`, said) {
					if !slices.Contains(result, label) {
						t.Errorf("%s names the label %s, which its expression drops", rule.Alert, label)
					}
				}
				for _, line := range names(`"(onceq: [^"]*)"`, said) {
					page, err := os.ReadFile("../docs/logging.md")
					if err != nil || !bytes.Contains(page, []byte("`"+line+"`")) {
						t.Errorf("%s names the log line %q, which there is not", rule.Alert, line)
					}
				}
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("%d alerts", len(seen))
	}
}
