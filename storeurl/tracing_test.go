package storeurl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// workURL names the store of a process that works, in its environment.
const workURL = "ONCEQ_TEST_WORK_URL"

// seen is what the test looks at of a span of the other process.
type seen struct {
	Name, Trace, Span, Parent, Failed string
	Links                             []string // TRACE-SPAN
}

func place(sc trace.SpanContext) string { return sc.TraceID().String() + "-" + sc.SpanID().String() }

// exporting is a provider that exports into memory.
func exporting() (*tracetest.InMemoryExporter, *sdk.TracerProvider) {
	exporter := tracetest.NewInMemoryExporter()
	return exporter, sdk.NewTracerProvider(sdk.WithSyncer(exporter))
}

func spansOf(exporter *tracetest.InMemoryExporter) (all []seen) {
	for _, s := range exporter.GetSpans() {
		one := seen{Name: s.Name, Trace: s.SpanContext.TraceID().String(), Span: s.SpanContext.SpanID().String(),
			Parent: s.Parent.SpanID().String(), Failed: s.Status.Description}
		for _, l := range s.Links {
			one.Links = append(one.Links, place(l.SpanContext))
		}
		all = append(all, one)
	}
	return all
}

// workAndTell is another process: it works until nothing is due, and writes its
// spans to standard output. The provider is the global one, and comes last.
func workAndTell(url string) error {
	store, err := Open(context.Background(), url)
	if err != nil {
		return err
	}
	defer store.Close()
	w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true, Logger: slog.New(slog.DiscardHandler),
		Retry: func(*onceq.JobRow, error) time.Duration { return 0 }})
	if err != nil {
		return err
	}
	w.HandleKind("order", func(ctx context.Context, job *onceq.JobRow) error {
		if job.Attempt == 1 {
			return errors.New("no luck")
		}
		_, err := onceq.ClientFrom(ctx).Enqueue(ctx, onceq.JSON("receipt", []byte("{}")), onceq.Unique{},
			onceq.Delay(time.Hour))
		return err
	})
	exporter, provider := exporting()
	otel.SetTracerProvider(provider)
	if err := w.Run(context.Background()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(spansOf(exporter))
}

func init() {
	if url := os.Getenv(workURL); url != "" {
		if err := workAndTell(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// On every store a trace goes from process to process and back.
func TestATraceIsFollowedAcrossProcesses(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") },
		"PostgreSQL": func(t *testing.T) string { return pgtest.URL(t) + "&namespace=" + unused("traces") },
		"Redis":      func(t *testing.T) string { return redistest.URL(t) + "?namespace=" + unused("traces") },
		"cluster":    func(t *testing.T) string { return redistest.ClusterURL(t) + "?namespace=" + unused("traces") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			followed(t, url(t))
		})
	}
}

func followed(t *testing.T, url string) {
	store, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	exporter, provider := exporting()
	client, err := onceq.NewClient(store, &onceq.Config{TracerProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	order, err := client.Enqueue(ctx, onceq.JSON("order", []byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	request.End()
	enqueue := spansOf(exporter)[0]
	if enqueue.Trace != request.SpanContext().TraceID().String() {
		t.Fatalf("the enqueue is %+v", enqueue)
	}

	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env, other.Stderr = append(os.Environ(), workURL+"="+url), os.Stderr
	out, err := other.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []seen
	if err := json.Unmarshal(out, &theirs); err != nil || len(theirs) != 3 {
		t.Fatalf("the other process has the spans %s, %v", out, err)
	}
	failed, within, ran := theirs[0], theirs[1], theirs[2]
	for _, run := range []seen{failed, ran} {
		if run.Name != "process default" || run.Trace == enqueue.Trace || len(run.Links) != 1 ||
			run.Links[0] != enqueue.Trace+"-"+enqueue.Span {
			t.Errorf("a run of the other process is %+v, of the enqueue %+v", run, enqueue)
		}
	}
	if failed.Failed != "no luck" || ran.Failed != "" || failed.Trace == ran.Trace {
		t.Errorf("the runs are %+v and %+v", failed, ran)
	}
	if within.Name != "enqueue default" || within.Trace != ran.Trace || within.Parent != ran.Span {
		t.Errorf("the enqueue in the handler is %+v, in %+v", within, ran)
	}
	if job, err := client.Job(t.Context(), order.Job.ID); err != nil || job.Trace() != order.Job.Trace() {
		t.Errorf("the job that has run has the trace %+v, %v", job, err)
	}

	exporter.Reset()
	duplicate, err := client.Enqueue(t.Context(), onceq.JSON("receipt", []byte("{}")), onceq.Unique{})
	if err != nil || duplicate.Outcome != onceq.Skipped || duplicate.Job.Trace().TraceID() != ran.Trace {
		t.Fatalf("%+v, %v", duplicate, err)
	}
	if mine := spansOf(exporter); len(mine) != 1 || len(mine[0].Links) != 1 ||
		mine[0].Links[0] != within.Trace+"-"+within.Span {
		t.Errorf("the duplicate is %+v; its holder was enqueued in %+v", mine, within)
	}
}
