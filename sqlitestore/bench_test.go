//go:build unix

package sqlitestore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// Run these with:  go test ./sqlitestore -run '^$' -bench . -benchtime 3s

// event is about 100 bytes of JSON.
type event struct {
	N    int64  `json:"n"`
	Text string `json:"text"`
}

func (event) Kind() string { return "event" }

var filler = strings.Repeat("x", 80)

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "jobs.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// rowsFrom makes unique rows, as a client would decide them.
func rowsFrom(n, first int) []onceq.NewRow {
	rows := make([]onceq.NewRow, n)
	for i := range rows {
		no := uint64(first + i)
		key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, no))
		rows[i] = onceq.NewRow{
			ID: fmt.Sprintf("01JD%022d", no), Nonce: [16]byte(key[:]), Kind: "event", Queue: "default",
			Encoding: onceq.EncodingJSON,
			Args:     fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, no, filler), Priority: 5, MaxAttempts: 25,
			Retention: 24 * time.Hour, RetentionFailed: 24 * time.Hour,
			Claim: &onceq.Claim{Key: key, Text: fmt.Sprintf(`kind=event queue=default args={"n":%d}`, no),
				Digest: [16]byte(key[16:]),
				Hold:   onceq.Hold{Until: onceq.UntilFinished}},
		}
	}
	return rows
}

// perJob reports rates. CPU time per job is what lasts on a noisy machine;
// it contains the benchmark's own.
func perJob(b *testing.B, jobs int, cpuBefore time.Duration) {
	b.ReportMetric(float64(jobs)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64((cpuTime()-cpuBefore).Microseconds())/float64(jobs), "cpu-µs/job")
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// must stops a benchmark on an error.
func must(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func BenchmarkEnqueueBatch1000(b *testing.B) {
	s, n := benchStore(b), 0
	cpu := cpuTime()
	for b.Loop() {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsFrom(1000, n)})
		must(b, err)
		n += 1000
	}
	perJob(b, n, cpu)
}

func BenchmarkEnqueueSingle(b *testing.B) {
	s, n := benchStore(b), 0
	cpu := cpuTime()
	for b.Loop() {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsFrom(1, n)})
		must(b, err)
		n++
	}
	perJob(b, n, cpu)
}

// BenchmarkEnqueue64Callers goes through a client's group commit. Compare
// it with BenchmarkEnqueueSingle.
func BenchmarkEnqueue64Callers(b *testing.B) {
	s := benchStore(b)
	client, err := onceq.NewClient(s, nil)
	must(b, err)
	defer client.Close()
	var n atomic.Int64
	b.ResetTimer()
	cpu := cpuTime()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				if _, err := client.Enqueue(context.Background(), event{i, filler}, onceq.Unique{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	perJob(b, b.N, cpu)
}

func BenchmarkDuplicate(b *testing.B) {
	s, n := benchStore(b), 0
	for i := range 100 {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsFrom(1000, i*1000)})
		must(b, err)
	}
	rows := rowsFrom(1000, 0)
	for i := range rows {
		rows[i].ID = "new" + rows[i].ID
	}
	cpu := cpuTime()
	for b.Loop() {
		r, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rows[n%1000 : n%1000+1]})
		must(b, err)
		if r[0].Outcome != onceq.Skipped {
			b.Fatal(r[0].Outcome)
		}
		n++
	}
	perJob(b, n, cpu)
}

func BenchmarkDuplicateThroughClient(b *testing.B) {
	client, err := onceq.NewClient(benchStore(b), nil)
	must(b, err)
	defer client.Close()
	items := make([]onceq.Item, 1000)
	for i := range items {
		items[i] = onceq.NewItem(event{int64(i), filler}, onceq.Unique{})
	}
	_, err = client.EnqueueMany(context.Background(), items)
	must(b, err)
	n, cpu := 0, cpuTime()
	for b.Loop() {
		_, err := client.Enqueue(context.Background(), event{int64(n % 1000), filler}, onceq.Unique{})
		must(b, err)
		n++
	}
	perJob(b, n, cpu)
}

// BenchmarkRun fetches and completes in hundreds: jobs of any kind, of one
// that is asked for, and of ten.
func BenchmarkRun(b *testing.B) {
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = fmt.Sprint("event", i)
	}
	for _, c := range []struct {
		name         string
		asked, given []string
	}{{"any", nil, []string{"event"}}, {"one_kind", []string{"event"}, []string{"event"}}, {"ten_kinds", ten, ten}} {
		b.Run(c.name, func(b *testing.B) { benchmarkRun(b, c.asked, c.given) })
	}
}

func benchmarkRun(b *testing.B, asked, given []string) {
	s := benchStore(b)
	ctx := context.Background()
	_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	must(b, err)
	for i := 0; i < b.N; i += 1000 {
		rows := rowsFrom(min(1000, b.N-i), i)
		for j := range rows {
			rows[j].Kind = given[j%len(given)]
		}
		_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
		must(b, err)
	}
	b.ResetTimer()
	cpu := cpuTime()
	var fetching, finishing time.Duration
	for done, no := 0, int64(1); done < b.N; no++ {
		start := time.Now()
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: no, Kinds: asked,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
		must(b, err)
		fetching += time.Since(start)
		ends := make([]onceq.Finish, len(f.Jobs))
		for i, j := range f.Jobs {
			ends[i] = onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		}
		start = time.Now()
		_, err = s.Finish(ctx, onceq.FinishRequest{Runs: ends})
		must(b, err)
		finishing += time.Since(start)
		done += len(f.Jobs)
	}
	perJob(b, b.N, cpu)
	b.ReportMetric(float64(fetching.Microseconds())/float64(b.N), "µs/fetched")
	b.ReportMetric(float64(finishing.Microseconds())/float64(b.N), "µs/finished")
}

// BenchmarkFetchBesideOtherKinds compares fetches of one kind, of ten jobs
// and of none, with none and with 100,000 due jobs of other kinds.
func BenchmarkFetchBesideOtherKinds(b *testing.B) {
	for _, others := range []int{0, 100_000} {
		for _, n := range []int{10, 0} {
			b.Run(fmt.Sprint(others, "/", n), func(b *testing.B) {
				s := benchStore(b)
				ctx := context.Background()
				_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
				must(b, err)
				for i := 0; i < others; i += 1000 {
					rows := rowsFrom(1000, 1_000_000_000+i)
					for j := range rows {
						rows[j].Kind, rows[j].Claim = fmt.Sprint("other", j%3), nil
					}
					_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
					must(b, err)
				}
				var took []time.Duration
				var cpu time.Duration
				for i := 0; b.Loop(); i += n {
					if n > 0 {
						_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsFrom(n, i)})
						must(b, err)
					}
					start, before := time.Now(), cpuTime()
					f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1, Kinds: []string{"event"},
						Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
					must(b, err)
					took, cpu = append(took, time.Since(start)), cpu+cpuTime()-before
					if len(f.Jobs) != n {
						b.Fatalf("fetched %d", len(f.Jobs))
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs/fetch")
				b.ReportMetric(float64(cpu.Microseconds())/float64(len(took)), "cpu-µs/fetch")
			})
		}
	}
}

// BenchmarkEnqueueBesideKept compares batches of 100 beside 1,000 and
// 1,000,000 finished jobs that are kept.
func BenchmarkEnqueueBesideKept(b *testing.B) {
	for _, kept := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(kept), func(b *testing.B) {
			s := benchStore(b)
			keepFinished(b, s, kept)
			n, cpu := kept, cpuTime()
			for b.Loop() {
				_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsFrom(100, n)})
				must(b, err)
				n += 100
			}
			perJob(b, n-kept, cpu)
		})
	}
}

// keepFinished makes jobs that have ended and whose keys are free.
func keepFinished(b *testing.B, s *Store, n int) {
	b.Helper()
	for i := 0; i < n; i += 1000 {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsFrom(1000, i)})
		must(b, err)
		must(b, s.write(context.Background(), "keep", func(st *step) error {
			_, err := st.raw.ExecContext(context.Background(), `UPDATE onceq_jobs SET state = 3, run = 1,
				attempt = 1, finished_at = run_at, prune_at = run_at + 86400000 WHERE state = 0`)
			if err == nil {
				_, err = st.raw.ExecContext(context.Background(), `DELETE FROM onceq_keys`)
			}
			return err
		}))
	}
}

// BenchmarkFetchBesideScheduled compares fetches of ten with none and with
// 1,000,000 jobs that run later.
func BenchmarkFetchBesideScheduled(b *testing.B) {
	for _, later := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint(later), func(b *testing.B) {
			s := benchStore(b)
			ctx := context.Background()
			_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
			must(b, err)
			for i := 0; i < later; i += 1000 {
				rows := rowsFrom(1000, 1_000_000_000+i)
				for j := range rows {
					rows[j].Delay, rows[j].Claim = time.Hour+time.Duration(i+j)*time.Millisecond, nil
				}
				_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
				must(b, err)
			}
			n := 0
			var took []time.Duration
			var cpu time.Duration
			for b.Loop() {
				_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsFrom(10, n)})
				must(b, err)
				start, before := time.Now(), cpuTime()
				f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
				must(b, err)
				took, cpu = append(took, time.Since(start)), cpu+cpuTime()-before
				if len(f.Jobs) != 10 {
					b.Fatalf("fetched %d", len(f.Jobs))
				}
				n += 10
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs/fetch")
			b.ReportMetric(float64(cpu.Microseconds())/float64(len(took)), "cpu-µs/fetch")
		})
	}
}

// BenchmarkEnqueueToStart is the time from the beginning of an enqueue
// until another goroutine has fetched the job.
func BenchmarkEnqueueToStart(b *testing.B) {
	s := benchStore(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	must(b, err)
	wakes, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
	must(b, err)
	started := make(chan struct{})
	go func() {
		for range wakes {
			f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
			if err != nil {
				return
			}
			for range f.Jobs {
				started <- struct{}{}
			}
		}
	}()
	n := 0
	for b.Loop() {
		_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsFrom(1, n)})
		must(b, err)
		<-started
		n++
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		s, err := Open(filepath.Join(b.TempDir(), "jobs.db"), nil)
		must(b, err)
		s.Close()
	}
}

func BenchmarkOpenInMemory(b *testing.B) {
	for b.Loop() {
		s, err := Open(":memory:", nil)
		must(b, err)
		s.Close()
	}
}
