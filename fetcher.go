package onceq

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// maxUnsent is how many results may wait for the store, or for OnFinish,
// before the worker stops fetching.
const maxUnsent = 2000

// fetchLoop fetches until ctx ends, or until nothing is due and
// WorkerConfig.Drain is set. Only one fetch is under way at a time; the
// pacer says when.
func (s *session) fetchLoop(ctx context.Context) {
	look := time.NewTimer(s.w.config.PollInterval)
	defer look.Stop()
	for failures := 0; ctx.Err() == nil; {
		if !s.roomForMore() {
			look.Reset(time.Until(s.lookAt()))
			select {
			case <-ctx.Done():
			case <-look.C:
				s.mu.Lock()
				if now := time.Now(); !now.Before(s.pacer.look) {
					s.pacer.lookNow(now, s.pollInterval())
				}
				s.mu.Unlock()
			case <-s.lookNow:
			}
			continue
		}
		s.gather()
		done, err := s.fetch(ctx)
		if err == nil && !done {
			err = s.takeSlots(ctx)
		}
		switch {
		case done:
			s.watchOnce(ctx)
			return
		case err == nil:
			failures = 0
		case ctx.Err() == nil && !errors.Is(err, ErrClosed):
			failures++
			s.afterFailure(ctx, err, failures)
		}
	}
}

// gather yields to handlers that are about to end, while some do. This
// makes fetches and batches of results larger, and costs next to nothing
// when there is nothing to run.
func (s *session) gather() {
	s.mu.Lock()
	before := s.running
	s.mu.Unlock()
	for range 10 {
		runtime.Gosched()
		s.mu.Lock()
		now := s.running
		s.mu.Unlock()
		if now == before {
			return
		}
		before = now
	}
}

// pollInterval has jitter, so that workers that started together do not
// poll together.
func (s *session) pollInterval() time.Duration {
	d := s.w.config.PollInterval
	return d*4/5 + rand.N(d*2/5+1)
}

func (s *session) lookAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := s.pacer.nextRound(); !next.IsZero() {
		return earlier(s.pacer.look, next)
	}
	return s.pacer.look
}

// hasMore notes that a queue ("" = any of them) may have due jobs.
func (s *session) hasMore(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasMoreLocked(queue)
}

func (s *session) hasMoreLocked(queue string) {
	s.pacer.hasMore(queue)
	signal(s.lookNow)
}

// roomForMore reports whether to fetch. While handlers are still to be
// called it is false: those that end at once soon leave their slots, and
// one fetch for all of them costs less than many.
func (s *session) roomForMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roundLocked(time.Now())
	return s.leased && len(s.toStart) == 0 && len(s.results)+s.sending+len(s.calls) < maxUnsent &&
		s.pacer.wantsMore()
}

// fetch asks for jobs for the free slots and starts them. done is true if
// Drain is set and nothing is left to do.
func (s *session) fetch(ctx context.Context) (done bool, err error) {
	s.mu.Lock()
	s.fetchNo++
	r := FetchRequest{Worker: s.name, No: s.fetchNo, Kinds: s.kinds}
	s.pacer.ask(&r, time.Now())
	looks := s.pacer.looks
	idle := len(s.inHand) == 0 && s.running == 0 && !s.isCallingLocked()
	s.mu.Unlock()

	var fetched Fetched
	took, err := s.call(ctx, s.callLimit(), func(call context.Context) (err error) {
		fetched, err = s.w.store.Fetch(call, r)
		return err
	})
	if err != nil {
		fetched = Fetched{}
	}
	runs := make([]*run, len(fetched.Jobs))
	for i, job := range fetched.Jobs {
		runs[i] = s.newRun(job)
	}
	s.mu.Lock()
	// The fetch counts as over in the same step in which its jobs are in
	// hand. A heartbeat between two steps would hand back a job that runs
	// here, because its fetch is over and it is not in hand.
	s.fetched = r.No
	// Jobs that came too late, after our lease or at the end of the
	// session, are not taken: the next heartbeat hands them back.
	taken := s.leased && ctx.Err() == nil
	if taken {
		for _, r := range runs {
			s.takeLocked(r)
		}
		s.startLocked(runs)
	}
	switch {
	case err == nil && taken:
		s.pacer.answered(r, fetched, time.Now(), s.pollInterval())
		s.pacer.load.answered(took, s.callLimit())
	case outOfTime(err):
		s.pacer.load.late()
		fallthrough
	default:
		s.pacer.failed(r)
	}
	quiet := s.pacer.quiet(looks)
	s.mu.Unlock()

	if !taken {
		for _, r := range runs {
			r.cancel(ErrLeaseLost)
		}
		return false, err
	}
	return s.drains && idle && err == nil && len(runs) == 0 && fetched.NextDue != 0 && quiet && s.isTidy(), err
}

// outOfTime reports whether the answer to a call may have been too large to
// come in time.
func outOfTime(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUncertain)
}

// takeLocked puts a run in hand.
func (s *session) takeLocked(r *run) {
	s.inHand[Run{r.job.ID, r.job.Run}] = r
	s.running++
	r.queue = s.pacer.queue(r.job.Queue)
	r.queue.take(1)
}

// afterFailure is called after a fetch that failed. If its answer was lost
// it may have started jobs, which a heartbeat hands back. If the store no
// longer knows the worker, a heartbeat makes it known again.
func (s *session) afterFailure(ctx context.Context, err error, failures int) {
	unknown := errors.Is(err, ErrLeaseLost)
	if unknown || errors.Is(err, ErrUncertain) {
		signal(s.beatNow)
	}
	if unknown && failures&(failures-1) == 0 {
		s.log.Warn("onceq: the store had taken the worker for lost")
	} else if !unknown {
		s.logRarely(failures, "onceq: fetch failed", err)
	}
	sleep.For(ctx, backoff(failures))
}

// backoff is the wait after so many failures in a row of a call to the
// store: 10ms, 20ms … 1s, with jitter.
func backoff(failures int) time.Duration {
	d := min(10*time.Millisecond<<min(failures-1, 10), time.Second)
	return d/2 + rand.N(d)
}
