package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// beat is a heartbeat of the worker "w" with these runs in hand, all its
// fetches answered.
func (w *world) beat(runs ...*onceq.JobRow) onceq.Extended {
	w.Helper()
	r := onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"]}
	for _, j := range runs {
		r.Runs = append(r.Runs, onceq.Run{ID: j.ID, Run: j.Run})
	}
	return w.extend(r)
}

// expired is the beat of the worker that a sweep calls expired; there must
// be exactly one.
func (w *world) expired() onceq.Beat {
	w.Helper()
	s := w.sweep()
	if len(s.Expired) != 1 {
		w.Fatalf("a sweep found %v expired, want one worker", s.Expired)
	}
	if len(s.Runs) > 0 {
		w.Fatalf("a sweep that nobody confirmed lists %d runs", len(s.Runs))
	}
	return s.Expired[0]
}

// leases: a worker's right to its runs, and what happens when it is lost.
var leases = []scenario{
	{"a_heartbeat_of_a_worker_with_all_its_runs_changes_nothing", func(w *world) {
		w.insert(task(1))
		w.insert(task(2))
		a, b := w.start(), w.start()
		equal(w, "answer", fmt.Sprint(w.beat(a, b)), fmt.Sprint(onceq.Extended{}))
		w.unchanged(a)
		w.unchanged(b)
	}},
	{"a_fetch_that_was_never_answered_is_handed_back", func(w *world) {
		w.insert(task(1), key, onceq.MaxAttempts(1))
		run := w.start() // the worker never learns of it
		w.after(time.Second)
		equal(w, "handed back", w.beat().Back, 1)
		j := w.is(run.ID, onceq.Available)
		equal(w, "attempt", line(j.Attempt, j.Run), "0 1")
		w.sameTime("run at", j.RunAt, w.now)
		w.holds(j)
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		again := w.starts(run.ID)
		equal(w, "run", line(again.Attempt, again.Run), "1 2")
		w.complete(again)
	}},
	{"a_fetch_that_may_still_be_answered_is_not_handed_back", func(w *world) {
		w.insert(task(1))
		w.insert(task(2))
		first := w.start()
		second := w.start() // its answer is on its way
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: 1,
			Runs: []onceq.Run{{ID: first.ID, Run: 1}}})
		equal(w, "handed back", x.Back, 0)
		w.unchanged(second)
		x = w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: 1})
		equal(w, "handed back", x.Back, 1)
		w.is(first.ID, onceq.Available)
		w.unchanged(second)
	}},
	{"a_hand_back_reaches_this_workers_runs_only", func(w *world) {
		w.insert(task(1))
		w.insert(task(2))
		run, mine := w.startAs("other", "default"), w.start()
		equal(w, "handed back", w.beat().Back, 1)
		w.unchanged(run)
		w.is(mine.ID, onceq.Available)
	}},
	{"a_heartbeat_names_the_runs_that_are_lost", func(w *world) {
		for i := range 5 {
			w.insert(task(i), onceq.ID(fmt.Sprint(i)))
		}
		for range 5 {
			w.start()
		}
		runs := []*onceq.JobRow{w.job("0"), w.job("1"), w.job("2"), w.job("3"), w.job("4"), {ID: "no such job", Run: 1}}
		w.ends(runs[1], onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Retryable)
		w.ends(runs[2], onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Retryable)
		w.startAs("other", "default")
		w.complete(runs[3])
		old := *runs[4]
		old.Run--
		runs[4] = &old
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: 0,
			Runs: []onceq.Run{{ID: "0", Run: 1}, {ID: "1", Run: 1}, {ID: "2", Run: 1}, {ID: "3", Run: 1},
				{ID: "4", Run: 0}, {ID: "no such job", Run: 1}}})
		equal(w, "answer", fmt.Sprint(x),
			fmt.Sprint(onceq.Extended{
				Lost: []onceq.Run{{ID: "1", Run: 1}, {ID: "2", Run: 1}, {ID: "3", Run: 1}, {ID: "4", Run: 0},
					{ID: "no such job", Run: 1}}}))
		w.is("4", onceq.Running)
	}},
	{"a_heartbeat_names_the_runs_that_are_to_stop", func(w *world) {
		w.insert(task(1))
		w.insert(task(2))
		a, b := w.start(), w.start()
		w.cancel(b.ID)
		equal(w, "answer", fmt.Sprint(w.beat(a, b)), fmt.Sprint(onceq.Extended{Stop: []onceq.Run{{ID: b.ID, Run: 1}}}))
		w.cancelled(b)
		equal(w, "answer", fmt.Sprint(w.beat(a)), fmt.Sprint(onceq.Extended{}))
	}},
	{"a_worker_that_takes_leave_hands_everything_back_and_is_forgotten", func(w *world) {
		for i := range 3 {
			w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)))
		}
		jobs := w.fetch("w", "default", 3)
		x := w.extend(onceq.ExtendRequest{Worker: "w", Runs: []onceq.Run{{ID: jobs[0].ID, Run: 1}}})
		equal(w, "handed back", x.Back, 3)
		for _, j := range jobs {
			equal(w, "attempt", w.is(j.ID, onceq.Available).Attempt, 0)
			w.holds(j)
			equal(w, "status", w.finish(j, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		}
		_, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: "w", No: 9,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		w.wantErr(err, onceq.ErrLeaseLost)
		w.after(time.Hour)
		equal(w, "expired", len(w.sweep().Expired), 0)
		equal(w, "fetched", len(w.fetch("other", "default", 3)), 3)
	}},
	{"a_worker_that_nobody_knows_can_take_leave", func(w *world) {
		equal(w, "answer", fmt.Sprint(w.extend(onceq.ExtendRequest{Worker: "stranger"})), fmt.Sprint(onceq.Extended{}))
	}},
	{"a_lease_is_over_by_the_stores_clock", func(w *world) {
		w.insert(task(1))
		w.start()
		w.after(minute - time.Millisecond)
		equal(w, "expired", len(w.sweep().Expired), 0)
		w.after(time.Millisecond)
		equal(w, "worker", w.expired().Worker, "w")
	}},
	{"a_heartbeat_renews_the_lease", func(w *world) {
		w.insert(task(1))
		run := w.start()
		for range 5 {
			w.after(50 * time.Second)
			w.beat(run)
		}
		equal(w, "expired", len(w.sweep().Expired), 0)
		w.unchanged(run)
	}},
	{"a_rescue_needs_the_same_beat_twice", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.after(2 * minute)
		seen := w.expired()
		w.beat(run) // it lives, after all
		w.after(2 * minute)
		equal(w, "runs to rescue", len(w.sweep(seen).Runs), 0)
		again := w.expired()
		if again == seen {
			w.Fatal("a heartbeat did not change the beat number")
		}
		lost := w.sweep(again)
		if len(lost.Runs) != 1 || lost.Runs[0].ID != run.ID || lost.Runs[0].Run != run.Run {
			w.Fatalf("runs to rescue: %d, want that of %s", len(lost.Runs), run.ID)
		}
		w.is(run.ID, onceq.Running) // a sweep only reports
		w.holds(run)
	}},
	{"a_worker_whose_lease_holds_again_is_not_lost", func(w *world) {
		w.insert(task(1))
		run := w.start()
		w.after(2 * minute)
		seen := w.expired()
		w.at(start) // the clock jumped forward, and back
		equal(w, "runs to rescue", len(w.sweep(seen).Runs), 0)
		w.unchanged(run)
	}},
	{"a_worker_that_lost_its_lease_changes_nothing", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.after(2 * minute)
		for _, j := range w.sweep(w.expired()).Runs {
			w.ends(j, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
				onceq.Retryable)
		}
		rescued := w.is(run.ID, onceq.Available)
		for _, s := range []onceq.State{onceq.Completed, onceq.Discarded, onceq.Cancelled, onceq.Retryable,
			onceq.Scheduled} {
			equal(w, "status", w.finish(run, onceq.Finish{State: s, Error: "late"}).Status, onceq.FinishLost)
		}
		w.unchanged(rescued)
		equal(w, "lost", fmt.Sprint(w.beat(run).Lost), fmt.Sprint([]onceq.Run{{ID: run.ID, Run: 1}}))
		w.unchanged(rescued)
		current := w.startAs("other", "default")
		equal(w, "status", w.finish(run, onceq.Finish{State: onceq.Completed}).Status, onceq.FinishLost)
		equal(w, "lost", len(w.beat(run).Lost), 1)
		w.unchanged(current)
		w.holds(current)
	}},
	{"a_lost_worker_that_has_no_run_left_is_forgotten", func(w *world) {
		w.insert(task(1))
		run := w.start()
		w.after(2 * minute)
		beat := w.expired()
		lost := w.sweep(beat)
		equal(w, "runs", len(lost.Runs), 1)
		w.ends(run, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Retryable)
		w.sweep(beat)
		equal(w, "expired", len(w.sweep().Expired), 0)
		_, err := w.Store.Fetch(w.ctx, onceq.FetchRequest{Worker: "w", No: 9,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		w.wantErr(err, onceq.ErrLeaseLost)
		w.is(run.ID, onceq.Available)
		w.beat() // it begins anew
		w.starts(run.ID)
	}},
	{"a_lost_worker_keeps_its_finished_runs", func(w *world) {
		w.insert(task(1))
		w.insert(task(2))
		done, lost := w.start(), w.start()
		w.complete(done)
		w.after(2 * minute)
		runs := w.sweep(w.expired()).Runs
		if len(runs) != 1 || runs[0].ID != lost.ID {
			w.Fatalf("%d runs to rescue", len(runs))
		}
		w.is(done.ID, onceq.Completed)
	}},
	{"only_the_runs_of_the_lost_worker_are_to_be_rescued", func(w *world) {
		for i := range 3 {
			w.insert(task(i))
		}
		lost, alive, late := w.startAs("lost", "default"), w.startAs("alive", "default"), w.startAs("late", "default")
		w.after(2 * minute)
		w.extend(onceq.ExtendRequest{Worker: "alive", Lease: minute, FetchesDone: 1,
			Runs: []onceq.Run{{ID: alive.ID, Run: alive.Run}}})
		seen := w.sweep().Expired
		equal(w, "expired", len(seen), 2) // of "late" nobody says that it is lost
		for _, beat := range seen {
			if beat.Worker == "lost" {
				runs := w.sweep(beat).Runs
				equal(w, "runs to rescue", line(ids(runs)), line([]string{lost.ID}))
			}
		}
		w.complete(alive)
		w.complete(late)
	}},
	{"all_leases_expiring_at_once_loses_nobody_who_lives", func(w *world) {
		var runs []*onceq.JobRow
		for i := range 4 {
			w.insert(task(i))
			runs = append(runs, w.startAs(fmt.Sprint("worker ", i), "default"))
		}
		w.after(24 * time.Hour) // one forward jump of the clock
		seen := w.sweep().Expired
		equal(w, "expired", len(seen), 4)
		for i, j := range runs {
			w.extend(onceq.ExtendRequest{Worker: fmt.Sprint("worker ", i), Lease: minute, FetchesDone: 1,
				Runs: []onceq.Run{{ID: j.ID, Run: j.Run}}})
		}
		equal(w, "runs to rescue", len(w.sweep(seen...).Runs), 0)
		for _, j := range runs {
			w.complete(j)
		}
	}},
	{"a_beat_of_a_worker_that_is_not_there_is_nobodys", func(w *world) {
		w.insert(task(1))
		run := w.start()
		w.after(time.Hour)
		equal(w, "runs", len(w.sweep(onceq.Beat{Worker: "stranger", No: 1}, onceq.Beat{Worker: "w", No: 99}).Runs), 0)
		w.unchanged(run)
	}},
	{"no_key_depends_on_a_lease", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.after(365 * 24 * time.Hour)
		w.sweep()
		w.holds(run)
		w.enqueue(onceq.Skipped, task(2), key)
		w.complete(run) // nobody rescued it: it may finish
		w.free(run)
	}},
}
