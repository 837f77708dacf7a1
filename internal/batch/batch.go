// Package batch is group commit: calls that arrive while one is in flight
// travel together in the next trip.
//
// There is no timer. A call that finds nothing in flight is sent at once,
// by its own goroutine. Under load the batches grow by themselves, because
// more calls arrive while a trip lasts.
//
// A trip that takes long for what it carries (a slow disk, a far server)
// mostly waits. A call that waits for such a trip to come back, and then
// for its own, waits twice. So while trips mostly wait, several small ones
// are in flight at once.
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

// ErrSent wraps the error of the context when a caller gave up while its
// call was in flight: what became of the call is unknown.
var ErrSent = errors.New("batch: gave up waiting for an answer")

// Config bounds the batches.
type Config[Q any] struct {
	InFlight int         // trips in flight at once while they are slow, else at most 2; at least 1
	Join     int         // calls that must wait before a second trip joins one that is not slow
	Calls    int         // the most calls in one trip; at least 1
	Weight   int         // the most weight of one trip; a single call may weigh more
	Weigh    func(Q) int // the weight of a call; nil = every call weighs nothing

	// Rivals returns the same number, other than 0, for calls that would
	// block each other in two trips at once. Such a call waits until the
	// trip of the earlier one is back; all other calls go ahead. nil = no
	// calls block each other.
	Rivals func(Q) uint64
}

// Batcher collects calls of type Q, a small one or a pointer, and answers them
// with A.
type Batcher[Q, A any] struct {
	config Config[Q]
	send   func(ctx context.Context, calls []Q) ([]A, []error)

	mu       sync.Mutex
	waiting  queue[Q, A]
	inFlight int
	waits    time.Duration // how long a trip waits, as estimated from the last sample
	least    time.Duration // the shortest wait in the sample so far
	trips    int           // how many trips the sample has
	closed   bool
	idle     sync.Cond                // inFlight went to zero
	away     map[uint64]*rivals[Q, A] // by the number of Config.Rivals
	behind   int                      // calls that wait for a rival
	spare    []*rivals[Q, A]          // nobody waits for them, for reuse
	calls    sync.Pool                // calls that were answered, for reuse
}

type call[Q, A any] struct {
	query  [1]Q // a slice of it is a trip of its own
	answer A
	err    error
	done   chan struct{} // has room for the one signal that will be sent
	trip   *trip         // nil while the call waits; guarded by Batcher.mu

	in            *queue[Q, A] // nil = in none; guarded by Batcher.mu, like the neighbours
	before, after *call[Q, A]
}

// rivals are the trip that carries a call with some number, and the calls
// that wait for it.
type rivals[Q, A any] struct {
	trip   *trip
	behind queue[Q, A]
}

// trip is one call of send. It is cancelled when all of its callers have
// given up.
type trip struct {
	callers int
	numbers []uint64 // of Config.Rivals
	cancel  context.CancelFunc
}

// load is what a trip carries.
type load[Q, A any] struct {
	calls   []*call[Q, A]
	queries []Q
}

// New makes a Batcher. send answers the calls in their order, each with an
// error (a nil slice means that none failed), and keeps none of the
// slice. Up to Config.InFlight calls of send run at once. A call that is
// sent alone runs in its caller's goroutine and under its context. A trip
// of several has a context that ends when no caller waits for an answer any
// more.
func New[Q, A any](config Config[Q], send func(ctx context.Context, calls []Q) ([]A, []error)) *Batcher[Q, A] {
	b := &Batcher[Q, A]{config: config, send: send, away: map[uint64]*rivals[Q, A]{}}
	b.idle.L = &b.mu
	b.calls.New = func() any { return &call[Q, A]{done: make(chan struct{}, 1)} }
	return b
}

// Do sends q together with the calls that wait, and returns its answer. If
// ctx ends before q was sent, q is never sent and the error is that of ctx.
// If ctx ends later, the error is that of send, or wraps ErrSent.
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
	c.query[0] = q
	if b.inFlight == 0 && b.waiting.n == 0 {
		b.inFlight++
		n := b.number(c)
		if n != 0 {
			b.away[n] = b.rivalsLocked(nil)
		}
		b.mu.Unlock()
		return b.alone(ctx, c, n)
	}
	if !b.staysLocked(c) {
		b.waiting.push(c)
		b.launchLocked()
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
		b.forgetLocked(c)
		return answer, ctx.Err()
	}
	if c.trip.callers--; c.trip.callers == 0 {
		c.trip.cancel()
	}
	return answer, errors.Join(ErrSent, ctx.Err())
}

// forgetLocked removes a call that has not been sent.
func (b *Batcher[Q, A]) forgetLocked(c *call[Q, A]) {
	if c.in != &b.waiting {
		b.behind--
	}
	c.remove()
}

// number is the number that Config.Rivals gives a call; 0 = no rivals.
func (b *Batcher[Q, A]) number(c *call[Q, A]) uint64 {
	if b.config.Rivals == nil {
		return 0
	}
	return b.config.Rivals(c.query[0])
}

// staysLocked makes a call wait for a rival that is in flight, if there is
// one.
func (b *Batcher[Q, A]) staysLocked(c *call[Q, A]) bool {
	n := b.number(c)
	r, ok := b.away[n]
	if ok {
		r.behind.push(c)
		b.behind++
	}
	return ok
}

// departsLocked notes that a call is on a trip.
func (b *Batcher[Q, A]) departsLocked(t *trip, c *call[Q, A]) {
	if n := b.number(c); n != 0 {
		b.away[n] = b.rivalsLocked(t)
		t.numbers = append(t.numbers, n)
	}
}

// rivalsLocked returns rivals for whom nobody waits. The trip is nil if it has
// one call.
func (b *Batcher[Q, A]) rivalsLocked(t *trip) *rivals[Q, A] {
	last := len(b.spare) - 1
	if last < 0 {
		return &rivals[Q, A]{trip: t}
	}
	r := b.spare[last]
	b.spare, r.trip = b.spare[:last], t
	return r
}

// arrivesLocked lets the calls go on that waited for a rival with this
// number.
func (b *Batcher[Q, A]) arrivesLocked(n uint64) {
	if r, ok := b.away[n]; ok {
		b.behind -= r.behind.n
		b.waiting.take(&r.behind)
		delete(b.away, n)
		if len(b.spare) < b.config.Calls {
			r.trip = nil
			b.spare = append(b.spare, r)
		}
	}
}

// answered takes the answer out of a call and puts the call back for reuse.
func (b *Batcher[Q, A]) answered(c *call[Q, A]) (A, error) {
	answer, err := c.answer, c.err
	*c = call[Q, A]{done: c.done}
	b.calls.Put(c)
	return answer, err
}

// alone sends one call from its caller's goroutine.
func (b *Batcher[Q, A]) alone(ctx context.Context, c *call[Q, A], n uint64) (A, error) {
	var took time.Duration
	defer func() {
		b.mu.Lock()
		b.arrivesLocked(n)
		b.timedLocked(took, 1)
		b.landedLocked()
		b.mu.Unlock()
	}()
	began := time.Now()
	answers, errs := b.send(ctx, c.query[:])
	took = time.Since(began)
	c.settle(answers, errs, 0)
	return b.answered(c)
}

// settle stores the answer to call i of a trip.
func (c *call[Q, A]) settle(answers []A, errs []error, i int) {
	if i < len(answers) {
		c.answer = answers[i]
	}
	if errs != nil {
		c.err = errs[i]
	}
}

// landedLocked ends a trip: the next may go.
func (b *Batcher[Q, A]) landedLocked() {
	b.inFlight--
	b.launchLocked()
	if b.inFlight == 0 {
		b.idle.Broadcast()
	}
}

// launchLocked starts a trip if there is something to send and room in
// flight.
func (b *Batcher[Q, A]) launchLocked() {
	if b.readyLocked(b.inFlight) {
		b.inFlight++
		go b.fly()
	}
}

// readyLocked reports whether another trip should go while so many are in
// flight.
func (b *Batcher[Q, A]) readyLocked(others int) bool {
	switch {
	case b.waiting.n == 0 || others >= b.config.InFlight:
		return false
	case others == 0 || b.waits > slow:
		return true
	}
	return others < 2 && b.waiting.n >= b.config.Join
}

const (
	// slow: if each trip waits longer than this, more trips may be in
	// flight.
	slow = 400 * time.Microsecond
	// workPerCall is the time that the store may spend on a call. What a
	// trip takes beyond that counts as waiting. It is more than any store
	// needs on a usual machine.
	workPerCall = 50 * time.Microsecond
	// sampleTrips: the wait is estimated as the minimum over this many
	// trips. A busy machine, or an outage, makes some trips slow, but not
	// all of them.
	sampleTrips = 32
)

// timedLocked adds a trip to the sample.
func (b *Batcher[Q, A]) timedLocked(took time.Duration, calls int) {
	waited := took - time.Duration(calls)*workPerCall
	if b.trips == 0 || waited < b.least {
		b.least = waited
	}
	if b.trips++; b.trips == sampleTrips {
		b.waits, b.trips = b.least, 0
	}
}

// fly makes one trip after another while calls wait.
func (b *Batcher[Q, A]) fly() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var l load[Q, A] // the memory of one trip after another
	for b.gatherLocked(); b.readyLocked(b.inFlight - 1); b.gatherLocked() {
		t, ctx := b.boardLocked(&l)
		if len(l.calls) == 0 {
			t.cancel()
			continue
		}
		b.mu.Unlock()
		began := time.Now()
		answers, errs := b.send(ctx, l.queries)
		took := time.Since(began)
		t.cancel()
		for i, c := range l.calls {
			c.settle(answers, errs, i)
			c.done <- struct{}{}
		}
		b.mu.Lock()
		for _, n := range t.numbers {
			b.arrivesLocked(n)
		}
		b.timedLocked(took, len(l.calls))
	}
	b.landedLocked()
}

// gatherLocked lets callers run that were just answered, or are about to
// call, so that they share this trip: a trip that leaves half full makes
// the other half wait for the next. It yields to the scheduler a few times
// and never sleeps. It unlocks meanwhile.
func (b *Batcher[Q, A]) gatherLocked() {
	for range 4 {
		before := b.waiting.n
		b.mu.Unlock()
		runtime.Gosched()
		b.mu.Lock()
		if b.waiting.n == before {
			return
		}
	}
}

// boardLocked takes calls from the queue into one trip, if there are any that
// can go.
func (b *Batcher[Q, A]) boardLocked(l *load[Q, A]) (*trip, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &trip{cancel: cancel}
	most := min(b.waiting.n, b.config.Calls)
	calls, queries := slices.Grow(l.calls[:0], most), slices.Grow(l.queries[:0], most)
	if b.config.Rivals != nil {
		t.numbers = make([]uint64, 0, most)
	}
	weight := 0
	for c := b.waiting.first; c != nil && len(calls) < b.config.Calls; c = b.waiting.first {
		if b.config.Weigh != nil {
			weight += b.config.Weigh(c.query[0])
		}
		if len(calls) > 0 && weight > b.config.Weight {
			break
		}
		c.remove()
		// Both waited, and the rival got on an earlier trip.
		if r, ok := b.away[b.number(c)]; ok && r.trip != t {
			b.staysLocked(c)
			continue
		}
		calls, queries = append(calls, c), append(queries, c.query[0])
		b.departsLocked(t, c)
		c.trip = t
	}
	t.callers, l.calls, l.queries = len(calls), calls, queries
	return t, ctx
}

// Close refuses further calls. It waits until the calls in flight, and
// those that wait, are answered.
func (b *Batcher[Q, A]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.inFlight > 0 {
		b.idle.Wait()
	}
}

// Waiting returns how many calls have not been sent yet.
func (b *Batcher[Q, A]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.n + b.behind
}
