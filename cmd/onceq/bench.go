package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storeurl"
)

func newBench(a *app) *cobra.Command {
	b := bench{a: a, seconds: 0.8, rounds: 5}
	var quick bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this store's own rates",
		Long: `Measure what this store does here: unique enqueues by one caller and by 64, duplicates, batches, jobs run, the time from enqueue to start,
and several processes at once. Args are about 100 bytes of JSON; every acknowledged enqueue is on the disk. All measures take turns in each
round, and the median of the rounds is shown with the lowest and the highest.

It runs in a fresh temporary SQLite file (in --dir), with a loop of single committed inserts behind a mutex on a file of its own beside
it, for comparison. With --store it runs in that store, in queues named onceq-bench-…, and deletes their jobs in the end.`,
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
	given   bool // the store was named: it is somebody's

	session *session
	name    string // of the queues, before their number
	queues  int
	serial  atomic.Int64 // makes args that are new
	floor   *floor       // nil where there is none
}

// sample is what one measure gave in one round.
type sample struct {
	rate float64 // jobs a second
	cpu  float64 // microseconds of this process a job
	more map[string]float64
}

// measured is a measure of all rounds.
type measured struct {
	Name   string             `json:"name"`
	Rate   float64            `json:"per_second,omitempty"`
	Low    float64            `json:"low,omitempty"`
	High   float64            `json:"high,omitempty"`
	CPU    float64            `json:"cpu_us_per_job,omitempty"`
	Values map[string]float64 `json:"values,omitempty"`
	unit   string
	note   string
}

// benchReport is what is printed.
type benchReport struct {
	Store       string     `json:"store"`
	Persistence string     `json:"persistence"`
	FsyncMicros float64    `json:"fsync_us,omitempty"`
	Rounds      int        `json:"rounds"`
	Seconds     float64    `json:"seconds"`
	CPUs        int        `json:"cpus"`
	Version     version    `json:"version"`
	At          time.Time  `json:"at"`
	Measures    []measured `json:"measures"`
}

// measure is one thing that is measured.
type measure struct {
	name string
	note string
	do   func(ctx context.Context, d time.Duration) (sample, error)
}

const (
	benchCallers   = 64
	benchBatch     = 1000
	benchAtOnce    = 100
	benchProcesses = 4
)

func (b *bench) run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report := benchReport{Rounds: b.rounds, Seconds: b.seconds, CPUs: runtime.NumCPU(), Version: readVersion(), At: time.Now().UTC().Truncate(time.Second)}
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
	report.Store, report.Persistence = b.a.store, "SQLite, WAL, synchronous=FULL"
	if strings.HasSuffix(b.a.store, ":memory:") {
		report.Persistence = "in memory: nothing is on a disk"
	}
	if b.session, err = b.a.open(ctx, &onceq.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	defer func() {
		if closed := b.session.close(); err == nil {
			err = closed
		}
	}()
	b.name = fmt.Sprintf("onceq-bench-%08x", rand.Uint32())
	if b.given {
		if !b.a.json {
			b.a.printf("measuring in %s, in queues named %s-…; their jobs are deleted in the end\n", b.a.store, b.name)
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

// clean deletes what was made in somebody's store.
func (b *bench) clean(ctx context.Context) error {
	for n := 1; n <= b.queues; n++ {
		if _, err := b.session.client.DeleteAll(ctx, onceq.JobFilter{Queue: fmt.Sprintf("%s-%d", b.name, n)}); err != nil {
			return fmt.Errorf("delete the jobs of queue %s-%d: %w (onceq jobs delete --queue does it)", b.name, n, err)
		}
	}
	return nil
}

func (b *bench) measures(ctx context.Context) ([]measured, error) {
	all := []measure{
		{"unique enqueue, 1 caller", "", func(ctx context.Context, d time.Duration) (sample, error) { return b.enqueue(ctx, d, 1, false) }},
		{"unique enqueue, 64 callers", "", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, benchCallers, false)
		}},
		{"single committed inserts, 64 callers behind a mutex", "", func(ctx context.Context, d time.Duration) (sample, error) {
			return callers(ctx, d, benchCallers, b.floor.insert)
		}},
		{"duplicates, 1 caller", "", func(ctx context.Context, d time.Duration) (sample, error) { return b.enqueue(ctx, d, 1, true) }},
		{"duplicates, 64 callers", "", func(ctx context.Context, d time.Duration) (sample, error) {
			return b.enqueue(ctx, d, benchCallers, true)
		}},
		{"unique enqueue, batches of 1,000", "", b.batches},
		{"no-op unique jobs run, 100 at once", "", b.runs},
		{"enqueue to start, idle", "", b.latency},
		{"unique enqueue, 4 processes, 1 caller each", "", b.processes},
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
			r.Values[name], r.Values[name+"_low"], r.Values[name+"_high"] = median(values), slices.Min(values), slices.Max(values)
		}
		out = append(out, r)
	}
	if b.floor != nil {
		ratios := make([]float64, b.rounds)
		for i := range ratios {
			ratios[i] = samples[1][i].rate / samples[2][i].rate
		}
		out[1].Values = map[string]float64{"ratio": median(ratios), "ratio_low": slices.Min(ratios), "ratio_high": slices.Max(ratios)}
	}
	return out, nil
}

func pick(samples []sample, f func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = f(s)
	}
	return out
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// callers has n goroutines call do over and over for a while.
func callers(ctx context.Context, d time.Duration, n int, do func(ctx context.Context, i int64) error) (sample, error) {
	var done, serial atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	cpu, began := cpuTime(), time.Now()
	for range n {
		all.Go(func() {
			for time.Since(began) < d && failed.Load() == nil {
				if err := do(ctx, serial.Add(1)); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return sample{}, *err
	}
	return per(done.Load(), time.Since(began), cpuTime()-cpu), nil
}

func per(n int64, took, cpu time.Duration) sample {
	return sample{rate: float64(n) / took.Seconds(), cpu: float64(cpu.Microseconds()) / float64(max(n, 1))}
}

// args are about 100 bytes of JSON, other for each serial number.
func (b *bench) args(serial int64) onceq.Args {
	return onceq.JSON("onceq-bench", fmt.Appendf(nil, `{"account":%d,"email":"somebody.%08d@example.com","reason":"benchmark","note":"%08d"}`, serial%977, serial, serial))
}

func (b *bench) enqueue(ctx context.Context, d time.Duration, n int, duplicates bool) (sample, error) {
	queue := onceq.Queue(b.queue())
	const held = 200
	if duplicates { // of two hundred jobs that are there
		items := make([]onceq.Item, held)
		for i := range items {
			items[i] = onceq.NewItem(b.args(int64(i)), queue, onceq.Unique{})
		}
		if _, err := b.session.client.EnqueueMany(ctx, items); err != nil {
			return sample{}, err
		}
	}
	return callers(ctx, d, n, func(ctx context.Context, i int64) error {
		if duplicates {
			i %= held
		} else {
			i = b.serial.Add(1)
		}
		r, err := b.session.client.Enqueue(ctx, b.args(i), queue, onceq.Unique{})
		if err == nil && r.Duplicate() != duplicates {
			err = fmt.Errorf("job %d: %s", i, r.Outcome)
		}
		return err
	})
}

func (b *bench) batches(ctx context.Context, d time.Duration) (sample, error) {
	queue := onceq.Queue(b.queue())
	n := int64(0)
	cpu, began := cpuTime(), time.Now()
	for time.Since(began) < d {
		items := make([]onceq.Item, benchBatch)
		for i := range items {
			items[i] = onceq.NewItem(b.args(b.serial.Add(1)), queue, onceq.Unique{})
		}
		if _, err := b.session.client.EnqueueMany(ctx, items); err != nil {
			return sample{}, err
		}
		n += benchBatch
	}
	return per(n, time.Since(began), cpuTime()-cpu), nil
}

// runs enqueues about as many jobs as can be run in d, and times how long it takes until the store has them all completed.
func (b *bench) runs(ctx context.Context, d time.Duration) (sample, error) {
	queue := b.queue()
	n := max(500, int(d.Seconds()*10_000))
	for done := 0; done < n; {
		items := make([]onceq.Item, min(benchBatch, n-done))
		for i := range items {
			items[i] = onceq.NewItem(b.args(b.serial.Add(1)), onceq.Queue(queue), onceq.Unique{})
		}
		if _, err := b.session.client.EnqueueMany(ctx, items); err != nil {
			return sample{}, err
		}
		done += len(items)
	}
	worker, err := b.worker(queue, benchAtOnce, true)
	if err != nil {
		return sample{}, err
	}
	var ran atomic.Int64
	worker.HandleAny(func(context.Context, *onceq.JobRow) error { ran.Add(1); return nil })
	cpu, began := cpuTime(), time.Now()
	if err := worker.Run(ctx); err != nil {
		return sample{}, err
	}
	s := per(ran.Load(), time.Since(began), cpuTime()-cpu)
	if ran.Load() != int64(n) && ctx.Err() == nil {
		return s, fmt.Errorf("%d runs of %d jobs", ran.Load(), n)
	}
	return s, worker.Close()
}

func (b *bench) worker(queue string, atOnce int, drain bool) (*onceq.Worker, error) {
	return onceq.NewWorker(b.session.store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{queue: {Concurrency: atOnce}}, Drain: drain, Client: b.session.client, Logger: slog.New(slog.DiscardHandler),
	})
}

// latency enqueues one job after the other to a worker that has nothing else to do, and times each from the call until its handler starts.
func (b *bench) latency(ctx context.Context, d time.Duration) (sample, error) {
	queue := b.queue()
	worker, err := b.worker(queue, 10, false)
	if err != nil {
		return sample{}, err
	}
	started := make(chan time.Time, 1)
	worker.HandleAny(func(context.Context, *onceq.JobRow) error { started <- time.Now(); return nil })
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(running) }()
	var took []float64
	err = func() error {
		for began := time.Now(); time.Since(began) < d || len(took) < 10; {
			at := time.Now()
			if _, err := b.session.client.Enqueue(ctx, b.args(b.serial.Add(1)), onceq.Queue(queue), onceq.Unique{}); err != nil {
				return err
			}
			select {
			case start := <-started:
				if len(took) > 0 || time.Since(began) > 50*time.Millisecond { // not the first, which waits for the worker to be up
					took = append(took, float64(start.Sub(at).Microseconds())/1000)
				}
			case <-ctx.Done():
				return ctx.Err()
			}
			time.Sleep(2*time.Millisecond + rand.N(3*time.Millisecond)) // until the worker has nothing to do again
		}
		return nil
	}()
	stop()
	if err := errors.Join(err, <-ended, worker.Close()); err != nil {
		return sample{}, err
	}
	slices.Sort(took)
	at := func(q float64) float64 { return took[min(len(took)-1, int(math.Ceil(q*float64(len(took))))-1)] }
	return sample{more: map[string]float64{"p50_ms": at(0.50), "p99_ms": at(0.99)}}, nil
}

// wrote is what one of several processes reports.
type wrote struct {
	Jobs    int     `json:"jobs"`
	Longest float64 `json:"longest_ms"` // that one enqueue took
	Seconds float64 `json:"seconds"`
}

// processes has several processes write to the store at once.
func (b *bench) processes(ctx context.Context, d time.Duration) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	type process struct {
		cmd *exec.Cmd
		in  interface{ Close() error }
		out *json.Decoder
	}
	queue := b.queue()
	var all []process
	defer func() {
		for _, p := range all {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	}()
	for i := range benchProcesses {
		cmd := exec.CommandContext(ctx, self, "bench-part", "--store", b.a.store, queue, fmt.Sprint(i), d.String())
		cmd.Stderr = b.a.errOut
		in, err := cmd.StdinPipe()
		if err != nil {
			return sample{}, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return sample{}, err
		}
		if err := cmd.Start(); err != nil {
			return sample{}, err
		}
		all = append(all, process{cmd, in, json.NewDecoder(out)})
	}
	for _, p := range all { // each says when it is ready
		var ready bool
		if err := p.out.Decode(&ready); err != nil {
			return sample{}, fmt.Errorf("a writing process did not start: %w", err)
		}
	}
	for _, p := range all {
		_ = p.in.Close() // go
	}
	var jobs []float64
	sum, longest := 0.0, 0.0
	for _, p := range all {
		var w wrote
		if err := p.out.Decode(&w); err != nil {
			return sample{}, fmt.Errorf("a writing process: %w", err)
		}
		rate := float64(w.Jobs) / w.Seconds
		jobs, sum, longest = append(jobs, rate), sum+rate, max(longest, w.Longest)
	}
	return sample{rate: sum, more: map[string]float64{"slowest_to_mean": slices.Min(jobs) / (sum / float64(len(jobs))), "longest_wait_ms": longest}}, nil
}

// fsyncMicros is the median time that it takes to have 4 KiB on the disk of a directory.
func fsyncMicros(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "onceq-fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var took []float64
	for range 100 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000)
	}
	return math.Round(median(took)), nil
}

func (b *bench) print(r *benchReport) {
	a := b.a
	a.printf("%s; %s; onceq %s, SQLite %s, %s %s, %d CPUs\n", r.Store, r.Persistence, r.Version.Version, r.Version.SQLite, r.Version.Go, r.Version.Platform, r.CPUs)
	if r.FsyncMicros > 0 {
		a.printf("an fsync of 4 KiB takes %.0f µs there; ", r.FsyncMicros)
	}
	a.printf("medians of %s of %gs a measure, taking turns; one host\n\n", count(r.Rounds, "round"), r.Seconds)
	var rows [][]cell
	for _, m := range r.Measures {
		row := []cell{{text: m.Name}, {right: true}, {right: true}, {right: true}, {text: m.words()}}
		if m.Rate > 0 {
			row[1].text, row[1].style = thousands(int64(m.Rate)), bold
			row[2].text = thousands(int64(m.Low)) + "–" + thousands(int64(m.High))
		}
		if m.CPU > 0 {
			row[3].text = fmt.Sprintf("%.0f µs", m.CPU)
		}
		rows = append(rows, row)
	}
	a.table([]string{"MEASURE", "JOBS/S", "RANGE", "CPU/JOB", ""}, rows)
}

// words are the values beside the rate.
func (m *measured) words() string {
	v := m.Values
	switch {
	case v == nil:
		return ""
	case cmp.Compare(v["ratio"], 0) > 0:
		return fmt.Sprintf("%.1fx single inserts (%.1f–%.1f)", v["ratio"], v["ratio_low"], v["ratio_high"])
	case v["p50_ms"] > 0:
		return fmt.Sprintf("p50 %.2f ms (%.2f–%.2f), p99 %.2f ms (%.2f–%.2f)", v["p50_ms"], v["p50_ms_low"], v["p50_ms_high"], v["p99_ms"], v["p99_ms_low"], v["p99_ms_high"])
	}
	return fmt.Sprintf("slowest %.2fx the mean (%.2f–%.2f), longest wait %.0f ms (%.0f–%.0f)", v["slowest_to_mean"], v["slowest_to_mean_low"],
		v["slowest_to_mean_high"], v["longest_wait_ms"], v["longest_wait_ms_low"], v["longest_wait_ms_high"])
}
