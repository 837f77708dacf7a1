// Command service is a service on onceq: webhooks and payments come in over HTTP,
// and a worker does the rest, in this process or in others.
package main

import (
	"context"
	"database/sql"
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

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/pgstore"
	"github.com/onceq/onceq/sqlitestore"
	"github.com/onceq/onceq/storeurl"
)

type service struct {
	store  onceq.Store
	client *onceq.Client
	worker *onceq.Worker
	db     *sql.DB // the same database: a transaction writes tables and jobs
	begin  func(context.Context) (*sql.Tx, error)
	tx     func(*sql.Tx) onceq.Tx

	grace, quiet, render time.Duration
}

func main() {
	var s service
	url := flag.String("store", "sqlite:service.db", "the database, or postgres://...")
	listen := flag.String("listen", "127.0.0.1:8080", "address of the web server")
	works := flag.Bool("work", true, "run jobs in this process")
	flag.DurationVar(&s.grace, "grace", 20*time.Second, "how long jobs may go on after SIGTERM")
	flag.DurationVar(&s.quiet, "quiet", time.Minute, "how long there is no push before a digest")
	flag.DurationVar(&s.render, "render", time.Second, "how long a preview takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx, *url, *listen, *works); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, and lets what runs then end.
func (s *service) run(ctx context.Context, url, listen string, works bool) error {
	metrics, err := prometheus.New()
	spans, failed := otlptracehttp.New(ctx)
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(metrics)))
	traces := trace.NewTracerProvider(trace.WithBatcher(spans))
	defer traces.Shutdown(context.WithoutCancel(ctx)) // sends what is left
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		otel.SetTracerProvider(traces)
	}
	if err := s.open(ctx, url); err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	log.Println("listening on", listener.Addr())
	server := &http.Server{Handler: s.routes()}
	go func() { log.Print(server.Serve(listener)) }()
	if works {
		err = s.worker.Run(ctx)
	} else {
		<-ctx.Done()
	}
	return errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
}

func (s *service) open(ctx context.Context, url string) (err error) {
	if s.store, err = storeurl.Open(ctx, url); err != nil {
		return err
	}
	switch store := s.store.(type) {
	case *sqlitestore.Store:
		s.db, s.begin, s.tx = store.DB(), store.Begin, store.Tx
	case *pgstore.Store:
		if s.db, err = sql.Open("pgx", url); err != nil {
			return err
		}
		s.tx = store.SQLTx
		s.begin = func(ctx context.Context) (*sql.Tx, error) { return s.db.BeginTx(ctx, nil) }
	}
	if s.client, err = onceq.NewClient(s.store, &onceq.Config{Kinds: policies}); err != nil {
		return err
	}
	s.worker, err = onceq.NewWorker(s.store, &onceq.WorkerConfig{Client: s.client, ShutdownTimeout: s.grace,
		Queues: map[string]onceq.QueueConfig{"hooks": {Concurrency: 10}, "default": {Concurrency: 10}}})
	if err != nil {
		return err
	}
	onceq.Handle(s.worker, s.deliver)
	onceq.Handle(s.worker, func(context.Context, *onceq.Job[Reindex]) error { return nil })
	onceq.Handle(s.worker, func(context.Context, *onceq.Job[Digest]) error { return nil })
	onceq.Handle(s.worker, s.preview)
	onceq.Handle(s.worker, s.pay)
	_, err = s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS payments (order_id TEXT, cents TEXT)")
	return err
}

func (s *service) close() { s.client.Close(); s.store.Close(); s.db.Close() }

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("POST /hooks/{repo}", func(w http.ResponseWriter, r *http.Request) {
		s.accept(w, r, Delivery{r.Header.Get("X-GitHub-Delivery"), r.PathValue("repo"), r.FormValue("after")})
	})
	mux.HandleFunc("POST /payments", func(w http.ResponseWriter, r *http.Request) {
		s.accept(w, r, Payment{r.FormValue("order"), r.FormValue("cents")})
	})
	return mux
}

func (s *service) accept(w http.ResponseWriter, r *http.Request, args onceq.Args) {
	receipt, err := s.client.Enqueue(r.Context(), args)
	if _, refused := errors.AsType[*onceq.InvalidError](err); refused { // such as a delivery without an ID
		http.Error(w, err.Error(), http.StatusBadRequest)
	} else if err != nil { // it is to be sent again, which makes no second job
		http.Error(w, "not accepted", http.StatusServiceUnavailable)
	} else {
		fmt.Fprintln(w, receipt.Outcome, receipt.Job.ID)
	}
}
