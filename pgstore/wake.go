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

// waker tells listeners what became due, and workers that a run is to stop:
// at once in this process, by NOTIFY in others. NOTIFY takes a lock of the
// whole server when it commits. So it goes after the commit, in a statement
// of its own, and for each queue and worker at most once in notifyEvery.
type waker struct {
	store   *Store
	channel string
	self    string // the beginning of what this store sends, so that it ignores itself

	mu        sync.Mutex
	listeners map[*listener]bool
	stop      context.CancelFunc // ends hear; nil while nobody listens
	pending   map[news]bool      // to notify of
	sending   bool               // a goroutine sends what is pending
	notBefore map[news]time.Time // when to notify of it
	closed    bool
	running   sync.WaitGroup
}

// news is a reason to wake up: a queue in which a job may be due, or a
// worker that has a run to stop.
type news struct {
	name string
	stop bool // the name is that of a worker
}

// payload is the text that is sent.
func (n news) payload(from string) string {
	if n.stop {
		from += "!"
	}
	return from + " " + n.name
}

// readPayload is the reverse of payload.
func readPayload(text string) (from string, n news) {
	from, name, _ := strings.Cut(text, " ")
	from, stop := strings.CutSuffix(from, "!")
	return from, news{name, stop}
}

const notifyEvery = 5 * time.Millisecond

// ourselvesFirst is how much later others hear of what listeners of this
// process were woken for. A NOTIFY at the same time would make their fetch
// a third slower.
const ourselvesFirst = 2 * time.Millisecond

// listener waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
	detach func() bool // ends the watch of its context
}

// sendLocked adds a wake-up. If there are too many already, one that says
// "in any queue" takes their place, so that none is lost. Nobody else sends
// meanwhile.
func (l *listener) sendLocked(wake onceq.Wake) {
	select {
	case l.wake <- wake:
		return
	default:
	}
	stop := wake.Stop
	for range cap(l.wake) {
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

func (w *waker) init(s *Store) {
	w.store = s
	sum := sha256.Sum256([]byte(s.config.Namespace))
	w.channel = "onceq_" + hex.EncodeToString(sum[:8])
	w.self = strconv.FormatUint(rand.Uint64(), 36)
	w.listeners, w.pending, w.notBefore = map[*listener]bool{}, map[news]bool{}, map[news]time.Time{}
}

// channelInTx is the channel that an enqueue inside a caller's transaction
// notifies, and the text before the name of the queue.
func (w *waker) channelInTx() []any {
	if w.store.config.NoListen {
		return []any{nil, ""}
	}
	return []any{w.channel, "tx "} // not as this store, whose listeners must hear of the commit too
}

// Wake sends which queue has a due job: at once for this process, as fast
// as NOTIFY is for others.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.wrap("wake", err)
	}
	defer leave()
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	s.waker.add(ctx, l)
	return l.wake, nil
}

func (w *waker) add(ctx context.Context, l *listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[l] = true
	l.detach = context.AfterFunc(ctx, func() { w.remove(l) })
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
	l.detach()
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

// tell wakes the listeners of these queues and workers, here and elsewhere.
func (w *waker) tell(queues map[string]bool, workers ...string) {
	if len(queues) == 0 && len(workers) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, worker := range workers {
		if n := (news{worker, true}); !w.wakeUpLocked(n) { // it is not in another process
			w.pending[n] = true
		}
	}
	for queue := range queues {
		n := news{name: queue}
		first := time.Now().Add(ourselvesFirst)
		if w.wakeUpLocked(n) && !w.pending[n] && w.notBefore[n].Before(first) {
			w.notBefore[n] = first
		}
		w.pending[n] = true
	}
	switch {
	case w.store.config.NoListen:
		clear(w.pending)
	case len(w.pending) > 0 && !w.sending && !w.closed:
		w.sending = true
		w.running.Go(w.send)
	}
}

// wakeUpLocked wakes the listeners of this process and reports whether
// there are any.
func (w *waker) wakeUpLocked(n news) (woken bool) {
	for l := range w.listeners {
		switch {
		case n.stop && l.worker == n.name:
			l.sendLocked(onceq.Wake{Stop: true})
			woken = true
		case !n.stop && slices.Contains(l.queues, n.name):
			l.sendLocked(onceq.Wake{Queue: n.name})
			woken = true
		}
	}
	return woken
}

// anything wakes all listeners, for whatever they missed.
func (w *waker) anything() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.listeners {
		l.sendLocked(onceq.Wake{})
		if l.worker != "" {
			l.sendLocked(onceq.Wake{Stop: true})
		}
	}
}

// send notifies other processes until nothing is pending. What cannot be
// sent is left to their polling.
func (w *waker) send() {
	for {
		w.mu.Lock()
		now := time.Now()
		var ready []string
		wait := notifyEvery
		for n := range w.pending {
			if left := w.notBefore[n].Sub(now); left <= 0 {
				ready = append(ready, n.payload(w.self))
				w.notBefore[n] = now.Add(notifyEvery)
				delete(w.pending, n)
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
		_ = w.store.query(ctx, w.store.sql.notify, nil, w.channel, ready) // on an error, polling finds the jobs
		cancel()
	}
}

// hear listens on a connection of its own until nobody waits any more. It
// reconnects by itself.
func (w *waker) hear(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		err := w.hearOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := backoff(n) * 10 // up to some seconds
		if errors.Is(err, errDeaf) {
			w.store.config.Logger.Warn("onceq: LISTEN hears nothing here (a pooler in transaction mode?): workers " +
				"rely on polling; Config.NoListen says so and ends this message")
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

// connect makes a connection besides those of the pool, in the way in which
// the pool makes its own: the credentials may be new each time.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	pool := s.pool.Config()
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, pool.ConnConfig); err != nil { // of a copy
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, pool.ConnConfig)
	if err != nil || pool.AfterConnect == nil {
		return conn, err
	}
	if err := pool.AfterConnect(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// neverIdle switches off the idle time-out of a connection, if the server
// has one (PostgreSQL 14 and later).
const neverIdle = `select pg_catalog.set_config('idle_session_timeout', '0', false)
	where pg_catalog.current_setting('idle_session_timeout', true) is not null`

// errDeaf says that a notification was sent and did not come back.
var errDeaf = errors.New("a notification was sent and not heard")

func (w *waker) hearOnce(ctx context.Context) error {
	conn, err := w.store.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, neverIdle, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{w.channel}.Sanitize(),
		pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	// Does this connection hear anything? Another connection sends a
	// notification to find out.
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
			w.anything()
			continue
		}
		from, said := readPayload(n.Payload)
		if from == w.self || strings.HasSuffix(from, "?") {
			continue
		}
		w.mu.Lock()
		w.wakeUpLocked(said)
		w.mu.Unlock()
	}
}
