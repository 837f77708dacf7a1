package onceq

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/onceq/onceq/internal/sleep"
	"github.com/onceq/onceq/internal/suspect"
)

// sweepLimit is how many rows each part of a sweep does at most.
const sweepLimit = 500

// tidyTime is how long a drain that has nothing else left to do goes on
// sweeping at most.
const tidyTime = 30 * time.Second

// mostFailures is how many sweeps in a row may fail before a drain no longer
// waits for one. One alone may have met a busy moment of the store, and the
// runs of a lost worker would be left to nobody.
const mostFailures = 3

// sweepLoop sweeps the store until ctx ends.
func (s *session) sweepLoop(ctx context.Context) {
	sw := newSweeper(s, s.w.store, s.name, s.w.config.Lease)
	sw.log, sw.retry = s.log, s.w.config.retryOf
	sw.rescued = func(job *JobRow, f *Finish, state State) {
		s.w.metrics.rescued(job, state)
		s.w.tracing.rescued(ctx, job, state, s.name)
		s.w.client.tally.rescued(job)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.callForLocked(&run{job: *job, finish: *f, state: state, failed: &failure{err: &lostError{job.Worker}}})
	}
	wait := rand.N(s.callLimit() / 2)
	if s.drains {
		wait = 0
	}
	sw.loop(ctx, wait)
}

// tidy notes that a sweep left nothing to do: a drain need not wait for it.
func (s *session) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tidied {
		s.tidied = true
		if s.drains {
			s.hasMoreLocked("")
		}
	}
}

// isTidy reports whether a drain that found nothing due may end: a sweep
// has left nothing to do, or the drain has waited long enough.
func (s *session) isTidy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.idleAt.IsZero() {
		s.idleAt = now
	}
	enough := s.idleAt.Add(tidyTime)
	s.pacer.lookBy(enough)
	return s.tidied || !now.Before(enough)
}

// sweeps is what a sweeper is part of: a session, or a [Remote].
type sweeps interface {
	call(ctx context.Context, limit time.Duration, f func(context.Context) error) (time.Duration, error)
	send(ctx context.Context, requests []Finish) []answer
	hasMore(queue string) // something may be due
	tidy()                // a sweep left nothing to do
	logRarely(failures int, text string, err error, attrs ...any)
}

// sweeper tidies a store, and is what is kept between sweeps.
type sweeper struct {
	sweeps
	store   Store
	name    string // by which runs are rescued
	lease   time.Duration
	log     *slog.Logger
	retry   func(*JobRow) RetryPolicy
	rescued func(job *JobRow, f *Finish, state State) // after a run was ended in the place of a lost worker

	suspects suspect.List[Beat]
	load     load
}

func newSweeper(of sweeps, store Store, name string, lease time.Duration) *sweeper {
	return &sweeper{sweeps: of, store: store, name: name, lease: lease, suspects: suspect.List[Beat]{Grace: lease / 2}}
}

// loop sweeps until ctx ends: about every third of a lease, sooner while there
// is more to do. Every worker does it, without a leader. Two that rescue the
// same run do no harm, because only one Finish of a run takes effect.
func (s *sweeper) loop(ctx context.Context, wait time.Duration) {
	third := callLimit(s.lease)
	failures, barren := 0, 0 // in a row
	for sleep.For(ctx, wait) {
		began := time.Now()
		did, more, err := s.sweep(ctx)
		took := time.Since(began)
		wait = third*3/4 + rand.N(third/2)
		next, suspected := s.suspects.Next(time.Now())
		if suspected {
			wait = min(wait, next+rand.N(third/20))
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			s.logRarely(failures, "onceq: sweep failed", err)
			if wait = third; failures < mostFailures {
				wait = min(wait, backoff(failures))
			} else {
				s.tidy()
			}
		case more:
			failures = 0
			if barren++; did > 0 {
				barren = 0
			}
			// The store has other work, so we wait longer each time there
			// is nothing for us.
			wait = min(wait, (4*took+5*time.Millisecond)<<min(barren, 20))
		case !suspected:
			failures, barren = 0, 0
			s.tidy()
		}
	}
}

// sweep does one round, and returns how many rows it did. more is true if
// another is due at once.
func (s *sweeper) sweep(ctx context.Context) (did int, more bool, err error) {
	r := SweepRequest{Limit: s.load.of(sweepLimit), Lost: s.suspects.Lost(time.Now())}
	var swept Swept
	limit := max(callLimit(s.lease), time.Second) // nothing waits for a sweep, however short the lease
	took, err := s.call(ctx, limit, func(ctx context.Context) (err error) {
		swept, err = s.store.Sweep(ctx, r)
		return err
	})
	if err != nil {
		if outOfTime(err) {
			s.load.late()
		}
		return 0, false, err
	}
	s.load.answered(took, limit)
	s.suspects.Note(swept.Expired, swept.More, func(b Beat) bool { return b.Worker == s.name }, time.Now())
	rescued, err := s.rescue(ctx, swept.Runs)
	if err != nil {
		return 0, false, fmt.Errorf("rescue %d runs: %w", len(swept.Runs), err)
	}
	return swept.Jobs + swept.Keys + rescued, swept.More || rescued > 0, nil
}

// lostError is the error of a run whose worker was lost.
type lostError struct{ worker string }

func (e *lostError) Error() string {
	return fmt.Sprintf("worker %s was lost: its lease ended while it ran this", e.worker)
}

func (e *lostError) Unwrap() error { return ErrLeaseLost }

// rescue ends runs of lost workers: a lost run is a failed attempt. n is
// how many are settled, by us or by another worker.
func (s *sweeper) rescue(ctx context.Context, jobs []*JobRow) (n int, err error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	requests := make([]Finish, len(jobs))
	for i, job := range jobs {
		requests[i] = decideApart(job, &lostError{job.Worker}, s.retryOf(job))
		requests[i].Worker, requests[i].Rescue = s.name, true
	}
	for i, a := range s.send(ctx, requests) {
		switch {
		case a.err != nil:
			err = a.err
			continue
		case a.Status == FinishBusy:
			continue // the next sweep finds it again
		}
		n++
		if a.Status != FinishDone {
			continue // another sweeper was first
		}
		job := jobs[i]
		s.rescued(job, &requests[i], a.State)
		s.log.Warn("onceq: run rescued", "job", job.ID, "kind", job.Kind, "queue", job.Queue,
			"run", job.Run, "attempt", job.Attempt, "lost", job.Worker, "state", a.State)
		if a.Wake != "" {
			s.hasMore(a.Wake)
		}
	}
	return n, err
}
