package onceq

import (
	"context"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// traced is all that one enqueue and one run do to be traced.
func traced(provider trace.TracerProvider) (enqueue, ofRun func()) {
	t := newTracing(provider)
	type of struct{}
	ctx := context.WithValue(context.Background(), of{}, "a request")
	row, answered := &NewRow{Queue: "default", Kind: "mail"}, &Receipt{Outcome: Inserted, Job: &JobRow{}}
	r, f := &run{job: JobRow{Queue: "default", Kind: "mail"}}, &Finish{State: Completed}
	return func() {
			row.span, row.Extra = nil, nil
			t.enqueue(ctx, row)
			row.answered(answered)
		}, func() {
			_, r.span = t.process(ctx, &r.job, "me")
			r.traced(f, false)
		}
}

// TracingCosts is traced for tests from outside.
var TracingCosts = traced

func BenchmarkTracing(b *testing.B) {
	for name, provider := range map[string]trace.TracerProvider{"none": nil, "noop": noop.NewTracerProvider(),
		"unsampled": sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample())), "SDK": sdk.NewTracerProvider()} {
		enqueue, run := traced(provider)
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

func TestTracingWithoutAProviderAllocatesNothing(t *testing.T) {
	for name, provider := range map[string]trace.TracerProvider{"none": nil, "noop": noop.NewTracerProvider()} {
		enqueue, run := traced(provider)
		if a, b := testing.AllocsPerRun(100, enqueue), testing.AllocsPerRun(100, run); a+b > 0 {
			t.Errorf("%s: %v allocations of an enqueue and %v of a run", name, a, b)
		}
	}
}
