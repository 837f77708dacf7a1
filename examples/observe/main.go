// Command observe is a shop that can be watched: metrics for Prometheus, with
// the board docs/grafana.json, and traces for anything that takes OTLP.
//
//	go run ./observe
//	curl -d id=7 http://127.0.0.1:8080/orders      # and again: a duplicate
//
// Metrics: let Prometheus scrape http://127.0.0.1:8080/metrics, and import
// docs/grafana.json in Grafana (Dashboards, New, Import).
//
// Traces: they go to -traces, where Jaeger, Tempo or the collector of
// OpenTelemetry listens. Look for "POST /orders": its mail is linked to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

// Mail tells a customer of an order.
type Mail struct {
	Order string `json:"order"`
}

// Kind names the job.
func (Mail) Kind() string { return "mail" }

func main() {
	url := flag.String("store", "sqlite:observe.db", "store")
	listen := flag.String("listen", "127.0.0.1:8080", "address of the web server")
	traces := flag.String("traces", "http://127.0.0.1:4318", "where traces go, by OTLP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// The providers of the whole process: onceq finds them.
	reader := must(prometheus.New(prometheus.WithoutScopeInfo(), prometheus.WithoutTargetInfo()))
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	exporter := must(otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(*traces+"/v1/traces")))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)

	opened := must(storeurl.Open(ctx, *url))
	store := must(onceq.MeasureStore(opened, nil))
	client := must(onceq.NewClient(store, nil))
	worker := must(onceq.NewWorker(store, &onceq.WorkerConfig{Client: client,
		Retry: func(*onceq.JobRow, error) time.Duration { return time.Second }}))
	onceq.Handle(worker, send)

	http.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) { order(w, r, client) })
	http.Handle("GET /metrics", promhttp.Handler())
	listener := must(net.Listen("tcp", *listen))
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	fmt.Printf("listening on http://%s\n", listener.Addr())
	err := worker.Run(ctx)

	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(last), client.Close(), opened.Close(),
		provider.Shutdown(last)) // sends the spans that are left
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// order takes an order, and answers with the outcome and the trace of its mail.
func order(w http.ResponseWriter, r *http.Request, client *onceq.Client) {
	ctx, span := otel.Tracer("shop").Start(r.Context(), "POST /orders")
	defer span.End()
	receipt, err := client.Enqueue(ctx, Mail{r.FormValue("id")}, onceq.Unique{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, receipt.Outcome, receipt.Job.Trace().TraceID())
}

// send sends a mail. The mail server is down at the first attempt, so that there
// is a retry to look at.
func send(ctx context.Context, job *onceq.Job[Mail]) error {
	_, span := otel.Tracer("shop").Start(ctx, "talk to the mail server") // belongs to the run
	defer span.End()
	if job.Attempt == 1 {
		return errors.New("the mail server is down")
	}
	fmt.Println("sent the mail of order", job.Args.Order)
	return nil
}
