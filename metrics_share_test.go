//go:build unix

package onceq_test

import (
	"context"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/sqlitestore"
)

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkShareOfMetrics is how much of an enqueue, and of a run, is metrics
// without a provider.
func BenchmarkShareOfMetrics(b *testing.B) {
	enqueue, run := onceq.MeasuringCosts(nil)
	shares(b, false, enqueue, run)
}

// BenchmarkShareOfTracing is how much of them is tracing without a provider. A
// batch is traced once, so these enqueues are alone.
func BenchmarkShareOfTracing(b *testing.B) {
	enqueue, run := onceq.TracingCosts(nil)
	shares(b, true, enqueue, run)
}

// shares is how much of an enqueue, and of a run, is what a part of them does:
// processor time, in rounds that take turns, and the median of their shares.
func shares(b *testing.B, alone bool, partOfEnqueue, partOfRun func()) {
	for name, open := range map[string]func() (onceq.Store, error){
		"memory": func() (onceq.Store, error) { return memstore.New(nil), nil },
		"SQLite": func() (onceq.Store, error) {
			return sqlitestore.Open(filepath.Join(b.TempDir(), "jobs.db"), nil)
		},
	} {
		b.Run(name, func(b *testing.B) {
			store, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			client, err := onceq.NewClient(store, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			var enqueues, runs []float64
			for b.Loop() {
				const many, jobs = 2_000_000, 1000
				share := func(part, whole func()) float64 {
					began := processorTime(b)
					for range many {
						part()
					}
					middle := processorTime(b)
					whole()
					return 100 * float64(middle-began) / many / (float64(processorTime(b)-middle) / jobs)
				}
				items := make([]onceq.Item, jobs)
				for i := range items {
					items[i].Args = mail{"ada"}
				}
				enqueues = append(enqueues, share(partOfEnqueue, func() {
					for i := 0; alone && i < jobs; i++ {
						if _, err := client.Enqueue(context.Background(), items[i].Args); err != nil {
							b.Fatal(err)
						}
					}
					if alone {
						return
					}
					if _, err := client.EnqueueMany(context.Background(), items); err != nil {
						b.Fatal(err)
					}
				}))
				runs = append(runs, share(partOfRun, func() {
					w, err := onceq.NewWorker(store, &onceq.WorkerConfig{Drain: true, Logger: quiet,
						Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 100}}})
					if err != nil {
						b.Fatal(err)
					}
					onceq.Handle(w, fine)
					if err := w.Run(context.Background()); err != nil {
						b.Fatal(err)
					}
				}))
			}
			slices.Sort(enqueues)
			slices.Sort(runs)
			b.ReportMetric(enqueues[len(enqueues)/2], "%enqueue")
			b.ReportMetric(runs[len(runs)/2], "%run")
		})
	}
}

// BenchmarkMetricsWithTheSDK is the processor time of measuring an enqueue and
// a run with the SDK.
func BenchmarkMetricsWithTheSDK(b *testing.B) {
	enqueue, run := onceq.MeasuringCosts(sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())))
	for what, do := range map[string]func(){"enqueue": enqueue, "run": run} {
		b.Run(what, func(b *testing.B) {
			began, n := processorTime(b), 0
			for b.Loop() {
				do()
				n++
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(n), "cpu-ns/op")
		})
	}
}
