package onceq

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// run is one run of a job by this worker.
type run struct {
	job    JobRow  // as it was fetched
	row    *JobRow // the copy that the handler gets
	ctx    context.Context
	cancel context.CancelCauseFunc
	queue  *queue
	leaves outcomeOfRun // by the handler

	failed *failure // nil = it did not fail

	// Guarded by session.mu:
	ended      bool // the handler has returned
	stopped    bool // a cancel was requested
	lost       bool // the result does not count
	resent     bool // its Finish was sent before, and may have been taken
	handedBack bool // it was cut short by a shutdown
	finish     Finish
	timed
	span    trace.Span // nil = it has none
	state   State      // as the store recorded it
	refused *refusals  // nil = none
}

// failure is what a handler returned, and why its context had ended; for
// OnFinish.
type failure struct{ err, cause error }

// refusals are those of a Finish that was sent alone.
type refusals struct {
	n        int       // in its present form
	since    time.Time // when the first came
	last     error     // the latest
	replaced bool      // it no longer has what the handler returned
	given    bool      // given up: it is not sent any more
}

func (s *session) newRun(job *JobRow) *run {
	r := &run{job: *job, row: job, leaves: outcomeOfRun{of: Run{job.ID, job.Run}}}
	r.ctx, r.cancel = context.WithCancelCause(s.base)
	r.ctx = context.WithValue(r.ctx, outcomeKey{}, &r.leaves)
	return r
}

func (r *run) attrs() []any {
	return []any{"job", r.job.ID, "kind", r.job.Kind, "queue", r.job.Queue, "run", r.job.Run, "attempt", r.job.Attempt}
}

// startLocked lets the handlers of runs begin.
func (s *session) startLocked(runs []*run) {
	s.toStart = append(s.toStart, runs...)
	s.callRunnerLocked()
}

// callRunnerLocked makes sure that a runner is coming while there are runs
// to start.
func (s *session) callRunnerLocked() {
	if len(s.toStart) > 0 && !s.runnerComes {
		s.runnerComes = true
		go s.runner()
	}
}

// runner calls one handler after another while there are runs to start.
// Before each it calls another runner for the next run, so that no handler
// waits for another to end. If handlers end at once, a few runners do all
// the work, and their stacks need not grow again for each.
func (s *session) runner() {
	s.mu.Lock()
	s.runnerComes = false
	for len(s.toStart) > 0 && !s.over {
		r := s.toStart[0]
		s.toStart[0] = nil // so that it can be freed after it ran
		s.toStart = s.toStart[1:]
		s.callRunnerLocked()
		if len(s.toStart) == 0 && s.pacer.wantsMore() {
			signal(s.lookNow) // the fetcher waits until all have started
		}
		s.mu.Unlock()
		s.execute(r)
		s.mu.Lock()
	}
	s.mu.Unlock()
}

// execute calls the handler and settles what it returned, however it ended: the
// goroutine may end with it.
func (s *session) execute(r *run) {
	r.ctx, r.span = s.w.tracing.process(r.ctx, &r.job, s.name)
	ctx := r.ctx
	if r.job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.job.Timeout, &timeoutError{r.job.Timeout})
		defer cancel()
	}
	err := errGoexit
	if s.w.client.tally != nil || s.w.metrics.timesRuns() {
		r.began = time.Now()
	}
	defer func() {
		r.end()
		if err == errGoexit {
			if p := recover(); p != nil { // also of panic(nil): a *runtime.PanicNilError
				err = &panicError{p, panicStack(debug.Stack())}
			}
		}
		s.settle(r, err, context.Cause(ctx))
	}()
	if undecoded := s.decode(ctx, r); undecoded != nil {
		err = undecoded
		return
	}
	err = s.w.handle(ctx, r.row)
}

// decode decodes the args of a run, if they are encoded.
func (s *session) decode(ctx context.Context, r *run) error {
	if r.leaves.encoded = r.row.EncodedBy() != ""; !r.leaves.encoded {
		return nil
	}
	if err := s.w.client.decode(ctx, r.row); err != nil {
		return &undecodedRun{err}
	}
	r.job.Args, r.job.Encoding = r.row.Args, r.row.Encoding
	return nil
}

// panicStack is a stack without the frames above the call of panic.
func panicStack(stack []byte) string {
	text := string(stack)
	if _, rest, ok := strings.Cut(text, "\npanic("); ok {
		if lines := strings.SplitN(rest, "\n", 3); len(lines) == 3 {
			text = lines[2]
		}
	}
	return text
}

// settle decides what becomes of a run whose handler has ended. cause is
// why its context ended; nil if it did not.
func (s *session) settle(r *run, err, cause error) {
	var f Finish
	defer func() { s.settled(r, f, cause) }() // even if the error or the policy ends this goroutine
	if err = s.ended(r, err); err != nil {
		r.failed = &failure{err, cause}
	}
	decideSafely(&f, &r.job, err, cause, s.w.config.retryOf(&r.job))
}

// settled frees the slot of a run and hands its result to the finisher.
func (s *session) settled(r *run, f Finish, cause error) {
	r.cancel(nil)
	if f.Worker = s.name; f.State.Finished() {
		f.Result = r.leaves.get()
	}

	s.mu.Lock()
	r.ended = true
	if s.over { // Run has returned and named this handler in its error
		s.mu.Unlock()
		r.traced(&f, false)
		return
	}
	s.work.Add(1) // Run waits for the line and for the end of the span
	defer s.work.Done()
	lost := r.lost
	defer func() { r.traced(&f, lost) }()
	r.finish = f
	r.handedBack = f.State == Scheduled && f.Delay == 0 && cause == ErrShutdown
	s.running--
	r.queue.take(-1)
	s.giveBackLocked(r.queue, 0)
	if lost {
		s.dropLocked(r)
		signal(s.beatNow) // if the store still has it as ours, it hands it back
		if s.drains {
			s.hasMoreLocked("")
		}
	} else {
		s.results = append(s.results, r)
		signal(s.finished)
	}
	if r.queue.more && len(s.toStart) == 0 {
		signal(s.lookNow)
	}
	if s.running == 0 {
		signal(s.drained)
	}
	s.mu.Unlock()
	if lost {
		s.log.Warn("onceq: result of a lost run", r.attrs()...)
	} else if f.State != Completed {
		s.report(r, f)
	}
}

// dropLocked takes a run out of hand whose result does not count.
func (s *session) dropLocked(r *run) {
	delete(s.inHand, Run{r.job.ID, r.job.Run})
	s.dropped++
}

// report logs a run that did not simply complete.
func (s *session) report(r *run, f Finish) {
	attrs := append(r.attrs(), "of", r.job.MaxAttempts)
	if f.Delay > 0 {
		attrs = append(attrs, "again_in", f.Delay.Round(time.Millisecond))
	}
	if f.Error != "" {
		attrs = append(attrs, "error", f.Error)
	}
	if f.Stack != "" {
		attrs = append(attrs, "stack", f.Stack)
	}
	switch {
	case r.handedBack:
		s.log.InfoContext(r.ctx, "onceq: run handed back", attrs...)
	case f.State == Scheduled && f.Error != "":
		s.log.ErrorContext(r.ctx, "onceq: args do not decode here", attrs...)
	case f.State == Scheduled:
		s.log.DebugContext(r.ctx, "onceq: job snoozed", attrs...)
	case f.State == Cancelled:
		s.log.InfoContext(r.ctx, "onceq: job cancelled", attrs...)
	case f.State == Discarded:
		s.log.ErrorContext(r.ctx, "onceq: job discarded", attrs...)
	default:
		s.log.WarnContext(r.ctx, "onceq: run failed", attrs...)
	}
}
