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
	pass atomic.Int32 // so many answers to requests that contain the word pass
	cut  atomic.Int32 // and then so many are cut
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
						if asked.Load() && p.pass.Add(-1) < 0 && p.cut.Add(-1) >= 0 {
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
	c, err := onceq.NewClient(s, &onceq.Config{Logger: quiet, NoTally: true}) // it sends no call of its own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
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
	running, err := s.Queues(ctx, onceq.QueuesRequest{})
	if err != nil || running.Queues[0].Counts[onceq.Running] != 100 {
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

// TestTheReceiptsOfABatchThatWasCutSurviveAResend: a batch of more than 4 MiB
// goes out in pieces. What has an answer keeps it, and the rest is found out.
func TestTheReceiptsOfABatchThatWasCutSurviveAResend(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := cutting(t, server.Addr)
	s := open(t, "redis://"+proxy.addr, Config{Patience: 100 * time.Millisecond})
	// A client that counts sends calls of its own, and the proxy would take them for the batch.
	c, err := onceq.NewClient(s, &onceq.Config{MaxArgs: 2 << 20, Logger: quiet, NoTally: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Enqueue(t.Context(), task{0}); err != nil { // the server knows the script
		t.Fatal(err)
	}
	large := []byte(`"` + strings.Repeat("x", 1<<20-2) + `"`)
	cut := func(pass, cut int32) { proxy.pass.Store(pass); proxy.cut.Store(cut) }

	// The store answers for what it knows: three rows of 1 MiB are a piece.
	rows := make([]onceq.NewRow, 12)
	for i := range rows {
		rows[i] = onceq.NewRow{ID: "row " + string(rune('a'+i)), Nonce: [16]byte{1, byte(i)}, Kind: "task",
			Queue: "default", Args: large, Encoding: "json", MaxAttempts: 1, Retention: time.Hour}
	}
	cut(1, 1)
	results, err := s.Enqueue(t.Context(), onceq.EnqueueRequest{Rows: rows})
	if !errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "rows 3-11 of 12") {
		t.Errorf("%v, want it to be uncertain about rows 3-11", err)
	}
	for i, r := range results {
		if known := r.Job != nil; known != (i < 3) {
			t.Errorf("row %d has an answer: %v", i, known)
		}
	}
	results, err = s.Enqueue(t.Context(), onceq.EnqueueRequest{Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Outcome != onceq.Inserted || r.Job == nil || r.Job.ID != rows[i].ID {
			t.Errorf("row %d again: %s", i, r.Outcome)
		}
	}

	// So does the client, and sends the rest alone.
	var batch []onceq.Item
	for range 12 {
		batch = append(batch, onceq.NewItem(onceq.JSON("task", large)))
	}
	cut(1, 1000)
	receipts, err := c.EnqueueMany(t.Context(), batch)
	var open *onceq.UncertainError
	if !errors.As(err, &open) || len(open.Items) != 9 || open.Items[0] != 3 {
		t.Fatalf("%v, want it to be uncertain about items 3-11", err)
	}
	cut(0, 0)
	for i := range batch {
		batch[i] = onceq.NewItem(onceq.JSON("task", large), onceq.Resend(err))
	}
	again, err := c.EnqueueMany(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range again {
		if r.Job == nil || r.Outcome != onceq.Inserted || i < 3 && r.Job.ID != receipts[i].Job.ID {
			t.Errorf("item %d again: %+v", i, r)
		}
	}
	if r := healthy(t, s); r.Jobs != 25 {
		t.Errorf("%d jobs, want 25", r.Jobs)
	}
	sound(t, s)
}
