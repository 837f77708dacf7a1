package onceq

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// measuring is all that one enqueue and one run do to be measured.
func measuring(provider metric.MeterProvider) (enqueue, ofRun func()) {
	m, err := newMetrics(provider, newLabels())
	if err != nil {
		panic(err)
	}
	ctx, now := context.Background(), time.Now()
	row := &NewRow{Queue: "default", Kind: "mail"}
	ended := []*run{{job: JobRow{Queue: "default", Kind: "mail", RunAt: now, StartedAt: now}, state: Completed,
		timed: timed{took: time.Millisecond}}}
	return func() {
			m.enqueued(ctx, row, Receipt{Outcome: Inserted})
			m.batch(ctx, 1)
		}, func() {
			m.timesRuns()
			m.ended(ended)
		}
}

// MeasuringCosts is measuring for tests from outside.
var MeasuringCosts = measuring

func BenchmarkMetrics(b *testing.B) {
	for name, provider := range map[string]metric.MeterProvider{"none": nil, "noop": noop.NewMeterProvider(),
		"SDK": sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader()))} {
		enqueue, run := measuring(provider)
		for what, do := range map[string]func(){"enqueue": enqueue, "run": run} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					do()
				}
			})
		}
	}
}

func TestMeasuringWithoutAProviderAllocatesNothing(t *testing.T) {
	enqueue, run := measuring(nil)
	if a, b := testing.AllocsPerRun(100, enqueue), testing.AllocsPerRun(100, run); a+b > 0 {
		t.Errorf("%v allocations of an enqueue and %v of a run", a, b)
	}
}
