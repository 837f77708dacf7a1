package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// order is the args of jobs in the order in which they were fetched.
func order(jobs []*onceq.JobRow) string {
	var args []string
	for _, j := range jobs {
		args = append(args, string(j.Args))
	}
	return strings.Join(args, " ")
}

// fetching: which jobs start, and how.
var fetching = []scenario{
	{"one_fetch_that_starts_a_former_holder_and_the_holder_releases_the_key", func(w *world) {
		started := onceq.Unique{By: onceq.ByKind, Until: onceq.UntilStarted}
		first := w.insert(task(1), started)
		w.must(w.client.ReleaseKey(w.ctx, *first.Key))
		second := w.insert(task(2), started)
		equal(w, "jobs", line(ids(w.fetch("w", "default", 2))), line([]string{first.ID, second.ID}))
		w.insert(task(3), started)
	}},
	{"a_fetched_job_runs_with_one_more_attempt_and_the_next_run_number", func(w *world) {
		j := w.insert(task(1), onceq.Tags("t"), onceq.Meta(map[string]any{"m": 1}))
		w.after(time.Second)
		run := w.starts(j.ID)
		equal(w, "run", line(run.Attempt, run.Run, run.Worker, run.State, string(run.Args), run.Tags, run.Meta),
			"1 1 w running 1 [t] map[m:1]")
		w.sameTime("started at", run.StartedAt, start.Add(time.Second))
		w.sameTime("run at", run.RunAt, start)
		equal(w, "the row", show(w.job(j.ID)), show(run))
		w.fail(run, 0)
		run = w.starts(j.ID)
		equal(w, "run", line(run.Attempt, run.Run, len(run.Errors)), "2 2 1")
		w.snooze(run, 0)
		run = w.starts(j.ID)
		equal(w, "run", line(run.Attempt, run.Run), "2 3")
	}},
	{"lower_priority_numbers_go_first", func(w *world) {
		for i, p := range []int{5, 9, 0, 4, 5, 1} {
			w.insert(task(i), onceq.Priority(p))
		}
		equal(w, "order", order(w.fetch("w", "default", 10)), "2 5 3 0 4 1")
	}},
	{"within_a_priority_the_earlier_run_time_goes_first_then_the_smaller_id", func(w *world) {
		w.insert(task(1), onceq.ID("c"), onceq.Delay(minute))
		w.insert(task(2), onceq.ID("b"), onceq.Delay(minute))
		w.insert(task(3), onceq.ID("z"), onceq.Delay(time.Second))
		w.insert(task(4), onceq.ID("a"), onceq.Delay(minute), onceq.Priority(6))
		w.insert(task(5), onceq.ID("B"), onceq.Delay(minute))
		w.after(minute)
		equal(w, "order", order(w.fetch("w", "default", 10)), "3 5 2 1 4")
	}},
	{"due_is_a_question_of_the_clock_alone", func(w *world) {
		j := w.insert(task(1), onceq.Delay(1500*time.Millisecond))
		w.after(1499 * time.Millisecond)
		w.is(j.ID, onceq.Scheduled)
		w.idle()
		w.after(time.Millisecond)
		w.is(j.ID, onceq.Available)
		w.starts(j.ID)
	}},
	{"a_run_time_that_has_passed_means_now", func(w *world) {
		j := w.insert(task(1), onceq.RunAt(start.Add(-time.Hour)))
		w.sameTime("run at", w.is(j.ID, onceq.Available).RunAt, start)
		j = w.insert(task(2), onceq.RunAt(start.Add(time.Hour+time.Microsecond)))
		if at := w.is(j.ID, onceq.Scheduled).RunAt.Sub(start); at < time.Hour || at > time.Hour+time.Millisecond {
			w.Fatalf("run at +%v", at)
		}
	}},
	{"a_retryable_job_is_available_when_its_backoff_is_over", func(w *world) {
		w.insert(task(1))
		j := w.start()
		w.fail(j, minute)
		w.is(j.ID, onceq.Retryable)
		w.after(minute)
		w.is(j.ID, onceq.Available)
		w.starts(j.ID)
	}},
	{"no_more_jobs_than_slots_of_each_queue", func(w *world) {
		for i := range 6 {
			w.insert(task(i), onceq.Queue([]string{"a", "b", "c"}[i%3]))
			w.insert(task(10+i), onceq.Queue("a"))
		}
		f := w.fetched("w", []onceq.QueueSlots{{Queue: "a", Slots: 3}, {Queue: "b", Slots: 10}, {Queue: "c", Slots: 0},
			{Queue: "no such queue", Slots: 5}})
		counts := map[string]int{}
		for _, j := range f.Jobs {
			counts[j.Queue]++
		}
		equal(w, "fetched", fmt.Sprint(counts), "map[a:3 b:2]")
		f = w.fetched("w", []onceq.QueueSlots{{Queue: "a", Slots: 100}, {Queue: "c", Slots: 100}})
		equal(w, "fetched", len(f.Jobs), 7)
	}},
	{"no_job_is_fetched_twice", func(w *world) {
		for i := range 30 {
			w.insert(task(i))
		}
		seen := map[string]bool{}
		for i := range 10 {
			for _, j := range w.fetch(fmt.Sprint("worker ", i%3), "default", 3) {
				if seen[j.ID] {
					w.Fatalf("%s was fetched twice", j.ID)
				}
				seen[j.ID] = true
			}
		}
		equal(w, "fetched", len(seen), 30)
		w.idle()
	}},
	{"only_the_kinds_that_are_asked_for", func(w *world) {
		for i := range 40 {
			w.insert(mail{To: fmt.Sprint(i)}, onceq.Priority(0))
		}
		j := w.insert(task(1))
		w.insert(onceq.JSON("third", []byte(`3`)))
		equal(w, "none", len(w.fetch("w", "default", 5, "fourth")), 0)
		jobs := w.fetch("w", "default", 5, "task", "fourth")
		if len(jobs) != 1 || jobs[0].ID != j.ID {
			w.Fatalf("fetched %d jobs: %s", len(jobs), order(jobs))
		}
		equal(w, "two kinds", len(w.fetch("w", "default", 100, "mail", "third")), 41)
	}},
	{"a_paused_queue_starts_nothing_until_it_is_resumed", func(w *world) {
		j := w.insert(task(1), key)
		w.insert(task(2), onceq.Queue("other"))
		w.must(w.client.Pause(w.ctx, "default"))
		w.must(w.client.Pause(w.ctx, "default"))
		w.idle()
		equal(w, "the other queue", len(w.fetch("w", "other", 1)), 1)
		w.enqueue(onceq.Skipped, task(2), key)
		w.insert(task(3))
		w.must(w.client.Resume(w.ctx, "default"))
		w.must(w.client.Resume(w.ctx, "default"))
		w.starts(j.ID)
	}},
	{"a_queue_can_be_paused_before_it_has_a_job", func(w *world) {
		w.must(w.client.Pause(w.ctx, "later"))
		w.insert(task(1), onceq.Queue("later"))
		equal(w, "fetched", len(w.fetch("w", "later", 1)), 0)
		w.must(w.client.Resume(w.ctx, "later"))
		equal(w, "fetched", len(w.fetch("w", "later", 1)), 1)
	}},
	{"a_fetch_that_wants_none_of_a_queue_says_whether_any_is_due", func(w *world) {
		w.insert(task(1))
		w.insert(task(2), onceq.Queue("other"))
		none := []onceq.QueueSlots{{Queue: "other"}, {Queue: "default", Slots: 5}, {Queue: "empty"}}
		f := w.fetched("w", none)
		equal(w, "fetched", line(order(f.Jobs), f.NextDue), "1 0s")
		f = w.fetched("w", none, "task")
		equal(w, "fetched", line(len(f.Jobs), f.NextDue), "0 0s")
		equal(w, "the other queue", order(w.fetch("w", "other", 5)), "2")
		w.insert(task(3), onceq.Queue("other"), onceq.Delay(time.Hour))
		w.insert(task(4))
		f = w.fetched("w", none)
		equal(w, "fetched", line(order(f.Jobs), f.NextDue), "4 1h0m0s")
	}},
	{"a_pause_ends_by_itself", func(w *world) {
		j := w.insert(task(1), key)
		w.insert(task(2), onceq.Queue("other"))
		w.must(w.client.PauseFor(w.ctx, "default", 10*time.Minute))
		until := w.now.Add(10 * time.Minute)
		w.wantPaused("default", until)
		both := []onceq.QueueSlots{{Queue: "other", Slots: 9}, {Queue: "default", Slots: 9}}
		f := w.fetched("w", both)
		equal(w, "fetched", line(order(f.Jobs), f.NextDue), "2 10m0s")
		f = w.fetched("w", both)
		equal(w, "fetched", line(len(f.Jobs), f.NextDue), "0 10m0s")
		w.sweep()
		w.at(until.Add(-time.Millisecond))
		f = w.fetched("w", both, "task")
		equal(w, "a millisecond before", line(len(f.Jobs), f.NextDue), "0 1ms")
		equal(w, "field", w.refused(w.startByID("w", j.ID)[0].Err).Field, "queue")
		w.at(until)
		w.wantNotPaused("default")
		w.starts(j.ID)
	}},
	{"a_pause_that_has_ended_is_over_for_a_start_by_id", func(w *world) {
		j := w.insert(task(1))
		w.must(w.client.PauseFor(w.ctx, "default", time.Second))
		w.after(time.Second)
		w.must(w.startByID("w", j.ID)[0].Err)
	}},
	{"resume_ends_a_pause_early", func(w *world) {
		j := w.insert(task(1))
		w.must(w.client.PauseFor(w.ctx, "default", time.Hour))
		w.idle()
		w.must(w.client.Resume(w.ctx, "default"))
		w.wantNotPaused("default")
		w.starts(j.ID)
	}},
	{"of_two_pauses_the_latest_counts", func(w *world) {
		j := w.insert(task(1))
		w.must(w.client.PauseFor(w.ctx, "default", time.Minute))
		w.must(w.client.Pause(w.ctx, "default"))
		w.wantPaused("default", time.Time{})
		w.after(time.Hour)
		w.idle()
		w.must(w.client.PauseFor(w.ctx, "default", time.Hour))
		w.must(w.client.PauseFor(w.ctx, "default", time.Minute))
		w.wantPaused("default", w.now.Add(time.Minute))
		w.after(time.Minute)
		w.starts(j.ID)
	}},
	{"a_queue_without_jobs_is_forgotten_when_its_pause_ends", func(w *world) {
		w.must(w.client.PauseFor(w.ctx, "later", time.Minute))
		w.wantPaused("later", w.now.Add(time.Minute))
		w.after(time.Minute)
		w.wantNotPaused("later")
		w.sweep()
		w.must(w.client.Pause(w.ctx, "later"))
		w.wantPaused("later", time.Time{})
		w.after(time.Hour)
		w.wantPaused("later", time.Time{})
	}},
	{"a_pause_must_last_a_while", func(w *world) {
		for _, d := range []time.Duration{0, -time.Second, time.Microsecond, 101 * 365 * 24 * time.Hour} {
			equal(w, "field", w.refused(w.client.PauseFor(w.ctx, "default", d)).Field, "pause")
		}
	}},
	{"a_pause_lets_running_jobs_go_on", func(w *world) {
		w.insert(task(1), key)
		j := w.start()
		w.must(w.client.Pause(w.ctx, "default"))
		w.complete(j)
		w.free(j)
	}},
	{"a_job_that_stands_behind_another_is_not_fetched_and_stops_nobody", func(w *world) {
		holder, waiter := standing(w)
		w.insert(task(9), onceq.Priority(9))
		equal(w, "fetched", order(w.fetch("w", "default", 10)), "9")
		w.complete(holder)
		w.starts(waiter.ID)
	}},
	{"a_worker_that_the_store_does_not_know_gets_lease_lost_and_no_job", func(w *world) {
		j := w.insert(task(1))
		f, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: "stranger", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		w.wantErr(err, onceq.ErrLeaseLost)
		equal(w, "jobs", len(f.Jobs), 0)
		w.is(j.ID, onceq.Available)
	}},
	{"next_due_is_how_long_the_worker_can_sleep", func(w *world) {
		slots := []onceq.QueueSlots{{Queue: "default", Slots: 2}}
		if d := w.fetched("w", slots).NextDue; d >= 0 {
			w.Fatalf("nothing waits, and the next is due in %v", d)
		}
		w.insert(task(1), onceq.Delay(10*minute))
		w.insert(task(2), onceq.Delay(5*minute), onceq.Priority(9))
		w.insert(task(3), onceq.Delay(minute), onceq.Queue("other"))
		equal(w, "next due", w.fetched("w", slots).NextDue, 5*minute)
		equal(w, "next due of both queues",
			w.fetched("w", append(slots, onceq.QueueSlots{Queue: "other", Slots: 1})).NextDue, minute)
		for i := range 3 {
			w.insert(task(i))
		}
		f := w.fetched("w", slots)
		equal(w, "fetched, and there is more", line(len(f.Jobs), f.NextDue), "2 0s")
		w.after(time.Second)
		f = w.fetched("w", slots)
		equal(w, "fetched, and there is no more", line(len(f.Jobs), f.NextDue), "1 4m59s")
	}},
	{"next_due_knows_of_retries_and_of_no_waiter", func(w *world) {
		slots := []onceq.QueueSlots{{Queue: "default", Slots: 1}}
		holder, _ := standing(w)
		if d := w.fetched("w", slots).NextDue; d >= 0 {
			w.Fatalf("a waiter stands behind a run that no clock ends, and the next is due in %v", d)
		}
		w.fail(holder, 3*minute)
		equal(w, "next due", w.fetched("w", slots).NextDue, 3*minute)
	}},
	{"a_fetch_of_no_queue_is_nothing", func(w *world) {
		w.insert(task(1))
		equal(w, "fetched", len(w.fetched("w", nil).Jobs), 0)
	}},
	{"a_fetch_whose_context_is_over_starts_nothing_or_is_uncertain", func(w *world) {
		j := w.insert(task(1))
		w.known("w")
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.Store.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		if err == nil {
			w.Fatal("a fetch under a context that is over succeeded")
		}
		if !errors.Is(err, onceq.ErrUncertain) {
			w.is(j.ID, onceq.Available)
		}
	}},
	{"one_conflicting_job_never_stops_the_others", func(w *world) {
		// The one whose key has another holder by now runs like all the
		// others, and so do those after it.
		w.insert(task(1), key, onceq.Unique{TTL: time.Second}, onceq.Delay(time.Second))
		w.after(2 * time.Second)
		second := w.insert(task(2), key)
		for i := 3; i < 8; i++ {
			w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)))
		}
		equal(w, "fetched", order(w.fetch("w", "default", 10)), "1 2 3 4 5 6 7")
		w.holds(second)
	}},
	{"a_fetch_of_no_slots_starts_nothing_and_says_whether_anything_is_due", func(w *world) {
		none := []onceq.QueueSlots{{Queue: "default"}}
		probe := func(want string, kinds ...string) {
			f := w.fetched("w", none, kinds...)
			when := "nothing"
			switch {
			case f.NextDue == 0:
				when = "due"
			case f.NextDue > 0:
				when = "later"
			}
			equal(w, "fetched, and next", line(len(f.Jobs), when), "0 "+want)
		}
		probe("nothing")
		j := w.insert(task(1), onceq.Delay(minute))
		probe("later")
		w.after(minute)
		probe("due")
		probe("due", "task")
		probe("nothing", "other")
		w.starts(j.ID)
		probe("nothing")
	}},
}

// wantPaused wants a queue to be paused until then; zero = until it is resumed.
func (w *world) wantPaused(name string, until time.Time) {
	w.Helper()
	q := w.queue(name)
	equal(w, "paused "+name, q.Paused, true)
	w.sameTime("paused until", q.PausedUntil, until)
}

func (w *world) wantNotPaused(name string) {
	w.Helper()
	q := w.queue(name)
	equal(w, name, line(q.Paused, q.PausedUntil.IsZero()), "false true")
}

// queue is a queue as it is listed; the zero value if it is not.
func (w *world) queue(name string) onceq.QueueInfo {
	w.Helper()
	all, err := w.client.Queues(w.ctx)
	w.must(err)
	for _, q := range all {
		if q.Name == name {
			return q
		}
	}
	return onceq.QueueInfo{}
}
