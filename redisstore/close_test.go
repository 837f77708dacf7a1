package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// TestCloseCutsNoCallThatIsUnderWay: who is told that nothing happened has
// no job in the store, and Close has returned only when nobody waits for an
// answer any more.
func TestCloseCutsNoCallThatIsUnderWay(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		s := fresh(t, Config{})
		check := open(t, redistest.URL(t), Config{Namespace: s.config.Namespace})
		var under atomic.Int64
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused := map[string]bool{}
		begun := make(chan bool, 32)
		for g := range 32 {
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprint(g, "-", i)
					under.Add(1)
					_, err := s.Enqueue(context.Background(),
						onceq.EnqueueRequest{Rows: []onceq.NewRow{{ID: id, Kind: "k", Queue: "q", MaxAttempts: 1}}})
					if !errors.Is(err, onceq.ErrClosed) {
						under.Add(-1)
					}
					if err != nil {
						if errors.Is(err, onceq.ErrUncertain) || !errors.Is(err, onceq.ErrClosed) {
							t.Errorf("an enqueue beside Close: %v", err)
						}
						mu.Lock()
						refused[id] = true
						mu.Unlock()
						return
					}
					if i == 3 {
						begun <- true
					}
				}
			})
		}
		for range 32 {
			<-begun
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for id := range refused {
			if jobs, err := check.Get(t.Context(), []string{id}); err != nil || jobs[0] != nil {
				t.Errorf("round %d: enqueue %s was refused, and the job is there (%v)", round, id, err)
			}
		}
		healthy(t, check)
	}
}

// TestCloseWaitsForTheAnswerOfACall: the server stands still while a call
// is under way.
func TestCloseWaitsForTheAnswerOfACall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	for _, owned := range []bool{true, false} {
		var s *Store
		if owned {
			s = open(t, "redis://"+proxy.addr, Config{Namespace: namespace()})
		} else {
			own := redis.NewClient(&redis.Options{Addr: proxy.addr, ContextTimeoutEnabled: true})
			t.Cleanup(func() { _ = own.Close() })
			var err error
			if s, err = New(own, &Config{Namespace: namespace(), Logger: quiet}); err != nil {
				t.Fatal(err)
			}
		}
		held := proxy.hold("evalsha")
		answered := make(chan error, 1)
		go func() {
			_, err := s.Enqueue(context.Background(),
				onceq.EnqueueRequest{Rows: []onceq.NewRow{{ID: "a", Kind: "k", Queue: "q", MaxAttempts: 1}}})
			answered <- err
		}()
		<-held // the answer is on its way, and stays there
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		<-s.closing
		select {
		case <-closed:
			t.Errorf("owned %v: Close returned while a call was under way", owned)
		case <-time.After(20 * time.Millisecond):
		}
		proxy.release()
		if err := <-answered; err != nil {
			t.Errorf("owned %v: the call that was under way: %v", owned, err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
}

// TestCloseEndsTheWaitForAnAbsentServer: a call that waits for the server
// to come back is told at once.
func TestCloseEndsTheWaitForAnAbsentServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Patience: time.Hour})
	server.Kill()
	waits := make(chan error, 1)
	go func() {
		_, err := s.Get(context.Background(), []string{"a"})
		waits <- err
	}()
	for s.tries.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waits:
		if err == nil || errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%v, want a definite error", err)
		}
	case <-time.After(10 * time.Second): // Patience is an hour
		t.Error("the call waits although Close has returned")
	}
}

// TestNothingRunsAfterClose, although the server was away and came back,
// calls were under way, somebody listened, and nobody took what was sent.
func TestNothingRunsAfterClose(t *testing.T) {
	server := redistest.Start(t)
	before := goleak.IgnoreCurrent()
	for _, away := range []bool{false, true} {
		s, err := Open(t.Context(), server.URL(), &Config{Namespace: namespace(), Logger: quiet,
			Patience: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		wake, err := s.Wake(context.Background(), onceq.WakeRequest{Queues: []string{"q"}, Worker: "w"})
		if err != nil {
			t.Fatal(err)
		}
		if away {
			server.Kill()
		}
		var wg sync.WaitGroup
		for g := range 64 { // more than the pool has connections
			wg.Go(func() {
				_, err := s.Enqueue(context.Background(),
					onceq.EnqueueRequest{
						Rows: []onceq.NewRow{{ID: fmt.Sprint(g), Kind: "k", Queue: "q", MaxAttempts: 1}}})
				if (err != nil) != away {
					t.Errorf("server away %v: %v", away, err)
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for range wake { // it was closed
		}
		if err := goleak.Find(before, goleak.IgnoreTopFunction("testing.(*T).Run")); err != nil {
			t.Errorf("server away %v: %v", away, err)
		}
		if away {
			server.Restart()
		}
	}
}

// ending is a handler of log lines that fails the test once it is over.
type ending struct {
	slog.Handler
	over  *atomic.Bool
	late  *atomic.Int64
	lines *atomic.Int64
}

func (e ending) Handle(context.Context, slog.Record) error {
	e.lines.Add(1)
	if e.over.Load() {
		e.late.Add(1)
	}
	return nil
}

func (e ending) Enabled(context.Context, slog.Level) bool { return true }
func (e ending) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e ending) WithGroup(string) slog.Handler            { return e }

// TestNothingIsLoggedAfterClose, neither by the store nor by the client
// library.
func TestNothingIsLoggedAfterClose(t *testing.T) {
	server := redistest.Start(t)
	for range 5 {
		e := ending{nil, new(atomic.Bool), new(atomic.Int64), new(atomic.Int64)}
		s, err := Open(t.Context(), server.URL(), &Config{Namespace: namespace(), Logger: slog.New(e),
			Patience: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"q"}}); err != nil {
			t.Fatal(err)
		}
		server.Kill()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() { _, _ = s.Get(context.Background(), []string{"a"}) })
		}
		wg.Wait()
		_ = s.Close()
		e.over.Store(true)
		server.Restart()
		if n := e.late.Load(); n > 0 {
			t.Errorf("%d lines were logged after Close", n)
		}
	}
}
