package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// startByID is an OpStart of jobs for a worker, with the next fetch number.
func (w *world) startByID(worker string, ids ...string) []onceq.ChangeResult {
	w.Helper()
	w.known(worker)
	w.fetches[worker]++
	return w.change(onceq.Change{Op: onceq.OpStart, IDs: ids, Worker: worker, No: w.fetches[worker]})
}

func (w *world) change(c onceq.Change) []onceq.ChangeResult {
	w.Helper()
	results, err := w.Store.Change(w.ctx, c)
	w.must(err)
	return results
}

func (w *world) move(id string, when onceq.Option) *onceq.JobRow {
	w.Helper()
	j, err := w.client.Move(w.ctx, id, when)
	w.must(err)
	return j
}

// starting: a job is started by its ID, as if a fetch had brought it.
var starting = []scenario{
	{"a_job_is_started_by_its_id_before_it_is_due", func(w *world) {
		j := w.insert(task(7), key, onceq.Delay(time.Hour))
		w.after(minute)
		w.known("w")
		r := w.startByID("w", j.ID)[0]
		w.must(r.Err)
		equal(w, "job", line(r.Job.State, r.Job.Attempt, r.Job.Run, r.Job.Worker, string(r.Job.Args)),
			"running 1 1 w 7")
		w.sameTime("started at", r.Job.StartedAt, w.now)
		equal(w, "the row", show(w.job(j.ID)), show(r.Job))
		w.holds(j)
		w.idle()
		queues, err := w.client.Queues(w.ctx)
		w.must(err)
		equal(w, "running", queues[0].Counts[onceq.Running], 1)
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"],
			Runs: []onceq.Run{{ID: j.ID, Run: 1}}})
		equal(w, "heartbeat", line(len(x.Lost), len(x.Stop), x.Back), "0 0 0")
		w.complete(r.Job)
		w.free(j)
	}},
	{"of_two_that_start_one_job_one_is_refused", func(w *world) {
		j := w.insert(task(1), onceq.Delay(time.Hour))
		w.must(w.startByID("w", j.ID)[0].Err)
		for _, worker := range []string{"w", "v"} {
			r := w.startByID(worker, j.ID)[0]
			equal(w, "field", w.refused(r.Err).Field, "state")
			equal(w, "job", line(r.Job.State, r.Job.Run, r.Job.Worker), "running 1 w")
		}
		w.complete(w.job(j.ID))
		equal(w, "field", w.refused(w.startByID("w", j.ID)[0].Err).Field, "state")
	}},
	{"a_start_whose_answer_was_lost_is_repeated_and_is_one_run", func(w *world) {
		j := w.insert(task(1), onceq.Delay(time.Hour))
		w.known("w")
		for range 3 {
			w.fetches["w"] = 4
			r := w.startByID("w", j.ID)[0]
			w.must(r.Err)
			equal(w, "run", line(r.Job.Run, r.Job.Attempt, r.Job.Worker), "1 1 w")
		}
		w.complete(w.job(j.ID))
		w.fetches["w"] = 4
		w.refused(w.startByID("w", j.ID)[0].Err)
		equal(w, "runs", w.job(j.ID).Run, 1)
	}},
	{"a_start_whose_answer_never_came_is_handed_back", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(time.Hour))
		w.must(w.startByID("w", j.ID)[0].Err)
		x := w.extend(onceq.ExtendRequest{Worker: "w", Lease: minute, FetchesDone: w.fetches["w"]})
		equal(w, "handed back", x.Back, 1)
		equal(w, "attempt", line(w.is(j.ID, onceq.Available).Attempt, w.job(j.ID).Run), "0 1")
		w.holds(j)
	}},
	{"a_start_by_a_worker_taken_for_lost_is_refused", func(w *world) {
		j := w.insert(task(1), onceq.Delay(time.Hour))
		before := w.job(j.ID)
		r := w.change(onceq.Change{Op: onceq.OpStart, IDs: []string{j.ID}, Worker: "nobody", No: 1})[0]
		w.wantErr(r.Err, onceq.ErrLeaseLost)
		w.unchanged(before)
	}},
	{"a_waiter_cannot_be_started", func(w *world) {
		holder := w.insert(task(1), key)
		run := w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, onceq.OnConflict(onceq.Coalesce)).Job
		equal(w, "field", w.refused(w.startByID("w", waiter.ID)[0].Err).Field, "state")
		w.waits(waiter, holder)
		w.complete(run)
		w.must(w.startByID("w", waiter.ID)[0].Err)
	}},
	{"a_paused_queue_starts_nothing_by_id", func(w *world) {
		j := w.insert(task(1))
		w.must(w.client.Pause(w.ctx, "default"))
		before := w.job(j.ID)
		equal(w, "field", w.refused(w.startByID("w", j.ID)[0].Err).Field, "queue")
		w.unchanged(before)
		w.must(w.client.Resume(w.ctx, "default"))
		w.must(w.startByID("w", j.ID)[0].Err)
	}},
	{"a_start_by_id_frees_a_key_that_was_held_until_then", func(w *world) {
		for _, delay := range []time.Duration{0, time.Hour} {
			j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilStarted}, onceq.Delay(delay))
			w.must(w.startByID("w", j.ID)[0].Err)
			w.free(j)
			w.insert(task(1), key)
			w.remove(w.holder(*j.Key).Holder)
			w.complete(w.job(j.ID))
		}
	}},
	{"a_job_that_is_started_before_its_time_was_due_then", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: time.Hour}, onceq.Delay(24*time.Hour))
		w.after(minute)
		w.must(w.startByID("w", j.ID)[0].Err)
		w.sameTime("run at", w.job(j.ID).RunAt, w.now)
		w.sameTime("anchor", w.job(j.ID).Anchor, w.now)
		w.complete(w.job(j.ID))
		w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(time.Hour))
	}},
	{"a_job_that_was_started_by_its_id_is_rescued_like_any_other", func(w *world) {
		j := w.insert(task(1), key, onceq.Delay(time.Hour))
		w.must(w.startByID("w", j.ID)[0].Err)
		w.after(10 * minute)
		beats := w.sweep().Expired
		equal(w, "expired", len(beats), 1)
		runs := w.sweep(beats...).Runs
		equal(w, "runs", line(len(runs), runs[0].ID), line(1, j.ID))
		w.ends(runs[0], onceq.Finish{State: onceq.Retryable, Worker: "v", Rescue: true, Error: "lost",
			Delay: minute}, onceq.Retryable)
		w.must(w.startByID("v", j.ID)[0].Err) // a retryable job is started before its time too
		equal(w, "run", line(w.job(j.ID).Run, w.job(j.ID).Attempt), "2 2")
	}},
	{"many_jobs_are_started_in_one_step", func(w *world) {
		ids := []string{"not there"}
		for i := range 30 {
			ids = append(ids, w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.Delay(time.Hour)).ID)
		}
		running := ids[7]
		w.must(w.startByID("w", running)[0].Err)
		for i, r := range w.startByID("v", ids...) {
			switch ids[i] {
			case "not there":
				w.wantErr(r.Err, onceq.ErrNotFound)
			case running:
				w.refused(r.Err)
			default:
				w.must(r.Err)
				equal(w, "job", line(r.Job.ID, r.Job.State, r.Job.Worker), line(ids[i], onceq.Running, "v"))
			}
		}
	}},
}

// moving: a waiting job gets another run time.
var moving = []scenario{
	{"moving_a_job_moves_its_anchor_until_it_was_fetched", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Window: time.Hour}, onceq.Delay(minute))
		got := w.move(j.ID, onceq.Delay(10*minute))
		w.sameTime("run at", got.RunAt, start.Add(10*minute))
		w.sameTime("anchor", got.Anchor, start.Add(10*minute))
		equal(w, "the row", show(w.job(j.ID)), show(got))
		w.idle()
		w.after(10 * minute)
		run := w.starts(j.ID)
		w.snooze(run, minute)
		got = w.move(j.ID, onceq.RunAt(start.Add(time.Hour)))
		w.sameTime("run at", got.RunAt, start.Add(time.Hour))
		w.sameTime("anchor", got.Anchor, start.Add(10*minute))
		w.holds(j)
	}},
	{"moving_a_job_moves_when_a_clock_frees_its_key", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: time.Hour}, onceq.Delay(minute))
		w.move(j.ID, onceq.Delay(time.Hour))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(2*time.Hour))
		w.move(j.ID, onceq.RunAt(start.Add(-time.Hour))) // passed: now
		w.sameTime("run at", w.is(j.ID, onceq.Available).RunAt, start)
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(time.Hour))
		w.starts(j.ID)
	}},
	{"a_key_that_was_held_until_due_moves_with_its_job", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDue}, onceq.Delay(minute))
		w.move(j.ID, onceq.Delay(time.Hour))
		w.after(30 * minute)
		w.holds(j)
		w.move(j.ID, onceq.Delay(0))
		w.free(j)
	}},
	{"a_job_does_not_get_back_by_a_move_what_a_clock_took", func(w *world) {
		for _, hold := range []onceq.Unique{{TTL: minute}, {Until: onceq.UntilWindowEnds, Window: minute},
			{Until: onceq.UntilDue}} {
			j := w.insert(task(1), key, hold)
			w.after(2 * minute)
			w.free(j)
			anchor := w.job(j.ID).Anchor
			got := w.move(j.ID, onceq.Delay(time.Hour))
			w.free(j)
			w.sameTime("anchor", got.Anchor, anchor)
			w.sameTime("run at", got.RunAt, w.now.Add(time.Hour))
			other := w.insert(task(2), key)
			w.move(j.ID, onceq.Delay(2*time.Hour))
			w.holds(other)
			w.remove(other.ID)
			w.remove(j.ID)
		}
	}},
	{"a_retry_is_moved_and_stays_a_retry", func(w *world) {
		j := inPhase(w, "retryable")
		got := w.move(j.ID, onceq.Delay(3*time.Hour))
		equal(w, "job", line(got.State, got.Attempt), "retryable 1")
		w.sameTime("run at", got.RunAt, w.now.Add(3*time.Hour))
		w.holds(j)
		w.after(3 * time.Hour)
		w.starts(j.ID)
	}},
	{"a_running_job_cannot_be_moved", func(w *world) {
		j := inPhase(w, "running")
		before := w.job(j.ID)
		_, err := w.client.Move(w.ctx, j.ID, onceq.Delay(minute))
		equal(w, "field", w.refused(err).Field, "state")
		w.unchanged(before)
		w.complete(before)
		_, err = w.client.Move(w.ctx, j.ID, onceq.Delay(minute))
		w.refused(err)
		_, err = w.client.Move(w.ctx, "x", onceq.Delay(minute))
		w.wantErr(err, onceq.ErrNotFound)
	}},
	{"a_waiter_cannot_be_moved", func(w *world) {
		holder := w.insert(task(1), key)
		w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, onceq.OnConflict(onceq.Coalesce)).Job
		_, err := w.client.Move(w.ctx, waiter.ID, onceq.Delay(minute))
		equal(w, "field", w.refused(err).Field, "state")
		w.waits(waiter, holder)
	}},
	{"what_is_no_run_time_is_refused", func(w *world) {
		j := w.insert(task(1), onceq.Delay(minute))
		before := w.job(j.ID)
		for _, when := range []onceq.Option{nil, onceq.Queue("x"), onceq.Delay(-1), onceq.RunAt(time.Time{}),
			onceq.Delay(time.Microsecond)} {
			_, err := w.client.Move(w.ctx, j.ID, when)
			w.refused(err)
		}
		w.unchanged(before)
	}},
}

// releasing: a key is released only from the job that was meant.
var releasing = []scenario{
	{"a_key_is_released_only_from_the_job_that_was_meant", func(w *world) {
		old := w.insert(task(1), key)
		w.complete(w.start())
		now := w.insert(task(2), key)
		w.wantErr(w.client.ReleaseKey(w.ctx, *now.Key, onceq.Holder(old.ID)), onceq.ErrNotFound)
		w.holds(now)
		w.must(w.client.ReleaseKey(w.ctx, *now.Key, onceq.Holder(now.ID)))
		w.free(now)
		w.wantErr(w.client.ReleaseKey(w.ctx, *now.Key, onceq.Holder(now.ID)), onceq.ErrNotFound)
		w.refused(w.client.ReleaseKey(w.ctx, *now.Key, onceq.Holder("")))
	}},
	{"the_holder_that_was_meant_may_be_gone_or_one_that_a_clock_has_put_there", func(w *world) {
		gone := w.insert(task(1), key, onceq.Unique{Window: time.Hour}, onceq.Retention(0))
		w.complete(w.start())
		w.wantErr(w.client.ReleaseKey(w.ctx, *gone.Key, onceq.Holder("another")), onceq.ErrNotFound)
		w.must(w.client.ReleaseKey(w.ctx, *gone.Key, onceq.Holder(gone.ID)))

		holder := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.start()
		waiter := w.enqueue(onceq.Coalesced, task(2), key, onceq.OnConflict(onceq.Coalesce)).Job
		w.wantErr(w.client.ReleaseKey(w.ctx, *holder.Key, onceq.Holder(waiter.ID)), onceq.ErrNotFound)
		w.after(2 * minute) // the key is the waiter's now, which stands behind the run
		w.wantErr(w.client.ReleaseKey(w.ctx, *holder.Key, onceq.Holder(holder.ID)), onceq.ErrNotFound)
		w.refused(w.client.ReleaseKey(w.ctx, *holder.Key, onceq.Holder(waiter.ID)))
	}},
	{"many_keys_are_released_by_a_filter_and_none_by_an_empty_one", func(w *world) {
		_, err := w.client.ReleaseKeys(w.ctx, onceq.KeyFilter{})
		w.refused(err)
		var ids []string
		for i := range 5 {
			queue := []string{"a", "b"}[i%2]
			ids = append(ids, w.insert(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.Queue(queue)).ID)
		}
		for _, c := range []struct {
			f    onceq.KeyFilter
			want int
		}{{onceq.KeyFilter{Queue: "b"}, 2}, {onceq.KeyFilter{Queue: "b"}, 0}, {onceq.KeyFilter{Kind: "none"}, 0},
			{onceq.KeyFilter{Queue: "a", Limit: 1}, 1}, {onceq.KeyFilter{All: true}, 2}} {
			n, err := w.client.ReleaseKeys(w.ctx, c.f)
			w.must(err)
			equal(w, "released", n, c.want)
		}
		for _, j := range w.jobs() {
			equal(w, "keyless", line(j.Keyless, slices.Contains(ids, j.ID)), "true true")
			w.free(j)
		}
	}},
}
