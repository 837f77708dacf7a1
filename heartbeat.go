package onceq

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// beatLoop renews the lease at a third of its length, and sooner after a
// failure.
func (s *session) beatLoop(ctx context.Context) {
	failed := false
	for {
		wait := s.w.config.Lease / 3
		wait -= rand.N(wait/10 + 1)
		if failed {
			wait = s.hurry()
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.beatNow:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		failed = s.beat(ctx) != nil
		sleep.For(ctx, beatGap)
	}
}

// callLimit is how long one call to the store may take. Several fit into a
// lease.
func callLimit(lease time.Duration) time.Duration { return min(lease/3, 10*time.Second) }

func (s *session) callLimit() time.Duration { return callLimit(s.w.config.Lease) }

// hurry is the wait after a heartbeat that failed.
func (s *session) hurry() time.Duration {
	d := min(s.w.config.Lease/12, time.Second)
	return d/2 + rand.N(d)
}

// beat tells the store that the worker is alive and which runs it has. The
// store hands back what else it has running for the worker. A run that the
// store no longer has running for the worker is lost.
func (s *session) beat(ctx context.Context) error {
	s.beating.Lock()
	defer s.beating.Unlock()

	// Both are read under one lock: a fetch is over in the step in which
	// its jobs are in hand. It does no harm that this is old when it
	// arrives: jobs that are fetched meanwhile have a higher number, and
	// runs that leave inHand meanwhile were acknowledged or dropped.
	s.mu.Lock()
	r := ExtendRequest{Worker: s.name, Lease: s.w.config.Lease, FetchesDone: s.fetched,
		Runs: make([]Run, 0, len(s.inHand))}
	for run := range s.inHand {
		r.Runs = append(r.Runs, run)
	}
	r.Runs = append(r.Runs, s.slotsLocked()...)
	returned := s.returned
	s.mu.Unlock()
	if !s.introduced {
		r.About = s.about()
	}

	sent := time.Now() // the store counts from later, so we give up first
	var extended Extended
	_, err := s.call(ctx, s.callLimit(), func(ctx context.Context) (err error) {
		extended, err = s.w.store.Extend(ctx, r)
		return err
	})
	s.noteStore(ctx, err)
	if err != nil {
		return err
	}
	s.introduced = true

	s.mu.Lock()
	s.leaseEnd = sent.Add(s.w.config.Lease)
	left, was := time.Until(s.leaseEnd), s.leased
	s.leased = left > 0
	if s.leased && !was {
		signal(s.lookNow)
	}
	s.lapse.Reset(max(left, 0))
	var lost, stop []*run
	for _, run := range extended.Lost {
		// If the handler has returned, the answer to its Finish decides:
		// that Finish may be what ended the run.
		// So may a transaction of the handler's be.
		if r := s.inHand[run]; r != nil && !r.ended && !r.lost && !r.leaves.isComplete() {
			r.lost = true
			lost = append(lost, r)
		}
	}
	for _, run := range extended.Stop {
		if r := s.inHand[run]; r != nil && !r.ended && !r.stopped {
			r.stopped = true
			stop = append(stop, r)
		}
	}
	s.markSlotsLocked(&extended)
	s.returned -= returned
	back := max(extended.Back-returned, 0) // of these that are no slots
	if back > 0 {
		s.hasMoreLocked("")
	}
	s.mu.Unlock()

	s.w.metrics.handedBack(back)
	s.w.metrics.leaseLost(lost)
	if back > 0 {
		s.log.Info("onceq: jobs handed back that were not received", "jobs", back)
	}
	for _, r := range lost {
		s.log.Warn("onceq: run lost", r.attrs()...)
		r.cancel(ErrLeaseLost)
	}
	for _, r := range stop {
		s.log.Info("onceq: run asked to stop", r.attrs()...)
		r.cancel(ErrCancelRequested)
	}
	return nil
}

// fenceLoop fences when the lease is over, until ctx ends.
func (s *session) fenceLoop(ctx context.Context) {
	for {
		select {
		case <-s.lapse.C:
			s.fence()
		case <-ctx.Done():
			return
		}
	}
}

// fence ends all runs when the lease is over by our own clock: another
// worker may run their jobs by now. Runs that have not returned stay in
// hand until they do, so that they are not handed back while they run.
func (s *session) fence() {
	s.mu.Lock()
	if s.leased && time.Now().Before(s.leaseEnd) {
		s.mu.Unlock()
		return // it was just renewed
	}
	was := s.leased
	s.leased = false
	gone, dropped := slices.Clone(s.results), len(s.results)
	for _, r := range s.results {
		s.dropLocked(r)
	}
	s.results = nil
	var cancels []context.CancelCauseFunc
	for _, r := range s.inHand {
		if !r.ended && !r.lost {
			cancels = append(cancels, r.cancel)
			gone = append(gone, r)
		}
		r.lost = true
	}
	s.loseSlotsLocked()
	s.mu.Unlock()
	s.w.metrics.leaseLost(gone)
	signal(s.drained)
	if was || dropped+len(cancels) > 0 {
		s.log.Error("onceq: lease over", "runs", len(cancels), "results", dropped)
	}
	for _, cancel := range cancels {
		cancel(ErrLeaseLost)
	}
}
