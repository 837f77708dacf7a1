package pgstore_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// reindex is about 100 bytes as JSON.
type reindex struct {
	Repo   int64  `json:"repo"`
	Reason string `json:"reason"`
}

func (reindex) Kind() string { return "reindex" }

const reason = "a push to the main branch of a repository, that has to be indexed"

var unique = onceq.Unique{Fields: []string{"repo"}}

func benchClient(b *testing.B) (*onceq.Client, *pgstore.Store, *meter) {
	m := &meter{server: pgtest.Start(b)}
	d := newDatabase(b, m.server.URL())
	s := d.open(b, func(c *pgstore.Config) { c.NoListen = os.Getenv("NOLISTEN") != "" })
	c, err := onceq.NewClient(s, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c, s, m
}

// meter measures processor time, which lasts where rates depend on what else the machine does.
type meter struct {
	server        *pgtest.Server
	there, client time.Duration
}

func (m *meter) start(b *testing.B) {
	m.there, m.client = m.server.CPU(), ownCPU()
	b.ResetTimer()
}

func (m *meter) stop(b *testing.B, jobs int) {
	b.StopTimer()
	b.ReportMetric(float64(jobs)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64((m.server.CPU()-m.there).Microseconds())/float64(jobs), "server-µs/job")
	b.ReportMetric(float64((ownCPU()-m.client).Microseconds())/float64(jobs), "client-µs/job")
}

// callers enqueues b.N times from so many goroutines.
func callers(b *testing.B, n int, repo func(i int64) int64, opts ...onceq.Option) {
	c, _, m := benchClient(b)
	ctx := context.Background()
	opts = append(opts, unique)
	var next atomic.Int64
	enqueue := func() time.Duration {
		began := time.Now()
		if _, err := c.Enqueue(ctx, reindex{Repo: repo(next.Add(1)), Reason: reason}, opts...); err != nil {
			b.Error(err)
		}
		return time.Since(began)
	}
	for range 20 * n {
		enqueue()
	}
	took := make([][]time.Duration, n)
	m.start(b)
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for g := range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				took[g] = append(took[g], enqueue())
			}
		})
	}
	wg.Wait()
	m.stop(b, b.N)
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkEnqueue(b *testing.B) {
	fresh := func(i int64) int64 { return i }
	few := func(i int64) int64 { return i % 10_000 }
	one := func(int64) int64 { return 1 }
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("unique/callers=%d", n), func(b *testing.B) { callers(b, n, fresh) })
		b.Run(fmt.Sprintf("duplicates/callers=%d", n), func(b *testing.B) { callers(b, n, few) })
		b.Run(fmt.Sprintf("one_key/callers=%d", n), func(b *testing.B) { callers(b, n, one) })
		b.Run(fmt.Sprintf("coalesce/callers=%d", n), func(b *testing.B) {
			callers(b, n, func(i int64) int64 { return i % 100 }, onceq.OnConflict(onceq.Coalesce),
				onceq.Delay(time.Hour))
		})
	}
}

func BenchmarkEnqueueMany(b *testing.B) {
	for _, kind := range []string{"unique", "duplicates"} {
		b.Run(kind, func(b *testing.B) {
			c, _, m := benchClient(b)
			ctx := context.Background()
			items := make([]onceq.Item, 1000)
			var next int64
			send := func() {
				for i := range items {
					next++
					if kind == "duplicates" {
						next %= 1000
					}
					items[i] = onceq.NewItem(reindex{Repo: next, Reason: reason}, unique)
				}
				if _, err := c.EnqueueMany(ctx, items); err != nil {
					b.Fatal(err)
				}
			}
			for range 10 {
				send()
			}
			m.start(b)
			for range b.N {
				send()
			}
			m.stop(b, b.N*len(items))
		})
	}
}

// BenchmarkRun fetches and finishes, 100 at once, as a worker with jobs that do nothing would.
func BenchmarkRun(b *testing.B) {
	c, s, m := benchClient(b)
	ctx := context.Background()
	items := make([]onceq.Item, 1000)
	for made := int64(0); made < int64(b.N)*100; {
		for i := range items {
			made++
			items[i] = onceq.NewItem(reindex{Repo: made, Reason: reason}, unique)
		}
		if _, err := c.EnqueueMany(ctx, items); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
		b.Fatal(err)
	}
	m.start(b)
	for n := range b.N {
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: int64(n + 1), MaxBytes: 16 << 20,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}, Kinds: []string{reindex{}.Kind()}})
		if err != nil {
			b.Fatal(err)
		}
		ends := make([]onceq.Finish, len(f.Jobs))
		for i, j := range f.Jobs {
			ends[i] = onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		}
		if _, err := s.Finish(ctx, onceq.FinishRequest{Runs: ends}); err != nil {
			b.Fatal(err)
		}
	}
	m.stop(b, b.N*100)
}

// BenchmarkSlowDisk is how long an enqueue takes on a server whose commits
// take long, for a few callers and for many. Beside it stands the barest
// insert, one a transaction, from as many connections: where commits mostly
// wait, sharing them must not make anybody wait twice.
func BenchmarkSlowDisk(b *testing.B) {
	for _, delay := range []int{0, 500, 1000, 5000} {
		server := pgtest.Start(b, "-c", fmt.Sprint("commit_delay=", delay), "-c", "commit_siblings=0")
		d := newDatabase(b, server.URL())
		client, err := onceq.NewClient(d.open(b), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { client.Close() })
		config, err := pgxpool.ParseConfig(server.URL())
		if err != nil {
			b.Fatal(err)
		}
		config.MaxConns = 64
		pool, err := pgxpool.NewWithConfig(b.Context(), config)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		if _, err := pool.Exec(b.Context(),
			"create table bare (id bigint primary key, key text unique, args text)"); err != nil {
			b.Fatal(err)
		}
		var n atomic.Int64
		for _, side := range []struct {
			name string
			do   func() error
		}{
			{"onceq", func() error {
				_, err := client.Enqueue(context.Background(), reindex{n.Add(1), reason}, unique)
				return err
			}},
			{"bare", func() error {
				i := n.Add(1)
				_, err := pool.Exec(context.Background(),
					"insert into bare values ($1, $2, $3) on conflict (key) do nothing", i, fmt.Sprint(i), reason)
				return err
			}},
		} {
			for _, callers := range []int{1, 2, 8, 16, 64} {
				b.Run(fmt.Sprintf("commits=%dµs/%s/callers=%d", delay, side.name, callers), func(b *testing.B) {
					var left atomic.Int64
					left.Store(int64(b.N))
					var all sync.WaitGroup
					for range callers {
						all.Go(func() {
							for left.Add(-1) >= 0 {
								if err := side.do(); err != nil {
									b.Error(err)
								}
							}
						})
					}
					all.Wait()
					b.ReportMetric(b.Elapsed().Seconds()*1000*float64(callers)/float64(b.N), "ms/call")
				})
			}
		}
	}
}
