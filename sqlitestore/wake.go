package sqlitestore

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlDataVersion = load("data_version")
	sqlDueCounts   = load("due_counts")
	sqlStopCounts  = load("stop_counts")
)

// How often the store checks whether another process has written the file:
// PRAGMA data_version costs some microseconds.
const (
	pollIdle   = 50 * time.Millisecond
	pollBusy   = 20 * time.Millisecond // for a second after a change
	pollExpect = 2 * time.Millisecond  // after an enqueue in a transaction whose commit cannot be seen
	lately     = time.Second
)

// waker tells listeners what became due: at once for this process, by
// polling for others while somebody listens.
type waker struct {
	store *Store

	mu        sync.Mutex
	listeners map[*listener]bool
	poller    *poller // nil while nobody listens
	closed    bool
	expected  time.Time      // until when to poll fast
	leaving   sync.WaitGroup // listeners that have not left
}

// listener waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
	stay   func() bool // stops its context from removing it; false if that has begun
}

// Wake sends which queue has a due job. For a job of another process that
// takes up to 100 ms, mostly less than 20. When the channel is closed
// nothing runs for it any more.
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

// add starts to poll if nobody does, and listens: from then on nothing is
// missed.
func (w *waker) add(ctx context.Context, l *listener) error {
	for {
		done, err := w.join(ctx, l, nil)
		if done || err != nil {
			return err
		}
		p, err := w.newPoller(ctx) // without the mutex, because it may wait for a connection
		if err != nil {
			return err
		}
		if done, err = w.join(ctx, l, p); done || err != nil {
			return err
		}
	}
}

// join adds a listener if there is a poller, or starts p. done is false if
// there is neither.
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
	if p != nil { // another listener was faster
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

// tell wakes the listeners of these queues.
func (w *waker) tell(n news) {
	if len(n.due) == 0 && len(n.stops) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		for queue := range n.due {
			// The last place is kept for a stop.
			if slices.Contains(l.queues, queue) && len(l.wake) < cap(l.wake)-1 {
				l.wake <- onceq.Wake{Queue: queue}
			}
		}
		if l.worker == "" || !n.stops[l.worker] {
			continue
		}
		select {
		case l.wake <- onceq.Wake{Stop: true}:
		default: // then one is on its way
		}
	}
}

// wanted are the queues and the workers that listeners want to hear of, as
// JSON arrays.
func (w *waker) wanted() (queues, workers string, err error) {
	q, names := map[string]bool{}, map[string]bool{}
	w.mu.Lock()
	for l := range w.listeners {
		for _, queue := range l.queues {
			q[queue] = true
		}
		if l.worker != "" {
			names[l.worker] = true
		}
	}
	w.mu.Unlock()
	list := func(set map[string]bool) string {
		b, e := json.Marshal(slices.AppendSeq([]string{}, maps.Keys(set)))
		err = errors.Join(err, e)
		return string(b)
	}
	return list(q), list(names), err
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

// poller watches the file for commits of other connections.
type poller struct {
	waker *waker
	// conn is a connection of its own, because data_version compares
	// only with itself; nil if the pool is the caller's and small.
	conn    *conn
	version int64
	due     map[string]int64 // the count of each queue
	stops   map[string]int64 // the count of each worker
	changed time.Time        // when something was last seen to change

	ctx   context.Context // ends with the poller
	stop  context.CancelFunc
	ended chan struct{}
}

// newPoller notes the state of the file before a listener is promised
// anything.
func (w *waker) newPoller(ctx context.Context) (*poller, error) {
	p := &poller{waker: w, due: map[string]int64{}, stops: map[string]int64{}, ended: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	if w.store.keeps {
		var err error
		if p.conn, err = w.store.connect(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := p.look(ctx); err != nil && !busy(err) { // then the first look reports too much, which is allowed
		p.close()
		return nil, err
	}
	return p, nil
}

// end stops a running poller, and waits for it.
func (p *poller) end() {
	p.stop()
	<-p.ended
}

func (p *poller) close() {
	p.stop()
	if p.conn != nil {
		p.conn.close()
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
		news, _ := p.look(p.ctx) // after an error it may miss: workers look by themselves besides
		p.waker.tell(news)
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

// look finds out in which queues a job became due since the last look.
func (p *poller) look(ctx context.Context) (n news, err error) {
	on := p.conn
	if on == nil {
		if on, err = p.waker.store.connect(ctx); err != nil {
			return n, err
		}
		defer on.close()
	}
	version, err := on.number(sqlDataVersion)
	if err != nil || p.conn != nil && version == p.version {
		return n, err
	}
	queues, workers, err := p.waker.wanted()
	if err != nil {
		return n, err
	}
	if n.due, err = risen(on, sqlDueCounts, queues, p.due); err != nil {
		return n, err
	}
	if n.stops, err = risen(on, sqlStopCounts, workers, p.stops); err == nil {
		p.version, p.changed = version, time.Now()
	}
	return n, err
}

// risen are the names whose counts are not what they were when they were
// last seen.
func risen(on *conn, q *statement, names string, seen map[string]int64) (map[string]bool, error) {
	now := map[string]int64{}
	if err := on.each(q, 2, func(v []any) error {
		now[text(v[0])] = integer(v[1])
		return nil
	}, names); err != nil {
		return nil, err
	}
	changed := map[string]bool{}
	for name, n := range now {
		if was, ok := seen[name]; ok && was != n || !ok && n != 0 {
			changed[name] = true
		}
		seen[name] = n
	}
	return changed, nil
}
