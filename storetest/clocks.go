package storetest

import (
	"fmt"
	"math"
	"time"

	"github.com/onceq/onceq"
)

const day = 24 * time.Hour

// clocks: the store's clock decides promptness, and nothing else.
var clocks = []scenario{
	{"a_run_time_of_long_ago_means_now_and_one_out_of_reach_is_refused", func(w *world) {
		for _, at := range []time.Time{time.Unix(0, 0), time.Unix(-1, 0), time.Now().AddDate(-99, 0, 0),
			time.UnixMilli(1)} {
			j := w.insert(task(1), onceq.RunAt(at))
			w.sameTime("run at", w.job(j.ID).RunAt, start)
			w.sameTime("of the receipt", j.RunAt, start)
			equal(w, "state", w.job(j.ID).State, onceq.Available)
			w.starts(j.ID)
		}
		far := time.Now().AddDate(99, 0, 0).Truncate(time.Millisecond)
		j := w.insert(task(1), onceq.RunAt(far))
		w.sameTime("run at", w.job(j.ID).RunAt, far)
		w.sameTime("of the receipt", j.RunAt, far)
		for _, at := range []time.Time{
			{}, time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(-300_000_000, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Unix(math.MinInt64/2, 0),
			time.Unix(math.MaxInt64/2, 0), time.Now().AddDate(101, 0, 0), time.Now().AddDate(-101, 0, 0),
		} {
			_, err := w.client.Enqueue(w.ctx, task(1), onceq.RunAt(at))
			equal(w, "field", w.refused(err).Field, "run at")
			_, err = w.client.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1), onceq.RunAt(at))})
			w.refused(err)
		}
	}},
	// Every other case lets the clock stand still, and cannot see that a call
	// reads it twice.
	{"a_call_reads_the_clock_once", func(w *world) {
		w.real()
		defer w.at(start)
		windowed := onceq.Unique{Until: onceq.UntilWindowEnds, Window: time.Hour}
		for i := range 300 {
			opts := []onceq.Option{onceq.MaxAttempts(i + 2)} // so options are new to the store
			switch i % 3 {
			case 1:
				opts = append(opts, windowed, onceq.Delay(time.Minute))
			case 2:
				opts = append(opts, windowed, replace(onceq.Replace{Args: true}))
			}
			r, err := w.client.Enqueue(w.ctx, task(i/2), opts...)
			w.must(err)
			j := w.job(r.Job.ID)
			w.sameTime("enqueued at, in the receipt", r.Job.EnqueuedAt, j.EnqueuedAt)
			w.sameTime("run at, in the receipt", r.Job.RunAt, j.RunAt)
			if i%3 < 2 {
				equal(w, "wait", j.RunAt.Sub(j.EnqueuedAt), []time.Duration{0, time.Minute}[i%3])
			}
			if i%3 > 0 {
				w.sameTime("frees at", w.holder(*j.Key).FreesAt, j.Anchor.Add(time.Hour))
			}
		}
	}},
	{"a_clock_that_steps_back_delays_and_breaks_nothing", func(w *world) {
		first := w.insert(task(1), key)
		w.after(-day)
		w.idle() // what was due is due again in a day
		w.holds(first)
		second := w.insert(task(2), onceq.UniqueKey("other"))
		run := w.starts(second.ID)
		w.complete(run)
		w.free(second)
		w.enqueue(onceq.Skipped, task(3), key)
		w.after(day)
		w.complete(w.starts(first.ID))
		w.free(first)
	}},
	{"a_clock_that_steps_back_while_a_job_runs_changes_nothing_for_it", func(w *world) {
		w.insert(task(1), key)
		run := w.start()
		w.after(-day)
		w.beat(run)
		w.unchanged(run)
		w.fail(run, 0)
		run = w.starts(run.ID)
		w.complete(run)
		w.free(run)
	}},
	{"a_clock_that_steps_forward_hastens_and_breaks_nothing", func(w *world) {
		delayed := w.insert(task(1), key, onceq.Delay(time.Hour))
		plain := w.insert(task(2), onceq.UniqueKey("plain"))
		run := w.start()
		w.after(day)
		w.holds(delayed)
		w.holds(plain)
		w.beat(run)
		w.complete(run)
		w.starts(delayed.ID)
		w.holds(delayed)
	}},
	{"jumps_of_a_day_between_all_steps_lose_no_job_and_no_key", func(w *world) {
		jump := func(i int) {
			w.after([]time.Duration{day, -day, -day, 2 * day, -day}[i%5])
		}
		n := 0
		for i := range 20 {
			j := w.insert(task(i), key)
			jump(n)
			w.enqueue(onceq.Skipped, task(100), key)
			if len(w.fetch("w", "default", 1)) == 0 {
				w.at(w.latest)
				w.starts(j.ID)
			}
			n++
			jump(n)
			run := w.is(j.ID, onceq.Running)
			w.holds(run)
			w.complete(run)
			w.free(run)
			n++
			jump(n)
		}
	}},
	{"a_ttl_is_exact_to_the_millisecond", func(w *world) {
		for _, ttl := range []time.Duration{time.Millisecond, 999 * time.Millisecond, 1999 * time.Millisecond,
			100 * 365 * day} {
			k := onceq.UniqueKey(ttl.String())
			w.at(start)
			j := w.insert(task(1), k, onceq.Unique{TTL: ttl})
			w.after(ttl - time.Millisecond)
			w.holds(j)
			w.after(time.Millisecond)
			w.free(j)
		}
		w.at(start)
	}},
	{"lengths_of_time_are_rounded_up_to_milliseconds", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilWindowEnds,
			Window: 1500*time.Millisecond + time.Nanosecond}, onceq.Delay(time.Millisecond+time.Nanosecond))
		w.sameTime("run at", j.RunAt, start.Add(2*time.Millisecond))
		w.sameTime("frees at", w.holds(j).FreesAt, start.Add(1503*time.Millisecond))
	}},
	{"a_producers_clock_decides_nothing", func(w *world) {
		// Years away from the clocks of this process.
		w.at(start.AddDate(20, 0, 0))
		j := w.insert(task(1), key, onceq.Unique{Window: minute}, onceq.Delay(time.Second))
		w.sameTime("enqueued at", j.EnqueuedAt, w.now)
		w.sameTime("frees at the earliest", w.job(j.ID).Anchor, w.now.Add(time.Second))
		w.after(time.Second)
		w.complete(w.start())
		w.sameTime("frees at", w.holds(j).FreesAt, w.now.Add(minute))
		w.at(start.AddDate(-20, 0, 0))
		w.enqueue(onceq.Skipped, task(2), key)
	}},
	{"a_due_event_that_has_come_does_not_come_undone_with_a_clock_that_steps_back", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{Until: onceq.UntilDue, Window: minute}, onceq.Delay(minute))
		w.after(minute)
		run := w.starts(j.ID)
		w.after(-30 * time.Second)
		equal(w, "frees when", w.holds(j).FreesWhen, "")
		w.complete(run)
		w.after(minute + 30*time.Second)
		w.free(j)
	}},
	{"a_named_instant_is_the_same_in_every_zone", func(w *world) {
		at := start.Add(time.Hour)
		for i, zone := range []*time.Location{time.UTC, time.FixedZone("east", 5*3600+1800),
			time.FixedZone("west", -11*3600)} {
			j := w.insert(task(i), onceq.RunAt(at.In(zone)))
			w.sameTime("run at", w.job(j.ID).RunAt, at)
		}
	}},
	{"a_window_that_a_clock_has_ended_does_not_come_back_with_a_clock_that_steps_back", func(w *world) {
		j := w.insert(task(1), key, onceq.Unique{TTL: minute})
		w.after(minute)
		second := w.insert(task(2), key)
		w.after(-minute)
		w.holds(second)
		w.complete(w.starts(j.ID))
		w.holds(second)
	}},
	{"every_job_that_was_accepted_ended_or_is_there", func(w *world) {
		accepted, ended, deleted := 0, 0, 0
		for i := range 200 {
			r, err := w.client.Enqueue(w.ctx, task(i), onceq.UniqueKey(fmt.Sprint(i%9)),
				[]onceq.Option{coalesce, supersede, onceq.OnConflict(onceq.Skip)}[i%3],
				onceq.Delay(time.Duration(i%4)*time.Second))
			w.must(err)
			if !r.Duplicate() {
				accepted++
			}
			switch i % 5 {
			case 0:
				for _, j := range w.fetch("w", "default", 2) {
					w.finish(j, onceq.Finish{
						State: []onceq.State{onceq.Completed, onceq.Retryable, onceq.Scheduled, onceq.Discarded}[i/5%4],
						Delay: time.Second})
				}
			case 2:
				w.fetch("w", "default", 1)
			case 3:
				w.after(time.Duration(i%3-1) * time.Second)
			}
			if i%17 == 0 {
				if j := w.jobs()[0]; j.State != onceq.Running {
					w.remove(j.ID)
					deleted++
				}
			}
		}
		for _, j := range w.jobs() {
			if j.State.Finished() {
				ended++
			}
		}
		equal(w, "accepted", accepted, len(w.jobs())+deleted)
		if ended == 0 {
			w.Fatal("no job has ended")
		}
	}},
}
