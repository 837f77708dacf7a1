package onceq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// session is one Run of a worker: what it has in hand and what it owes the store.
// Its goroutines are the fetcher (Run's own), the listener, the heartbeat, the fence, the finisher,
// the sweeper, the watcher, and the runners, which call the handlers.
//
// The life of a run here: the answer of a fetch puts it into inHand; its handler runs; its result
// waits for the finisher; it leaves inHand when the store has acknowledged the result, or when the
// result is dropped. The heartbeat claims all of inHand, and nothing else: whatever the store has
// running for this worker besides is handed back by it.
type session struct {
	w    *Worker
	name string          // in the store; new for each session
	base context.Context // of the runs: the values of Run's and the client, without an end
	stop func()          // as if Run's context had ended
	done chan struct{}   // Run has returned
	log  *slog.Logger

	kinds    []string      // to fetch; nil = any
	listened chan struct{} // nobody listens to wake-ups any more

	work    sync.WaitGroup // what Run waits for before it returns: all of ours but the handlers
	beating sync.Mutex     // one Extend at a time

	mu          sync.Mutex
	pacer       pacer
	inHand      map[Run]*run
	toStart     []*run // in hand, and their handlers are still to be called
	running     int    // handlers that have not returned, stuck ones too
	results     []*run // for the finisher, in the order in which they came
	sending     int    // results under way
	finishLoad  load
	dropped     int   // results that do not count, although their handlers returned
	fetchNo     int64 // of the latest fetch
	fetched     int64 // every fetch up to this one is over, and what it brought is in inHand
	leased      bool  // as far as we can know by our own clock, the store has us as alive
	leaseEnd    time.Time
	lapse       *time.Timer // fires at leaseEnd
	wellAt      time.Time   // when the store last did what it was asked
	tidied      bool        // a sweep left nothing to do
	idleAt      time.Time   // a drain found nothing due for the first time
	runnerComes bool        // a runner is on the way
	over        bool        // Run is about to return: nobody starts, sends or says anything more
	fatal       error       // the store was closed

	lookNow  chan struct{} // the fetcher should look again
	finished chan struct{} // the finisher should look again
	drained  chan struct{} // the drain should look again
	beatNow  chan struct{} // the heartbeat should not wait
}

func newSession(w *Worker, ctx context.Context, stop func()) *session {
	s := &session{
		w: w, name: w.config.ID + "-" + randomName(10), stop: stop, done: make(chan struct{}),
		base:   context.WithValue(context.WithoutCancel(ctx), clientKey{}, w.client),
		inHand: map[Run]*run{}, lookNow: make(chan struct{}, 1), finished: make(chan struct{}, 1),
		drained: make(chan struct{}, 1), beatNow: make(chan struct{}, 1),
		kinds: w.kinds(), listened: make(chan struct{}),
	}
	s.log = safeLogger(w.config.Logger).With("worker", s.name)
	for _, q := range w.queues {
		s.pacer.queues = append(s.pacer.queues, &queue{name: q.Queue, slots: q.Slots, more: true})
	}
	return s
}

// call makes a call to the store, which may take as long as limit, and says how long it took. What
// panics in the store may have happened or not.
func (s *session) call(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	err = func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("onceq: the store panicked", "panic", fmt.Sprint(p), "stack", panicStack(debug.Stack()))
				err = fmt.Errorf("%w: the store panicked: %v", ErrUncertain, p)
			}
		}()
		return f(ctx)
	}()
	now := time.Now()
	if err == nil {
		s.mu.Lock()
		s.wellAt = now
		s.mu.Unlock()
	} else if errors.Is(err, ErrClosed) {
		s.fail(err)
	}
	return now.Sub(began), err
}

// logRarely warns of the 1st, 2nd, 4th, 8th … of so many failures in a row of something that is
// tried again for as long as it takes.
func (s *session) logRarely(failures int, text string, err error, attrs ...any) {
	if failures&(failures-1) == 0 {
		s.log.Warn(text, append(attrs, "error", err, "failures", failures)...)
	}
}

// tell wakes whoever waits on c, now or next.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits, and says whether it was for the whole time.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// The end of a session. Handlers have ShutdownTimeout. Then their contexts are cancelled, and all
// that is left to do shares one time: Run is back this long after ShutdownTimeout.
const (
	endTime    = 5 * time.Second
	reportTime = 2 * time.Second // of it, for results and the leave, however slow handlers are
	leaveTime  = time.Second     // of that, for the leave, however slow the results are
)

// serve is Run.
func (s *session) serve(ctx context.Context) error {
	s.lapse = time.NewTimer(s.w.config.Lease)
	defer s.lapse.Stop()
	if !s.arrive(ctx) {
		s.leave(time.Now().Add(endTime))
		return s.failure(nil, 0)
	}
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	for _, loop := range []func(context.Context){s.beatLoop, s.fenceLoop, s.finishLoop} {
		s.work.Go(func() { loop(background) })
	}
	s.work.Go(func() { s.sweepLoop(ctx) })
	s.work.Go(func() { s.watchLoop(ctx) })
	go s.listenLoop(background)

	s.fetchLoop(ctx)

	s.stop()
	deadline := time.Now().Add(s.w.config.ShutdownTimeout + endTime)
	s.mu.Lock()
	before := s.dropped
	s.mu.Unlock()
	stuck := s.drain(deadline)
	end()
	s.work.Wait()
	s.mu.Lock()
	unsent := s.dropped - before + len(s.results)
	s.mu.Unlock()
	err := s.leave(deadline)
	select {
	case <-s.listened:
	case <-time.After(min(time.Second, time.Until(deadline))): // the store breaks its word
	}
	return errors.Join(s.failure(stuck, unsent), err)
}

// arrive makes the worker known to the store, however long that takes.
func (s *session) arrive(ctx context.Context) bool {
	for failures := 1; ctx.Err() == nil; failures++ {
		err := s.beat(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			s.logRarely(failures, "onceq: the store cannot be reached; trying again", err)
			sleep(ctx, s.hurry())
		}
	}
	return false
}

// drain lets the running handlers end and delivers their results. When it returns the session is
// over. stuck are the runs whose handlers have not returned.
func (s *session) drain(deadline time.Time) (stuck []*run) {
	tell(s.beatNow) // hands back what a fetch that was cut off may have started
	idle := func() bool { return s.running == 0 }
	s.await(deadline.Add(-endTime), idle)
	s.interrupt(ErrShutdown)
	s.await(deadline.Add(-reportTime), idle)
	atMost := time.Now().Add(endTime)
	if latest := deadline.Add(-leaveTime); atMost.After(latest) {
		atMost = latest
	}
	s.await(atMost, func() bool { return len(s.results)+s.sending == 0 })

	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, r := range s.inHand {
		if !r.ended {
			stuck = append(stuck, r)
		}
	}
	return stuck
}

// await waits until done, which is asked under the lock.
func (s *session) await(deadline time.Time, done func() bool) {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	for {
		s.mu.Lock()
		ok := done()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.drained:
		case <-t.C:
			return
		}
	}
}

// interrupt ends the contexts of all handlers that still run.
func (s *session) interrupt(cause error) {
	s.mu.Lock()
	var cancels []context.CancelCauseFunc
	for _, r := range s.inHand {
		if !r.ended {
			cancels = append(cancels, r.cancel)
		}
	}
	s.mu.Unlock()
	for _, cancel := range cancels {
		cancel(cause)
	}
}

// leave makes the store forget the worker and hand back all that still runs for it.
func (s *session) leave(deadline time.Time) error {
	limit := min(endTime, time.Until(deadline))
	ctx, cancel := context.WithTimeout(s.base, limit)
	defer cancel()
	s.beating.Lock()
	defer s.beating.Unlock()
	s.mu.Lock()
	r := ExtendRequest{Worker: s.name, FetchesDone: s.fetchNo}
	closed := s.fatal != nil
	s.mu.Unlock()
	if closed {
		return nil
	}
	for {
		_, err := s.call(ctx, limit, func(ctx context.Context) error {
			_, err := s.w.store.Extend(ctx, r)
			return err
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || !sleep(ctx, s.hurry()) {
			return fmt.Errorf("onceq: worker %s: take leave of the store: %w", s.name, err)
		}
	}
}

// fail ends the session because the store was closed: nothing can be delivered any more.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	first := s.fatal == nil
	s.fatal = err
	s.leaseEnd = time.Time{}
	s.mu.Unlock()
	if first {
		s.fence()
		s.stop()
	}
}

// failure is what Run returns.
func (s *session) failure(stuck []*run, unsent int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.fatal != nil {
		errs = append(errs, fmt.Errorf("onceq: worker %s: the store was closed while the worker ran: %w", s.name, s.fatal))
	}
	if len(stuck) > 0 {
		errs = append(errs, fmt.Errorf("onceq: worker %s: %d handlers did not return when their context was cancelled: "+
			"their jobs were handed back, what they return is dropped: %s", s.name, len(stuck), names(stuck)))
	}
	if unsent > 0 {
		errs = append(errs, fmt.Errorf("onceq: worker %s: %d results could not be delivered: "+
			"these jobs will run again, or were run by another worker", s.name, unsent))
	}
	return errors.Join(errs...)
}

// names lists runs in an error, a few of them where they are many.
func names(runs []*run) string {
	const most = 5
	var list []string
	for _, r := range runs {
		list = append(list, fmt.Sprintf("%s (%s)", bound(r.job.ID, 40), bound(r.job.Kind, 40)))
	}
	slices.Sort(list)
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}
