package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
)

// waker tells listeners what became due: those of this process at once, those of others by NOTIFY. NOTIFY takes a lock of the whole
// server when it commits, so it goes after the commit, in a statement of its own, and for each queue at most once in notifyEvery.
type waker struct {
	store   *Store
	channel string
	self    string // begins what this store sends: it need not hear itself

	mu        sync.Mutex
	listeners map[*listener]bool
	stop      context.CancelFunc   // of the hearing; nil while nobody listens
	pending   map[string]bool      // queues to notify of
	sending   bool                 // somebody sends what is pending
	notBefore map[string]time.Time // when to notify of a queue
	closed    bool
	running   sync.WaitGroup
}

const notifyEvery = 5 * time.Millisecond

// ourselvesFirst is how long others hear later of what listeners of this process were woken for: a NOTIFY at the same time would make
// their fetch a third slower.
const ourselvesFirst = 2 * time.Millisecond

// listener is somebody who waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
}

func (w *waker) init(s *Store) {
	w.store = s
	sum := sha256.Sum256([]byte(s.config.Namespace))
	w.channel = "onceq_" + hex.EncodeToString(sum[:8])
	w.self = strconv.FormatUint(rand.Uint64(), 36)
	w.listeners, w.pending, w.notBefore = map[*listener]bool{}, map[string]bool{}, map[string]time.Time{}
}

// channelInTx is the channel that an enqueue inside a caller's transaction notifies, and what comes before the queue.
func (w *waker) channelInTx() []any {
	if w.store.config.NoListen {
		return []any{nil, ""}
	}
	return []any{w.channel, "tx "} // not from this store: its listeners must hear of the commit too
}

// Wake says what became due: in this process at once, from others as fast as NOTIFY is.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("wake", err)
	}
	defer leave()
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	s.waker.add(l)
	context.AfterFunc(ctx, func() { s.waker.remove(l) })
	return l.wake, nil
}

func (w *waker) add(l *listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[l] = true
	if w.stop == nil && !w.store.config.NoListen {
		var ctx context.Context
		ctx, w.stop = context.WithCancel(context.Background())
		w.running.Go(func() { w.hear(ctx) })
	}
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
	w.running.Wait()
}

// tell wakes whoever listens to one of these queues, here and elsewhere.
func (w *waker) tell(queues map[string]bool) {
	if len(queues) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for queue := range queues {
		first := time.Now().Add(ourselvesFirst)
		if w.wakeUp(queue) && !w.pending[queue] && w.notBefore[queue].Before(first) {
			w.notBefore[queue] = first
		}
		w.pending[queue] = true
	}
	if !w.sending && !w.closed && !w.store.config.NoListen {
		w.sending = true
		w.running.Go(w.send)
	}
}

// wakeUp wakes the listeners of this process and says whether there are any; "" is any queue. w.mu is held.
func (w *waker) wakeUp(queue string) (woken bool) {
	for l := range w.listeners {
		if queue != "" && !slices.Contains(l.queues, queue) {
			continue
		}
		select {
		case l.wake <- onceq.Wake{Queue: queue}:
			woken = true
		default: // it has enough to wake up for
		}
	}
	return woken
}

// send notifies other processes until nothing is pending. What cannot be sent is left to their polling.
func (w *waker) send() {
	for {
		w.mu.Lock()
		now := time.Now()
		var ready []string
		wait := notifyEvery
		for queue := range w.pending {
			if left := w.notBefore[queue].Sub(now); left <= 0 {
				ready = append(ready, w.self+" "+queue)
				w.notBefore[queue] = now.Add(notifyEvery)
				delete(w.pending, queue)
			} else {
				wait = min(wait, left)
			}
		}
		if len(w.notBefore) > 1000 {
			clear(w.notBefore)
		}
		if len(ready) == 0 && (len(w.pending) == 0 || w.closed) {
			w.sending = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		if len(ready) == 0 {
			if w.store.pause(context.Background(), wait) != nil {
				w.mu.Lock()
				w.sending = false
				w.mu.Unlock()
				return
			}
			continue
		}
		ctx, cancel := context.WithTimeout(w.store.open, time.Second)
		_ = w.store.query(ctx, w.store.sql.notify, nil, w.channel, ready) // polling is the truth behind it
		cancel()
	}
}

// hear listens on a connection of its own, until nobody listens any more. It reconnects by itself.
func (w *waker) hear(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		err := w.hearOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := backoff(n) * 10 // up to some seconds
		if errors.Is(err, errDeaf) {
			w.store.config.Logger.Warn("onceq: LISTEN hears nothing here (a pooler in transaction mode?): workers rely on polling; Config.NoListen says so and ends this message")
			wait = time.Minute
		} else if time.Since(began) > time.Minute {
			n = 0
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// errDeaf: a notification that was sent did not come back.
var errDeaf = errors.New("a notification was sent and not heard")

func (w *waker) hearOnce(ctx context.Context) error {
	config := w.store.pool.Config().ConnConfig
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{w.channel}.Sanitize(), pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	// Is anything heard? Another connection says something.
	test := w.self + "? " + strconv.FormatUint(rand.Uint64(), 36)
	if err := w.store.query(ctx, w.store.sql.notify, nil, w.channel, []string{test}); err != nil {
		return err
	}
	testing, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for heard := false; ; {
		waiting := ctx
		if !heard {
			waiting = testing
		}
		n, err := conn.WaitForNotification(waiting)
		switch {
		case err != nil && !heard && testing.Err() != nil && ctx.Err() == nil:
			return errDeaf
		case err != nil:
			return err
		case n.Payload == test:
			heard = true
			w.mu.Lock()
			w.wakeUp("") // whatever was missed meanwhile
			w.mu.Unlock()
			continue
		}
		from, queue, _ := strings.Cut(n.Payload, " ")
		if from == w.self || strings.HasSuffix(from, "?") {
			continue
		}
		w.mu.Lock()
		w.wakeUp(queue)
		w.mu.Unlock()
	}
}
