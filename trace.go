package onceq

import (
	"context"
	"encoding/json"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxTracestate is how many bytes of a tracestate are stored, as JSON. Of a
// longer one the members at the end are left out.
const maxTracestate = 512

// TraceContext is a place in a trace, as [W3C Trace Context] writes it. The
// zero value is no place.
//
// [W3C Trace Context]: https://www.w3.org/TR/trace-context/
type TraceContext struct {
	Traceparent string `json:"traceparent"`          // "00-TRACE-SPAN-FLAGS", hexadecimal
	Tracestate  string `json:"tracestate,omitempty"` // what vendors add; "" = nothing
}

// TraceFrom is the place of the span in ctx; zero if there is none.
func TraceFrom(ctx context.Context) (t TraceContext) {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return TraceContext{carrier["traceparent"], carrier["tracestate"]}
}

// Into returns a context in which the place is that of a remote parent: what is
// enqueued with it belongs to that trace. It returns ctx if the place is zero
// or not valid.
func (t TraceContext) Into(ctx context.Context) context.Context {
	if t == (TraceContext{}) {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx,
		propagation.MapCarrier{"traceparent": t.Traceparent, "tracestate": t.Tracestate})
}

func (t TraceContext) spanContext() trace.SpanContext {
	return trace.SpanContextFromContext(t.Into(context.Background()))
}

// TraceID is the 32 hexadecimal digits by which the trace is found; "" if the
// place is zero or not valid.
func (t TraceContext) TraceID() string {
	if sc := t.spanContext(); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// Trace is where the job was enqueued, in the trace of its args: that of the
// span of the enqueue. It is zero if that was not sampled. It goes with the
// args: whatever replaces them replaces it too.
func (j *JobRow) Trace() TraceContext {
	if len(j.Extra) == 0 {
		return TraceContext{}
	}
	if t := j.extra().Trace; t != nil && t.spanContext().IsValid() { // else another program wrote it
		return *t
	}
	return TraceContext{}
}

// shown is the trace for JSON; nil if there is none.
func (t TraceContext) shown() *TraceContext {
	if t == (TraceContext{}) {
		return nil
	}
	return &t
}

// storable is the trace as it is kept: with a tracestate that is not too long.
func (t TraceContext) storable() *TraceContext {
	for t.Tracestate != "" {
		if text, err := json.Marshal(t.Tracestate); err == nil && len(text) <= maxTracestate {
			break
		}
		t.Tracestate = t.Tracestate[:max(strings.LastIndexByte(t.Tracestate, ','), 0)]
	}
	return &t
}

// setTraces writes the span in ctx to rows, if it is sampled.
func setTraces(ctx context.Context, rows ...*NewRow) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	t := TraceFrom(ctx)
	if t == (TraceContext{}) {
		return
	}
	said := extra{Trace: t.storable()}
	alone, err := said.encode()
	if err != nil {
		return
	}
	for _, r := range rows {
		if r.Extra == nil {
			r.Extra = alone
			continue
		}
		own := (&JobRow{Extra: r.Extra}).extra()
		own.Trace = said.Trace
		if both, err := own.encode(); err == nil {
			r.Extra = both
		}
	}
}
