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

	"github.com/onceq/onceq/internal/sleep"
)

// session is one Run of a worker: the runs it has, and the results it has
// to report. Its goroutines are the fetcher (Run's own), the listener, the
// heartbeat, the fence, the finisher, the sweeper, the watcher, the one that
// calls OnFinish, and the runners, which call the handlers.
//
// The life of a run here: the answer to a fetch puts it into inHand, its
// handler runs, and its result waits for the finisher. It leaves inHand
// when the store has acknowledged the result, or when the result is
// dropped. The heartbeat claims all of inHand and nothing else: the store
// hands back whatever else runs for this worker.
type session struct {
	w    *Worker
	name string          // in the store; new for each session
	base context.Context // of the runs: the values of Run's context and the client; it never ends
	stop func()          // does what the end of Run's context does
	done chan struct{}   // closed when Run has returned
	log  *slog.Logger

	callsCtx context.Context // of OnFinish
	endCalls func()

	kinds    []string      // to fetch; nil = any
	drains   bool          // Run ends when nothing is left to do
	keeps    bool          // ran is kept
	listened chan struct{} // closed when the listener has ended

	work    sync.WaitGroup // all goroutines but those of handlers; Run waits for them
	beating sync.Mutex     // one Extend at a time

	mu          sync.Mutex
	pacer       pacer
	inHand      map[Run]*run
	toStart     []*run // in hand; their handlers are still to be called
	running     int    // handlers that have not returned, including stuck ones
	results     []*run // for the finisher, in the order in which they came
	calls       []*run // OnFinish is still to be called for these
	calling     bool   // a goroutine calls it
	mute        bool   // no call may begin, nor say anything
	sending     int    // results that are on their way to the store
	finishLoad  load
	finishing   finishing // only finishLoop looks at it
	dropped     int       // results that do not count, of handlers that returned
	fetchNo     int64     // the number of the latest fetch
	introduced  bool      // a heartbeat said what the worker is; only beat looks at it
	fetched     int64     // every fetch up to this one is over, and its jobs are in inHand
	ending      bool      // slots of the whole fleet are given back as soon as no job runs on them
	returned    int       // such slots that the next heartbeat gives back
	leased      bool      // by our own clock the lease is not over yet
	leaseEnd    time.Time
	lapse       *time.Timer // fires at leaseEnd
	wellAt      time.Time   // when a call to the store last succeeded
	awaySince   time.Time   // no heartbeat has succeeded since; zero = the last one did
	tidied      bool        // the last sweep left nothing to do
	idleAt      time.Time   // when a drain first found nothing due
	runnerComes bool        // a runner was started and has not begun
	over        bool        // Run is about to return: nothing may start, be sent or be logged
	fatal       error       // the store was closed
	ran         []*JobRow   // jobs as their runs left them, in that order

	lookNow  chan struct{} // wakes the fetcher
	finished chan struct{} // wakes the finisher
	drained  chan struct{} // wakes the drain
	beatNow  chan struct{} // wakes the heartbeat
}

func newSession(w *Worker, ctx context.Context, stop func()) *session {
	s := &session{
		w: w, name: w.config.ID + "-" + randomName(10), stop: stop, done: make(chan struct{}),
		base:   context.WithValue(withoutSpan(context.WithoutCancel(ctx)), clientKey{}, w.client),
		inHand: map[Run]*run{}, lookNow: make(chan struct{}, 1), finished: make(chan struct{}, 1),
		drained: make(chan struct{}, 1), beatNow: make(chan struct{}, 1),
		kinds: w.kinds(), listened: make(chan struct{}),
	}
	s.callsCtx, s.endCalls = context.WithCancel(s.base)
	s.log = safeLogger(w.config.Logger).With("worker", s.name)
	shared := &pool{slots: w.config.Concurrency}
	for _, q := range w.queues {
		queue := &queue{name: q.Queue, slots: q.Slots, more: true}
		config := w.config.Queues[q.Queue]
		if queue.weight = config.Weight; queue.weight > 0 {
			queue.pool = shared
		}
		if config.Global > 0 {
			queue.limit = newLimit(q.Queue, config.Global)
		}
		s.pacer.queues = append(s.pacer.queues, queue)
	}
	return s
}

// call makes a call to the store with a time limit, and returns how long it
// took.
func (s *session) call(ctx context.Context, limit time.Duration,
	f func(ctx context.Context) error) (took time.Duration, err error) {
	took, err = callStore(ctx, limit, s.log, f)
	if err == nil {
		s.mu.Lock()
		s.wellAt = time.Now()
		s.mu.Unlock()
	} else if errors.Is(err, ErrClosed) {
		s.fail(err)
	}
	return took, err
}

// callStore makes a call to a store with a time limit. If the store panics, the
// step may or may not have happened.
func callStore(ctx context.Context, limit time.Duration, log *slog.Logger,
	f func(ctx context.Context) error) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	defer func() {
		took = time.Since(began)
		if p := recover(); p != nil {
			log.Error("onceq: the store panicked", "panic", fmt.Sprint(p), "stack", panicStack(debug.Stack()))
			err = fmt.Errorf("%w: the store panicked: %v", ErrUncertain, p)
		}
	}()
	return 0, f(ctx)
}

// serves says what the worker takes, for its log.
func (s *session) serves() []any {
	var queues []string
	for _, q := range s.w.queues {
		if !ReservedName(q.Queue) {
			if weight := s.w.config.Queues[q.Queue].Weight; weight > 0 {
				queues = append(queues, fmt.Sprintf("%s*%d", q.Queue, weight))
				continue
			}
			queues = append(queues, fmt.Sprintf("%s=%d", q.Queue, q.Slots))
		}
	}
	attrs := []any{"queues", bound(strings.Join(queues, ","), 512)}
	if s.w.config.Concurrency > 0 {
		attrs = append(attrs, "concurrency", s.w.config.Concurrency)
	}
	if kinds := slices.DeleteFunc(slices.Clone(s.kinds), ReservedName); len(kinds) > 0 { // else any, or only schedules
		attrs = append(attrs, "kinds", bound(strings.Join(kinds, ","), 512))
	}
	return append(attrs, "lease", s.w.config.Lease)
}

// slots says how many slots of each queue are taken.
func (s *session) slots() (all []use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.pacer.queues {
		if !ReservedName(q.name) {
			all = append(all, use{q.name, q.busy, max(q.free(), 0)})
		}
	}
	return all
}

// logRarely warns of the 4th, 8th, 16th … failure in a row of something that
// is tried again and again. The first failure asks for a heartbeat: if that
// fails too the store is away, which is said once for everything.
func (s *session) logRarely(failures int, text string, err error, attrs ...any) {
	if failures == 1 {
		signal(s.beatNow)
	}
	if failures < 4 || failures&(failures-1) != 0 || s.isAway() {
		return
	}
	s.log.Warn(text, append(attrs, "error", err, "failures", failures)...)
}

func (s *session) isAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.awaySince.IsZero()
}

// noteStore says once that the store is away, when a heartbeat fails, and
// once that it is back.
func (s *session) noteStore(ctx context.Context, err error) {
	s.mu.Lock()
	since := s.awaySince
	switch {
	case err == nil:
		s.awaySince = time.Time{}
	case ctx.Err() != nil || s.fatal != nil: // it is the worker that ends
	case since.IsZero():
		s.awaySince = time.Now()
	}
	is := s.awaySince
	s.mu.Unlock()
	switch {
	case since.IsZero() && !is.IsZero():
		s.log.Warn("onceq: the store is away", "error", err)
	case is.IsZero() && !since.IsZero(): // as loud as the line before
		s.log.Warn("onceq: the store is back", "away", time.Since(since).Round(time.Millisecond))
	}
}

// signal wakes the goroutine that waits on c, now or when it next waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// The end of a session. Handlers have ShutdownTimeout. Then their contexts
// are cancelled, and everything else shares one time limit: Run returns
// this long after ShutdownTimeout.
const (
	endTime    = 5 * time.Second
	reportTime = 2 * time.Second // of it for results and the leave, however slow handlers are
	leaveTime  = time.Second     // of that for the leave, however slow the results are
)

// serve does the work of Run.
func (s *session) serve(ctx context.Context) error {
	s.lapse = time.NewTimer(s.w.config.Lease)
	defer s.lapse.Stop()
	defer s.w.metrics.observeSlots(s.slots)()
	s.log.Info("onceq: worker started", s.serves()...)
	defer s.log.Info("onceq: worker ended")
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
	if s.drains { // else it could end before they are there
		s.putPeriodic(ctx)
	} else {
		s.work.Go(func() { s.putPeriodic(ctx) })
	}
	go s.listenLoop(background)

	s.fetchLoop(ctx)

	s.stop()
	s.endSlots()
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
	s.note(deadline)
	select {
	case <-s.listened:
	case <-time.After(min(time.Second, time.Until(deadline))): // the store did not close the channel
	}
	return errors.Join(s.failure(stuck, unsent), err, s.silence(deadline))
}

// arrive makes the worker known to the store, however long that takes.
func (s *session) arrive(ctx context.Context) bool {
	for ctx.Err() == nil {
		if s.beat(ctx) == nil {
			return true
		}
		sleep.For(ctx, s.hurry())
	}
	return false
}

// drain waits for the running handlers and delivers their results. When it
// returns the session is over. stuck are the runs whose handlers have not
// returned.
func (s *session) drain(deadline time.Time) (stuck []*run) {
	signal(s.beatNow) // hands back jobs of a fetch whose answer was cut off
	idle := func() bool { return s.running == 0 }
	s.await(deadline.Add(-endTime), idle)
	s.interrupt(ErrShutdown)
	s.await(deadline.Add(-reportTime), idle)
	atMost := time.Now().Add(endTime)
	if latest := deadline.Add(-leaveTime); atMost.After(latest) {
		atMost = latest
	}
	s.await(atMost, func() bool { return len(s.results)+s.sending == 0 && !s.isCallingLocked() })

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

// await waits until done returns true; done is called under the lock.
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

// leave tells the store that the worker leaves: the store forgets it, and
// hands back all that still runs for it.
func (s *session) leave(deadline time.Time) error {
	limit := min(endTime, time.Until(deadline))
	ctx, cancel := context.WithTimeout(s.base, limit)
	defer cancel()
	s.beating.Lock()
	defer s.beating.Unlock()
	s.mu.Lock()
	r := ExtendRequest{Worker: s.name, FetchesDone: s.fetchNo}
	closed := s.fatal != nil
	slots := s.returned + len(s.slotsLocked())
	s.mu.Unlock()
	if closed {
		return nil
	}
	for {
		var left Extended
		_, err := s.call(ctx, limit, func(ctx context.Context) (err error) {
			left, err = s.w.store.Extend(ctx, r)
			return err
		})
		if err == nil {
			s.w.metrics.handedBack(max(left.Back-slots, 0))
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || !sleep.For(ctx, s.hurry()) {
			return fmt.Errorf("onceq: worker %s: take leave of the store: %w", s.name, err)
		}
	}
}

// note notes what the worker has counted.
func (s *session) note(deadline time.Time) {
	ctx, cancel := context.WithTimeout(s.base, min(lastNote, time.Until(deadline)))
	defer cancel()
	s.w.client.tally.note(ctx)
}

// fail ends the session because the store was closed: no result can be
// delivered any more.
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

// failure is the error that Run returns.
func (s *session) failure(stuck []*run, unsent int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.fatal != nil {
		errs = append(errs, fmt.Errorf("onceq: worker %s: the store was closed while the worker ran: %w",
			s.name, s.fatal))
	}
	if len(stuck) > 0 {
		errs = append(errs, fmt.Errorf("onceq: worker %s: %s did not return when the context was cancelled: "+
			"the jobs were handed back, and what is returned for them is dropped: %s", s.name,
			plural(len(stuck), "handler"), listRuns(stuck)))
	}
	if unsent > 0 {
		errs = append(errs, fmt.Errorf("onceq: worker %s: %s could not be delivered: "+
			"what has no result will run again, or was run by another worker", s.name,
			plural(unsent, "result")))
	}
	return errors.Join(errs...)
}

// listRuns lists runs in an error, only a few if there are many.
// plural writes "1 handler", "2 handlers".
func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func listRuns(runs []*run) string {
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
