package guard

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/sleep"
	"github.com/onceq/onceq/internal/suspect"
)

// beatLoop renews the lease at a third of its length, sooner after a failure,
// and at once when an operator asks a run to stop.
func (g *Guard) beatLoop() {
	var stops <-chan onceq.Wake
	if wake := g.store.Traits().Wake; wake != nil {
		stops, _ = wake(g.life, onceq.WakeRequest{Worker: g.worker})
	}
	failures := 0
	for first := true; ; first = false {
		wait := g.config.Lease / 3
		wait -= rand.N(wait/10 + 1)
		if first {
			wait = 0 // a stop that was asked for before we listened
		} else if failures > 0 {
			wait = min(g.config.Lease/12, time.Second)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case _, open := <-stops:
			if !open {
				stops = nil
			}
		case <-g.life.Done():
		}
		t.Stop()
		if g.life.Err() != nil {
			return
		}
		err := g.beat(g.life)
		if err == nil {
			failures = 0
			err = g.tidy(g.life)
		} else {
			failures++
		}
		if err != nil && g.life.Err() == nil && failures&(failures-1) == 0 {
			g.log.Warn("guard: heartbeat failed; trying again", "error", err, "failures", failures)
		}
		sleep.For(g.life, min(g.config.Lease/100, 50*time.Millisecond)) // many stops share a heartbeat
	}
}

// beat is a heartbeat. It never says that a start is over (FetchesDone), so
// nothing is ever handed back: a claim that was handed back would be due, and
// its key could be taken.
func (g *Guard) beat(ctx context.Context) error {
	g.beating.Lock()
	defer g.beating.Unlock()
	return g.beatLocked(ctx, min(g.callLimit(), max(g.config.Lease/3, 100*time.Millisecond)))
}

// introduce sends a heartbeat if the store may not know this guard. Of many
// starts that come together, one does it for all.
func (g *Guard) introduce(ctx context.Context) error {
	g.beating.Lock()
	defer g.beating.Unlock()
	g.mu.Lock()
	known := time.Now().Before(g.leaseEnd)
	g.mu.Unlock()
	if known {
		return nil
	}
	return g.beatLocked(ctx, g.callLimit())
}

func (g *Guard) beatLocked(ctx context.Context, limit time.Duration) error {
	g.mu.Lock()
	r := onceq.ExtendRequest{Worker: g.worker, Lease: g.config.Lease, Runs: sortedRuns(g.runs)}
	first := g.leaseEnd.IsZero()
	g.mu.Unlock()
	if first {
		host, _ := os.Hostname()
		r.About, _ = json.Marshal(onceq.WorkerAbout{Host: host[:min(len(host), 128)], PID: os.Getpid(), Lang: "go",
			Queues: map[string]int{g.queue: 0}})
	}
	sent := time.Now() // the store counts from later, so we give up first
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	x, err := g.store.Extend(ctx, r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaseEnd = sent.Add(g.config.Lease)
	if g.lapse != nil {
		g.lapse.Reset(max(time.Until(g.leaseEnd), 0))
	}
	for _, run := range x.Lost {
		if r := g.runs[run]; r != nil && !r.ending { // else the answer to its Finish decides
			g.log.Warn("guard: a run is no longer this process's: it is cancelled", "claim", run.ID, "run", run.Run)
			r.cancel(onceq.ErrLeaseLost)
		}
	}
	for _, run := range x.Stop {
		if r := g.runs[run]; r != nil && !r.ending && r.ctx.Err() == nil {
			g.log.Info("guard: a run is asked to stop", "claim", run.ID, "run", run.Run)
			r.cancel(onceq.ErrCancelRequested)
		}
	}
	return nil
}

// fence ends all runs when the lease is over by our own clock: others may have
// them by now.
func (g *Guard) fence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.leaseEnd) || g.over {
		return
	}
	if len(g.runs) > 0 {
		g.log.Error("guard: the lease is over, for no heartbeat reached the store in time: runs are cancelled",
			"runs", len(g.runs))
	}
	for _, r := range g.runs {
		r.cancel(onceq.ErrLeaseLost)
	}
}

// forget makes the next start send a heartbeat first.
func (g *Guard) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaseEnd = time.Unix(1, 0)
}

// leave takes leave of the store. Nothing runs for this guard.
func (g *Guard) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.callLimit())
	defer cancel()
	if _, err := g.store.Extend(ctx, onceq.ExtendRequest{Worker: g.worker}); err != nil &&
		!errors.Is(err, onceq.ErrClosed) {
		g.log.Warn("guard: could not take leave of the store", "error", err)
	}
}

// looks is how often the guard looks for stray runs after a doubt.
const looks = 3

// tidy ends runs that the store has for this guard and of which nobody here
// knows: the answer to a start was lost, or a result could not be recorded. The
// claims keep their keys and their patience, as after a hand-back of a job.
func (g *Guard) tidy(ctx context.Context) error {
	g.mu.Lock()
	todo := g.doubts > 0
	g.mu.Unlock()
	if !todo {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.callLimit())
	defer cancel()
	page, err := g.store.List(ctx, onceq.ListRequest{Worker: g.worker, States: []onceq.State{onceq.Running},
		Args: true, Limit: 1000})
	if err != nil {
		return err
	}
	var strays []onceq.Finish
	g.mu.Lock()
	for _, j := range page.Jobs {
		if g.runs[onceq.Run{ID: j.ID, Run: j.Run}] == nil && g.starting[j.ID] == 0 {
			patience, _ := patienceOf(j)
			strays = append(strays, onceq.Finish{ID: j.ID, Run: j.Run, Worker: g.worker, State: onceq.Scheduled,
				Delay: patience, GiveBack: true})
		}
	}
	if g.doubts--; len(strays) > 0 || page.Next != "" {
		g.doubts = looks
	}
	g.mu.Unlock()
	if len(strays) == 0 {
		return nil
	}
	_, err = g.store.Finish(ctx, onceq.FinishRequest{Runs: strays, NoWait: true})
	return err
}

// sweepLoop tidies the store, so that it needs no worker.
func (g *Guard) sweepLoop() {
	s := sweeper{g: g, suspects: suspect.List[onceq.Beat]{Grace: g.config.Lease / 2}}
	wait := rand.N(g.config.Lease / 3)
	for failures := 0; sleep.For(g.life, wait); {
		more, err := s.sweep(g.life)
		wait = g.config.Lease*3/4 + rand.N(g.config.Lease/2)
		g.mu.Lock()
		if g.beats { // it runs messages, and so do others
			wait /= 3
		}
		g.mu.Unlock()
		if next, ok := s.suspects.Next(time.Now()); ok {
			wait = min(wait, next+rand.N(g.config.Lease/60+1))
		}
		switch {
		case g.life.Err() != nil || errors.Is(err, onceq.ErrClosed):
			return
		case err != nil:
			if failures++; failures&(failures-1) == 0 {
				g.log.Warn("guard: sweep failed; trying again later", "error", err, "failures", failures)
			}
		case more:
			wait = min(wait, 50*time.Millisecond)
			failures = 0
		default:
			failures = 0
		}
	}
}

// sweeper is what is kept between sweeps.
type sweeper struct {
	g        *Guard
	suspects suspect.List[onceq.Beat]
	looked   time.Time // when it last looked for abandoned claims
}

// sweep does one round. more says that another is due soon.
func (s *sweeper) sweep(ctx context.Context) (more bool, err error) {
	g := s.g
	ctx, cancel := context.WithTimeout(ctx, g.callLimit())
	defer cancel()
	swept, err := g.store.Sweep(ctx, onceq.SweepRequest{Limit: 500, Lost: s.suspects.Lost(time.Now())})
	if err != nil {
		return false, err
	}
	s.suspects.Note(swept.Expired, swept.More, func(b onceq.Beat) bool { return b.Worker == g.worker }, time.Now())
	if err := s.rescue(ctx, swept.Runs); err != nil {
		return false, err
	}
	abandoned, err := s.dropAbandoned(ctx)
	return swept.More || len(swept.Runs) > 0 || abandoned, err
}

// rescue ends the runs of processes that were lost: they have failed, and the
// message comes again. A claim keeps its key and its patience.
func (s *sweeper) rescue(ctx context.Context, jobs []*onceq.JobRow) error {
	if len(jobs) == 0 {
		return nil
	}
	runs := make([]onceq.Finish, len(jobs))
	for i, j := range jobs {
		policy := onceq.DefaultRetry
		if patience, ok := patienceOf(j); ok {
			policy = func(*onceq.JobRow, error) time.Duration { return patience }
		}
		runs[i] = decide(j, errors.New(j.Worker+" was lost: its lease ended while it ran this"), nil, policy)
		runs[i].Worker, runs[i].Rescue = s.g.worker, true
	}
	results, err := s.g.store.Finish(ctx, onceq.FinishRequest{Runs: runs, NoWait: true})
	for i, r := range results {
		if r.Status == onceq.FinishDone {
			s.g.log.Warn("guard: a run is rescued: its process was lost", "claim", jobs[i].ID, "run", jobs[i].Run,
				"lost", jobs[i].Worker, "state", r.State)
		}
	}
	return err
}

// dropAbandoned deletes claims that have lapsed longer ago than they would be
// kept if they had ended: nobody took their key, and their message never came.
func (s *sweeper) dropAbandoned(ctx context.Context) (more bool, err error) {
	g := s.g
	if time.Since(s.looked) < min(2*g.config.Lease, time.Minute) {
		return false, nil
	}
	s.looked = time.Now()
	due := onceq.ListRequest{Queue: g.queue, States: []onceq.State{onceq.Available}, Limit: 1000}
	for ctx.Err() == nil {
		page, err := g.store.List(ctx, due)
		if err != nil {
			return false, err
		}
		var ids []string
		for _, j := range page.Jobs {
			if page.Now.Sub(j.RunAt) > j.Retention {
				ids = append(ids, j.ID)
			}
		}
		if len(ids) > 0 { // one that was moved or started meanwhile is in another state
			drop := onceq.Change{Op: onceq.OpDelete, IDs: ids, States: due.States}
			if _, err := g.store.Change(ctx, drop); err != nil {
				return false, err
			}
		}
		if due.Cursor = page.Next; page.Next == "" {
			return false, nil
		}
	}
	return true, ctx.Err()
}
