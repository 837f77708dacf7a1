package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// ledger is what was acknowledged, kept outside the store.
type ledger struct {
	sync.Mutex
	jobs map[string]string // the job of each key
	runs map[string]int    // of each key
}

func (l *ledger) acknowledged(key string, r onceq.Receipt) error {
	l.Lock()
	defer l.Unlock()
	if r.Outcome != onceq.Inserted {
		return fmt.Errorf("key %s: %s, and it was enqueued once", key, r.Outcome)
	}
	if old, ok := l.jobs[key]; ok && old != r.Job.ID {
		return fmt.Errorf("key %s has two jobs: %s and %s", key, old, r.Job.ID)
	}
	l.jobs[key] = r.Job.ID
	return nil
}

type numbered struct {
	Key string `json:"key"`
}

func (numbered) Kind() string { return "numbered" }

// load enqueues keys of its own and runs them while something breaks, and
// then wants everything that was acknowledged, once.
func load(t *testing.T, server *pgtest.Server, breakIt func(ctx context.Context)) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	h := newHand(t, server.URL())
	l := &ledger{jobs: map[string]string{}, runs: map[string]int{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	worker, err := onceq.NewWorker(h.store, &onceq.WorkerConfig{Lease: 3 * time.Second, Logger: quiet,
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 20}}})
	h.must(err)
	onceq.Handle(worker, func(_ context.Context, j *onceq.Job[numbered]) error {
		l.Lock()
		defer l.Unlock()
		l.runs[j.Args.Key]++
		return nil
	})
	working, stop := context.WithCancel(ctx)
	var workers, callers sync.WaitGroup
	workers.Go(func() {
		if err := worker.Run(working); err != nil {
			t.Error(err)
		}
	})
	broken, healed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(healed)
		<-broken
		breakIt(ctx)
	}()
	var uncertain atomic.Int64
	for g := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				if g == 0 && n == 20 {
					close(broken)
				}
				select {
				case <-healed:
					if n >= 30 {
						return
					}
				default:
				}
				key := fmt.Sprintf("%d/%d", g, n)
				opts := []onceq.Option{onceq.Unique{Until: onceq.UntilDeleted}}
				r, err := h.client.Enqueue(ctx, numbered{key}, opts...)
				for errors.Is(err, onceq.ErrUncertain) && ctx.Err() == nil {
					uncertain.Add(1)
					time.Sleep(10 * time.Millisecond)
					r, err = h.client.Enqueue(ctx, numbered{key}, append(opts, onceq.Resend(err))...)
				}
				if err != nil {
					t.Errorf("key %s: %v", key, err) // definite: it is not there, and is not expected to be
					continue
				}
				if err := l.acknowledged(key, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	<-healed
	// That its handler has run is not enough: a worker that loses its lease drops
	// the results that it has, and these jobs run again.
	h.soon("all that was acknowledged has ended", func() bool {
		for _, err := range h.client.Jobs(ctx, onceq.JobFilter{States: []onceq.State{onceq.Scheduled, onceq.Available,
			onceq.Running, onceq.Retryable}}) {
			h.must(err)
			return false
		}
		return true
	})
	stop()
	workers.Wait()
	t.Logf("%d jobs were acknowledged, %d answers were lost", len(l.jobs), uncertain.Load())
	if n := h.jobs(); n != len(l.jobs) {
		t.Errorf("%d jobs in the store, %d were acknowledged", n, len(l.jobs))
	}
	for key, id := range l.jobs {
		j, err := h.client.Job(ctx, id)
		if err != nil {
			t.Errorf("key %s: an acknowledged job is lost: %v", key, err)
		} else if j.State != onceq.Completed {
			t.Errorf("key %s: %s", key, j.State)
		} else if l.runs[key] == 0 {
			t.Errorf("key %s: completed, and its handler never ran", key)
		}
	}
	h.sound()
}

func TestAServerThatCrashesLosesNothingThatWasAcknowledged(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"immediate shutdown": syscall.SIGQUIT,
		"kill -9": syscall.SIGKILL, "fast shutdown": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t)
			load(t, server, func(context.Context) {
				for range 2 {
					server.Signal(signal)
					if err := server.Start(); err != nil {
						t.Error(err)
					}
					time.Sleep(300 * time.Millisecond)
				}
			})
		})
	}
}

func TestBackendsThatAreTerminatedLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	load(t, server, func(ctx context.Context) {
		conn, err := pgx.Connect(ctx, server.URL())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		for range 30 {
			if _, err := conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where "+
				"application_name = 'onceq' and pid <> pg_backend_pid() and random() < 0.5"); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// proxy stands between a store and its server, and cuts a connection when
// so many bytes of an answer have passed.
type proxy struct {
	net.Listener
	to    string
	limit atomic.Int64 // of the next answer; 0 = no limit
	conns sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.conns.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.pass(from) })
		}
	})
	t.Cleanup(func() { l.Close(); p.conns.Wait() })
	return p
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.conns.Go(func() {
		defer server.Close()
		defer client.Close()
		_, _ = io.Copy(server, client) // it ends when either side does
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if limit := p.limit.Load(); limit > 0 && n > 0 && p.limit.CompareAndSwap(limit, 0) {
			// Whatever else was to be said: by now it has happened.
			_, _ = client.Write(buffer[:min(int(limit)-1, n)])
			return
		}
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func TestAnAnswerCutAnywhereMakesNoSecondJob(t *testing.T) {
	h := newHand(t, pgtest.URL(t))
	config, err := pgx.ParseConfig(h.url)
	h.must(err)
	p := newProxy(t, fmt.Sprintf("%s:%d", config.Host, config.Port))
	h.url = strings.Replace(h.url, fmt.Sprintf("%s:%d", config.Host, config.Port), p.Addr().String(), 1)
	if !strings.Contains(h.url, p.Addr().String()) {
		t.Fatalf("a proxy cannot be put before %s:%d: name both in ONCEQ_TEST_POSTGRES", config.Host, config.Port)
	}
	// Without prepared statements each enqueue is one answer, to be cut
	// anywhere.
	h.url = with(h, h.url, "default_query_exec_mode", "exec")
	// whose answers would be cut in place of those that are meant
	s := h.open(t, func(c *pgstore.Config) { c.NoListen = true })
	defer s.Close()
	client := h.clientOf(s)
	opts := func(n int) []onceq.Option {
		return []onceq.Option{onceq.UniqueKey(fmt.Sprint(n)), onceq.Unique{Until: onceq.UntilDeleted}}
	}
	_, err = client.Enqueue(h.ctx, task(0), opts(0)...)
	h.must(err)
	n := 1
	for at := int64(1); at < 400; at += 1 + rand.Int64N(12) {
		p.limit.Store(at)
		r, err := client.Enqueue(h.ctx, task(n), opts(n)...)
		h.wants(onceq.Inserted, r, err) // sent again by the client, and answered as the first time
		// A batch too.
		p.limit.Store(at)
		receipts, err := client.EnqueueMany(h.ctx, []onceq.Item{onceq.NewItem(task(n+1), opts(n+1)...),
			onceq.NewItem(task(n+2), opts(n+2)...)})
		h.must(err)
		for _, r := range receipts {
			h.wants(onceq.Inserted, r, nil)
		}
		n += 3
	}
	// Without anything kept the client does not send again by itself: it
	// says that it does not know.
	p.limit.Store(1)
	_, err = client.Enqueue(h.ctx, task(n), append(opts(n), onceq.Retention(0))...)
	if !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("%v, want uncertain", err)
	}
	r, err := client.Enqueue(h.ctx, task(n), append(opts(n), onceq.Retention(0), onceq.Resend(err))...)
	h.wants(onceq.Inserted, r, err)
	if got := h.jobs(); got != n+1 {
		t.Errorf("%d jobs, want %d", got, n+1)
	}
	// The finish of a run, too, counts once and is answered.
	j := h.start()
	_, err = s.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	h.must(err)
	p.limit.Store(1)
	results, err := s.Finish(h.ctx,
		onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed}}})
	h.must(err)
	if results[0].Status != onceq.FinishDone {
		t.Errorf("finish: %+v", results[0])
	}
	// A fetch whose answer is lost leaves jobs running for nobody, until
	// the next heartbeat hands them back.
	p.limit.Store(1)
	no := h.fetch.Add(1)
	if _, err := s.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: no,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 5}}}); !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("fetch: %v, want uncertain", err)
	}
	e, err := s.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour, FetchesDone: no})
	h.must(err)
	if e.Back != 5 {
		t.Errorf("%d jobs were handed back, want 5", e.Back)
	}
	h.sound()
}

// A server that dies right after the commit refuses connections from then
// on. What may have happened stays uncertain until it is back.
func TestAnAnswerThatIsLostWhenAnOutageBeginsStaysUncertain(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, c *onceq.Client, opts ...onceq.Option) error{
		"one": func(ctx context.Context, c *onceq.Client, opts ...onceq.Option) error {
			_, err := c.Enqueue(ctx, task(1), append(opts, onceq.UniqueKey("one"))...)
			return err
		},
		"a batch": func(ctx context.Context, c *onceq.Client, opts ...onceq.Option) error {
			_, err := c.EnqueueMany(ctx, []onceq.Item{
				onceq.NewItem(task(1), append(opts, onceq.UniqueKey("two"))...),
				onceq.NewItem(task(2), append(opts, onceq.UniqueKey("three"))...)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHand(t, pgtest.URL(t))
			h.open(t)
			config, err := pgx.ParseConfig(h.url)
			h.must(err)
			p := newProxy(t, fmt.Sprintf("%s:%d", config.Host, config.Port))
			direct := fmt.Sprintf("%s:%d", config.Host, config.Port)
			at := with(h, strings.Replace(h.url, direct, p.Addr().String(), 1), "default_query_exec_mode", "exec")
			s := storeAt(t, at, &pgstore.Config{Namespace: h.schema, NoListen: true}, false)
			client := h.clientOf(s)
			_, err = client.Enqueue(h.ctx, task(0)) // a connection
			h.must(err)
			p.limit.Store(1)
			h.must(p.Close())
			ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
			defer cancel()
			err = call(ctx, client)
			if !errors.Is(err, onceq.ErrUncertain) {
				t.Errorf("%v, and there are %d jobs", err, h.jobs())
			}
			again, cancel := context.WithTimeout(h.ctx, time.Second)
			defer cancel()
			if err := call(again, client, onceq.Resend(err)); !errors.Is(err, onceq.ErrUncertain) {
				t.Errorf("sent again: %v, and there are %d jobs", err, h.jobs())
			}
		})
	}
}

// A caller who is told that nothing happened, because the store is closed, has no job in it.
func TestADefiniteErrorBesideCloseLeavesNothing(t *testing.T) {
	h := borrowHand(t)
	for round := range 10 {
		s := h.open(t)
		client := h.clientOf(s)
		var callers sync.WaitGroup
		var mu sync.Mutex
		var refused []string
		begun := make(chan struct{}, 1000)
		for g := range 30 {
			callers.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("%d-%d-%d", round, g, i)
					select {
					case begun <- struct{}{}:
					default:
					}
					if _, err := client.Enqueue(h.ctx, task(1), onceq.ID(id)); err != nil {
						if !errors.Is(err, onceq.ErrUncertain) {
							mu.Lock()
							refused = append(refused, id)
							mu.Unlock()
						}
						return
					}
				}
			})
		}
		for range 100 {
			<-begun
		}
		h.must(s.Close())
		callers.Wait()
		jobs, err := h.store.Get(h.ctx, refused)
		h.must(err)
		for i, j := range jobs {
			if j != nil {
				t.Errorf("%s was refused, and is there", refused[i])
			}
		}
	}
	h.sound()
}
