package redisstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// A message on the store's channel is the sender, in eight bytes, and a
// text: the name of a queue that has a due job, with mark and the kind of
// the job if that is known; or mark and the name of a worker that has a run
// to stop. No name contains the mark.
const mark = "\x00"

// wakes has the listeners of this process, and its one subscription to the
// messages of others.
type wakes struct {
	s *Store

	mu        sync.Mutex
	listeners map[*listener]bool
	stop      context.CancelFunc // ends the subscription; nil = there is none
	ready     chan struct{}      // closed when the subscription is in force
	done      chan struct{}      // closed when it has ended
}

type listener struct {
	queues []string
	kinds  []string // nil = any
	worker string   // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
	forget func() bool // stops waiting for the end of its context
}

func (w *wakes) init(s *Store) { w.s, w.listeners = s, map[*listener]bool{} }

// Wake sends which queue has a due job, and which worker has a run to stop:
// at once for changes in this process, for others when a script publishes a
// message, which it does when somebody waits. When the channel is closed
// nothing of it runs any more.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	w := &s.wakes
	l := &listener{queues: slices.Clone(r.Queues), kinds: slices.Clone(r.Kinds), worker: r.Worker,
		wake: make(chan onceq.Wake, 16)}
	ready := w.join(ctx, l)
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-ready:
		_ = w.await(ctx, l) // who fetches says so too
	case <-t.C: // try again
	case <-ctx.Done():
	case <-s.closing:
	}
	return l.wake, nil
}

// join adds a listener, and begins the subscription with the first one.
func (w *wakes) join(ctx context.Context, l *listener) (ready <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[l] = true
	if w.stop == nil {
		sub, stop := context.WithCancel(context.Background())
		before := w.done
		w.stop, w.ready, w.done = stop, make(chan struct{}), make(chan struct{})
		go w.subscribe(sub, w.ready, before, w.done)
	}
	l.forget = context.AfterFunc(ctx, func() { w.leave(l) })
	return w.ready
}

// await notes on all partitions that somebody waits.
func (w *wakes) await(ctx context.Context, listeners ...*listener) error {
	n, args := 0, []any{0}
	for _, l := range listeners {
		kinds := packKinds(l.kinds)
		for _, q := range l.queues {
			n++
			args = append(append(args, q), kinds...)
		}
	}
	if n == 0 {
		return nil
	}
	args[0] = n
	var trips []*trip
	for p := range w.s.parts {
		trips = append(trips, &trip{script: luaAwait, part: p, args: args})
	}
	return w.s.do(ctx, trips...)
}

// all are those that wait here.
func (w *wakes) all() []*listener {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.listeners))
}

// leave removes a listener, and ends the subscription with the last one.
func (w *wakes) leave(l *listener) {
	w.mu.Lock()
	if !w.listeners[l] {
		w.mu.Unlock()
		return
	}
	delete(w.listeners, l)
	var done chan struct{}
	if len(w.listeners) == 0 && w.stop != nil {
		w.stop()
		w.stop, done = nil, w.done
	}
	w.mu.Unlock()
	if done != nil {
		<-done
	}
	close(l.wake)
}

// close ends the subscription and all channels.
func (w *wakes) close() {
	w.mu.Lock()
	var all []*listener
	for l := range w.listeners {
		l.forget()
		all = append(all, l)
		delete(w.listeners, l)
	}
	stop, done := w.stop, w.done
	w.stop = nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
	if done != nil {
		<-done
	}
	for _, l := range all {
		close(l.wake)
	}
}

// notify passes a message on to the listeners that it concerns; "" =
// something may be due in any queue.
func (w *wakes) notify(message string) {
	name, rest, more := strings.Cut(message, mark)
	if name == "" && more {
		w.stops(rest)
	} else {
		w.due(name, rest)
	}
}

// due says that something may be due: in a queue ("" = in any), of a kind
// ("" = of any).
func (w *wakes) due(queue, kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		if (queue == "" || slices.Contains(l.queues, queue)) &&
			(kind == "" || l.kinds == nil || slices.Contains(l.kinds, kind)) {
			l.sendLocked(onceq.Wake{Queue: queue})
		}
	}
}

// stops says that a run of a worker was asked to stop.
func (w *wakes) stops(worker string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		if l.worker == worker {
			l.sendLocked(onceq.Wake{Stop: true})
		}
	}
}

// sendLocked never waits. If the channel is full, it replaces the two
// oldest messages by one that says as much as they and this one together.
// Nobody else sends meanwhile.
func (l *listener) sendLocked(wake onceq.Wake) {
	select {
	case l.wake <- wake:
		return
	default:
	}
	stop := wake.Stop
	for range 2 {
		select {
		case old := <-l.wake:
			stop = stop || old.Stop
		default:
		}
	}
	l.wake <- onceq.Wake{}
	if stop {
		l.wake <- onceq.Wake{Stop: true}
	}
}

// subscribe passes on what others publish, until ctx ends. It connects
// again by itself and then wakes all listeners, because a message may have
// been missed.
func (w *wakes) subscribe(ctx context.Context, ready, before, done chan struct{}) {
	defer close(done)
	if before != nil {
		<-before // one subscription at a time
	}
	first := sync.OnceFunc(func() { close(ready) })
	for ctx.Err() == nil {
		w.receive(ctx, first)
		sleep(ctx, 200*time.Millisecond)
	}
}

// receive listens on one connection until it breaks or ctx ends.
func (w *wakes) receive(ctx context.Context, ready func()) {
	sub := w.s.conns.usual.Subscribe(ctx, w.s.channel)
	over, cancel := context.WithCancel(ctx)
	closed := make(chan struct{})
	go func() {
		<-over.Done()
		_ = sub.Close() // this ends a wait for a message
		close(closed)
	}()
	defer func() {
		cancel()
		<-closed
	}()
	pinged := false
	for {
		m, err := sub.ReceiveTimeout(ctx, 5*time.Second)
		if err != nil {
			if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() && !pinged &&
				sub.Ping(ctx) == nil {
				pinged = true // a missing answer shows that the connection is half-open
				continue
			}
			return
		}
		pinged = false
		switch m := m.(type) {
		case *redis.Subscription:
			_ = w.await(ctx, w.all()...)
			ready()
			w.notify("")
		case *redis.Message:
			if n := len(w.s.sender); len(m.Payload) > n && m.Payload[:n] != w.s.sender {
				w.notify(m.Payload[n:])
			}
		}
	}
}
