package onceq

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// finishBatch is how many results travel together.
const finishBatch = 500

// finishLoop delivers results until ctx ends. One batch is under way at a time; what comes in meanwhile travels in the next. A result
// that the store does not take is sent again until it does, or until the lease is over (see fence).
func (s *session) finishLoop(ctx context.Context) {
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.finished:
		}
		for {
			s.gather()
			n, err := s.finish(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				failures++
				s.log.Warn("onceq: results could not be delivered; trying again", "results", n, "error", err, "failures", failures)
				if !sleep(ctx, backoff(failures)) {
					return
				}
				continue
			}
			failures = 0
			if n == 0 {
				break
			}
		}
	}
}

// finish sends one batch of results. On an error, those that were not taken (n of them) wait again.
func (s *session) finish(ctx context.Context) (n int, err error) {
	s.mu.Lock()
	n = min(len(s.results), finishBatch)
	batch := append([]*run(nil), s.results[:n]...)
	s.results = s.results[:copy(s.results, s.results[n:])]
	s.sending = n
	s.mu.Unlock()
	if n == 0 {
		return 0, nil
	}
	requests := make([]Finish, n)
	for i, r := range batch {
		requests[i] = r.finish
	}
	answers, err := s.sendResults(ctx, requests)
	if err != nil && n > 1 && !errors.Is(err, ErrUncertain) && !errors.Is(err, ErrClosed) && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return s.finishEach(ctx, batch, requests, err)
	}
	s.acknowledge(batch, answers, err)
	return n, err
}

// finishEach sends a batch one by one after nothing of it was taken, since one result may be at fault and is not to stop the others.
// Where the first two fail as well it is the store, and the rest is left for later. n is how many were not taken.
func (s *session) finishEach(ctx context.Context, batch []*run, requests []Finish, err error) (n int, _ error) {
	for i := range batch {
		if i == 2 && n == 2 {
			s.acknowledge(batch[i:], nil, err)
			return len(batch), err
		}
		answers, e := s.sendResults(ctx, requests[i:i+1])
		s.acknowledge(batch[i:i+1], answers, e)
		if e != nil {
			n, err = n+1, e
		}
	}
	if n == 0 {
		return len(batch), nil
	}
	return n, err
}

func (s *session) sendResults(ctx context.Context, requests []Finish) ([]FinishResult, error) {
	call, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	answers, err := s.w.store.Finish(call, FinishRequest{Runs: requests, NoWait: true})
	if errors.Is(err, ErrClosed) {
		s.fail(err)
	}
	return answers, err
}

// acknowledge takes runs whose results were taken, or do not count any more, out of hand; the others wait to be sent again.
func (s *session) acknowledge(batch []*run, answers []FinishResult, err error) {
	var again []*run
	soon := time.Duration(-1) // until one of them is due again
	var refused []*run
	dropped := 0
	s.mu.Lock()
	s.sending -= len(batch)
	for i, r := range batch {
		switch {
		case err == nil && answers[i].Status == FinishBusy && !r.lost && !s.over:
			again = append(again, r)
		case err == nil:
			a := answers[i]
			if a.Status == FinishBusy {
				s.dropLocked(r)
				dropped++
				continue
			}
			// A job that runs cannot be deleted. Where it is gone this result was taken before: its
			// answer was lost, here or inside the store, and the finished job is not kept any more.
			if a.Status == FinishLost || a.Status == FinishGone && !r.resent && r.job.Retention > 0 {
				s.dropLocked(r)
				refused = append(refused, r)
				continue
			}
			delete(s.inHand, Run{r.job.ID, r.job.Run})
			if a.Wake != "" {
				s.markLocked(a.Wake)
			}
			if a.State == Retryable || a.State == Scheduled {
				if soon < 0 || r.finish.Delay < soon {
					soon = r.finish.Delay
				}
			}
		case r.lost || s.over:
			s.dropLocked(r)
			dropped++
		default:
			r.resent = true
			again = append(again, r)
		}
	}
	s.results = append(s.results, again...) // behind the others, which they may have stopped
	if due := time.Now().Add(soon); soon >= 0 && due.Before(s.look) {
		s.look = due
		tell(s.lookNow)
	}
	if s.w.config.Drain && len(s.inHand) == 0 {
		s.markLocked("")
	}
	tell(s.lookNow) // the fetcher may have waited for room
	s.mu.Unlock()
	tell(s.drained)
	if err == nil {
		s.w.metrics.count(batch, answers)
	}
	if dropped > 0 {
		s.log.Error("onceq: results are dropped, for the store did not take them in time: these jobs run again", "results", dropped)
	}
	for _, r := range refused {
		s.log.Warn("onceq: the result of a run was refused: it is no longer this worker's, and the job runs again or was run by another", r.attrs()...)
	}
}

// workerMetrics counts runs.
type workerMetrics struct{ runs metric.Int64Counter }

func newWorkerMetrics(provider metric.MeterProvider) (m workerMetrics, err error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m.runs, err = provider.Meter(scope).Int64Counter("onceq.runs",
		metric.WithDescription("Runs that ended, by what became of the job."), metric.WithUnit("{run}"))
	return m, err
}

func (m workerMetrics) count(batch []*run, answers []FinishResult) {
	ctx := context.Background()
	if !m.runs.Enabled(ctx) {
		return
	}
	type group struct {
		queue, kind string
		state       State
	}
	counts := map[group]int64{}
	for i, r := range batch {
		if answers[i].Status == FinishDone {
			counts[group{r.job.Queue, r.job.Kind, answers[i].State}]++
		}
	}
	for g, n := range counts {
		m.runs.Add(ctx, n, metric.WithAttributeSet(attribute.NewSet(
			attribute.String("queue", g.queue), attribute.String("kind", g.kind), attribute.String("state", string(g.state)))))
	}
}
