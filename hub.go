package onceq

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// hub lets the fetches of a [Remote] wait for jobs. All of them share one
// subscription to the wake-ups of the store and one clock. Those that ask for
// the same queues and kinds stand in a line, and where something may be due
// one of the line looks. Only if it gets all that it asked for do others look:
// a hundred fetches that wait cost no more than one.
type hub struct {
	store Store

	mu      sync.Mutex
	lines   map[string]*line
	queues  map[string]time.Time // that are listened to, with when they were last asked for
	running bool
	over    chan struct{} // closed when Run has ended: nobody waits any more
	changed chan struct{} // wakes the clock
	more    chan struct{} // wakes the listener: there is another queue
}

// line is the fetches that ask for the same.
type line struct {
	queues  []string
	waiting []*poll   // the first came first
	looking int       // fetches that ask the store now
	missed  bool      // something may have become due that those who look do not see
	next    time.Time // when one of them looks without a wake-up
	barren  int       // looks in a row that brought nothing, although there might have been more
}

// poll is one fetch. It looks, or it waits; to look is also to be responsible
// for what may be due.
type poll struct {
	hub  *hub
	line *line
	key  string
	look chan struct{} // its turn to look has come
	seen bool          // it has looked since its turn came
	full bool          // it got all that it asked for
}

const (
	lookEvery  = time.Second      // without a wake-up
	maxHeard   = 1000             // queues that are listened to; others are looked at every second
	forgetHear = 10 * time.Minute // queues that nobody asked for are no longer listened to
)

func newHub(store Store) *hub {
	return &hub{store: store, lines: map[string]*line{}, queues: map[string]time.Time{},
		over: make(chan struct{}), changed: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

// join begins a poll, which is to look now. Both lists are sorted.
func (h *hub) join(queues, kinds []string) *poll {
	key := strings.Join(queues, "\x00") + "\x01" + strings.Join(kinds, "\x00")
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lines[key]
	if l == nil {
		l = &line{queues: queues}
		h.lines[key] = l
	}
	l.looking++
	for _, q := range queues {
		if _, known := h.queues[q]; known || len(h.queues) < maxHeard {
			if h.queues[q] = time.Now(); !known {
				signal(h.more)
			}
		}
	}
	return &poll{hub: h, line: l, key: key, look: make(chan struct{}, 1)}
}

// wait is called after a look that brought nothing. It returns true when it is
// this poll's turn to look again, and false when ctx or the hub has ended, or
// it is time to give up.
func (p *poll) wait(ctx context.Context, until time.Time, nextDue time.Duration) bool {
	h := p.hub
	h.mu.Lock()
	p.seen = true
	if p.line.missed {
		p.line.missed, p.seen = false, false
		h.mu.Unlock()
		return ctx.Err() == nil && time.Now().Before(until)
	}
	p.line.looking--
	p.line.waiting = append(p.line.waiting, p)
	p.line.lookAfterLocked(nextDue)
	own := time.Until(until)
	if !h.running { // there is no clock
		own = min(own, time.Until(p.line.next))
	}
	h.mu.Unlock()
	signal(h.changed)

	t := time.NewTimer(max(own, 0))
	defer t.Stop()
	select {
	case <-p.look:
	case <-ctx.Done():
		return false
	case <-h.over:
		return false
	case <-t.C:
		if !time.Now().Before(until) {
			return false
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if p.line.removeLocked(p) { // else its turn came just now
			p.line.looking++
			p.seen = false
		}
	}
	return ctx.Err() == nil && time.Now().Before(until)
}

// leave ends a poll. If it was its turn, and it did not look or got all that it
// asked for, the turn of others has come.
func (p *poll) leave() {
	h, l := p.hub, p.line
	h.mu.Lock()
	defer h.mu.Unlock()
	if !l.removeLocked(p) {
		l.looking--
		n := 0
		if l.missed || !p.seen {
			n = 1
		}
		if p.full {
			n = 2 // so that many who wait get many jobs soon
		}
		if n > 0 {
			l.missed = false
			l.wakeLocked(n)
		}
	}
	if l.looking == 0 && len(l.waiting) == 0 {
		delete(h.lines, p.key)
	}
}

// lookAfterLocked takes in when the store said that something is due.
func (l *line) lookAfterLocked(nextDue time.Duration) {
	wait := lookEvery
	switch {
	case nextDue > 0:
		wait, l.barren = min(wait, nextDue), 0
	case nextDue == 0: // there may be more at once
		wait = min(wait, time.Millisecond<<min(l.barren, 30))
		l.barren++
	default:
		l.barren = 0
	}
	if next := time.Now().Add(wait); l.next.IsZero() || next.Before(l.next) || !time.Now().Before(l.next) {
		l.next = next
	}
}

func (l *line) removeLocked(p *poll) bool {
	i := slices.Index(l.waiting, p)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return true
}

// wakeLocked gives their turn to those who have waited longest.
func (l *line) wakeLocked(n int) {
	for range min(n, len(l.waiting)) {
		p := l.waiting[0]
		l.waiting = slices.Delete(l.waiting, 0, 1)
		l.looking++
		p.seen = false
		signal(p.look)
	}
}

// dueLocked says that something may be due for the line. Who looks already may
// have looked too soon.
func (l *line) dueLocked() {
	if l.looking > 0 {
		l.missed = true
		return
	}
	l.wakeLocked(1)
}

// due says that something may be due in a queue; "" = in any of them.
func (h *hub) due(queue string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lines {
		if queue == "" || slices.Contains(l.queues, queue) {
			l.dueLocked()
		}
	}
}

// run is the clock, until ctx ends. Then all polls end.
func (h *hub) run(ctx context.Context) {
	h.mu.Lock()
	h.running = true
	h.mu.Unlock()
	defer close(h.over)
	t := time.NewTimer(lookEvery)
	defer t.Stop()
	for {
		t.Reset(h.tick(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
		case <-t.C:
		}
	}
}

// tick gives their turn to lines whose time has come, and returns how long it
// is until the next.
func (h *hub) tick(now time.Time) (wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait = lookEvery
	for _, l := range h.lines {
		if len(l.waiting) == 0 || l.looking > 0 {
			continue // who looks says when to look next
		}
		if left := l.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		l.wakeLocked(1)
	}
	return wait
}

// listen passes on the wake-ups of the store, until ctx ends. When there is
// another queue to listen to, it subscribes anew.
func (h *hub) listen(ctx context.Context, failed func(failures int, err error)) {
	wake := h.store.Traits().Wake
	if wake == nil {
		return
	}
	for failures := 0; ctx.Err() == nil; {
		queues := h.heard(time.Now())
		if len(queues) == 0 {
			select {
			case <-h.more:
			case <-ctx.Done():
			}
			continue
		}
		sub, cancel := context.WithCancel(ctx)
		wakes, err := wake(sub, WakeRequest{Queues: queues})
		if err != nil {
			cancel()
			failures++
			failed(failures, err)
			sleep.For(ctx, min(time.Second<<min(failures, 10), time.Minute))
			continue
		}
		failures = 0
		h.due("") // a job may have come before the subscription
		for heard := true; heard; {
			select {
			case <-h.more:
				heard = false
			case w, ok := <-wakes: // closed when ctx has ended
				if heard = ok; ok && !w.Stop {
					h.due(w.Queue)
				}
			}
		}
		cancel()
		for range wakes { // the store ends before Run does
		}
	}
}

// heard are the queues to listen to.
func (h *hub) heard(now time.Time) (queues []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for q, last := range h.queues {
		if now.Sub(last) > forgetHear {
			delete(h.queues, q)
			continue
		}
		queues = append(queues, q)
	}
	slices.Sort(queues)
	return queues
}
