package storetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

func (w *world) workersNow() (lines []string) {
	w.Helper()
	all, err := w.client.Workers(w.ctx)
	w.must(err)
	for _, i := range all {
		lines = append(lines, fmt.Sprintf("%s since %v, beat %v, until %v, late %v, %d run, %s", i.Name,
			w.now.Sub(i.Since), w.now.Sub(i.BeatAt), i.LeaseUntil.Sub(w.now), i.Late, i.Running, i.About))
	}
	return lines
}

// knownWorkers: who works, since when, on how much, and what a job waits for.
var knownWorkers = []scenario{
	{"a_worker_is_known_from_its_first_heartbeat_until_it_leaves", func(w *world) {
		equal(w, "workers", len(w.workersNow()), 0)
		beat := func(r onceq.ExtendRequest) {
			_, err := w.Store.Extend(w.ctx, r)
			w.must(err)
		}
		about := `{"host":"a","lang":"go"}`
		beat(onceq.ExtendRequest{Worker: "b", Lease: time.Minute, About: []byte(about)})
		beat(onceq.ExtendRequest{Worker: "a", Lease: time.Hour})
		w.after(10 * time.Second)
		beat(onceq.ExtendRequest{Worker: "b", Lease: time.Minute})
		w.after(time.Second)
		equal(w, "workers", strings.Join(w.workersNow(), "\n"),
			"a since 11s, beat 11s, until 59m49s, late false, 0 run, \n"+
				"b since 11s, beat 1s, until 59s, late false, 0 run, "+about)
		w.after(time.Minute)
		beat(onceq.ExtendRequest{Worker: "a", Lease: time.Hour, About: []byte(`{"host":"new"}`)})
		equal(w, "workers", strings.Join(w.workersNow(), "\n"),
			"b since 1m11s, beat 1m1s, until -1s, late true, 0 run, "+about+"\n"+
				`a since 1m11s, beat 0s, until 1h0m0s, late false, 0 run, {"host":"new"}`)
		beat(onceq.ExtendRequest{Worker: "b"}) // it leaves
		beat(onceq.ExtendRequest{Worker: "a"})
		equal(w, "workers", len(w.workersNow()), 0)
		beat(onceq.ExtendRequest{Worker: "b", Lease: time.Minute})
		equal(w, "workers", strings.Join(w.workersNow(), "\n"), "b since 0s, beat 0s, until 1m0s, late false, 0 run, ")
	}},
	{"a_worker_is_listed_with_its_runs_until_it_is_forgotten", func(w *world) {
		w.fill(7, task(0))
		w.complete(w.fetch("one", "default", 4)[0])
		w.fetch("two", "default", 2)
		running := func() string {
			all, err := w.Store.Workers(w.ctx)
			w.must(err)
			var s []string
			for _, i := range all {
				s = append(s, fmt.Sprint(i.Name, " ", i.Running, " ", i.Late))
			}
			return strings.Join(s, ", ")
		}
		equal(w, "running", running(), "one 3 false, two 2 false")
		w.after(time.Hour)
		lost := w.sweep().Expired
		equal(w, "running", running(), "one 3 true, two 2 true")
		for _, j := range w.sweep(lost...).Runs {
			_, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: "s",
				Rescue: true, State: onceq.Scheduled}}})
			w.must(err)
		}
		w.sweep(lost...)
		equal(w, "running", running(), "")
	}},
	{"a_worker_says_what_it_is_and_a_job_why_it_does_not_run", func(w *world) {
		w.real()
		why := func(j *onceq.JobRow) string {
			reasons, err := w.client.NotRunning(w.ctx, w.job(j.ID))
			w.must(err)
			return strings.Join(reasons, "; ")
		}
		other := w.insert(mail{To: "a"})
		elsewhere := w.insert(task(1), onceq.Queue("elsewhere"))
		equal(w, "why", why(other), "no worker runs")
		worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{ID: "named",
			Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 3}}})
		w.must(err)
		started, release := make(chan struct{}), make(chan struct{})
		onceq.Handle(worker, func(context.Context, *onceq.Job[task]) error {
			started <- struct{}{}
			<-release
			return nil
		})
		ctx, stop := context.WithCancel(w.ctx)
		ended := make(chan error)
		go func() { ended <- worker.Run(ctx) }()
		holder := w.insert(task(2), key, coalesce)
		<-started
		all, err := w.client.Workers(w.ctx)
		w.must(err)
		equal(w, "workers", len(all), 1)
		about := all[0].Details()
		equal(w, "about", line(strings.HasPrefix(all[0].Name, "named"), about.Lang, about.PID > 0,
			about.Queues["default"], about.Kinds, all[0].Running, all[0].Late), "true go true 3 [task] 1 false")
		waiter := w.enqueue(onceq.Coalesced, task(3), key, coalesce).Job
		later := w.insert(task(4), onceq.Delay(time.Hour))
		w.must(w.client.Pause(w.ctx, "default"))
		equal(w, "why", why(holder), "")
		equal(w, "why", why(waiter), "it stands behind job "+holder.ID+", and starts when that run has ended; "+
			"queue default is paused: onceq queue resume default")
		w.must(w.client.PauseFor(w.ctx, "default", time.Hour))
		if got := why(later); !strings.Contains(got, "; queue default is paused until ") ||
			!strings.HasSuffix(got, ", for 1h: onceq queue resume default") {
			w.Errorf("a job of a queue that is paused for an hour does not run because %q", got)
		}
		w.must(w.client.Resume(w.ctx, "default"))
		equal(w, "why", why(other), "no worker that serves queue default takes kind mail")
		equal(w, "why", why(elsewhere), "no worker serves queue elsewhere")
		if got := why(later); !strings.HasPrefix(got, "it is due at ") {
			w.Errorf("a later job does not run because %q", got)
		}
		go func() {
			for range started {
			}
		}()
		close(release)
		stop()
		w.must(<-ended)
		close(started)
	}},
}
