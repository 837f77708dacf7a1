package onceq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// tracing makes the spans of a client, a worker or a [Remote]; docs/tracing.md
// lists them. Without a provider it only looks whether there is one. A provider
// that panics stops nothing.
type tracing struct {
	tracer trace.Tracer
	global bool // the provider is the global one, which may be set later
	off    bool // the provider makes nothing
}

// nobody is the global provider while none is set; nil if one was set before
// this package was initialized.
var nobody = func() trace.TracerProvider {
	p := otel.GetTracerProvider()
	t := reflect.TypeOf(p)
	if t.Kind() != reflect.Pointer || !strings.HasSuffix(t.Elem().PkgPath(), "otel/internal/global") {
		return nil
	}
	return p
}()

func newTracing(provider trace.TracerProvider) *tracing {
	t := &tracing{global: provider == nil}
	if t.global {
		provider = otel.GetTracerProvider()
	}
	_, t.off = provider.(noop.TracerProvider)
	t.tracer = provider.Tracer(scope, trace.WithInstrumentationVersion(version()),
		trace.WithSchemaURL(semconv.SchemaURL))
	return t
}

func (t *tracing) wanted() bool {
	if t.global {
		p := otel.GetTracerProvider()
		return p != nobody
	}
	return !t.off
}

// start begins a span. If the provider panics, there is none: span is nil.
func (t *tracing) start(ctx context.Context, kind trace.SpanKind, operation string, of semconvType, queue string,
	links []trace.Link, more ...attribute.KeyValue) (with context.Context, span trace.Span) {
	with = ctx
	defer contain("TracerProvider")
	name := operation
	if queue != "" {
		name += " " + queue
		more = append(more, semconv.MessagingDestinationName(queue))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(append(more,
		semconv.MessagingSystemKey.String("onceq"), semconv.MessagingOperationName(operation), of)...)}
	if kind != trace.SpanKindProducer { // a trace of its own, that is linked to that of the args
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(links...))
	}
	return t.tracer.Start(ctx, name, opts...)
}

// semconvType is the attribute messaging.operation.type.
type semconvType = attribute.KeyValue

// enqueue begins the span of an enqueue, and writes its place into the row. What
// ends it is row.answered or row.failed.
func (t *tracing) enqueue(ctx context.Context, row *NewRow) context.Context {
	switch {
	case t.wanted():
		operation, of, queue := "enqueue", semconv.MessagingOperationTypeSend, row.Queue
		if name, claim := strings.CutPrefix(queue, guardPrefix); claim {
			operation, of, queue = "claim", semconv.MessagingOperationTypeCreate, name
		}
		ctx, row.span = t.start(ctx, trace.SpanKindProducer, operation, of, queue, nil,
			semconv.MessagingMessageID(row.ID), attribute.String("onceq.kind", row.Kind))
	case trace.SpanFromContext(ctx) == noSpan:
		return ctx
	}
	setTraces(ctx, row)
	return ctx
}

// withoutSpan is a context in which nothing belongs to the span of ctx: a worker
// may be started inside one, which is none of its jobs' business.
func withoutSpan(ctx context.Context) context.Context {
	if trace.SpanFromContext(ctx) == noSpan {
		return ctx
	}
	return trace.ContextWithSpan(ctx, noSpan)
}

// noSpan is what a context without a span has.
var noSpan = trace.SpanFromContext(context.Background())

// failed ends the span of an enqueue that got no answer.
func (r *NewRow) failed(err error) { endWith(r.span, err) }

// answered ends the span of an enqueue. A duplicate is no error; its span is
// linked to where the job that it met was enqueued.
func (r *NewRow) answered(receipt *Receipt) {
	if r.span == nil {
		return
	}
	defer contain("TracerProvider")
	defer r.span.End()
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.String("onceq.outcome", string(receipt.Outcome)),
		semconv.MessagingMessageID(receipt.Job.ID))
	if c := receipt.Conflict; c != nil {
		attrs := []attribute.KeyValue{attribute.String("onceq.holder", c.Holder), attribute.String("onceq.by", c.By),
			attribute.String("onceq.holder.state", string(c.State))}
		if c.By == "key" {
			attrs = append(attrs, attribute.String("onceq.key", c.Key.String()))
		}
		r.span.AddEvent("onceq.conflict", trace.WithAttributes(attrs...))
	}
	if at := receipt.Job.Trace().spanContext(); at.IsValid() && !sameSpan(at, r.span) {
		r.span.AddLink(trace.Link{SpanContext: at})
	}
}

// sameSpan reports whether a stored place is that of the span.
func sameSpan(at trace.SpanContext, span trace.Span) bool {
	own := span.SpanContext()
	return at.TraceID() == own.TraceID() && at.SpanID() == own.SpanID()
}

// enqueueMany begins the span of a batch; nil if there is none. A batch for one
// queue has its name.
func (t *tracing) enqueueMany(ctx context.Context, rows []NewRow) (context.Context, trace.Span) {
	var span trace.Span
	if len(rows) == 0 {
		return ctx, nil
	}
	if t.wanted() {
		operation, of, queue := "enqueue", semconv.MessagingOperationTypeSend, rows[0].Queue
		for i := range rows {
			if rows[i].Queue != queue {
				queue = ""
				break
			}
		}
		if name, claim := strings.CutPrefix(queue, guardPrefix); claim {
			operation, of, queue = "claim", semconv.MessagingOperationTypeCreate, name
		}
		ctx, span = t.start(ctx, trace.SpanKindProducer, operation, of, queue, nil,
			semconv.MessagingBatchMessageCount(len(rows)))
	}
	if trace.SpanContextFromContext(ctx).IsSampled() {
		setTraces(ctx, pointers(rows)...)
	}
	return ctx, span
}

// maxLinks is to how many other traces the span of a batch is linked.
const maxLinks = 32

// endMany ends the span of a batch.
func endMany(span trace.Span, receipts []Receipt, err error) {
	if span == nil {
		return
	}
	defer contain("TracerProvider")
	if span.IsRecording() {
		duplicates, linked := 0, map[TraceContext]bool{}
		for i := range receipts {
			r := &receipts[i]
			if r.Job == nil {
				continue
			}
			if r.Duplicate() {
				duplicates++
			}
			place := r.Job.Trace()
			at := place.spanContext()
			if len(linked) < maxLinks && at.IsValid() && !linked[place] && !sameSpan(at, span) {
				linked[place] = true
				span.AddLink(trace.Link{SpanContext: at})
			}
		}
		span.SetAttributes(attribute.Int("onceq.duplicates", duplicates))
	}
	endWith(span, err)
}

// endWith ends a span, with the error if there is one.
func endWith(span trace.Span, err error) {
	if span == nil {
		return
	}
	defer contain("TracerProvider")
	defer span.End()
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
		span.SetStatus(codes.Error, bound(err.Error(), 1024))
	}
}

// process begins the span of a run. Without a provider the job's own place is
// put into the context, so that what the handler enqueues belongs to its trace.
func (t *tracing) process(ctx context.Context, job *JobRow, worker string) (context.Context, trace.Span) {
	if !t.wanted() {
		if len(job.Extra) > 0 {
			ctx = job.Trace().Into(ctx)
		}
		return ctx, nil
	}
	if isReserved(job.Queue, job.Kind) {
		return ctx, nil
	}
	return t.start(ctx, trace.SpanKindConsumer, "process", semconv.MessagingOperationTypeProcess, job.Queue,
		linksOf(job), append(ofRun(job), semconv.MessagingClientID(worker))...)
}

func linksOf(job *JobRow) []trace.Link {
	if at := job.Trace().spanContext(); at.IsValid() {
		return []trace.Link{{SpanContext: at}}
	}
	return nil
}

func ofRun(job *JobRow) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.MessagingMessageID(job.ID), attribute.String("onceq.kind", job.Kind),
		attribute.Int64("onceq.run", job.Run), attribute.Int("onceq.attempt", job.Attempt)}
}

// traced ends the span of a run whose handler has ended. f is what the worker
// tells the store.
func (r *run) traced(f *Finish, lost bool) {
	if r.span == nil {
		return
	}
	defer contain("TracerProvider")
	defer r.span.End()
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.String("onceq.state", string(f.State)))
	switch {
	case lost:
		r.span.SetAttributes(semconv.ErrorTypeKey.String("lease_lost"))
		r.span.SetStatus(codes.Error, ErrLeaseLost.Error())
	case f.Error != "" && f.State != Cancelled:
		kind := errorType(nil)
		if r.failed != nil {
			kind = errorType(r.failed.err)
		}
		r.span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		r.span.SetStatus(codes.Error, f.Error)
	}
}

// rescued makes the span of a run that was ended in the place of a lost worker,
// which cannot tell of it any more.
func (t *tracing) rescued(ctx context.Context, job *JobRow, state State, by string) {
	if !t.wanted() || isReserved(job.Queue, job.Kind) {
		return
	}
	_, span := t.start(ctx, trace.SpanKindClient, "rescue", semconv.MessagingOperationTypeSettle, job.Queue,
		linksOf(job), append(ofRun(job), semconv.MessagingClientID(by), attribute.String("onceq.lost", job.Worker),
			attribute.String("onceq.state", string(state)))...)
	endWith(span, &lostError{job.Worker})
}

// errorType is a short name for an error: one of a few, else its type in Go.
func errorType(err error) string {
	var panicked *panicError
	var late *timeoutError
	var undecoded *undecodedRun
	switch {
	case err == nil:
		return "_OTHER"
	case errors.Is(err, ErrUncertain):
		return "uncertain"
	case errors.Is(err, ErrClosed):
		return "closed"
	case errors.Is(err, ErrLeaseLost):
		return "lease_lost"
	case errors.As(err, &panicked):
		return "panic"
	case errors.As(err, &undecoded):
		return "undecodable"
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	for name := ""; ; err = errors.Unwrap(err) {
		name = fmt.Sprintf("%T", err)
		if wraps := strings.HasPrefix(name, "*fmt.") || name == "*onceq.verdict"; !wraps || errors.Unwrap(err) == nil {
			return name
		}
	}
}
