//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// payload is args of about a hundred bytes.
type payload struct {
	N    int64  `json:"n"`
	Text string `json:"text"`
}

func (payload) Kind() string { return "bench" }

var filler = strings.Repeat("x", 78)

func args(n int64) payload { return payload{1_000_000 + n, filler} }

var counter atomic.Int64

// bench is a store and client on the shared server, and what the run costs
// the server and this process.
type bench struct {
	*testing.B
	store  *Store
	client *onceq.Client
}

func newBench(b *testing.B, c Config) *bench {
	c.Namespace = namespace()
	s := open(b, redistest.URL(b), c)
	client, err := onceq.NewClient(s, &onceq.Config{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = client.Close()
		for _, p := range s.parts {
			s.client.Unlink(context.Background(), p.keys...)
		}
	})
	return &bench{b, s, client}
}

func (b *bench) serverCPU() float64 {
	info, err := b.store.client.Info(context.Background(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	about := readInfo(info)
	var user, sys float64
	_, _ = fmt.Sscan(about["used_cpu_user"], &user)
	_, _ = fmt.Sscan(about["used_cpu_sys"], &sys)
	return user + sys
}

func clientCPU() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// measure runs f, which does n jobs, and reports what each costs.
func (b *bench) measure(n int, f func()) {
	server, client := b.serverCPU(), clientCPU()
	b.ResetTimer()
	start := time.Now()
	f()
	took := time.Since(start).Seconds()
	b.StopTimer()
	b.ReportMetric(float64(n)/took, "jobs/s")
	b.ReportMetric((b.serverCPU()-server)*1e6/float64(n), "server-µs/job")
	b.ReportMetric((clientCPU()-client)*1e6/float64(n), "client-µs/job")
}

func (b *bench) enqueue(i int64) {
	if _, err := b.client.Enqueue(context.Background(), args(i), onceq.Unique{}); err != nil {
		b.Error(err)
	}
}

func (b *bench) callers(n int, f func(i int64)) {
	b.measure(b.N, func() {
		var next atomic.Int64
		done := make(chan bool)
		for range n {
			go func() {
				for next.Add(1) <= int64(b.N) {
					f(counter.Add(1))
				}
				done <- true
			}()
		}
		for range n {
			<-done
		}
	})
}

func BenchmarkEnqueue64Callers(b *testing.B)  { w := newBench(b, Config{}); w.callers(64, w.enqueue) }
func BenchmarkEnqueue512Callers(b *testing.B) { w := newBench(b, Config{}); w.callers(512, w.enqueue) }
func BenchmarkEnqueue1Caller(b *testing.B)    { w := newBench(b, Config{}); w.callers(1, w.enqueue) }

func BenchmarkDuplicate64Callers(b *testing.B) {
	w := newBench(b, Config{})
	for i := range int64(1000) {
		w.enqueue(-i)
	}
	w.callers(64, func(i int64) { w.enqueue(-(i % 1000)) })
}

func BenchmarkDuplicate1Caller(b *testing.B) {
	w := newBench(b, Config{})
	w.enqueue(-1)
	w.callers(1, func(int64) { w.enqueue(-1) })
}

func (b *bench) items(n int, i func(int) int64) []onceq.Item {
	items := make([]onceq.Item, n)
	for k := range items {
		items[k] = onceq.NewItem(args(i(k)), onceq.Unique{})
	}
	return items
}

func (b *bench) many(items []onceq.Item) {
	if _, err := b.client.EnqueueMany(context.Background(), items); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkBatchOf1000(b *testing.B) {
	w := newBench(b, Config{})
	w.measure(1000*b.N, func() {
		for range b.N {
			w.many(w.items(1000, func(int) int64 { return counter.Add(1) }))
		}
	})
}

func BenchmarkDuplicateBatchOf1000(b *testing.B) {
	w := newBench(b, Config{})
	items := w.items(1000, func(k int) int64 { return int64(-k) })
	w.many(items)
	w.measure(1000*b.N, func() {
		for range b.N {
			w.many(items)
		}
	})
}

// fill enqueues n jobs.
func (b *bench) fill(n int) {
	for n > 0 {
		k := min(n, 1000)
		w := b.items(k, func(int) int64 { return counter.Add(1) })
		b.many(w)
		n -= k
	}
}

// BenchmarkRun100AtOnce runs jobs that do nothing.
func BenchmarkRun100AtOnce(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(b.N)
	var ran atomic.Int64
	done := make(chan bool)
	worker, err := onceq.NewWorker(w.store,
		&onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 100}}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	onceq.Handle(worker, func(context.Context, *onceq.Job[payload]) error {
		if ran.Add(1) == int64(b.N) {
			close(done)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	w.measure(b.N, func() {
		go func() { ended <- worker.Run(ctx) }()
		<-done
	})
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkFetchAndFinish is what the server needs for it, in hundreds.
func BenchmarkFetchAndFinish(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(b.N)
	ctx := context.Background()
	if _, err := w.store.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
		b.Fatal(err)
	}
	var fetching, finishing float64
	w.measure(b.N, func() {
		for n, no := 0, int64(1); n < b.N; no++ {
			at := w.serverCPU()
			f, err := w.store.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: no,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: 200}}})
			if err != nil {
				b.Fatal(err)
			}
			between := w.serverCPU()
			var ends []onceq.Finish
			for _, j := range f.Jobs {
				ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
			}
			if _, err := w.store.Finish(ctx, onceq.FinishRequest{Runs: ends}); err != nil {
				b.Fatal(err)
			}
			n += len(ends)
			fetching += between - at
			finishing += w.serverCPU() - between
		}
	})
	b.ReportMetric(fetching*1e6/float64(b.N), "fetch-µs/job")
	b.ReportMetric(finishing*1e6/float64(b.N), "finish-µs/job")
}

// BenchmarkEnqueueToStart is how long an idle worker takes to start a job.
func BenchmarkEnqueueToStart(b *testing.B) {
	w := newBench(b, Config{})
	started := make(chan time.Time)
	worker, err := onceq.NewWorker(w.store,
		&onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 10}}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	onceq.Handle(worker, func(context.Context, *onceq.Job[payload]) error {
		started <- time.Now()
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- worker.Run(ctx) }()
	other := open(b, redistest.URL(b), Config{Namespace: w.store.config.Namespace}) // another process
	client, err := onceq.NewClient(other, nil)
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for range b.N {
		time.Sleep(3 * time.Millisecond)
		at := time.Now()
		if _, err := client.Enqueue(ctx, args(counter.Add(1)), onceq.Unique{}); err != nil {
			b.Fatal(err)
		}
		total += (<-started).Sub(at)
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N), "µs-to-start")
	_ = client.Close()
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkMemory is what the server's memory grows by for each job, and
// for a key that is left when its job is gone.
func BenchmarkMemory(b *testing.B) {
	const jobs = 100_000
	for _, kind := range []struct {
		name string
		text int // bytes of args, about
		opts []onceq.Option
		then string
	}{
		{"waiting", 100, nil, ""},
		{"waiting and unique", 100, []onceq.Option{onceq.Unique{}}, ""},
		{"waiting and unique, 1 KB of args", 1000, []onceq.Option{onceq.Unique{}}, ""},
		{"finished", 100, []onceq.Option{onceq.Unique{}}, "run"},
		{"finished, its key held by a window", 100,
			[]onceq.Option{onceq.Unique{Until: onceq.UntilFinished, Window: time.Hour}}, "run"},
		{"a key whose job is gone", 100, []onceq.Option{onceq.Unique{Until: onceq.UntilFinished, Window: time.Hour},
			onceq.Retention(0)}, "run"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			w := newBench(b, Config{})
			ctx := context.Background()
			used := func() (n int64) {
				info, err := w.store.client.Info(ctx, "memory").Result()
				if err != nil {
					b.Fatal(err)
				}
				_, _ = fmt.Sscan(readInfo(info)["used_memory"], &n)
				return n
			}
			before := used()
			items := make([]onceq.Item, 1000)
			for range jobs / len(items) {
				for i := range items {
					items[i] = onceq.NewItem(payload{1_000_000 + counter.Add(1), strings.Repeat("x", kind.text-22)},
						kind.opts...)
				}
				if _, err := w.client.EnqueueMany(ctx, items); err != nil {
					b.Fatal(err)
				}
			}
			if kind.then == "run" {
				w.runAll(jobs)
			}
			b.ReportMetric(float64(used()-before)/jobs, "bytes/job")
		})
	}
}

// runAll starts and completes so many jobs.
func (b *bench) runAll(jobs int) {
	ctx := context.Background()
	if _, err := b.store.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
		b.Fatal(err)
	}
	for no := int64(1); jobs > 0; no++ {
		f, err := b.store.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: no,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 200}}})
		if err != nil || len(f.Jobs) == 0 {
			b.Fatal("fetched none: ", err)
		}
		jobs -= len(f.Jobs)
		var ends []onceq.Finish
		for _, j := range f.Jobs {
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
		}
		if _, err := b.store.Finish(ctx, onceq.FinishRequest{Runs: ends}); err != nil {
			b.Fatal(err)
		}
	}
}
