// Package batch is group commit: calls that arrive while one is in flight travel together in the next.
//
// There is no timer. A lone call is sent at once and pays nothing for the machinery; under load the batches grow by themselves, because
// more calls arrive while one trip lasts. Where trips are short that is all there is to gain. Where they are long for what they carry (a slow
// disk, a far server) they mostly wait, and calls that wait for a trip to come back before they set out themselves wait twice: then several
// trips are under way at once, small as they are.
package batch

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// ErrClosed is the answer of Do after Close.
var ErrClosed = errors.New("batch: closed")

// ErrSent wraps the context's error when a caller gave up while its call was under way: what became of it is unknown.
var ErrSent = errors.New("batch: gave up waiting for an answer")

// Config bounds the batches.
type Config[Q any] struct {
	InFlight int          // trips at once, while they are slow; else at most two; at least 1
	Join     int          // calls that must wait before a second trip joins one that is not slow
	Calls    int          // calls of one trip; at least 1
	Weight   int          // of one trip; a single call may weigh more
	Weigh    func(*Q) int // nil = every call weighs nothing

	// Rivals says which calls would be in each other's way in two trips at once: those of the same number, other than 0. One that comes while
	// another is under way waits for that, and nobody else does. nil = there are none.
	Rivals func(*Q) uint64
}

// Batcher collects calls of type Q and answers them with A.
type Batcher[Q, A any] struct {
	config Config[Q]
	send   func(ctx context.Context, calls []*Q) ([]A, []error)

	mu       sync.Mutex
	waiting  []*call[Q, A]
	inFlight int
	waits    time.Duration // what each trip took beside the work on its calls, at least
	least    time.Duration // of the trips since that was found
	trips    int           // how many they are
	closed   bool
	idle     sync.Cond               // inFlight went to zero
	away     map[uint64]rivals[Q, A] // by their number
	behind   int                     // calls in away
	calls    sync.Pool               // of those that were answered
}

type call[Q, A any] struct {
	query  Q
	answer A
	err    error
	done   chan struct{} // has room for the one signal that there will be
	trip   *trip         // nil while it waits; under the batcher's lock
}

// rivals are what is under way with a number, and the calls that wait for it.
type rivals[Q, A any] struct {
	trip   *trip
	behind []*call[Q, A]
}

// trip is one send: it is cancelled when all of its callers have gone.
type trip struct {
	callers int
	numbers []uint64 // of Config.Rivals
	cancel  context.CancelFunc
}

// New makes a Batcher. send answers calls in their order, with an error each (nil slice = none failed), and keeps none of the pointers; up to
// Config.InFlight of it run at once. A call that is sent alone runs in its caller's goroutine and under its context; a trip of several has a context that ends when
// nobody waits for its answers any more.
func New[Q, A any](config Config[Q], send func(ctx context.Context, calls []*Q) ([]A, []error)) *Batcher[Q, A] {
	b := &Batcher[Q, A]{config: config, send: send, away: map[uint64]rivals[Q, A]{}}
	b.idle.L = &b.mu
	b.calls.New = func() any { return &call[Q, A]{done: make(chan struct{}, 1)} }
	return b
}

// Do sends q with whatever else is waiting, and returns its answer. Where ctx ends before q was sent, the error is ctx's and q is
// never sent; where it ends afterwards the error is what send made of it, or wraps ErrSent.
func (b *Batcher[Q, A]) Do(ctx context.Context, q Q) (answer A, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return answer, ErrClosed
	}
	c := b.calls.Get().(*call[Q, A])
	c.query = q
	if b.inFlight == 0 && len(b.waiting) == 0 {
		b.inFlight++
		b.departs(&trip{}, c)
		b.mu.Unlock()
		return b.alone(ctx, c)
	}
	if !b.stays(c) {
		b.waiting = append(b.waiting, c)
		b.launch()
	}
	b.mu.Unlock()

	gone := ctx.Done()
	if gone == nil { // a plain receive is cheaper
		<-c.done
		return b.answered(c)
	}
	select {
	case <-c.done:
		return b.answered(c)
	case <-gone:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-c.done: // the answer came after all
		return b.answered(c)
	default:
	}
	if c.trip == nil {
		b.forget(c)
		return answer, ctx.Err()
	}
	if c.trip.callers--; c.trip.callers == 0 {
		c.trip.cancel()
	}
	return answer, errors.Join(ErrSent, ctx.Err())
}

// forget takes a call out of those that have not been sent. b.mu is held.
func (b *Batcher[Q, A]) forget(c *call[Q, A]) {
	if i := slices.Index(b.waiting, c); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		return
	}
	n := b.number(c)
	r := b.away[n]
	if i := slices.Index(r.behind, c); i >= 0 {
		r.behind = slices.Delete(r.behind, i, i+1)
		b.away[n] = r
		b.behind--
	}
}

// number is that of Config.Rivals.
func (b *Batcher[Q, A]) number(c *call[Q, A]) uint64 {
	if b.config.Rivals == nil {
		return 0
	}
	return b.config.Rivals(&c.query)
}

// stays has a call wait for a rival that is under way, if there is one. b.mu is held.
func (b *Batcher[Q, A]) stays(c *call[Q, A]) bool {
	n := b.number(c)
	r, ok := b.away[n]
	if ok {
		r.behind = append(r.behind, c)
		b.away[n] = r
		b.behind++
	}
	return ok
}

// departs notes that a call is on a trip. b.mu is held.
func (b *Batcher[Q, A]) departs(t *trip, c *call[Q, A]) {
	if n := b.number(c); n != 0 {
		b.away[n] = rivals[Q, A]{trip: t}
		t.numbers = append(t.numbers, n)
	}
}

// arrives lets those go on who waited for a call of this number. b.mu is held.
func (b *Batcher[Q, A]) arrives(n uint64) {
	if r, ok := b.away[n]; ok {
		b.waiting = append(b.waiting, r.behind...)
		b.behind -= len(r.behind)
		delete(b.away, n)
	}
}

// answered takes the answer out of a call, which is free to be another's then.
func (b *Batcher[Q, A]) answered(c *call[Q, A]) (A, error) {
	answer, err := c.answer, c.err
	*c = call[Q, A]{done: c.done}
	b.calls.Put(c)
	return answer, err
}

// alone sends one call from its caller's goroutine.
func (b *Batcher[Q, A]) alone(ctx context.Context, c *call[Q, A]) (A, error) {
	var took time.Duration
	n := b.number(c)
	defer func() {
		b.mu.Lock()
		b.arrives(n)
		b.timed(took, 1)
		b.landed()
		b.mu.Unlock()
	}()
	began := time.Now()
	answers, errs := b.send(ctx, []*Q{&c.query})
	took = time.Since(began)
	c.settle(answers, errs, 0)
	return b.answered(c)
}

// settle notes what became of call i of a trip.
func (c *call[Q, A]) settle(answers []A, errs []error, i int) {
	if i < len(answers) {
		c.answer = answers[i]
	}
	if errs != nil {
		c.err = errs[i]
	}
}

// landed is the end of a trip: the next may go. b.mu is held.
func (b *Batcher[Q, A]) landed() {
	b.inFlight--
	b.launch()
	if b.inFlight == 0 {
		b.idle.Broadcast()
	}
}

// launch starts a trip if there is something to send and room in flight. b.mu is held.
func (b *Batcher[Q, A]) launch() {
	if b.ready(b.inFlight) {
		b.inFlight++
		go b.fly()
	}
}

// ready reports whether a trip is worth while beside so many others. b.mu is held.
func (b *Batcher[Q, A]) ready(others int) bool {
	switch {
	case len(b.waiting) == 0 || others >= b.config.InFlight:
		return false
	case others == 0 || b.waits > slow:
		return true
	}
	return others < 2 && len(b.waiting) >= b.config.Join
}

const (
	// slow is from when on trips mostly wait.
	slow = 400 * time.Microsecond
	// work is what a call may take of a trip before the trip counts as one that waits: more than it takes any store on a usual machine.
	work = 50 * time.Microsecond
	// several is of how many trips the quickest says how long all must wait. Of those of a busy machine, or around an outage, some are quick.
	several = 32
)

// timed takes note of how long a trip of so many calls took. b.mu is held.
func (b *Batcher[Q, A]) timed(took time.Duration, calls int) {
	waited := took - time.Duration(calls)*work
	if b.trips == 0 || waited < b.least {
		b.least = waited
	}
	if b.trips++; b.trips == several {
		b.waits, b.trips = b.least, 0
	}
}

// fly makes one trip after another for as long as somebody waits.
func (b *Batcher[Q, A]) fly() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.gather(); b.ready(b.inFlight - 1); b.gather() {
		calls, t, ctx := b.board()
		if len(calls) == 0 {
			t.cancel()
			continue
		}
		b.mu.Unlock()
		queries := make([]*Q, len(calls))
		for i, c := range calls {
			queries[i] = &c.query
		}
		began := time.Now()
		answers, errs := b.send(ctx, queries)
		took := time.Since(began)
		t.cancel()
		for i, c := range calls {
			c.settle(answers, errs, i)
			c.done <- struct{}{}
		}
		b.mu.Lock()
		for _, n := range t.numbers {
			b.arrives(n)
		}
		b.timed(took, len(calls))
	}
	b.landed()
}

// gather lets callers run that have just been answered, or are about to call, so that they share this trip: a batch that leaves half full
// makes the other half wait for the next. It is a few turns of the scheduler, never a wait. b.mu is held, and given up meanwhile.
func (b *Batcher[Q, A]) gather() {
	for range 4 {
		before := len(b.waiting)
		b.mu.Unlock()
		runtime.Gosched()
		b.mu.Lock()
		if len(b.waiting) == before {
			return
		}
	}
}

// board takes calls from the queue for one trip, if there are any that can go. b.mu is held.
func (b *Batcher[Q, A]) board() ([]*call[Q, A], *trip, context.Context) {
	var calls []*call[Q, A]
	ctx, cancel := context.WithCancel(context.Background())
	t := &trip{cancel: cancel}
	weight, at := 0, 0
	for ; at < len(b.waiting) && len(calls) < b.config.Calls; at++ {
		c := b.waiting[at]
		if b.config.Weigh != nil {
			weight += b.config.Weigh(&c.query)
		}
		if len(calls) > 0 && weight > b.config.Weight {
			break
		}
		if r, ok := b.away[b.number(c)]; ok && r.trip != t { // it came when its rival waited too, and did not get on the same trip
			b.stays(c)
			continue
		}
		calls = append(calls, c)
		b.departs(t, c)
		c.trip = t
	}
	b.waiting = append(make([]*call[Q, A], 0, len(b.waiting)), b.waiting[at:]...)
	t.callers = len(calls)
	return calls, t, ctx
}

// Close refuses further calls and waits until those under way, and those that waited, are answered.
func (b *Batcher[Q, A]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.inFlight > 0 {
		b.idle.Wait()
	}
}

// Waiting is how many calls have not been sent yet.
func (b *Batcher[Q, A]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) + b.behind
}
