package onceq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// sweepLimit is how many rows each part of a sweep does at most.
const sweepLimit = 500

// sweepLoop tidies the store until ctx ends: about three times a lease, sooner while there is more to do. Every worker does it, under
// no leader; two that rescue the same run do no harm, for only one Finish of a run takes effect.
func (s *session) sweepLoop(ctx context.Context) {
	third := s.w.config.Lease / 3
	seen := suspects{self: s.name, patience: s.w.config.Lease / 2, first: map[Beat]time.Time{}}
	for wait := rand.N(third / 2); sleep(ctx, wait); {
		began := time.Now()
		more, err := s.sweep(ctx, &seen)
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, ErrClosed):
			s.fail(err)
			return
		case err != nil && ctx.Err() == nil:
			s.log.Warn("onceq: sweep failed; trying again later", "error", err)
			wait = third
		case more:
			wait = 4*time.Since(began) + 5*time.Millisecond // the store has other things to do
		default:
			wait = third*3/4 + rand.N(third/2)
			if next, ok := seen.next(time.Now()); ok {
				wait = min(wait, next+rand.N(third/20))
			}
		}
	}
}

// sweep does one round. more is true when another is due at once.
func (s *session) sweep(ctx context.Context, seen *suspects) (more bool, err error) {
	lost := seen.lost(time.Now())
	call, cancel := context.WithTimeout(ctx, max(s.patience(), time.Second))
	defer cancel()
	swept, err := s.w.store.Sweep(call, SweepRequest{Limit: sweepLimit, Lost: lost})
	if err != nil {
		return false, err
	}
	seen.note(swept.Expired, swept.More, time.Now())
	rescued, err := s.rescue(call, swept.Runs)
	if err != nil {
		return false, fmt.Errorf("rescue %d runs: %w", len(swept.Runs), err)
	}
	return swept.More || rescued > 0, nil
}

// rescue ends runs of lost workers: a lost run is a failed attempt. n is how many are settled, by us or another.
func (s *session) rescue(ctx context.Context, jobs []*JobRow) (n int, err error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	requests := make([]Finish, len(jobs))
	for i, job := range jobs {
		lost := fmt.Errorf("worker %s was lost: its lease ended while it ran this", job.Worker)
		decideSafely(&requests[i], job, lost, nil, s.w.config.Retry)
		requests[i].Worker, requests[i].Rescue = s.name, true
	}
	answers, err := s.w.store.Finish(ctx, FinishRequest{Runs: requests, NoWait: true})
	if err != nil {
		return 0, err
	}
	for i, a := range answers {
		if a.Status == FinishBusy {
			continue // the next sweep finds it again
		}
		n++
		if a.Status != FinishDone {
			continue // another sweeper was first
		}
		s.log.Warn("onceq: a run is rescued: its worker was lost", "job", jobs[i].ID, "kind", jobs[i].Kind, "queue", jobs[i].Queue,
			"run", jobs[i].Run, "attempt", jobs[i].Attempt, "lost", jobs[i].Worker, "state", a.State)
		if a.Wake != "" {
			s.mayHaveMore(a.Wake)
		}
	}
	return n, nil
}

// suspects are beats of workers whose lease is over by the store's clock, each with the time, by our own monotonic clock, at which we
// first saw it. A beat is lost when it is still there a while later: a jump of the store's clock ends every lease at once, but a worker
// that lives beats again within a third of a lease.
type suspects struct {
	self     string        // is never suspected: we know that we live
	patience time.Duration // more than a third of a lease
	first    map[Beat]time.Time
}

// lost are the suspects that have been seen for long enough. The store confirms that each beat is still the latest, which is the second
// sight of it.
func (p *suspects) lost(now time.Time) (lost []Beat) {
	for beat, first := range p.first {
		if now.Sub(first) >= p.patience {
			lost = append(lost, beat)
		}
	}
	return lost
}

// note takes in what a sweep reported as expired; who is no longer among them is not suspected any more, unless the report was cut.
func (p *suspects) note(expired []Beat, cut bool, now time.Time) {
	first := make(map[Beat]time.Time, len(expired))
	if cut {
		first = p.first
	}
	for _, beat := range expired {
		if beat.Worker == p.self {
			continue
		}
		since, known := p.first[beat]
		if !known {
			since = now
		}
		first[beat] = since
	}
	p.first = first
}

// next is when the next suspect will be lost.
func (p *suspects) next(now time.Time) (wait time.Duration, ok bool) {
	for _, first := range p.first {
		if left := p.patience - now.Sub(first); left > 0 && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return wait, ok
}
