package onceq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// finishBatch is how many results travel together.
const finishBatch = 500

// finishLoop delivers results until ctx ends. One batch is under way at a
// time; results that come meanwhile travel in the next. A result that the
// store does not take is sent again until it does, or until the lease is
// over (see fence).
func (s *session) finishLoop(ctx context.Context) {
	failures, busy := 0, 0 // in a row
	for ctx.Err() == nil {
		s.gather()
		n, err := s.finish(ctx)
		pause := time.Hour // nothing to send yet
		switch {
		case err != nil && ctx.Err() == nil:
			failures++
			s.logRarely(failures, "onceq: results not delivered", err, "results", n.failed)
			sleep.For(ctx, backoff(failures))
			continue
		case n.done > 0:
			failures, busy = 0, 0
			continue
		case n.busy > 0:
			pause = min(time.Millisecond<<min(busy, 10), 100*time.Millisecond)
			busy++
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-s.finished:
		}
		t.Stop()
	}
}

// sent counts what became of results: done with; to be sent again because a
// transaction has locked the job; to be sent again because the call failed.
type sent struct{ done, busy, failed int }

// finish sends one batch of results. err is one of the errors.
func (s *session) finish(ctx context.Context) (n sent, err error) {
	s.mu.Lock()
	size := together(s.results[:min(len(s.results), s.finishLoad.of(finishBatch))])
	m := &s.finishing
	m.batch = append(m.batch[:0], s.results[:size]...)
	s.results = s.results[:copy(s.results, s.results[size:])]
	s.sending = size
	s.mu.Unlock()
	if size == 0 {
		return n, nil
	}
	m.requests = m.requests[:0]
	for _, r := range m.batch {
		m.requests = append(m.requests, r.finish)
	}
	m.answers = sendResults(ctx, m.requests, m.answers, s.sendTogether)
	for _, a := range m.answers {
		if a.err != nil {
			err = a.err
		}
	}
	n = s.acknowledge(m)
	clear(m.batch)
	clear(m.requests)
	clear(m.answers)
	clear(m.ended)
	return n, err
}

// finishing is the memory of one batch of results after another.
type finishing struct {
	batch    []*run
	requests []Finish // a store keeps none of them
	answers  []answer
	ended    []*run
}

// together is how many of these results travel together: of those with a
// result of their own, no more than 4 MiB.
func together(runs []*run) int {
	bytes := 0
	for i, r := range runs {
		if bytes += len(r.finish.Result); bytes > 4<<20 && i > 0 {
			return i
		}
	}
	return len(runs)
}

// answer is the answer of the store to one result.
type answer struct {
	FinishResult
	err   error
	alone bool // the call had no other result
}

func (s *session) send(ctx context.Context, requests []Finish) []answer {
	return sendResults(ctx, requests, nil, s.sendTogether)
}

// sendResults sends results in one call. If the store refuses that, it sends
// each alone: one result may be at fault, and must not stop the others. If the
// first two fail as well, the store is at fault, and the rest is left for
// later. The answers are written to memory, if it has room.
func sendResults(ctx context.Context, requests []Finish, memory []answer,
	together func(context.Context, []Finish, []answer) error) []answer {
	answers := slices.Grow(memory[:0], len(requests))[:len(requests)]
	clear(answers)
	err := together(ctx, requests, answers)
	if len(requests) == 1 || !isRefusal(ctx, err) {
		return answers
	}
	for i := range requests {
		if i == 2 && answers[0].err != nil && answers[1].err != nil {
			break
		}
		_ = together(ctx, requests[i:i+1], answers[i:i+1]) // it stands in the answers
	}
	return answers
}

func (s *session) sendTogether(ctx context.Context, requests []Finish, answers []answer) error {
	took, err := finishRuns(ctx, s.w.store, requests, answers, s.call, s.callLimit())
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.finishLoad.answered(took, s.callLimit())
	} else if outOfTime(err) {
		s.finishLoad.late()
	}
	return err
}

// finishRuns makes one call with results.
func finishRuns(ctx context.Context, store Store, requests []Finish, answers []answer,
	call func(context.Context, time.Duration, func(context.Context) error) (time.Duration, error),
	limit time.Duration) (took time.Duration, err error) {
	var results []FinishResult
	took, err = call(ctx, limit, func(ctx context.Context) (err error) {
		results, err = store.Finish(ctx, FinishRequest{Runs: requests, NoWait: true})
		return err
	})
	for i := range answers {
		answers[i] = answer{err: err, alone: len(requests) == 1}
		if err == nil {
			answers[i].FinishResult = results[i]
		}
	}
	return took, err
}

// isRefusal reports whether an error says that the store did not take what it
// was sent, although it could have.
func isRefusal(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !outOfTime(err) && !errors.Is(err, ErrClosed)
}

// outcome is what became of a batch of results.
type outcome struct {
	sent
	ended   []*run        // the store has taken their results
	again   []*run        // to be sent again
	behind  []*run        // to be sent after all others, which each may have stopped
	lost    []*run        // the store no longer had the run as ours
	late    []*run        // the lease was over before the store answered
	refused []*run        // the store refuses the result again and again
	dropped int           // results that do not count, for the end came first
	soon    time.Duration // until one of the jobs is due again; negative = none is
}

// acknowledge takes runs out of hand whose results were taken, or no longer
// count. The others wait to be sent again.
func (s *session) acknowledge(m *finishing) sent {
	o := outcome{soon: -1, ended: m.ended[:0]}
	s.mu.Lock()
	s.sending = 0
	for i, r := range m.batch {
		if a := m.answers[i]; a.err == nil && a.Status != FinishBusy {
			s.answeredLocked(r, a, &o)
		} else {
			s.unansweredLocked(r, a, &o)
		}
	}
	s.results = append(append(s.results, o.again...), o.behind...)
	m.ended = o.ended
	s.callForLocked(o.ended...)
	if o.soon >= 0 {
		s.pacer.lookBy(time.Now().Add(o.soon))
	}
	if s.drains && len(s.inHand) == 0 {
		s.hasMoreLocked("")
	}
	signal(s.lookNow) // the fetcher may wait for room
	s.mu.Unlock()
	signal(s.drained)
	s.w.metrics.ended(o.ended)
	s.w.metrics.leaseLost(append(o.late, o.lost...))
	for _, r := range o.ended {
		s.w.client.tally.ended(&r.job, r.state, r.took)
	}
	s.logOutcome(&o)
	return o.sent
}

// answeredLocked takes in the answer to a result: the store took it, or it
// no longer counts.
func (s *session) answeredLocked(r *run, a answer, o *outcome) {
	o.done++
	// A running job cannot be deleted. If it is gone, this result was taken
	// before: its answer was lost, here or inside the store, and the
	// finished job is not kept any more.
	if a.Status == FinishLost || a.Status == FinishGone && !r.resent && r.job.Retention > 0 {
		s.dropLocked(r)
		o.lost = append(o.lost, r)
		return
	}
	delete(s.inHand, Run{r.job.ID, r.job.Run})
	o.ended = append(o.ended, r)
	if r.state = a.State; a.Status == FinishGone {
		r.state = r.finish.State
	}
	if s.keeps {
		s.ran = append(s.ran, r.left())
	}
	if a.Wake != "" {
		s.hasMoreLocked(a.Wake)
	}
	if (a.State == Retryable || a.State == Scheduled) && (o.soon < 0 || r.finish.Delay < o.soon) {
		o.soon = r.finish.Delay
	}
}

// unansweredLocked says what becomes of a result that the store did not
// take.
func (s *session) unansweredLocked(r *run, a answer, o *outcome) {
	if a.err != nil {
		r.resent = true
		if a.alone && s.refusedLocked(r, a.err) {
			o.refused = append(o.refused, r)
		}
	}
	switch {
	case r.lost || s.over:
		if r.lost {
			o.late = append(o.late, r)
		}
		s.dropLocked(r)
		o.dropped++
		o.done++
	case r.refused != nil && r.refused.given:
		s.dropLocked(r)
		signal(s.beatNow) // the store hands it back
		o.done++
	case a.err == nil:
		o.again = append(o.again, r)
		o.busy++
	case a.alone: // it may have stopped the others, so it goes behind them
		o.behind = append(o.behind, r)
		o.failed++
	default:
		o.again = append(o.again, r)
		o.failed++
	}
}

// logOutcome logs the results that do not count.
func (s *session) logOutcome(o *outcome) {
	if o.dropped > 0 {
		s.log.Error("onceq: results dropped", "results", o.dropped)
	}
	for _, r := range o.lost {
		s.log.Warn("onceq: result of a lost run", r.attrs()...)
	}
	for _, r := range o.refused {
		attrs := append(r.attrs(), "error", r.refused.last)
		if r.refused.given {
			s.log.Error("onceq: result given up", attrs...)
		} else {
			s.log.Error("onceq: result replaced by a failure", attrs...)
		}
	}
}

// refusedLocked notes that the store refused a result that was sent alone.
// It returns true if that goes on for long, although the store answers
// other calls. Then the result is replaced by a failure without any text of
// the handler; the second time it is given up. Otherwise the heartbeats
// would claim the job for ever, and its key would never move.
func (s *session) refusedLocked(r *run, err error) bool {
	now := time.Now()
	if r.refused == nil {
		r.refused = &refusals{}
	}
	of := r.refused
	if of.n++; of.n == 1 {
		of.since = now
	}
	if !isRefusal(s.base, err) || of.n < 3 || now.Sub(of.since) < 3*s.callLimit() || !s.wellAt.After(of.since) {
		return false
	}
	of.last, of.n = err, 0
	if of.replaced {
		of.given = true
		return true
	}
	of.replaced = true
	reason := fmt.Errorf("the store did not take the result of this run (%s): %s",
		r.finish.State, strconv.QuoteToASCII(bound(err.Error(), 1000)))
	f := &r.finish
	if f.State == Completed {
		var failure Finish
		decideSafely(&failure, &r.job, reason, nil, DefaultRetry)
		f.State, f.Delay = failure.State, failure.Delay
	}
	f.Error, f.Stack, f.Result = reason.Error(), "", nil
	r.failed = &failure{err: reason}
	return true
}
