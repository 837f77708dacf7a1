package onceq

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// maxUnsent is how many results may wait for the store before no more jobs are fetched.
const maxUnsent = 2000

// fetchLoop fetches until ctx ends, or until nothing is due under WorkerConfig.Drain. One fetch is under way at a time.
//
// It fetches when some queue may have more and has a free slot. A queue may have more after a wake-up, when a fetch got all the slots
// it asked for, when the time has come that the store named, and once every PollInterval.
func (s *session) fetchLoop(ctx context.Context) {
	var wakes <-chan Wake
	var subscribed time.Time
	look := time.NewTimer(s.w.config.PollInterval)
	defer look.Stop()
	for failures := 0; ctx.Err() == nil; {
		if wakes == nil && time.Since(subscribed) >= s.w.config.PollInterval {
			wakes, subscribed = s.subscribe(ctx), time.Now()
		}
		if s.roomForMore() {
			s.gather()
			for more := true; more; {
				select { // what was announced by now, this fetch will see
				case wake, ok := <-wakes:
					switch {
					case !ok:
						wakes, more = nil, false
					case wake.Stop:
						tell(s.beatNow)
					}
				default:
					more = false
				}
			}
			done, err := s.fetch(ctx)
			switch {
			case done:
				return
			case err == nil:
				failures = 0
			case ctx.Err() != nil:
			case errors.Is(err, ErrClosed):
				s.fail(err)
			default:
				failures++
				s.afterFailure(ctx, err, failures)
			}
			continue
		}
		look.Reset(time.Until(s.lookAt()))
		select {
		case <-ctx.Done():
		case wake, ok := <-wakes:
			switch {
			case !ok:
				wakes = nil
			case wake.Stop:
				tell(s.beatNow)
			default:
				s.mayHaveMore(wake.Queue)
			}
		case <-look.C:
			s.mayHaveMore("")
			s.lookIn(s.pollInterval())
		case <-s.lookNow:
		}
	}
}

// gather gives way to handlers that are about to end, as long as some do: it makes fetches and batches of results larger, and costs next
// to nothing where there is nothing to run.
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

// subscribe asks a store that can for wake-ups. Without them there is polling.
func (s *session) subscribe(ctx context.Context) <-chan Wake {
	wake := s.w.store.Traits().Wake
	if wake == nil {
		return nil
	}
	names := make([]string, len(s.queues))
	for i, q := range s.queues {
		names[i] = q.name
	}
	wakes, err := wake(ctx, WakeRequest{Queues: names, Worker: s.name})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("onceq: no wake-ups from the store; polling for now", "error", err)
	}
	return wakes
}

// pollInterval is jittered, so that workers that began together do not poll together.
func (s *session) pollInterval() time.Duration {
	d := s.w.config.PollInterval
	return d*4/5 + rand.N(d*2/5+1)
}

func (s *session) lookAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.look
}

// lookIn has the fetcher look again in d, whatever was said before.
func (s *session) lookIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look = time.Now().Add(d)
}

// mayHaveMore notes that a queue ("" = any of them) may have due jobs.
func (s *session) mayHaveMore(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markLocked(queue)
}

func (s *session) markLocked(queue string) {
	for _, q := range s.queues {
		if queue == "" || q.name == queue {
			q.more = true
		}
	}
	tell(s.lookNow)
}

// roomForMore reports whether a fetch is worth while. While handlers are still to be called it is not: those that end at once are about to
// leave their slots, and one fetch for all of them costs less than many.
func (s *session) roomForMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leased && len(s.toStart) == 0 && len(s.results)+s.sending < maxUnsent && s.wantsMore()
}

// wantsMore reports whether there may be jobs for a free slot. s.mu is held.
func (s *session) wantsMore() bool {
	return slices.ContainsFunc(s.queues, func(q *queue) bool { return q.more && q.busy < q.slots })
}

// fetch asks for as many jobs as there are free slots and starts them. done is true when Drain is asked for and nothing is left to do.
func (s *session) fetch(ctx context.Context) (done bool, err error) {
	s.mu.Lock()
	s.fetchNo++
	r := FetchRequest{Worker: s.name, No: s.fetchNo, Kinds: s.w.config.Kinds}
	for _, q := range s.queues {
		if q.busy < q.slots {
			r.Queues = append(r.Queues, QueueSlots{Queue: q.name, Slots: q.slots - q.busy})
			q.more = false // from here on a wake-up counts
		}
	}
	idle := len(s.inHand) == 0 && s.running == 0
	s.mu.Unlock()

	call, cancel := context.WithTimeout(ctx, s.patience())
	fetched, err := s.w.store.Fetch(call, r)
	cancel()

	if err != nil {
		fetched = Fetched{}
	}
	runs := make([]*run, len(fetched.Jobs))
	for i, job := range fetched.Jobs {
		runs[i] = s.newRun(job)
	}
	s.mu.Lock()
	// In one step the fetch is over and what it brought is in hand. Were they two, a heartbeat in between would hand back a job that
	// runs here (over, but not in hand); and one that says "over" before the answer is here would do the same.
	s.fetched = r.No
	// Jobs that came too late, after our lease or at the end of the session, are not taken: the next heartbeat hands them back.
	taken := s.leased && ctx.Err() == nil
	if taken {
		for _, r := range runs {
			s.take(r)
		}
		s.start(runs)
	}
	for _, asked := range r.Queues {
		q := s.queue(asked.Queue)
		if err != nil || !taken || q.busy >= q.slots || fetched.NextDue == 0 {
			q.more = true
		}
	}
	wait := s.pollInterval()
	if err == nil && fetched.NextDue > 0 {
		wait = min(wait, fetched.NextDue)
	}
	s.look = time.Now().Add(wait)
	s.mu.Unlock()

	if !taken {
		for _, r := range runs {
			r.cancel(ErrLeaseLost)
		}
		return false, err
	}
	if err == nil && len(runs) == 0 && fetched.NextDue == 0 {
		sleep(ctx, time.Millisecond) // a store that says so again and again is not asked in a tight loop
	}
	return s.w.config.Drain && idle && err == nil && len(runs) == 0 && fetched.NextDue != 0, err
}

// take puts a run in hand. s.mu is held.
func (s *session) take(r *run) {
	s.inHand[Run{r.job.ID, r.job.Run}] = r
	s.running++
	r.queue = s.queue(r.job.Queue)
	r.queue.busy++
}

// queue finds a queue. A job of a queue that was not asked for is counted with the first.
func (s *session) queue(name string) *queue {
	for _, q := range s.queues {
		if q.name == name {
			return q
		}
	}
	return s.queues[0]
}

// afterFailure is what happens after a fetch that failed. Where its answer was lost it may have started jobs, and a heartbeat hands them
// back; where the store does not know us any more a heartbeat makes us known again.
func (s *session) afterFailure(ctx context.Context, err error, failures int) {
	unknown := errors.Is(err, ErrLeaseLost)
	if unknown {
		s.log.Warn("onceq: the store had given this worker up for lost; it reports back")
	} else {
		s.log.Warn("onceq: fetch failed; trying again", "error", err, "failures", failures)
	}
	if (!unknown || failures > 1) && !sleep(ctx, backoff(failures)) {
		return
	}
	if unknown || errors.Is(err, ErrUncertain) {
		if err := s.beat(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("onceq: heartbeat failed; trying again", "error", err)
			sleep(ctx, s.hurry())
		}
	}
}

// backoff is the wait after so many failures in a row of a call to the store: 10ms, 20ms … 1s, jittered.
func backoff(failures int) time.Duration {
	d := min(10*time.Millisecond<<min(failures-1, 10), time.Second)
	return d/2 + rand.N(d)
}
