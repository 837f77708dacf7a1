package sqlitestore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlDataVersion = load("data_version")
	sqlDueCounts   = load("due_counts")
)

// How often the file is asked whether another process has written it: PRAGMA data_version costs some microseconds.
const (
	pollIdle   = 50 * time.Millisecond
	pollBusy   = 20 * time.Millisecond // for a second after a change
	pollExpect = 2 * time.Millisecond  // after an enqueue in a transaction whose commit cannot be seen
	lately     = time.Second
)

// waker tells listeners what became due: from this process at once, from others by polling while somebody listens.
type waker struct {
	store *Store

	mu        sync.Mutex
	listeners map[*listener]bool
	stop      context.CancelFunc // of the poller; nil while there is none
	closed    bool
	expected  time.Time      // until when to poll fast
	polling   sync.WaitGroup // the poller, and those that are ending
}

// listener is somebody who waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
}

// Wake says what became due. A job that another process enqueues is told of within 100 ms, mostly within 20.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, wrap("wake", err)
	}
	defer leave()
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	if err := s.waker.add(ctx, l); err != nil {
		return nil, wrap("wake", err)
	}
	context.AfterFunc(ctx, func() { s.waker.remove(l) })
	return l.wake, nil
}

func (w *waker) add(ctx context.Context, l *listener) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return onceq.ErrClosed
	}
	if w.stop == nil && w.store.private == "" {
		p := &poller{waker: w, seen: map[string]int64{}}
		if err := p.begin(ctx); err != nil {
			return err
		}
		var polling context.Context
		polling, w.stop = context.WithCancel(context.Background())
		w.polling.Go(func() { p.run(polling) })
	}
	if w.listeners == nil {
		w.listeners = map[*listener]bool{}
	}
	w.listeners[l] = true
	return nil
}

func (w *waker) remove(l *listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.listeners[l] {
		return
	}
	delete(w.listeners, l)
	close(l.wake)
	if len(w.listeners) == 0 && w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *waker) close() {
	w.mu.Lock()
	w.closed = true
	listeners := slices.Collect(maps.Keys(w.listeners))
	w.mu.Unlock()
	for _, l := range listeners {
		w.remove(l)
	}
	w.polling.Wait()
}

// tell wakes whoever listens to one of these queues.
func (w *waker) tell(queues map[string]bool) {
	if len(queues) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		for queue := range queues {
			if !slices.Contains(l.queues, queue) {
				continue
			}
			select {
			case l.wake <- onceq.Wake{Queue: queue}:
			default: // it has enough to wake up for
			}
		}
	}
}

// expect says that a transaction of the caller's may commit soon.
func (w *waker) expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = time.Now().Add(lately)
}

func (w *waker) expecting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.expected)
}

// poller watches the file for what other connections commit.
type poller struct {
	waker   *waker
	session *session // a connection of its own: data_version compares only with itself. nil where the pool is the caller's and small
	version int64
	seen    map[string]int64 // the due count of each queue
	changed time.Time        // when it was last seen to change
}

// begin notes where things stand before anybody is promised to hear what comes after.
func (p *poller) begin(ctx context.Context) error {
	s := p.waker.store
	if s.keeps {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		p.session = newSession(conn)
	}
	_, err := p.look(context.Background())
	if busy(err) {
		return nil // the first look will tell too much, which is allowed
	}
	if err != nil && p.session != nil {
		p.session.close()
	}
	return err
}

func (p *poller) run(ctx context.Context) {
	if p.session != nil {
		defer p.session.close()
	}
	t := time.NewTimer(pollBusy)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		due, err := p.look(ctx)
		if err == nil { // else it may miss: workers look by themselves besides
			p.waker.tell(due)
		}
		switch {
		case p.waker.expecting():
			t.Reset(pollExpect)
		case time.Since(p.changed) < lately:
			t.Reset(pollBusy)
		default:
			t.Reset(pollIdle)
		}
	}
}

// look finds out in which queues something became due since it was last asked.
func (p *poller) look(ctx context.Context) (due map[string]bool, err error) {
	session := p.session
	if session == nil {
		conn, err := p.waker.store.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		session = newSession(conn)
		defer session.close()
	}
	version, err := session.number(sqlDataVersion)
	if err != nil || p.session != nil && version == p.version {
		return nil, err
	}
	due = map[string]bool{}
	err = session.each(sqlDueCounts, 2, func(v []any) error {
		queue, n := text(v[0]), integer(v[1])
		if was, ok := p.seen[queue]; !ok || was != n {
			due[queue] = true
			p.seen[queue] = n
		}
		return nil
	})
	if err == nil {
		p.version, p.changed = version, time.Now()
	}
	return due, err
}
