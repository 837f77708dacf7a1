package guard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/batch"
	"github.com/onceq/onceq/internal/sleep"
)

// errAlone tells a call of a shared trip to go by itself.
var errAlone = errors.New("guard: to be sent alone")

// callLimit is how long one call to the store may take.
func (g *Guard) callLimit() time.Duration {
	return min(max(g.config.Lease/3, time.Second), 10*time.Second)
}

// pause waits before a call is made again, longer each time.
func pause(ctx context.Context, try int) bool {
	d := min(2*time.Millisecond<<min(try, 10), time.Second)
	return sleep.For(ctx, d/2+rand.N(d))
}

// start is a call that starts a claim.
type start struct {
	id     string
	no     int64 // that of the OpStart; 0 = none was sent
	unsure bool  // an answer to it was lost: it is sent again with its number
}

// nextNo is the number of the next OpStart.
func (g *Guard) nextNo() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.no++
	return g.no
}

// sendStarts is one trip of starts. Two copies of a message never share a
// number: the second would be taken for an echo of the first.
func (g *Guard) sendStarts(ctx context.Context, calls []*start) ([]onceq.ChangeResult, []error) {
	no := g.nextNo()
	answers, errs := make([]onceq.ChangeResult, len(calls)), make([]error, len(calls))
	var ids []string
	var at []int
	met := map[string]bool{}
	for i, c := range calls {
		if met[c.id] {
			errs[i] = errAlone
			continue
		}
		met[c.id] = true
		c.no = no
		ids, at = append(ids, c.id), append(at, i)
	}
	results, err := g.change(ctx, onceq.Change{Op: onceq.OpStart, IDs: ids, Worker: g.worker, No: no})
	for n, i := range at {
		if err == nil {
			answers[i] = results[n]
			continue
		}
		s := calls[i]
		s.unsure, errs[i] = errors.Is(err, onceq.ErrUncertain), err
		if len(at) > 1 && !s.unsure {
			errs[i] = errAlone
		}
	}
	return answers, errs
}

func (g *Guard) change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	ctx, cancel := context.WithTimeout(ctx, g.callLimit())
	defer cancel()
	return g.store.Change(ctx, c)
}

// startOnce sends the OpStart of a claim until the answer is definite. It
// returns a run, or why the store did not start one.
func (g *Guard) startOnce(ctx context.Context, t Token) (*Run, onceq.ChangeResult, error) {
	if err := g.begin(ctx, t); err != nil {
		return nil, onceq.ChangeResult{}, err
	}
	s := &start{id: string(t)}
	c, err := g.starts.Do(ctx, s)
	for try := 0; err != nil; try++ {
		switch {
		case errors.Is(err, batch.ErrSent): // the trip goes on, and s is not ours
			g.ended(ctx, t, nil, true)
			return nil, c, fmt.Errorf("guard: start claim %s: %w", t, context.Cause(ctx))
		case errors.Is(err, batch.ErrClosed):
			err = errClosed
		case errors.Is(err, errAlone) || s.unsure:
			if try > 0 && !pause(ctx, try) || ctx.Err() != nil {
				g.ended(ctx, t, nil, s.unsure)
				return nil, c, fmt.Errorf("guard: start claim %s: %w", t, cmpErr(context.Cause(ctx), err))
			}
			c, err = g.startAlone(ctx, s)
			continue
		}
		g.ended(ctx, t, nil, false)
		return nil, c, fmt.Errorf("guard: start claim %s: %w", t, err)
	}
	if errors.Is(c.Err, onceq.ErrLeaseLost) { // the store took this guard for lost
		g.ended(ctx, t, nil, false)
		g.forget()
		return nil, onceq.ChangeResult{}, nil
	}
	if c.Err == nil {
		if _, ours := patienceOf(c.Job); !ours || c.Job.Queue != g.queue {
			g.ended(ctx, t, nil, true) // it goes back where it was
			return nil, c, notOurs(t)
		}
	}
	return g.ended(ctx, t, &c, false), c, nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (g *Guard) startAlone(ctx context.Context, s *start) (onceq.ChangeResult, error) {
	if !s.unsure {
		s.no = g.nextNo()
	}
	results, err := g.change(ctx, onceq.Change{Op: onceq.OpStart, IDs: []string{s.id}, Worker: g.worker, No: s.no})
	if err != nil {
		s.unsure = s.unsure || errors.Is(err, onceq.ErrUncertain)
		return onceq.ChangeResult{}, err
	}
	return results[0], nil
}

// begin notes that a claim is being started, and makes this guard known to the
// store.
func (g *Guard) begin(ctx context.Context, t Token) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	g.starting[string(t)]++
	first := !g.beats
	g.beats = true
	known := time.Now().Before(g.leaseEnd)
	if first {
		g.lapse = time.AfterFunc(time.Hour, g.fence)
		g.loops.Go(g.beatLoop)
	}
	g.mu.Unlock()
	if known {
		return nil
	}
	if err := g.introduce(ctx); err != nil {
		g.ended(ctx, t, nil, false)
		return fmt.Errorf("guard: start claim %s: %w", t, err)
	}
	return nil
}

// ended notes what became of a start: a run that is in hand now, or nothing.
// doubt says that the store may have a run of which nobody here knows.
func (g *Guard) ended(ctx context.Context, t Token, c *onceq.ChangeResult, doubt bool) *Run {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.starting[string(t)]--; g.starting[string(t)] == 0 {
		delete(g.starting, string(t))
	}
	defer g.lessLocked()
	if doubt {
		g.doubts = looks
	}
	if c == nil || c.Err != nil {
		return nil
	}
	r := &Run{g: g, t: t, job: c.Job, free: func() {}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	if d := c.Job.Timeout; d > 0 {
		r.ctx, r.free = context.WithTimeoutCause(r.ctx, d,
			fmt.Errorf("guard: timed out: the run took longer than %v", d))
	}
	g.runs[onceq.Run{ID: c.Job.ID, Run: c.Job.Run}] = r
	if g.closed {
		r.cancel(errShutdown)
	}
	return r
}

// sendEnds is one trip of results.
func (g *Guard) sendEnds(ctx context.Context, calls []*onceq.Finish) ([]onceq.FinishResult, []error) {
	answers, errs := make([]onceq.FinishResult, len(calls)), make([]error, len(calls))
	var runs []onceq.Finish
	var at []int
	met := map[string]bool{}
	bytes := 0
	for i, c := range calls {
		bytes += len(c.Result)
		if met[c.ID] || bytes > 4<<20 && i > 0 { // a run that was lost, and the one after it; or much to send
			errs[i] = errAlone
			continue
		}
		met[c.ID] = true
		runs, at = append(runs, *c), append(at, i)
	}
	results, err := g.finishRuns(ctx, runs)
	for n, i := range at {
		switch {
		case err == nil:
			answers[i] = results[n]
		case len(at) > 1:
			errs[i] = errAlone
		default:
			errs[i] = err
		}
	}
	return answers, errs
}

func (g *Guard) finishRuns(ctx context.Context, runs []onceq.Finish) ([]onceq.FinishResult, error) {
	ctx, cancel := context.WithTimeout(ctx, g.callLimit())
	defer cancel()
	return g.store.Finish(ctx, onceq.FinishRequest{Runs: runs, NoWait: true})
}

// finish records the end of a run. The heartbeat claims the run meanwhile.
func (g *Guard) finish(r *Run, f *onceq.Finish) error {
	run := onceq.Run{ID: r.job.ID, Run: r.job.Run}
	g.mu.Lock()
	r.ending = true
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(g.life, 2*g.config.Lease)
	defer cancel()
	if r.final {
		g.letGo(ctx, r.job, f.State)
	}
	again := false // an answer was lost
	a, err := g.ends.Do(ctx, f)
	for try := 0; err != nil || a.Status == onceq.FinishBusy; try++ {
		again = again || errors.Is(err, onceq.ErrUncertain) || errors.Is(err, errAlone)
		if errors.Is(err, onceq.ErrClosed) || !pause(ctx, try) {
			break
		}
		var results []onceq.FinishResult
		if results, err = g.finishRuns(ctx, []onceq.Finish{*f}); err == nil {
			a = results[0]
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.lessLocked()
	delete(g.runs, run)
	switch {
	case err != nil || a.Status == onceq.FinishBusy:
		g.doubts = looks // if we live on, the store learns that nobody here has the run
		return fmt.Errorf("guard: the result of claim %s was not recorded, and its message will come again: %w", r.t,
			cmpErr(err, context.DeadlineExceeded))
	case a.Status == onceq.FinishDone:
		return nil
	case a.Status == onceq.FinishGone && (again || r.job.Retention == 0):
		return nil // it was recorded, and the claim is not kept
	}
	return fmt.Errorf("guard: claim %s: %w", r.t, onceq.ErrLeaseLost)
}

// letGo releases the key of a claim of [Guard.Do] that has failed, where Window
// or Until would keep it. A process that dies after that leaves a claim without
// a key.
func (g *Guard) letGo(ctx context.Context, j *onceq.JobRow, end onceq.State) {
	if j.Key == nil || end == onceq.Completed || !end.Finished() || j.Hold.Window == 0 && j.Hold.Until.EndsOn(end) {
		return
	}
	var err error
	for try := 0; try < 3 && (try == 0 || pause(ctx, try)); try++ {
		if _, err = g.change(ctx, onceq.Change{Op: onceq.OpRelease, Key: *j.Key, Holder: j.ID}); err == nil {
			return
		}
	}
	g.log.Warn("guard: a run has failed, and its key could not be released: it is held as Window or Until say",
		"claim", j.ID, "error", err)
}
