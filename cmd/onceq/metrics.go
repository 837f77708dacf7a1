package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// exported is where a worker shows its metrics: GET /metrics, in the form
// that Prometheus reads.
type exported struct {
	provider metric.MeterProvider // nil = nobody wants them
	url      string
	end      func()
}

func (e *exported) say(out io.Writer) {
	if e.url != "" {
		fmt.Fprintf(out, "onceq: metrics at %s\n", e.url)
	}
}

// exportMetrics listens at HOST:PORT; "" = nowhere. What has no host is this machine
// alone: the names of queues and kinds are nobody else's business unless
// somebody says so.
func exportMetrics(listen string) (*exported, error) {
	if listen == "" {
		return &exported{end: func() {}}, nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, usagef("--metrics-listen %q must be HOST:PORT, or :PORT for this machine alone", listen)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("--metrics-listen %s: %w: choose another port, or 0 for one that is free", listen,
			plainListenError(err))
	}
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(),
		exporter.WithoutTargetInfo())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	// A scraper that is slow, or is none, holds nothing for long.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	return &exported{provider, "http://" + listener.Addr().String() + "/metrics", func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
		_ = provider.Shutdown(ctx)
	}}, nil
}

// plainListenError is the reason without the address, which the flag says.
func plainListenError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
