package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/listen"
)

// waker tells listeners what became due, and workers that a run is to stop:
// at once in this process, by NOTIFY in others. NOTIFY takes a lock of the
// whole server when it commits. So it goes after the commit, in a statement
// of its own, and for each reason at most once in notifyEvery.
type waker struct {
	store     *Store
	channel   string
	self      string // the beginning of what this store sends, so that it ignores itself
	listeners *listen.Registry

	mu        sync.Mutex
	pending   map[reason]bool      // to notify of
	sending   bool                 // a goroutine sends what is pending
	notBefore map[reason]time.Time // when to notify of it
	closed    bool
	running   sync.WaitGroup
}

// work is jobs of a kind ("" = not known) in a queue.
type work struct{ queue, kind string }

// reason is why to wake up: jobs may be due, or a worker has a run to stop.
type reason struct {
	work
	worker string // "" = jobs may be due
}

// The payload of a notification is the sender, what is said of it, a space,
// and a name: "SENDER queue", "SENDER/kind queue", or "SENDER! worker". A
// kind has its spaces replaced, so that the first space ends it.
const kindSpace = "\x1f"

func (r reason) payload(from string) string {
	switch {
	case r.worker != "":
		return from + "! " + r.worker
	case r.kind != "":
		from += "/" + strings.ReplaceAll(r.kind, " ", kindSpace)
	}
	return from + " " + r.queue
}

// readPayload is the reverse of payload.
func readPayload(text string) (from string, r reason) {
	from, name, _ := strings.Cut(text, " ")
	if from, stop := strings.CutSuffix(from, "!"); stop {
		return from, reason{worker: name}
	}
	from, kind, _ := strings.Cut(from, "/")
	return from, reason{work: work{name, strings.ReplaceAll(kind, kindSpace, " ")}}
}

const notifyEvery = 5 * time.Millisecond

// ourselvesFirst is how much later others hear of what listeners of this
// process were woken for. A NOTIFY at the same time would make their fetch
// a third slower.
const ourselvesFirst = 2 * time.Millisecond

func (w *waker) init(s *Store) {
	w.store = s
	sum := sha256.Sum256([]byte(s.config.Namespace))
	w.channel = "onceq_" + hex.EncodeToString(sum[:8])
	w.self = strconv.FormatUint(rand.Uint64(), 36)
	w.pending, w.notBefore = map[reason]bool{}, map[reason]time.Time{}
	w.listeners = listen.New(w.hear)
	if s.config.NoListen {
		w.listeners = listen.New(nil)
	}
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
	wake, err := s.waker.listeners.Add(ctx, r)
	if err != nil {
		return nil, s.wrap("wake", err)
	}
	return wake, nil
}

func (w *waker) close() {
	w.listeners.Close()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.running.Wait()
}

// tell wakes the listeners of this work and these workers, here and
// elsewhere.
func (w *waker) tell(due map[work]bool, workers ...string) {
	if len(due) == 0 && len(workers) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, worker := range workers {
		if !w.listeners.Stop(worker) { // it is in another process
			w.pending[reason{worker: worker}] = true
		}
	}
	for d := range due {
		r := reason{work: d}
		first := time.Now().Add(ourselvesFirst)
		if w.listeners.Due(d.queue, d.kind) && !w.pending[r] && w.notBefore[r].Before(first) {
			w.notBefore[r] = first
		}
		w.pending[r] = true
	}
	switch {
	case w.store.config.NoListen:
		clear(w.pending)
	case len(w.pending) > 0 && !w.sending && !w.closed:
		w.sending = true
		w.running.Go(w.send)
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
		for r := range w.pending {
			if left := w.notBefore[r].Sub(now); left <= 0 {
				ready = append(ready, r.payload(w.self))
				w.notBefore[r] = now.Add(notifyEvery)
				delete(w.pending, r)
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

// hear listens on a connection of its own (see listen.Hear).
func (w *waker) hear(ctx context.Context, ready func()) {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		err := w.hearOnce(ctx, ready)
		if ctx.Err() != nil {
			return
		}
		wait := backoff(n) * 10 // up to some seconds
		if errors.Is(err, errDeaf) {
			w.store.config.Logger.Warn("onceq: LISTEN hears nothing", "hint",
				"a pooler in transaction mode? Workers poll; Config.NoListen ends this message")
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

func (w *waker) hearOnce(ctx context.Context, ready func()) error {
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
			ready()
			w.listeners.Anything()
			continue
		}
		from, said := readPayload(n.Payload)
		if from == w.self || strings.HasSuffix(from, "?") {
			continue
		}
		if said.worker != "" {
			w.listeners.Stop(said.worker)
		} else {
			w.listeners.Due(said.queue, said.kind)
		}
	}
}
