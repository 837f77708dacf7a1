package guard

import (
	"bytes"
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics counts what went past the guard. Duplicates are counted by the
// client, as those of jobs are.
type metrics struct{ unguarded metric.Int64Counter }

func newMetrics(provider metric.MeterProvider) (m metrics, err error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m.unguarded, err = provider.Meter("github.com/onceq/onceq").Int64Counter("onceq.guard.unguarded",
		metric.WithDescription("Messages that were sent or handled without a claim, by the reason."),
		metric.WithUnit("{message}"))
	return m, err
}

// count counts one: "sent" and "handled" without a token, "store_down",
// "lapsed".
func (m metrics) count(ctx context.Context, reason string) {
	defer func() { _ = recover() }() // a provider that panics costs nobody a message
	m.unguarded.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}

// metaOf decodes the meta of a row.
func metaOf(raw []byte) (meta map[string]any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&meta) // the root has encoded it
	return meta
}
