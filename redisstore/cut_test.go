package redisstore

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// cutter is a proxy that can swallow answers: the request reaches the
// server, and the connection is cut when the answer comes.
type cutter struct {
	addr string
	cut  atomic.Int32 // so many answers to requests that contain the word
	word atomic.Value

	mu   sync.Mutex
	held chan struct{} // closed when an answer is held back; nil = none is to be
	free chan struct{} // closed when it may go on
}

// hold keeps back the answers to requests with this word; the channel is
// closed when there is one.
func (p *cutter) hold(word string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word.Store(word)
	p.held, p.free = make(chan struct{}), make(chan struct{})
	return p.held
}

// release lets go what was held back.
func (p *cutter) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.free)
	p.held = nil
}

// wait keeps an answer back for as long as it is to be. asked says that its
// request had the word.
func (p *cutter) wait(asked bool) {
	p.mu.Lock()
	held, free := p.held, p.free
	if !asked || held == nil {
		p.mu.Unlock()
		return
	}
	select {
	case <-held:
	default:
		close(held)
	}
	p.mu.Unlock()
	<-free
}

func cutting(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{addr: l.Addr().String()}
	p.word.Store("evalsha")
	var open sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			conns[in], conns[out] = true, true
			mu.Unlock()
			var doomed, asked atomic.Bool
			open.Go(func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := in.Read(buf)
					if n > 0 {
						asked.Store(strings.Contains(string(buf[:n]), p.word.Load().(string)))
						if asked.Load() && p.cut.Add(-1) >= 0 {
							doomed.Store(true)
						}
						_, _ = out.Write(buf[:n])
					}
					if err != nil {
						_ = out.Close()
						return
					}
				}
			})
			open.Go(func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := out.Read(buf)
					p.wait(asked.Load())
					if err != nil || doomed.Load() {
						_ = in.Close()
						_ = out.Close()
						return
					}
					_, _ = in.Write(buf[:n])
				}
			})
		}
	})
	return p
}

func TestAnAnswerCutAfterTheScriptRan(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	s := open(t, "redis://"+proxy.addr, Config{})
	c := clientOf(t, s)
	ctx := t.Context()
	cut := func() { proxy.cut.Store(1) }

	// The store says that it does not know; the client finds out by itself.
	if _, err := c.Enqueue(ctx, task{0}); err != nil {
		t.Fatal(err)
	}
	row := onceq.NewRow{ID: "mine", Nonce: [16]byte{1}, Kind: "task", Queue: "default", Args: []byte("1"),
		Encoding: "json", MaxAttempts: 1, Retention: time.Hour}
	cut()
	if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}}); !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("enqueue: %v, want it to be uncertain", err)
	}
	if r, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}}); err != nil ||
		r[0].Outcome != onceq.Inserted || r[0].Job.ID != "mine" {
		t.Errorf("the same again: %v, %v", r, err)
	}
	cut()
	if r, err := c.Enqueue(ctx, task{1}, onceq.Unique{}); err != nil || r.Outcome != onceq.Inserted {
		t.Errorf("client: %v, %v", r.Outcome, err)
	}
	cut()
	if r, err := c.EnqueueMany(ctx, items(500, 10)); err != nil || r[499].Outcome != onceq.Inserted {
		t.Errorf("client, a batch: %v", err)
	}
	if r := healthy(t, s); r.Jobs != 503 {
		t.Errorf("%d jobs, want 503", r.Jobs)
	}

	// A fetch asks again for what it started.
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	cut()
	f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
	if err != nil || len(f.Jobs) != 100 {
		t.Fatalf("fetched %d: %v", len(f.Jobs), err)
	}
	running, err := s.Queues(ctx)
	if err != nil || running[0].Counts[onceq.Running] != 100 {
		t.Errorf("%v run, want 100 (%v)", running, err)
	}

	// A finish is repeated, and answered as the first time.
	var ends []onceq.Finish
	for _, j := range f.Jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
	}
	cut()
	if _, err := s.Finish(ctx, onceq.FinishRequest{Runs: ends}); !errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("finish: %v, want it to be uncertain", err)
	}
	results, err := s.Finish(ctx, onceq.FinishRequest{Runs: ends})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status != onceq.FinishDone || r.State != onceq.Completed {
			t.Fatalf("finish again: %+v", r)
		}
	}
	cut()
	if _, err := s.Get(ctx, []string{"mine"}); err != nil {
		t.Errorf("reading is tried again, and got %v", err)
	}
	sound(t, s)
}
