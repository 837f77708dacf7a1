package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/storeurl"
)

func newBench(a *app) *cobra.Command {
	b := bench{a: a, seconds: 0.8, rounds: 5}
	var quick bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this store's own rates",
		Long: `Measure what this store does here: unique enqueues by one caller and by 64,
duplicates, batches, jobs run, the time from enqueue to start, and several
processes at once. Args are about 100 bytes of JSON; every acknowledged
enqueue is on the disk. All measures take turns in each round, and the median
of the rounds is shown with the lowest and the highest.

It runs in a fresh temporary SQLite file (in --dir), with a loop of single
committed inserts behind a mutex on a file of its own beside it, for
comparison. With --store it runs in that store, in queues named onceq-bench-…,
and deletes their jobs in the end.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if quick {
				if !c.Flags().Changed("seconds") {
					b.seconds = 0.2
				}
				if !c.Flags().Changed("rounds") {
					b.rounds = 3
				}
			}
			if b.seconds < 0.05 || b.seconds > 3600 || b.rounds < 1 || b.rounds > 1000 {
				return usagef("--seconds must be 0.05 to 3600, and --rounds 1 to 1000")
			}
			b.given = c.Flags().Changed("store")
			return b.run(c.Context())
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.Float64Var(&b.seconds, "seconds", b.seconds, "how long each measure takes in a round")
	fs.IntVar(&b.rounds, "rounds", b.rounds, "how many rounds")
	fs.BoolVar(&quick, "quick", false, "3 short rounds: less than ten seconds, less exact")
	fs.StringVar(&b.dir, "dir", os.TempDir(), "where the temporary file goes: on the `DIR`'s disk")
	return c
}

// bench is one benchmark.
type bench struct {
	a       *app
	seconds float64
	rounds  int
	dir     string
	given   bool // the store was named, so it belongs to the user

	open   *connection
	name   string // of the queues, before their number
	queues int
	serial atomic.Int64 // makes args that are new
	floor  *floor       // nil where there is none
}

// measure is one thing that is measured.
type measure struct {
	name string
	do   func(ctx context.Context, d time.Duration) (sample, error)
}

const (
	benchCallers   = 64
	benchBatch     = 1000
	benchAtOnce    = 100
	benchProcesses = 4
)

func (b *bench) run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, stopSignals()...)
	defer stop()
	report := benchReport{Rounds: b.rounds, Seconds: b.seconds, CPUs: runtime.NumCPU(), Version: readVersion(),
		At: jsontext.Time(time.Now())}
	if !b.given {
		dir, err := os.MkdirTemp(b.dir, "onceq-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.a.store = "sqlite:" + filepath.Join(dir, "bench.db")
		if b.floor, err = openFloor(ctx, filepath.Join(dir, "floor.db")); err != nil {
			return err
		}
		defer b.floor.close()
		if report.FsyncMicros, err = fsyncMicros(dir); err != nil {
			return err
		}
	} else if file := storeurl.File(b.a.store); file != "" {
		if report.FsyncMicros, err = fsyncMicros(filepath.Dir(file)); err != nil {
			return err
		}
	}
	report.Store, report.Persistence = storeurl.Redacted(b.a.store), "SQLite, WAL, synchronous=FULL"
	if strings.HasSuffix(b.a.store, ":memory:") {
		report.Persistence = "in memory: nothing is on a disk"
	}
	if b.open, err = b.a.open(ctx, &onceq.Config{Logger: slog.New(slog.DiscardHandler), NoTally: true}); err != nil {
		return err
	}
	defer func() {
		if closed := b.open.close(); err == nil {
			err = closed
		}
	}()
	b.name = fmt.Sprintf("onceq-bench-%08x", rand.Uint32())
	if b.given {
		if !b.a.json {
			b.a.printf("measuring in %s, in queues named %s-…; their jobs are deleted in the end\n",
				storeurl.Redacted(b.a.store), b.name)
		}
		defer func() {
			if cleaned := b.clean(context.WithoutCancel(ctx)); err == nil {
				err = cleaned
			}
		}()
	}
	if report.Measures, err = b.measures(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	if b.a.json {
		return b.a.printJSON(report)
	}
	b.print(&report)
	return nil
}

// queue is the name of a queue that no measure has used.
func (b *bench) queue() string {
	b.queues++
	return fmt.Sprintf("%s-%d", b.name, b.queues)
}

// clean deletes what was made in the store of the user.
func (b *bench) clean(ctx context.Context) error {
	for n := 1; n <= b.queues; n++ {
		if _, err := b.open.client.DeleteAll(ctx,
			onceq.JobFilter{Queue: fmt.Sprintf("%s-%d", b.name, n)}); err != nil {
			return fmt.Errorf("delete the jobs of queue %s-%d: %w (onceq jobs delete --queue does it)", b.name, n, err)
		}
	}
	return nil
}

func (b *bench) measures(ctx context.Context) ([]measured, error) {
	all := []measure{
		{"unique enqueue, 1 caller", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, 1, false)
		}},
		{"unique enqueue, 64 callers", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, benchCallers, false)
		}},
		{"single committed inserts, 64 callers behind a mutex",
			func(ctx context.Context, d time.Duration) (sample, error) {
				return callers(ctx, d, benchCallers, b.floor.insert)
			}},
		{"duplicates, 1 caller", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, 1, true)
		}},
		{"duplicates, 64 callers", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, benchCallers, true)
		}},
		{"unique enqueue, batches of 1,000", b.batches},
		{"no-op unique jobs run, 100 at once", b.runs},
		{"enqueue to start, idle", b.latency},
		{"unique enqueue, 4 processes, 1 caller each", b.processes},
	}
	if b.floor == nil {
		all = slices.DeleteFunc(all, func(m measure) bool { return strings.HasPrefix(m.name, "single") })
	}
	if strings.HasSuffix(b.a.store, ":memory:") {
		all = all[:len(all)-1]
	}
	samples := make([][]sample, len(all))
	step := 0
	doing := ""
	p := newProgress(b.a, func() string { return fmt.Sprintf("%3d%%  %s", 100*step/(b.rounds*len(all)), doing) })
	defer p.end()
	for range b.rounds {
		for i, m := range all {
			doing = m.name
			p.show()
			s, err := m.do(ctx, time.Duration(b.seconds*float64(time.Second)))
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			samples[i] = append(samples[i], s)
			step++
		}
	}
	var out []measured
	for i, m := range all {
		r := measured{Name: m.name}
		rates := pick(samples[i], func(s sample) float64 { return s.rate })
		r.Rate, r.Low, r.High = median(rates), slices.Min(rates), slices.Max(rates)
		r.CPU = median(pick(samples[i], func(s sample) float64 { return s.cpu }))
		for name := range samples[i][0].more {
			if r.Values == nil {
				r.Values = map[string]float64{}
			}
			values := pick(samples[i], func(s sample) float64 { return s.more[name] })
			r.Values[name], r.Values[name+"_low"], r.Values[name+"_high"] = median(values), slices.Min(values),
				slices.Max(values)
		}
		out = append(out, r)
	}
	if b.floor != nil {
		ratios := make([]float64, b.rounds)
		for i := range ratios {
			ratios[i] = samples[1][i].rate / samples[2][i].rate
		}
		out[1].Values = map[string]float64{"ratio": median(ratios), "ratio_low": slices.Min(ratios),
			"ratio_high": slices.Max(ratios)}
	}
	return out, nil
}
