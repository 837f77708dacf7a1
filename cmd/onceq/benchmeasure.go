package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// callers lets n goroutines call do again and again for a while.
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

// args are about 100 bytes of JSON, different for each serial number.
func (b *bench) args(serial int64) onceq.Args {
	return onceq.JSON("onceq-bench",
		fmt.Appendf(nil, `{"account":%d,"email":"somebody.%08d@example.com","reason":"benchmark","note":"%08d"}`,
			serial%977, serial, serial))
}

func (b *bench) enqueue(ctx context.Context, d time.Duration, n int, duplicates bool) (sample, error) {
	queue := onceq.Queue(b.queue())
	const held = 200
	if duplicates { // of two hundred jobs that are there
		items := make([]onceq.Item, held)
		for i := range items {
			items[i] = onceq.NewItem(b.args(int64(i)), queue, onceq.Unique{})
		}
		if _, err := b.open.client.EnqueueMany(ctx, items); err != nil {
			return sample{}, err
		}
	}
	return callers(ctx, d, n, func(ctx context.Context, i int64) error {
		if duplicates {
			i %= held
		} else {
			i = b.serial.Add(1)
		}
		r, err := b.open.client.Enqueue(ctx, b.args(i), queue, onceq.Unique{})
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
		if _, err := b.open.client.EnqueueMany(ctx, items); err != nil {
			return sample{}, err
		}
		n += benchBatch
	}
	return per(n, time.Since(began), cpuTime()-cpu), nil
}

// runs enqueues about as many jobs as can be run in d, and times how long
// it takes until the store has completed them all.
func (b *bench) runs(ctx context.Context, d time.Duration) (sample, error) {
	queue := b.queue()
	n := max(500, int(d.Seconds()*10_000))
	for done := 0; done < n; {
		items := make([]onceq.Item, min(benchBatch, n-done))
		for i := range items {
			items[i] = onceq.NewItem(b.args(b.serial.Add(1)), onceq.Queue(queue), onceq.Unique{})
		}
		if _, err := b.open.client.EnqueueMany(ctx, items); err != nil {
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
	return onceq.NewWorker(b.open.store, &onceq.WorkerConfig{
		Queues: map[string]onceq.QueueConfig{queue: {Concurrency: atOnce}}, Drain: drain, Client: b.open.client,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// latency enqueues one job after another to an idle worker. It times each
// from the call until its handler starts.
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
			if _, err := b.open.client.Enqueue(ctx, b.args(b.serial.Add(1)), onceq.Queue(queue),
				onceq.Unique{}); err != nil {
				return err
			}
			select {
			case start := <-started:
				// the first waits until the worker has started
				if len(took) > 0 || time.Since(began) > 50*time.Millisecond {
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

// processes lets several processes write to the store at once.
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
	for _, p := range all { // each writes a line when it is ready
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
	return sample{rate: sum, more: map[string]float64{"slowest_to_mean": slices.Min(jobs) / (sum / float64(len(jobs))),
		"longest_wait_ms": longest}}, nil
}

// fsyncMicros is the median time, in microseconds, of an fsync of 4 KiB in
// a directory.
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
