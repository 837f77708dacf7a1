package onceq_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/sqlitestore"
)

// tracer is a TracerProvider whose spans a test can read.
type tracer struct {
	t     *testing.T
	spans *tracetest.SpanRecorder
	*sdk.TracerProvider
}

func newTracer(t *testing.T, opts ...sdk.TracerProviderOption) tracer {
	spans := tracetest.NewSpanRecorder()
	return tracer{t, spans, sdk.NewTracerProvider(append(opts, sdk.WithSpanProcessor(spans))...)}
}

// named returns the spans of a name, in the order in which they ended.
func (tr tracer) named(name string, want int) (all []sdk.ReadOnlySpan) {
	tr.t.Helper()
	var names []string
	for _, s := range tr.spans.Ended() {
		names = append(names, s.Name())
		if s.Name() == name {
			all = append(all, s)
		}
	}
	if len(all) != want {
		tr.t.Fatalf("%d spans %q, want %d: %q", len(all), name, want, names)
	}
	return all
}

// parent is a context with a span of the caller.
func (tr tracer) parent() (context.Context, trace.Span) {
	return tr.Tracer("test").Start(tr.t.Context(), "request")
}

func attr(s sdk.ReadOnlySpan, name string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == name {
			return a.Value.String()
		}
	}
	return ""
}

// linked wants a span to be linked to this one and to no other.
func (tr tracer) linked(s sdk.ReadOnlySpan, to trace.SpanContext) {
	tr.t.Helper()
	links := s.Links()
	if len(links) != 1 || links[0].SpanContext.TraceID() != to.TraceID() ||
		links[0].SpanContext.SpanID() != to.SpanID() {
		tr.t.Errorf("%s has the links %v, want one to %v", s.Name(), links, to.SpanID())
	}
}

func (tr tracer) attrs(s sdk.ReadOnlySpan, want map[string]string) {
	tr.t.Helper()
	for name, value := range want {
		if got := attr(s, name); got != value {
			tr.t.Errorf("%s: %s is %q, want %q", s.Name(), name, got, value)
		}
	}
}

func TestAnEnqueueAndEachRunOfItsJobHaveSpans(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		tr := newTracer(t)
		b.client = clientOf(t, b.store, &onceq.Config{TracerProvider: tr})
		var inside, logged trace.SpanContext
		b.serve(onceq.WorkerConfig{TracerProvider: tr, Client: b.client, ID: "me",
			Retry: func(*onceq.JobRow, error) time.Duration { return time.Minute }},
			func(ctx context.Context, job *onceq.Job[mail]) error {
				if job.Args.To == "child" {
					return nil
				}
				if job.Attempt == 1 {
					return errors.New("no luck")
				}
				inside = trace.SpanContextFromContext(ctx)
				r, err := onceq.ClientFrom(ctx).Enqueue(ctx, mail{"child"})
				if err == nil {
					logged = trace.SpanContextFromContext(r.Job.Trace().Into(context.Background()))
				}
				return err
			})
		ctx, request := tr.parent()
		r, err := b.client.Enqueue(ctx, mail{"ada"})
		if err != nil {
			t.Fatal(err)
		}
		request.End()
		pass(2 * time.Minute)

		enqueues, runs := tr.named("enqueue default", 2), tr.named("process default", 3)
		first := enqueues[0]
		if first.Parent().SpanID() != request.SpanContext().SpanID() || first.SpanKind() != trace.SpanKindProducer ||
			len(first.Links()) != 0 || first.Status().Code != codes.Unset {
			t.Errorf("the enqueue: parent %v, kind %v, links %v, status %v", first.Parent().SpanID(), first.SpanKind(),
				first.Links(), first.Status())
		}
		tr.attrs(first, map[string]string{"messaging.system": "onceq", "messaging.operation.name": "enqueue",
			"messaging.operation.type": "send", "messaging.destination.name": "default",
			"messaging.message.id": r.Job.ID, "onceq.kind": "mail", "onceq.outcome": "inserted"})
		if r.Job.Trace().TraceID() != request.SpanContext().TraceID().String() ||
			b.job(r.Job.ID).Trace() != r.Job.Trace() {
			t.Errorf("the job has the trace %v", b.job(r.Job.ID).Trace())
		}
		for i, run := range runs[:2] {
			tr.linked(run, first.SpanContext())
			if run.Parent().IsValid() || run.SpanKind() != trace.SpanKindConsumer ||
				run.SpanContext().TraceID() == first.SpanContext().TraceID() {
				t.Errorf("run %d: parent %v, kind %v, trace %v", i+1, run.Parent(), run.SpanKind(),
					run.SpanContext().TraceID())
			}
			tr.attrs(run, map[string]string{"messaging.system": "onceq", "messaging.operation.name": "process",
				"messaging.operation.type": "process", "messaging.message.id": r.Job.ID, "onceq.kind": "mail",
				"onceq.attempt": []string{"1", "2"}[i], "onceq.run": []string{"1", "2"}[i],
				"onceq.state": []string{"retryable", "completed"}[i]})
			if !strings.HasPrefix(attr(run, "messaging.client.id"), "me-") {
				t.Errorf("run %d of worker %q", i+1, attr(run, "messaging.client.id"))
			}
		}
		if s := runs[0].Status(); s.Code != codes.Error || s.Description != "no luck" ||
			attr(runs[0], "error.type") != "*errors.errorString" {
			t.Errorf("a failed run has the status %v, error.type %q", s, attr(runs[0], "error.type"))
		}
		if s := runs[1].Status(); s.Code != codes.Unset || attr(runs[1], "error.type") != "" {
			t.Errorf("a run that completed has the status %v", s)
		}
		child := enqueues[1]
		if inside.SpanID() != runs[1].SpanContext().SpanID() || child.Parent().SpanID() != inside.SpanID() ||
			logged.SpanID() != child.SpanContext().SpanID() {
			t.Errorf("the handler's context has span %v, its enqueue %v under %v, the child's job %v", inside.SpanID(),
				child.SpanContext().SpanID(), child.Parent().SpanID(), logged.SpanID())
		}
		tr.linked(runs[2], child.SpanContext())
	})
}

func TestTheSpanOfADuplicateIsLinkedToTheTraceOfTheHolder(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		tr := newTracer(t)
		client := clientOf(t, b.store, &onceq.Config{TracerProvider: tr})
		put := func(opts ...onceq.Option) onceq.Receipt {
			ctx, request := tr.parent()
			defer request.End()
			r, err := client.Enqueue(ctx, mail{"ada"}, append(opts, onceq.Unique{})...)
			if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
				t.Fatal(err)
			}
			return r
		}
		holder := put(onceq.Delay(time.Hour)).Job
		put()
		put(onceq.OnConflict(onceq.Reject))
		put(onceq.OnConflict(onceq.Replace{RunAt: true})) // not the args: the job keeps its trace
		spans := tr.named("enqueue default", 4)
		for i, outcome := range []string{"skipped", "rejected", "replaced"} {
			s := spans[i+1]
			tr.linked(s, spans[0].SpanContext())
			tr.attrs(s, map[string]string{"onceq.outcome": outcome})
			if s.Status().Code != codes.Unset || len(s.Events()) != 1 || s.Events()[0].Name != "onceq.conflict" {
				t.Fatalf("%s: status %v, events %v", outcome, s.Status(), s.Events())
			}
			said := attribute.NewSet(s.Events()[0].Attributes...)
			for name, want := range map[attribute.Key]string{"onceq.holder": holder.ID, "onceq.by": "key",
				"onceq.key": holder.Key.String(), "onceq.holder.state": "scheduled"} {
				if v, _ := said.Value(name); v.AsString() != want {
					t.Errorf("%s: the event says %s=%q, want %q", outcome, name, v.AsString(), want)
				}
			}
		}
		put(onceq.OnConflict(onceq.Replace{Args: true}))
		last := tr.named("enqueue default", 5)[4]
		if len(last.Links()) != 0 || b.job(holder.ID).Trace().TraceID() != last.SpanContext().TraceID().String() {
			t.Errorf("a trace does not follow the args: links %v, %v", last.Links(), b.job(holder.ID).Trace())
		}
		many, err := client.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(mail{"ada"}, onceq.Unique{}),
			onceq.NewItem(mail{"bob"}, onceq.Unique{}), onceq.NewItem(mail{"bob"}, onceq.Unique{})})
		if err != nil {
			t.Fatal(err)
		}
		batch := tr.named("enqueue default", 6)[5]
		tr.linked(batch, last.SpanContext())
		tr.attrs(batch, map[string]string{"messaging.batch.message_count": "3", "onceq.duplicates": "2"})
		if many[1].Job.Trace().TraceID() != batch.SpanContext().TraceID().String() {
			t.Errorf("an item has the trace %v", many[1].Job.Trace())
		}
	})
}

func TestARunThatWasLostHasASpanOfItsRescuer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		tr := newTracer(t)
		b.client = clientOf(t, b.store, &onceq.Config{TracerProvider: tr})
		id := b.enqueue(mail{"ada"}, onceq.MaxAttempts(1))
		b.deadWorker("died", 30*time.Second, 1)
		w := b.worker(onceq.WorkerConfig{TracerProvider: tr})
		onceq.Handle(w, fine)
		ctx, span := tr.parent() // of the program: no parent of what the worker does
		ctx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- b.run(ctx, w) }()
		pass(5 * time.Minute)
		stop()
		span.End()
		if err := <-done; err != nil {
			t.Error(err)
		}
		rescue := tr.named("rescue default", 1)[0]
		tr.linked(rescue, tr.named("enqueue default", 1)[0].SpanContext())
		tr.attrs(rescue, map[string]string{"messaging.operation.type": "settle", "messaging.message.id": id,
			"onceq.lost": "died", "onceq.state": "discarded", "error.type": "lease_lost", "onceq.run": "1"})
		if rescue.Status().Code != codes.Error || rescue.Parent().IsValid() {
			t.Errorf("status %v, parent %v", rescue.Status(), rescue.Parent())
		}
	})
}

func TestTheSpanOfARunSaysHowItEnded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		tr := newTracer(t)
		b.serve(onceq.WorkerConfig{TracerProvider: tr}, func(ctx context.Context, job *onceq.Job[mail]) error {
			switch job.Args.To {
			case "panics":
				panic("oh")
			case "late":
				<-ctx.Done()
				return ctx.Err()
			case "snoozes":
				return onceq.Snooze(time.Hour)
			case "cancels":
				return onceq.Cancel(errors.New("not needed"))
			}
			return onceq.Discard(&onceq.InvalidError{Field: "to"})
		})
		for _, want := range []struct{ to, state, errorType string }{
			{"panics", "discarded", "panic"}, {"late", "discarded", "timeout"}, {"snoozes", "scheduled", ""},
			{"cancels", "cancelled", ""}, {"discards", "discarded", "*onceq.InvalidError"},
		} {
			b.enqueue(mail{want.to}, onceq.MaxAttempts(1), onceq.Timeout(time.Minute), onceq.Queue("default"))
			pass(2 * time.Minute)
			spans := tr.spans.Ended()
			last := spans[len(spans)-1]
			if failed := want.errorType != ""; attr(last, "onceq.state") != want.state ||
				attr(last, "error.type") != want.errorType || (last.Status().Code == codes.Error) != failed ||
				len(last.Links()) != 0 {
				t.Errorf("%s: state %q, error.type %q, status %v", want.to, attr(last, "onceq.state"),
					attr(last, "error.type"), last.Status())
			}
		}
	})
}

func TestAnEnqueueWithoutAnAnswerHasASpanThatSaysSo(t *testing.T) {
	inFlakyBubble(t, func(t *testing.T, b *bubble, store *flaky) {
		tr := newTracer(t)
		client := clientOf(t, store, &onceq.Config{TracerProvider: tr})
		store.from(always(failsUnsent, "enqueue"))
		_, err := client.Enqueue(t.Context(), mail{"ada"})
		_, many := client.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(mail{"ada"}),
			onceq.NewItem(mail{"bob"}, onceq.Queue("slow"))})
		if err == nil || many == nil {
			t.Fatal("no error")
		}
		for _, name := range []string{"enqueue default", "enqueue"} {
			if s := tr.named(name, 1)[0]; s.Status().Code != codes.Error || attr(s, "error.type") == "" {
				t.Errorf("%s: status %v, error.type %q", name, s.Status(), attr(s, "error.type"))
			}
		}
	})
}

func TestTransactionsGuardsAndSchedulesAreTraced(t *testing.T) {
	t.Parallel()
	tr := newTracer(t)
	store, err := sqlitestore.Open(filepath.Join(t.TempDir(), "jobs.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := clientOf(t, store, &onceq.Config{TracerProvider: tr, Logger: quiet})
	ctx, request := tr.parent()
	defer request.End()
	mine := func(what string, of onceq.TraceContext) {
		t.Helper()
		if of.TraceID() != request.SpanContext().TraceID().String() {
			t.Errorf("%s has the trace %v", what, of)
		}
	}

	tx, err := store.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	one, err := client.WithTx(store.Tx(tx)).Enqueue(ctx, mail{"one"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := client.WithTx(store.Tx(tx)).EnqueueMany(ctx, []onceq.Item{onceq.NewItem(mail{"two"})})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	mine("a job in a transaction", one.Job.Trace())
	mine("a job of a batch in a transaction", two[0].Job.Trace())
	tr.named("enqueue default", 2)

	g, err := guard.New(store, &guard.Config{Name: "orders", TracerProvider: tr, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	send := func() error {
		_, err := g.Send(ctx, mail{"ada"}, func(context.Context, guard.Token) error { return nil })
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := send(); !errors.Is(err, onceq.ErrDuplicate) {
		t.Fatal(err)
	}
	claims := tr.named("claim orders", 2)
	tr.linked(claims[1], claims[0].SpanContext())
	tr.attrs(claims[0], map[string]string{"messaging.operation.type": "create",
		"messaging.destination.name": "orders"})

	if _, err := client.PutPeriodic(t.Context(), onceq.Periodic{Name: "often", Schedule: "@every 1s",
		Args: mail{"tick"}, Options: []onceq.Option{onceq.Queue("ticks")}}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan *onceq.JobRow, 100)
	w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client, TracerProvider: tr, ServePeriodic: true,
		Queues: map[string]onceq.QueueConfig{"ticks": {Concurrency: 1}}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	onceq.Handle(w, func(_ context.Context, job *onceq.Job[mail]) error { ran <- job.JobRow; return nil })
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(running) }()
	job := <-ran
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	of := trace.SpanContextFromContext(job.Trace().Into(context.Background()))
	for _, s := range tr.spans.Ended() {
		if s.SpanContext().SpanID() == of.SpanID() && s.Name() == "enqueue ticks" {
			if s.Parent().IsValid() {
				t.Errorf("a tick belongs to what started the worker: %v", s.Parent())
			}
			return
		}
	}
	t.Errorf("the job of a tick has the trace %v", job.Trace())
}

func TestATraceThatIsNotSampledIsNotStored(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		tr := newTracer(t, sdk.WithSampler(sdk.NeverSample()))
		client := clientOf(t, b.store, &onceq.Config{TracerProvider: tr})
		ctx, request := tr.parent()
		defer request.End()
		r, err := client.Enqueue(ctx, mail{"ada"}, onceq.Unique{})
		if err != nil {
			t.Fatal(err)
		}
		many, err := client.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(mail{"bob"})})
		if err != nil {
			t.Fatal(err)
		}
		if r.Job.Extra != nil || many[0].Job.Extra != nil {
			t.Errorf("the jobs keep %s and %s", r.Job.Extra, many[0].Job.Extra)
		}
	})
}

func TestWithoutAProviderATraceIsPassedOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		from := onceq.TraceContext{Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			Tracestate: "vendor=1"}
		var in, child onceq.TraceContext
		b.serve(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			if job.Args.To == "child" {
				child = job.Trace()
				return nil
			}
			in = onceq.TraceFrom(ctx)
			_, err := onceq.ClientFrom(ctx).Enqueue(ctx, mail{"child"})
			return err
		})
		ctx := from.Into(t.Context())
		if _, err := b.client.Enqueue(ctx, mail{"ada"}, onceq.Backoff{Initial: time.Hour}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if in != from || child != from {
			t.Errorf("the handler has %v, the child %v, want %v", in, child, from)
		}
	})
}

func TestALongTracestateLosesItsEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		long := "a=" + strings.Repeat("<", 60) + ",b=" + strings.Repeat("x", 200)
		r, err := b.client.Enqueue(
			onceq.TraceContext{Traceparent: parent, Tracestate: long}.Into(t.Context()),
			mail{"ada"},
		)
		if err != nil {
			t.Fatal(err)
		}
		want := onceq.TraceContext{Traceparent: parent, Tracestate: long[:62]}
		if got := b.job(r.Job.ID).Trace(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// faulty is a TracerProvider that panics.
type faulty struct{ trace.TracerProvider }

type faultyTracer struct{ trace.Tracer }

func (faulty) Tracer(string, ...trace.TracerOption) trace.Tracer { return faultyTracer{} }

func (faultyTracer) Start(context.Context, string, ...trace.SpanStartOption) (context.Context, trace.Span) {
	panic("of the tracer")
}

func TestAProviderOfTracesThatPanicsStopsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.client = clientOf(t, b.store, &onceq.Config{TracerProvider: faulty{}})
		b.serve(onceq.WorkerConfig{TracerProvider: faulty{}}, fine)
		id := b.enqueueAndWait(mail{"ada"})
		b.wants(id, onceq.Completed)
		if r, err := b.client.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(mail{"bob"})}); err != nil ||
			r[0].Outcome != onceq.Inserted {
			t.Errorf("%v, %v", r, err)
		}
	})
}
