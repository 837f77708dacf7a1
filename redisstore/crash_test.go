package redisstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/internal/sleep"
)

// pressure enqueues and runs jobs on a store until it is stopped, and keeps
// a ledger of what was acknowledged.
type pressure struct {
	t      *testing.T
	stores []*Store
	stop   context.CancelFunc
	open   sync.WaitGroup

	mu        sync.Mutex
	acked     map[string]time.Time // jobs that were accepted, and when
	completed map[string]time.Time // jobs whose end was acknowledged
	errs      map[string]int       // definite errors and uncertain ones, by what they say
	uncertain int
}

// start puts load on stores: enqueuers of unique jobs, one at a time and in
// batches, and workers that complete them.
func startLoad(t *testing.T, stores ...*Store) *pressure { return startGently(t, 0, stores...) }

// startGently leaves a pause between the enqueues of each caller.
func startGently(t *testing.T, pause time.Duration, stores ...*Store) *pressure {
	ctx, stop := context.WithCancel(context.Background())
	l := &pressure{t: t, stores: stores, stop: stop, acked: map[string]time.Time{}, completed: map[string]time.Time{},
		errs: map[string]int{}}
	t.Cleanup(l.end)
	var n atomic.Int64
	for _, s := range stores {
		c := clientOf(t, s)
		for range 6 {
			l.open.Go(func() {
				for ctx.Err() == nil {
					r, err := c.Enqueue(ctx, task{int(n.Add(1))}, onceq.Unique{Until: onceq.UntilDeleted},
						onceq.Retention(time.Hour))
					l.accepted(err, r)
					sleep.For(ctx, pause)
				}
			})
		}
		l.open.Go(func() {
			for ctx.Err() == nil {
				base := int(n.Add(100))
				var batch []onceq.Item
				for i := range 100 {
					batch = append(batch, onceq.NewItem(task{-base - i%90}, onceq.Unique{}, onceq.Retention(time.Hour)))
				}
				rs, err := c.EnqueueMany(ctx, batch)
				if err != nil {
					l.failed(err)
				}
				for _, r := range rs {
					if r.Job != nil {
						l.accepted(nil, r)
					}
				}
				sleep.For(ctx, 20*pause)
			}
		})
		for w := range 2 {
			l.open.Go(func() { l.work(ctx, s, fmt.Sprintf("w%d-%x", w, rand.Uint32())) })
		}
	}
	return l
}

func (l *pressure) accepted(err error, r onceq.Receipt) {
	if err != nil {
		l.failed(err)
		return
	}
	if r.Duplicate() {
		return
	}
	l.mu.Lock()
	l.acked[r.Job.ID] = time.Now()
	l.mu.Unlock()
}

func (l *pressure) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, onceq.ErrUncertain) {
		l.uncertain++
		return
	}
	text := err.Error()
	l.errs[text[max(0, len(text)-120):]]++
}

func (l *pressure) work(ctx context.Context, s *Store, name string) {
	for no := int64(1); ctx.Err() == nil; no++ {
		call, cancel := context.WithTimeout(ctx, s.config.Patience+5*time.Second)
		if _, err := s.Extend(call, onceq.ExtendRequest{Worker: name, Lease: time.Minute,
			FetchesDone: no - 1}); err != nil {
			l.failed(err)
		}
		f, err := s.Fetch(call, onceq.FetchRequest{Worker: name, No: no,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 50}}})
		if err != nil && !errors.Is(err, onceq.ErrLeaseLost) {
			l.failed(err)
		}
		var ends []onceq.Finish
		for _, j := range f.Jobs {
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: name, State: onceq.Completed})
		}
		for len(ends) > 0 && ctx.Err() == nil {
			results, err := s.Finish(call, onceq.FinishRequest{Runs: ends})
			if err == nil {
				l.mu.Lock()
				for i, r := range results {
					if r.Status == onceq.FinishDone {
						l.completed[ends[i].ID] = time.Now()
					}
				}
				l.mu.Unlock()
				break
			}
			l.failed(err)
			if !sleep.For(ctx, 10*time.Millisecond) || call.Err() != nil {
				break
			}
		}
		cancel()
		if len(f.Jobs) == 0 && !sleep.For(ctx, 2*time.Millisecond) {
			return
		}
	}
}

// accepts waits until the load has had so many more jobs accepted.
func (l *pressure) accepts(more int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked)
	}
	start, deadline := count(), time.Now().Add(30*time.Second)
	for count() < start+more {
		if time.Now().After(deadline) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%d jobs were accepted in 30 s, want %d; errors: %v, %d uncertain", len(l.acked)-start, more,
				l.errs, l.uncertain)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *pressure) end() {
	l.stop()
	l.open.Wait()
}

// losses compares the ledger with a store: jobs that were acknowledged
// before an instant and are not there, and ends that are forgotten.
func (l *pressure) losses(s *Store, before time.Time) (jobs, ends int) {
	l.t.Helper()
	var ids []string
	for id, at := range l.acked {
		if at.Before(before) {
			ids = append(ids, id)
		}
	}
	rows, err := s.Get(context.Background(), ids)
	if err != nil {
		l.t.Fatal(err)
	}
	for i, id := range ids {
		at, completed := l.completed[id]
		switch {
		case rows[i] == nil:
			jobs++
		case completed && at.Before(before) && rows[i].State != onceq.Completed:
			ends++
		}
	}
	return jobs, ends
}

func TestAKilledServerThatSyncsAlwaysLosesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL(), Config{})
	l := startLoad(t, s)
	for range 3 {
		l.accepts(300 + rand.IntN(300))
		server.Kill()
		server.Restart()
	}
	l.accepts(300)
	server.Do("bgrewriteaof")
	l.accepts(20)
	server.Kill() // while it rewrites, as like as not
	server.Restart()
	l.accepts(100)
	l.end()
	if jobs, ends := l.losses(s, time.Now()); jobs+ends > 0 {
		t.Errorf("of %d accepted jobs %d are lost, and %d ends", len(l.acked), jobs, ends)
	}
	r := healthy(t, s)
	sound(t, s)
	t.Logf("%d jobs accepted, %d completed, %d answers uncertain, %d jobs and %d keys there; errors: %v", len(l.acked),
		len(l.completed), l.uncertain, r.Jobs, r.Keys, l.errs)
}

// A kill may come while the server writes a script into its append-only
// file. Wherever the file ends then, the script is gone as a whole, also
// after the restart that follows; see redistest.
func TestAScriptThatWasWrittenByHalfIsGoneAsAWhole(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	file := appendOnlyFile(t, server.Dir)
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	n := 0
	for back := int64(1); ; back += 29 { // an end in each of its commands
		before := size()
		if _, err := c.EnqueueMany(t.Context(), items(40, n)); err != nil { // a page is full, too
			t.Fatal(err)
		}
		n += 40
		server.Kill()
		if back >= size()-before {
			server.Restart()
			break
		}
		if err := os.Truncate(file, size()-back); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		if _, err := c.Enqueue(t.Context(), task{-n}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
		server.Kill()
		server.Restart()
		if r := healthy(t, s); r.Jobs != r.Keys {
			t.Fatalf("%d jobs and %d keys", r.Jobs, r.Keys)
		}
		if sound(t, s); t.Failed() {
			t.Fatalf("a script that lacks its last %d bytes is there by half", back)
		}
		back += back / 4
	}
	healthy(t, s)
	sound(t, s)
}

// appendOnlyFile is the one that the server of a folder writes to.
func appendOnlyFile(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return filepath.Join(dir, "appendonly.aof") // of 6.2
	}
	return found[0]
}

func TestAKilledServerThatSyncsEverySecondLosesTheLastTwoAtMost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	s := open(t, server.URL(), Config{})
	l := startGently(t, 4*time.Millisecond, s)
	var killed time.Time
	time.Sleep(2500 * time.Millisecond)
	l.accepts(100)
	killed = time.Now()
	server.Kill()
	server.Restart()
	l.accepts(300)
	l.end()
	if jobs, ends := l.losses(s, killed.Add(-2*time.Second)); jobs+ends > 0 {
		t.Errorf("%d jobs and %d ends older than two seconds are lost", jobs, ends)
	}
	jobs, ends := l.losses(s, time.Now())
	r := healthy(t, s) // never two holders
	sound(t, s)
	t.Logf("of %d jobs accepted and %d completed, %d and %d are lost; %d keys", len(l.acked), len(l.completed),
		jobs, ends, r.Keys)
}

// helperEnv makes the test's program a worker process: TestMain runs it.
const helperEnv = "ONCEQ_REDISSTORE_WORKER"

// helper runs one job: it says so, waits for a line on standard input, and
// says what became of it.
func helper(url string) {
	s, err := Open(context.Background(), url, &Config{Namespace: os.Getenv(helperEnv), Logger: quiet})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	worker, err := onceq.NewWorker(s,
		&onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}, Lease: time.Second,
			Logger: quiet, ID: "stalled"})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	onceq.Handle(worker, func(run context.Context, _ *onceq.Job[task]) error {
		fmt.Println("started")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return nil
	})
	go func() {
		time.Sleep(20 * time.Second)
		cancel()
	}()
	_ = worker.Run(ctx)
}
