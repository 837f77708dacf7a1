package redisstore

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/listen"
	"github.com/onceq/onceq/internal/sleep"
)

// A message on the store's channel is the sender, in eight bytes, and a
// text: the name of a queue that has a due job, with mark and the kind of
// the job if that is known; or mark and the name of a worker that has a run
// to stop. No name contains the mark.
const mark = "\x00"

// wakes has the listeners of this process, and their one subscription to
// the messages of others.
type wakes struct {
	s         *Store
	listeners *listen.Registry
}

func (w *wakes) init(s *Store) { w.s, w.listeners = s, listen.New(w.hear) }

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
	wake, err := s.wakes.listeners.Add(ctx, r)
	if err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.wakes.await(soon, r) // a fetch says so too
	return wake, nil
}

// await notes on all partitions that somebody waits.
func (w *wakes) await(ctx context.Context, requests ...onceq.WakeRequest) error {
	n, args := 0, []any{0}
	for _, r := range requests {
		kinds := packKinds(r.Kinds)
		for _, q := range r.Queues {
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

// notify passes a message on to the listeners that it concerns.
func (w *wakes) notify(message string) {
	name, rest, more := strings.Cut(message, mark)
	if name == "" && more {
		w.listeners.Stop(rest)
	} else {
		w.listeners.Due(name, rest)
	}
}

// hear passes on what others publish (see listen.Hear). After each
// connection it wakes all listeners, because a message may have been missed.
func (w *wakes) hear(ctx context.Context, ready func()) {
	for ctx.Err() == nil {
		w.receive(ctx, ready)
		sleep.For(ctx, 200*time.Millisecond)
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
			_ = w.await(ctx, w.listeners.Requests()...)
			ready()
			w.listeners.Anything()
		case *redis.Message:
			if n := len(w.s.sender); len(m.Payload) > n && m.Payload[:n] != w.s.sender {
				w.notify(m.Payload[n:])
			}
		}
	}
}
