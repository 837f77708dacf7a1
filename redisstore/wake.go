package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// wakes is who waits in this process, and its one subscription to what others say.
type wakes struct {
	s *Store

	mu        sync.Mutex
	listeners map[*listener]bool
	stop      context.CancelFunc // of the subscription; nil = there is none
	ready     chan struct{}      // closed when it is in force
	done      chan struct{}      // closed when it has ended
	closed    bool
}

type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
}

func (w *wakes) init(s *Store) { w.s, w.listeners = s, map[*listener]bool{} }

// Wake says what became due: in this process at once, from others by a message that a script publishes when somebody waits.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	if s.closed.Load() {
		return nil, onceq.ErrClosed
	}
	w := &s.wakes
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, onceq.ErrClosed
	}
	w.listeners[l] = true
	if w.stop == nil {
		sub, stop := context.WithCancel(context.Background())
		before := w.done
		w.stop, w.ready, w.done = stop, make(chan struct{}), make(chan struct{})
		go w.subscribe(sub, w.ready, before, w.done)
	}
	ready := w.ready
	w.mu.Unlock()
	context.AfterFunc(ctx, func() { w.leave(l) })
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-ready:
		_ = w.await(ctx, l.queues) // who fetches says so too
	case <-t.C: // it goes on trying
	case <-ctx.Done():
	}
	return l.wake, nil
}

// await notes on all partitions that somebody waits.
func (w *wakes) await(ctx context.Context, queues []string) error {
	if len(queues) == 0 {
		return nil
	}
	args := []any{len(queues)}
	for _, q := range queues {
		args = append(args, q)
	}
	var trips []*trip
	for p := range w.s.parts {
		trips = append(trips, &trip{script: luaAwait, part: p, args: args})
	}
	return w.s.do(ctx, trips...)
}

// queues are all that somebody here waits for.
func (w *wakes) queues() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for l := range w.listeners {
		all = append(all, l.queues...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (w *wakes) leave(l *listener) {
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

// close ends the subscription and all channels.
func (w *wakes) close() {
	w.mu.Lock()
	w.closed = true
	for l := range w.listeners {
		delete(w.listeners, l)
		close(l.wake)
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
}

// notify tells who waits for a queue; "" = any of them.
func (w *wakes) notify(queue string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		if queue == "" || slices.Contains(l.queues, queue) {
			select {
			case l.wake <- onceq.Wake{Queue: queue}:
			default: // it has been told already
			}
		}
	}
}

// subscribe passes on what others publish, until ctx ends. It connects again by itself, and wakes everybody then: something may have
// been said meanwhile.
func (w *wakes) subscribe(ctx context.Context, ready, before, done chan struct{}) {
	defer close(done)
	if before != nil {
		<-before // one subscription at a time
	}
	first := sync.OnceFunc(func() { close(ready) })
	for ctx.Err() == nil {
		w.receive(ctx, first)
		if !sleep(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// receive listens on one connection until it breaks.
func (w *wakes) receive(ctx context.Context, ready func()) {
	sub := w.s.client.Subscribe(ctx, w.s.channel)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		if stop() {
			_ = sub.Close()
		}
	}()
	pinged := false
	for {
		m, err := sub.ReceiveTimeout(ctx, 5*time.Second)
		if err != nil {
			if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() && !pinged && sub.Ping(ctx) == nil {
				pinged = true // half-open connections are found out by the missing answer
				continue
			}
			return
		}
		pinged = false
		switch m := m.(type) {
		case *redis.Subscription:
			_ = w.await(ctx, w.queues())
			ready()
			w.notify("")
		case *redis.Message:
			if n := len(w.s.sender); len(m.Payload) > n && m.Payload[:n] != w.s.sender {
				w.notify(m.Payload[n:])
			}
		}
	}
}
