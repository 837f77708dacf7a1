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

// Wake sends which queue has a due job. For a job of another process that
// takes up to 100 ms, mostly less than 20. When the channel is closed
// nothing runs for it any more.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, wrap("wake", err)
	}
	defer leave()
	wake, err := s.listeners.Add(ctx, r)
	return wake, wrap("wake", err)
}

// news is what listeners get when a step was committed.
type news struct {
	due   map[work]bool   // where a job became due, or (false) will soon
	stops map[string]bool // workers with a run that was asked to stop
}

// work is jobs of a kind ("" = not known) in a queue.
type work struct{ queue, kind string }

// add takes over the news of another step.
func (n *news) add(more news) {
	n.due, n.stops = union(n.due, more.due), union(n.stops, more.stops)
}

func union[K comparable](a, b map[K]bool) map[K]bool {
	if a == nil {
		return b
	}
	for name, yes := range b {
		a[name] = a[name] || yes
	}
	return a
}

// tell wakes the listeners of this process.
func (s *Store) tell(n news) {
	for w, now := range n.due {
		if now {
			s.fresh.add(w.queue)
		}
		s.listeners.Due(w.queue, w.kind)
	}
	for worker := range n.stops {
		s.listeners.Stop(worker)
	}
}

// ownCounts are how often steps of this store made a job due in a queue,
// since a poller first saw the queue. The listeners were told of these with
// the kind, so the poller is not to tell them again without.
//
// A step counts before it commits. So the count in the file, less ours, is
// never more than what others have done, and what others do always raises
// it in the end.
type ownCounts struct {
	mu    sync.Mutex
	steps map[string]int64 // of the queues that somebody listens to
}

func (o *ownCounts) add(due map[work]bool, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := map[string]bool{}
	for w := range due {
		if _, known := o.steps[w.queue]; known && !seen[w.queue] {
			o.steps[w.queue] += n
		}
		seen[w.queue] = true
	}
}

// watch counts for these queues from now on, and for no others.
func (o *ownCounts) watch(queues map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	steps := make(map[string]int64, len(queues))
	for queue := range queues {
		steps[queue] = o.steps[queue]
	}
	o.steps = steps
}

func (o *ownCounts) of(queue string) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.steps[queue]
}

// fresh are the queues in which something became due since the last fetch from
// them: the next fetch need not look from a snapshot whether anything is.
type fresh struct {
	mu     sync.Mutex
	queues map[string]bool
}

const mostFresh = 1000

func (f *fresh) add(queue string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queues == nil {
		f.queues = map[string]bool{}
	}
	if len(f.queues) < mostFresh { // others may be fetched by other processes only
		f.queues[queue] = true
	}
}

// take reports whether one of these queues is among them, and takes all of
// these out. A fetch for no job never writes.
func (f *fresh) take(queues []onceq.QueueSlots) (any bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range queues {
		if q.Slots > 0 && f.queues[q.Queue] {
			any = true
			delete(f.queues, q.Queue)
		}
	}
	return any
}

// expectCommit says that a transaction of the caller's may commit soon.
func (s *Store) expectCommit() { s.expected.Store(time.Now().Add(lately).UnixNano()) }

// hear watches the file for commits of other connections, until ctx ends.
// While a look fails it may miss something: workers look by themselves too.
func (s *Store) hear(ctx context.Context, ready func()) {
	p := &poller{store: s, due: map[string]int64{}, stops: map[string]int64{}}
	defer p.close()
	t := time.NewTimer(0)
	defer t.Stop()
	for first := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		news, err := p.look(ctx)
		switch {
		case err != nil && !busy(err):
			p.close()
		case err == nil && first: // what happened before is no news
			first = false
			ready()
			news.due, news.stops = nil, nil
		}
		s.tell(news)
		t.Reset(p.pause())
	}
}

// poller is what was last seen of the file.
type poller struct {
	store *Store
	// conn is a connection of its own, because data_version compares only
	// with itself; nil if the pool is the caller's and small.
	conn    *conn
	version int64
	due     map[string]int64 // the count of each queue, without our own steps
	stops   map[string]int64 // the count of each worker
	changed time.Time        // when something was last seen to change
}

func (p *poller) close() {
	if p.conn != nil {
		p.conn.close()
		p.conn = nil
	}
}

// pause is how long to wait until the next look.
func (p *poller) pause() time.Duration {
	switch now := time.Now(); {
	case now.UnixNano() < p.store.expected.Load():
		return pollExpect
	case now.Sub(p.changed) < lately:
		return pollBusy
	}
	return pollIdle
}

// look finds out in which queues a job became due since the last look, and
// which workers have a run to stop.
func (p *poller) look(ctx context.Context) (n news, err error) {
	on, known := p.conn, p.conn != nil
	if on == nil {
		if on, err = p.store.connect(ctx); err != nil {
			return n, err
		}
		if p.store.keeps {
			p.conn = on
		} else {
			defer on.close()
		}
	}
	version, err := on.number(sqlDataVersion)
	if err != nil || known && version == p.version {
		return n, err
	}
	queues, workers, err := p.wanted()
	if err != nil {
		return n, err
	}
	due, err := risen(on, sqlDueCounts, queues, p.due, p.store.own.of)
	if err != nil {
		return n, err
	}
	n.due = make(map[work]bool, len(due))
	for queue := range due {
		n.due[work{queue: queue}] = true
	}
	ours := func(string) int64 { return 0 }
	if n.stops, err = risen(on, sqlStopCounts, workers, p.stops, ours); err == nil {
		p.version, p.changed = version, time.Now()
	}
	return n, err
}

// wanted are the queues and the workers that listeners want to hear of, as
// JSON arrays.
func (p *poller) wanted() (queues, workers string, err error) {
	q, names := map[string]bool{}, map[string]bool{}
	for _, r := range p.store.listeners.Requests() {
		for _, queue := range r.Queues {
			q[queue] = true
		}
		if r.Worker != "" {
			names[r.Worker] = true
		}
	}
	p.store.own.watch(q)
	list := func(set map[string]bool) string {
		b, e := json.Marshal(slices.AppendSeq([]string{}, maps.Keys(set)))
		err = errors.Join(err, e)
		return string(b)
	}
	return list(q), list(names), err
}

// risen are the names whose counts, less our own, are higher than when they
// were last seen.
func risen(on *conn, q *statement, names string, seen map[string]int64,
	own func(name string) int64) (map[string]bool, error) {
	now := map[string]int64{}
	if err := on.each(q, 2, func(v []any) error {
		now[text(v[0])] = integer(v[1])
		return nil
	}, names); err != nil {
		return nil, err
	}
	risen := map[string]bool{}
	for name, n := range now {
		n -= own(name)
		was, ok := seen[name]
		if ok && n > was || !ok && n != 0 {
			risen[name] = true
		}
		if !ok || n > was { // less: a step of ours has counted, and has not committed yet
			seen[name] = n
		}
	}
	return risen, nil
}
