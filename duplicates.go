package onceq

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

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

func (d duplicates) note(ctx context.Context, row *NewRow, r Receipt) {
	if d.count.Enabled(ctx) {
		d.count.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("queue", row.Queue), attribute.String("kind", row.Kind),
			attribute.String("outcome", string(r.Outcome)))))
	}
	if !d.logger.Enabled(ctx, d.level) {
		return
	}
	c := r.Conflict
	d.logger.LogAttrs(ctx, d.level, "onceq: "+string(r.Outcome)+": "+c.String(),
		slog.String("kind", row.Kind), slog.String("queue", row.Queue), slog.String("outcome", string(r.Outcome)),
		slog.String("job", r.Job.ID), slog.String("by", c.By), slog.String("holder", c.Holder),
		slog.String("state", string(c.State)),
		slog.Time("since", c.Since), slog.Time("frees_at", c.FreesAt), slog.String("frees_when", c.FreesWhen),
		slog.Bool("args_differ", c.ArgsDiffer))
}
