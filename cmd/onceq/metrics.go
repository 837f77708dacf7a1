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

// exported is where a process shows its metrics: GET /metrics, in the form
// that Prometheus reads.
type exported struct {
	provider metric.MeterProvider // nil = nobody wants them
	handler  http.Handler         // for a server that there is anyway
	url      string               // of a server of their own; "" = there is none
	end      func()
}

// newExported measures, and shows it nowhere yet.
func newExported() (*exported, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(),
		exporter.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	return &exported{provider, promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}), "",
		func() { _ = provider.Shutdown(context.Background()) }}, nil
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
	e, err := newExported()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.handler)
	// A scraper that is slow, or is none, holds nothing for long.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	shutdown := e.end
	e.url, e.end = "http://"+listener.Addr().String()+"/metrics", func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
		shutdown()
	}
	return e, nil
}

// plainListenError is the reason without the address, which the flag says.
func plainListenError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
