// Package listen keeps who waits for wake-ups in one process. Every store
// that has wake-ups has one [Registry].
package listen

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// unread is how many wake-ups a listener may leave unread before they are
// told together.
const unread = 16

// readyTime is how long [Registry.Add] waits for the subscription. It goes
// on trying after that.
const readyTime = time.Second

// Hear hears of changes in other processes and passes them on to the
// registry, until ctx ends. It calls ready when it misses nothing any more.
// It connects again by itself.
type Hear func(ctx context.Context, ready func())

// Registry is the listeners of a store in this process, and the one
// subscription that they share.
type Registry struct {
	hear Hear

	mu        sync.Mutex
	listeners map[*listener]bool
	current   *subscription  // nil while nobody listens
	last      chan struct{}  // closed when the latest subscription has ended
	leaving   sync.WaitGroup // listeners that have not left
	closed    bool
}

// subscription is one run of Hear.
type subscription struct {
	stop  context.CancelFunc
	ready chan struct{}
	ended chan struct{}
}

type listener struct {
	onceq.WakeRequest
	wake chan onceq.Wake
	gone chan struct{} // closed when it leaves
	stay func() bool   // keeps the end of its context from removing it; false if that has begun
}

// New makes a registry. hear runs while somebody listens; nil = there are no
// other processes.
func New(hear Hear) *Registry {
	return &Registry{hear: hear, listeners: map[*listener]bool{}}
}

// Add adds a listener until ctx ends. Nothing is missed from its return on,
// or from a little later if the subscription is not ready within a second.
// When the channel is closed nothing runs for the listener any more. After
// Close it returns [onceq.ErrClosed].
func (r *Registry) Add(ctx context.Context, request onceq.WakeRequest) (<-chan onceq.Wake, error) {
	request.Queues, request.Kinds = slices.Clone(request.Queues), slices.Clone(request.Kinds)
	l := &listener{WakeRequest: request, wake: make(chan onceq.Wake, unread), gone: make(chan struct{})}
	ready, err := r.join(ctx, l)
	if err != nil {
		return nil, err
	}
	t := time.NewTimer(readyTime)
	defer t.Stop()
	select {
	case <-ready:
	case <-t.C:
	case <-l.gone:
		for range l.wake {
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, onceq.ErrClosed
	}
	return l.wake, nil
}

func (r *Registry) join(ctx context.Context, l *listener) (ready <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, onceq.ErrClosed
	}
	r.listeners[l] = true
	r.leaving.Add(1)
	l.stay = context.AfterFunc(ctx, func() { r.remove(l) })
	if r.current == nil {
		r.subscribeLocked()
	}
	return r.current.ready, nil
}

// subscribeLocked starts a subscription. The one before it has ended before
// it begins.
func (r *Registry) subscribeLocked() {
	ctx, stop := context.WithCancel(context.Background())
	s := &subscription{stop: stop, ready: make(chan struct{}), ended: make(chan struct{})}
	before := r.last
	r.current, r.last = s, s.ended
	if r.hear == nil {
		close(s.ready)
		close(s.ended)
		return
	}
	go func() {
		defer close(s.ended)
		if before != nil {
			<-before
		}
		r.hear(ctx, sync.OnceFunc(func() { close(s.ready) }))
	}()
}

// remove ends a listener, and with the last one the subscription.
func (r *Registry) remove(l *listener) {
	defer r.leaving.Done()
	r.mu.Lock()
	delete(r.listeners, l)
	var over *subscription
	if len(r.listeners) == 0 {
		over, r.current = r.current, nil
	}
	r.mu.Unlock()
	close(l.gone)
	if over != nil {
		over.stop()
		<-over.ended
	}
	close(l.wake)
}

// Close removes all listeners and lets no other in. When it returns nothing
// of the registry runs any more.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	all := slices.Collect(maps.Keys(r.listeners))
	r.mu.Unlock()
	for _, l := range all {
		if l.stay() {
			r.remove(l)
		}
	}
	r.leaving.Wait()
}

// Due says that a job of a kind may be due in a queue, or has got an earlier
// run time; "" = of any kind, or in any queue. It reports whether somebody
// here waits for that. It never blocks.
func (r *Registry) Due(queue, kind string) (woken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.listeners {
		if l.wants(queue, kind) {
			l.sendLocked(onceq.Wake{Queue: queue})
			woken = true
		}
	}
	return woken
}

func (l *listener) wants(queue, kind string) bool {
	return (queue == "" || slices.Contains(l.Queues, queue)) &&
		(kind == "" || l.Kinds == nil || slices.Contains(l.Kinds, kind))
}

// Stop says that a run of a worker was asked to stop, and reports whether
// that worker listens here. It never blocks.
func (r *Registry) Stop(worker string) (woken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.listeners {
		if worker != "" && l.Worker == worker {
			l.sendLocked(onceq.Wake{Stop: true})
			woken = true
		}
	}
	return woken
}

// Anything wakes all listeners for whatever they may have missed.
func (r *Registry) Anything() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.listeners {
		l.sendLocked(onceq.Wake{})
		if l.Worker != "" {
			l.sendLocked(onceq.Wake{Stop: true})
		}
	}
}

// sendLocked adds a wake-up. If there are too many already, one for "any
// queue" takes the place of all, so that none is lost. Nobody else sends
// meanwhile, so it never blocks.
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

// Requests are what the listeners wait for.
func (r *Registry) Requests() []onceq.WakeRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]onceq.WakeRequest, 0, len(r.listeners))
	for l := range r.listeners {
		all = append(all, l.WakeRequest)
	}
	return all
}
