package onceq

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// callForLocked hands runs whose results are in the store to OnFinish.
func (s *session) callForLocked(runs ...*run) {
	if s.w.config.OnFinish == nil {
		return
	}
	for _, r := range runs {
		if !r.handedBack && !isReserved(r.job.Queue, r.job.Kind) {
			s.calls = append(s.calls, r)
		}
	}
	s.callLocked()
}

func (s *session) isCallingLocked() bool { return s.calling || len(s.calls) > 0 }

// callLocked makes sure that a goroutine calls OnFinish while there are runs
// to call it for.
func (s *session) callLocked() {
	if len(s.calls) > 0 && !s.calling && !s.mute {
		s.calling = true
		go s.callOnFinish()
	}
}

// callOnFinish calls OnFinish for one run after another. If it panics or ends
// the goroutine, another goroutine goes on with the next run.
func (s *session) callOnFinish() {
	var r *run
	defer func() {
		p, stack := recover(), debug.Stack()
		s.mu.Lock()
		said := p == nil || s.mute
		if !said {
			s.work.Add(1) // Run waits for the line
		}
		s.mu.Unlock()
		if !said {
			s.log.Error("onceq: OnFinish panicked", append(r.attrs(), "panic", fmt.Sprint(p),
				"stack", panicStack(stack))...)
			s.work.Done()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calling = false
		s.callLocked()
		if s.w.config.Drain && !s.isCallingLocked() { // a call may have enqueued something
			s.hasMoreLocked("")
		}
		signal(s.drained)
	}()
	for r = s.nextCall(); r != nil; r = s.nextCall() {
		s.w.config.OnFinish(s.callsCtx, s.outcomeRow(r), r.why())
	}
}

func (s *session) nextCall() (r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) > 0 && !s.mute {
		r = s.calls[0]
		s.calls[0] = nil // so that it can be freed
		s.calls = s.calls[1:]
		if len(s.results)+s.sending+len(s.calls) == maxUnsent-1 {
			signal(s.lookNow) // the fetcher waits for room
		}
	}
	return r
}

// silence ends the calls of OnFinish. One that is under way has a second to
// return.
func (s *session) silence(deadline time.Time) error {
	s.mu.Lock()
	s.mute = true
	missed := len(s.calls)
	s.mu.Unlock()
	s.endCalls()
	if latest := time.Now().Add(time.Second); deadline.After(latest) {
		deadline = latest
	}
	s.await(deadline, func() bool { return !s.calling })
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.calling {
		errs = append(errs, fmt.Errorf("onceq: worker %s: OnFinish did not return when its context was cancelled",
			s.name))
	}
	if missed > 0 {
		errs = append(errs, fmt.Errorf("onceq: worker %s: OnFinish was not called for %s, for there was no time",
			s.name, plural(missed, "run")))
	}
	return errors.Join(errs...)
}

// outcomeRow is the job as the run left it.
func (s *session) outcomeRow(r *run) *JobRow {
	row := r.left()
	if r.finish.State.Finished() {
		row.Result = r.finish.Result
	}
	if row.EncodedBy() != "" { // nobody here ran it; if they do not decode, they stay as they are
		_ = s.w.client.decode(s.callsCtx, row)
	}
	return row
}

// why is the error of a run: what the handler returned, after the reason why
// its context ended.
func (r *run) why() (err error) {
	if r.failed == nil {
		return nil
	}
	err = errors.New(r.finish.Error) // for a method of the error that panics
	defer func() { _ = recover() }()
	return blame(r.failed.err, r.failed.cause)
}
