package storetest

import (
	"context"
	"log/slog"
	"time"

	"github.com/onceq/onceq"
)

// remote is a Remote on the store of the case, and a worker of it.
type remote struct {
	*world
	*onceq.Remote
	me string
	no int64
}

func (w *world) remote() *remote { return w.remoteOn(w.Store) }

func (w *world) remoteOn(store onceq.Store) *remote {
	w.Helper()
	r, err := onceq.NewRemote(store, &onceq.RemoteConfig{Logger: slog.New(slog.DiscardHandler),
		Retry: func(*onceq.JobRow, error) time.Duration { return time.Minute }})
	w.must(err)
	me, err := r.Join(w.ctx, "token", onceq.Joining{Name: "py", Queues: map[string]int{"default": 1},
		About: onceq.WorkerAbout{Lang: "python"}})
	w.must(err)
	return &remote{w, r, me, 0}
}

// next is the next fetch, of one job.
func (r *remote) next(runs ...onceq.Run) onceq.RemoteFetched {
	r.Helper()
	r.no++
	return r.fetchNo(r.no, 0, runs...)
}

func (r *remote) fetchNo(no int64, wait time.Duration, runs ...onceq.Run) onceq.RemoteFetched {
	r.Helper()
	got, err := r.Fetch(r.ctx, onceq.RemoteFetch{Owner: "token", Worker: r.me, No: no, Runs: runs,
		Queues: map[string]int{"default": 1}, Wait: wait})
	r.must(err)
	return got
}

func (r *remote) run() onceq.Run {
	r.Helper()
	got := r.next()
	if len(got.Jobs) != 1 {
		r.Fatalf("fetched %d jobs", len(got.Jobs))
	}
	return onceq.Run{ID: got.Jobs[0].ID, Run: got.Jobs[0].Run}
}

func (r *remote) says(run onceq.Run, outcome string) (onceq.State, error) {
	return r.Finish(r.ctx, "token", r.me, run, onceq.Verdict{Outcome: outcome, Error: "no", Delay: time.Hour})
}

// lookedAt says when a fetch has found nothing.
type lookedAt struct {
	onceq.Store
	empty chan struct{}
}

func (l *lookedAt) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	f, err := l.Store.Fetch(ctx, r)
	if len(f.Jobs) == 0 {
		select {
		case l.empty <- struct{}{}:
		default:
		}
	}
	return f, err
}

// remotely: workers that are not in this process.
var remotely = []scenario{
	{"a_lost_fetch_answer_costs_no_attempt_and_no_lease", func(w *world) {
		r := w.remote()
		j := w.insert(task(1), onceq.Unique{})
		r.next() // nobody gets this answer
		got := r.next()
		equal(w, "handed back", got.Back, 1)
		equal(w, "jobs", len(got.Jobs), 1)
		equal(w, "again", line(got.Jobs[0].ID, got.Jobs[0].Attempt, got.Jobs[0].Run), line(j.ID, 1, 2))
		w.holds(w.is(j.ID, onceq.Running))
		kept := r.next(onceq.Run{ID: j.ID, Run: 2})
		equal(w, "what is in hand stays", line(kept.Back, len(kept.Lost)), line(0, 0))
		w.complete(got.Jobs[0])
	}},
	{"a_fetch_number_that_brought_nothing_may_be_repeated", func(w *world) {
		r := w.remote()
		equal(w, "jobs", len(r.next().Jobs), 0)
		equal(w, "jobs", len(r.fetchNo(r.no, 0).Jobs), 0)
		j := w.insert(task(1))
		got := r.fetchNo(r.no, 0)
		equal(w, "jobs", len(got.Jobs), 1)
		equal(w, "attempt", w.is(j.ID, onceq.Running).Attempt, 1)
		kept := r.next(onceq.Run{ID: j.ID, Run: 1})
		equal(w, "back", kept.Back, 0)
		w.complete(got.Jobs[0])
	}},
	{"a_repeated_finish_gets_the_first_answer_and_a_late_one_changes_nothing", func(w *world) {
		r := w.remote()
		j := w.insert(task(1), onceq.Unique{})
		run := r.run()
		for range 2 {
			state, err := r.says(run, "failed")
			w.must(err)
			equal(w, "state", state, onceq.Retryable)
		}
		w.sameTime("again", w.job(j.ID).RunAt, w.now.Add(time.Hour))
		w.runNow(j.ID)
		second := r.run()
		before := w.job(j.ID)
		_, err := r.says(run, "completed")
		w.wantErr(err, onceq.ErrLeaseLost)
		w.unchanged(before)
		_, err = r.Finish(w.ctx, "other", r.me, second, onceq.Verdict{Outcome: "completed"})
		w.wantErr(err, onceq.ErrLeaseLost)
		w.unchanged(before)
		for range 2 {
			state, err := r.says(second, "completed")
			w.must(err)
			equal(w, "state", state, onceq.Completed)
		}
		w.free(w.is(j.ID, onceq.Completed))
	}},
	{"a_cancelled_remote_run_is_asked_to_stop", func(w *world) {
		r := w.remote()
		j := w.insert(task(1), onceq.Unique{})
		run := r.run()
		w.cancel(j.ID)
		x, err := r.Extend(w.ctx, "token", r.me, []onceq.Run{run}, r.no)
		w.must(err)
		equal(w, "stop", line(x.Stop), line([]onceq.Run{run}))
		state, err := r.says(run, "failed")
		w.must(err)
		equal(w, "state", state, onceq.Cancelled)
	}},
	{"a_remote_worker_that_leaves_hands_back_its_runs", func(w *world) {
		r := w.remote()
		j := w.insert(task(1), onceq.Unique{})
		r.run()
		w.must(r.Leave(w.ctx, "token", r.me))
		equal(w, "attempts", w.is(j.ID, onceq.Available).Attempt, 0)
		equal(w, "workers", len(w.workersNow()), 0)
		w.holds(j)
	}},
	{"a_fetch_that_waits_gets_a_job_soon_after_its_enqueue", func(w *world) {
		w.real()
		store := &lookedAt{w.Store, make(chan struct{}, 1)}
		r := w.remoteOn(store)
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		done := make(chan onceq.RemoteFetched, 1)
		go func() { r.no++; done <- r.fetchNo(r.no, 20*time.Second) }()
		<-store.empty
		j := w.insert(task(1))
		got := <-done
		if len(got.Jobs) != 1 || got.Jobs[0].ID != j.ID {
			w.Fatalf("got %+v", got)
		}
		w.complete(got.Jobs[0])
		cancel()
		w.must(<-ended)
	}},
}
