package storetest

import (
	"time"

	"github.com/onceq/onceq"
)

// known makes a worker known to the store, with a lease of a minute.
func (w *world) known(worker string) {
	w.Helper()
	if _, ok := w.fetches[worker]; ok {
		return
	}
	w.extend(onceq.ExtendRequest{Worker: worker, Lease: time.Minute})
	w.fetches[worker] = 0
}

func (w *world) extend(r onceq.ExtendRequest) onceq.Extended {
	w.Helper()
	x, err := w.Store.Extend(w.ctx, r)
	w.must(err)
	return x
}

// fetch asks for up to n jobs of a queue for a worker, and only of these
// kinds if any are named.
func (w *world) fetch(worker, queue string, n int, kinds ...string) []*onceq.JobRow {
	w.Helper()
	return w.fetched(worker, []onceq.QueueSlots{{Queue: queue, Slots: n}}, kinds...).Jobs
}

func (w *world) fetched(worker string, slots []onceq.QueueSlots, kinds ...string) onceq.Fetched {
	w.Helper()
	w.known(worker)
	w.fetches[worker]++
	f, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: worker, No: w.fetches[worker],
		Queues: slots, Kinds: kinds})
	w.must(err)
	return f
}

// start fetches one job of the default queue for the worker "w". There must
// be one.
func (w *world) start() *onceq.JobRow {
	w.Helper()
	return w.startAs("w", "default")
}

func (w *world) startAs(worker, queue string) *onceq.JobRow {
	w.Helper()
	jobs := w.fetch(worker, queue, 1)
	if len(jobs) != 1 {
		w.Fatalf("worker %q fetched %d jobs of %q, want 1", worker, len(jobs), queue)
	}
	if j := jobs[0]; j.State != onceq.Running || j.Worker != worker {
		w.Fatalf("fetched a job that is %s at worker %q", j.State, j.Worker)
	}
	return jobs[0]
}

// starts fetches one job, which must be this one.
func (w *world) starts(id string) *onceq.JobRow {
	w.Helper()
	j := w.start()
	if j.ID != id {
		w.Fatalf("fetched %s (args %s), want %s", j.ID, j.Args, id)
	}
	return j
}

// idle wants nothing to be there to fetch in the default queue.
func (w *world) idle() {
	w.Helper()
	if jobs := w.fetch("w", "default", 10); len(jobs) > 0 {
		w.Fatalf("fetched %d jobs, want none: the first is %s (args %s, behind %q)", len(jobs), jobs[0].ID,
			jobs[0].Args, jobs[0].Behind)
	}
}

// finish sends one Finish of the run that j was fetched for, by the worker
// that fetched it.
func (w *world) finish(j *onceq.JobRow, f onceq.Finish) onceq.FinishResult {
	w.Helper()
	f.ID, f.Run = j.ID, j.Run
	if f.Worker == "" {
		f.Worker = j.Worker
	}
	results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: []onceq.Finish{f}})
	w.must(err)
	if len(results) != 1 {
		w.Fatalf("%d results for one Finish", len(results))
	}
	return results[0]
}

// ends finishes a run and wants it to count, and to be recorded as this state.
func (w *world) ends(j *onceq.JobRow, f onceq.Finish, recorded onceq.State) onceq.FinishResult {
	w.Helper()
	r := w.finish(j, f)
	if r.Status != onceq.FinishDone || r.State != recorded {
		w.Fatalf("finish of %s as %s: status %d, recorded as %q, want %q", j.ID, f.State, r.Status, r.State, recorded)
	}
	return r
}

func (w *world) complete(j *onceq.JobRow) onceq.FinishResult {
	w.Helper()
	return w.ends(j, onceq.Finish{State: onceq.Completed}, onceq.Completed)
}

// completeAll completes many runs in one step.
func (w *world) completeAll(jobs []*onceq.JobRow) {
	w.Helper()
	var ends []onceq.Finish
	for _, j := range jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed})
	}
	results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: ends})
	w.must(err)
	for i, r := range results {
		equal(w, jobs[i].ID, line(r.Status, r.State), line(onceq.FinishDone, onceq.Completed))
	}
}

func (w *world) discard(j *onceq.JobRow) onceq.FinishResult {
	w.Helper()
	return w.ends(j, onceq.Finish{State: onceq.Discarded, Error: "hopeless"}, onceq.Discarded)
}

func (w *world) cancelled(j *onceq.JobRow) onceq.FinishResult {
	w.Helper()
	return w.ends(j, onceq.Finish{State: onceq.Cancelled, Error: "not wanted"}, onceq.Cancelled)
}

func (w *world) fail(j *onceq.JobRow, backoff time.Duration) onceq.FinishResult {
	w.Helper()
	return w.ends(j, onceq.Finish{State: onceq.Retryable, Delay: backoff, Error: "no luck"}, onceq.Retryable)
}

func (w *world) snooze(j *onceq.JobRow, d time.Duration) onceq.FinishResult {
	w.Helper()
	return w.ends(j, onceq.Finish{State: onceq.Scheduled, Delay: d, GiveBack: true}, onceq.Scheduled)
}

func (w *world) handBack(j *onceq.JobRow) onceq.FinishResult {
	w.Helper()
	return w.snooze(j, 0)
}
