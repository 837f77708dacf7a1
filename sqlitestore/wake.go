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

// How often the file is asked whether another process has written it: PRAGMA data_version costs
// some microseconds.
const (
	pollIdle   = 50 * time.Millisecond
	pollBusy   = 20 * time.Millisecond // for a second after a change
	pollExpect = 2 * time.Millisecond  // after an enqueue in a transaction whose commit cannot be seen
	lately     = time.Second
)

// waker tells listeners what became due: from this process at once, from others by polling
// while somebody listens.
type waker struct {
	store *Store

	mu        sync.Mutex
	listeners map[*listener]bool
	poller    *poller // nil while there is none
	closed    bool
	expected  time.Time      // until when to poll fast
	leaving   sync.WaitGroup // listeners that have not left
}

// listener is somebody who waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
	stay   func() bool // keeps the end of its context from removing it; false where that has begun
}

// Wake says what became due. A job that another process enqueues is told of within 100 ms,
// mostly within 20. When the channel is closed nothing runs for it any more.
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
	return l.wake, nil
}

// add begins to poll where nobody does, and listens: from then on nothing is missed.
func (w *waker) add(ctx context.Context, l *listener) error {
	for {
		done, err := w.join(ctx, l, nil)
		if done || err != nil {
			return err
		}
		p, err := w.newPoller(ctx) // without the mutex: it may wait for a connection of the caller's
		if err != nil {
			return err
		}
		if done, err = w.join(ctx, l, p); done || err != nil {
			return err
		}
	}
}

// join adds a listener where somebody polls, or begins to with p. done is false where nobody does.
func (w *waker) join(ctx context.Context, l *listener, p *poller) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		err = onceq.ErrClosed
	case w.poller == nil && p != nil:
		w.poller = p
		go p.run()
		p = nil
	}
	if p != nil { // somebody else was faster
		p.close()
	}
	if err != nil || w.poller == nil && w.store.private == "" {
		return false, err
	}
	if w.listeners == nil {
		w.listeners = map[*listener]bool{}
	}
	w.listeners[l] = true
	w.leaving.Add(1)
	l.stay = context.AfterFunc(ctx, func() { w.remove(l) })
	return true, nil
}

// remove ends a listener, and with the last one the poller.
func (w *waker) remove(l *listener) {
	defer w.leaving.Done()
	w.mu.Lock()
	delete(w.listeners, l)
	var p *poller
	if len(w.listeners) == 0 {
		p, w.poller = w.poller, nil
	}
	w.mu.Unlock()
	if p != nil {
		p.end()
	}
	close(l.wake)
}

func (w *waker) close() {
	w.mu.Lock()
	w.closed = true
	listeners := slices.Collect(maps.Keys(w.listeners))
	w.mu.Unlock()
	for _, l := range listeners {
		if l.stay() {
			w.remove(l)
		}
	}
	w.leaving.Wait()
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
	waker *waker
	// session is a connection of its own, for data_version compares only with itself; nil where the
	// pool is the caller's and small.
	session *session
	version int64
	seen    map[string]int64 // the due count of each queue
	changed time.Time        // when it was last seen to change

	ctx   context.Context // ends with the poller
	stop  context.CancelFunc
	ended chan struct{}
}

// newPoller notes where things stand before anybody is promised to hear what comes after.
func (w *waker) newPoller(ctx context.Context) (*poller, error) {
	p := &poller{waker: w, seen: map[string]int64{}, ended: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	if w.store.keeps {
		var err error
		if p.session, err = w.store.connect(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := p.look(ctx); err != nil && !busy(err) { // then the first look will tell too much, which is allowed
		p.close()
		return nil, err
	}
	return p, nil
}

// end stops a poller that runs, and waits for it.
func (p *poller) end() {
	p.stop()
	<-p.ended
}

func (p *poller) close() {
	p.stop()
	if p.session != nil {
		p.session.close()
	}
}

func (p *poller) run() {
	defer close(p.ended)
	defer p.close()
	t := time.NewTimer(pollBusy)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		due, err := p.look(p.ctx)
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
		if session, err = p.waker.store.connect(ctx); err != nil {
			return nil, err
		}
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
