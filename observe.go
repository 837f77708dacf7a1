package onceq

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// contain, deferred around code that is not ours, keeps a panic of that
// code from ending the process. It writes once to standard error, because
// the log may be what panics.
func contain(what string) {
	if p := recover(); p != nil {
		if _, said := contained.LoadOrStore(what, true); !said {
			fmt.Fprintf(os.Stderr, "onceq: the %s panicked (this is said once): %v\n", what, p)
		}
	}
}

var contained sync.Map // what has panicked before

// safeLogger makes a logger whose handler may panic: the line is lost, and
// the process goes on.
func safeLogger(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(safeHandler); ok {
		return l
	}
	return slog.New(safeHandler{l.Handler()})
}

type safeHandler struct{ inner slog.Handler }

func (h safeHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer contain("Logger")
	return h.inner.Enabled(ctx, level)
}

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	defer contain("Logger")
	return h.inner.Handle(ctx, r)
}

func (h safeHandler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	with = h
	defer contain("Logger")
	return safeHandler{h.inner.WithAttrs(attrs)}
}

func (h safeHandler) WithGroup(name string) (with slog.Handler) {
	with = h
	defer contain("Logger")
	return safeHandler{h.inner.WithGroup(name)}
}

// workerMetrics counts runs.
type workerMetrics struct{ runs metric.Int64Counter }

func newWorkerMetrics(provider metric.MeterProvider) (m workerMetrics, err error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m.runs, err = provider.Meter(scope).Int64Counter("onceq.runs",
		metric.WithDescription("Runs that ended, by what became of the job."), metric.WithUnit("{run}"))
	return m, err
}

func (m workerMetrics) count(batch []*run, answers []answer) {
	defer contain("MeterProvider")
	ctx := context.Background()
	if !m.runs.Enabled(ctx) {
		return
	}
	type group struct {
		queue, kind string
		state       State
	}
	counts := map[group]int64{}
	for i, r := range batch {
		if answers[i].err == nil && answers[i].Status == FinishDone {
			counts[group{r.job.Queue, r.job.Kind, answers[i].State}]++
		}
	}
	for g, n := range counts {
		m.runs.Add(ctx, n, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("queue", g.queue), attribute.String("kind", g.kind),
			attribute.String("state", string(g.state)))))
	}
}

// scope is the name of this library for OpenTelemetry.
const scope = "github.com/onceq/onceq"

// duplicates logs and counts every enqueue that met a key or an ID.
type duplicates struct {
	logger *slog.Logger
	level  slog.Level
	count  metric.Int64Counter
}

func newDuplicates(c Config) (duplicates, error) {
	d := duplicates{logger: c.Logger, level: c.DuplicateLevel}
	if d.level == 0 {
		d.level = slog.LevelDebug
	}
	provider := c.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	var err error
	d.count, err = provider.Meter(scope).Int64Counter("onceq.duplicates",
		metric.WithDescription("Enqueues that met a held key or an ID that is taken, by what became of them."),
		metric.WithUnit("{enqueue}"))
	return d, err
}

// note logs and counts one. If something panics in it, the caller still
// gets the receipt.
func (d duplicates) note(ctx context.Context, row *NewRow, r Receipt) {
	d.add(ctx, row, r)
	if !d.logger.Enabled(ctx, d.level) {
		return
	}
	c := r.Conflict
	attrs := []slog.Attr{
		slog.String("kind", row.Kind), slog.String("queue", row.Queue), slog.String("outcome", string(r.Outcome)),
		slog.String("job", r.Job.ID), slog.String("by", c.By), slog.String("holder", c.Holder),
		slog.String("state", string(c.State)),
		slog.Time("since", c.Since), slog.String("frees_when", c.FreesWhen), slog.Bool("args_differ", c.ArgsDiffer),
	}
	if !c.FreesAt.IsZero() {
		attrs = append(attrs, slog.Time("frees_at", c.FreesAt))
	}
	d.logger.LogAttrs(ctx, d.level, "onceq: "+string(r.Outcome)+": "+c.String(), attrs...)
}

func (d duplicates) add(ctx context.Context, row *NewRow, r Receipt) {
	defer contain("MeterProvider")
	if d.count.Enabled(ctx) {
		d.count.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("queue", row.Queue), attribute.String("kind", row.Kind),
			attribute.String("outcome", string(r.Outcome)))))
	}
}
