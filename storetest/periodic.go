package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// hourly is what most cases put.
func hourly(opts ...onceq.Option) onceq.Periodic {
	return onceq.Periodic{Name: "report", Schedule: "@hourly", Args: task(1), Options: opts}
}

func withArgs(p onceq.Periodic, n int) onceq.Periodic { p.Args = task(n); return p }

// periodic: schedules, each a row that makes the next one.
var periodic = []scenario{
	{"a_tick_has_one_job_and_the_schedule_goes_on", func(w *world) {
		info := w.put(hourly(onceq.Priority(3), onceq.Tags("a"), onceq.Meta(map[string]any{"m": 1}),
			onceq.RetentionFailed(48*time.Hour)))
		w.sameTime("next", info.Next, start.Add(time.Hour))
		w.serve()
		w.wantTicks(time.UTC, "")
		w.after(time.Hour - time.Millisecond)
		w.serve()
		w.wantTicks(time.UTC, "")
		w.after(time.Millisecond)
		w.serve()
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00")
		info = w.schedule()
		w.sameTime("next", info.Next, start.Add(2*time.Hour))
		w.sameTime("last tick", info.LastTick, start.Add(time.Hour))
		run := w.start()
		equal(w, "the job", line(info.Last.ID, run.Priority, run.Tags[0], run.Meta["m"],
			string(run.Args), run.Retention,
			run.RetentionFailed), line(run.ID, 3, "a", "1", "1", 24*time.Hour, 48*time.Hour))
		name, tick, ok := onceq.Tick(run)
		equal(w, "the tick", line(name, tick.UTC(), ok), line("report", start.Add(time.Hour), true))
		w.complete(run)
	}},
	{"five_workers_make_one_job_of_a_tick", func(w *world) {
		w.real()
		var mu sync.Mutex
		runs := map[string]int{}
		for range 5 {
			store := w.Store
			if w.Open != nil {
				store = w.Open()
				w.Cleanup(func() { store.Close() })
			}
			worker := w.periodicWorker(store, false,
				onceq.Periodic{Name: "p", Schedule: "@every 1s", Args: task(1), CatchUp: onceq.All})
			worker.HandleAny(func(_ context.Context, j *onceq.JobRow) error {
				_, tick, _ := onceq.Tick(j)
				mu.Lock()
				defer mu.Unlock()
				runs[tick.UTC().Format(time.RFC3339)]++
				return nil
			})
			w.background(worker)
		}
		ran := func() int { mu.Lock(); defer mu.Unlock(); return len(runs) }
		w.eventually("four ticks", func() bool { return ran() >= 4 })
		for _, stop := range w.stops {
			stop()
		}
		var first, last string
		for tick, n := range runs {
			equal(w, "runs of "+tick, n, 1)
			if first == "" || tick < first {
				first = tick
			}
			last = max(last, tick)
		}
		from, err := time.Parse(time.RFC3339, first)
		w.must(err)
		to, err := time.Parse(time.RFC3339, last)
		w.must(err)
		equal(w, "ticks without a gap", len(runs), int(to.Sub(from)/time.Second)+1)
	}},
	{"a_worker_killed_in_the_middle_of_a_tick_loses_none_and_doubles_none", func(w *world) {
		for _, after := range []bool{false, true} { // before it enqueued, and after
			p := hourly()
			p.Name = fmt.Sprint("killed after the enqueue: ", after)
			w.put(p)
			w.serve()
			w.after(time.Hour)
			dead := &dying{Store: w.Store, after: after}
			w.background(w.periodicWorker(dead, false))
			w.eventually("the worker is killed", dead.isDead)
			w.after(time.Minute)
			w.serve() // it waits until the other one counts as lost
			w.after(minute)
			w.serve() // the run comes again
			jobs := 0
			for _, j := range w.jobs() {
				if name, _, _ := onceq.Tick(j); name == p.Name {
					jobs++
				}
			}
			equal(w, "jobs of the tick", jobs, 1)
			equal(w, "runs of the schedule's row", w.scheduleOf(p.Name).Next, w.now.Truncate(time.Hour).Add(time.Hour))
			w.must(w.client.RemovePeriodic(w.ctx, p.Name))
		}
	}},
	{"after_three_hours_of_downtime_one_job_runs_by_default", func(w *world) {
		p := hourly()
		p.Schedule = "*/10 * * * *"
		w.put(p)
		w.serve()
		w.after(3*time.Hour + minute)
		w.serve()
		w.wantTicks(time.UTC, "01T15:00:00")
		w.after(9 * minute)
		w.serve()
		w.wantTicks(time.UTC, "01T15:00:00 01T15:10:00")
	}},
	{"all_missed_ticks_run_with_CatchUpAll_oldest_first", func(w *world) {
		p := hourly()
		p.CatchUp = onceq.All
		w.put(p)
		w.after(3*time.Hour + minute)
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00 01T14:00:00 01T15:00:00")
		for i := range 3 {
			_, tick, _ := onceq.Tick(w.start())
			w.sameTime("the tick that runs", tick, start.Add(time.Duration(i+1)*time.Hour))
		}
		p.Name, p.Schedule = "often", "@every 1s"
		w.put(p)
		w.after(time.Hour)
		w.serve()
		jobs := 0
		for _, j := range w.jobs() {
			if name, tick, _ := onceq.Tick(j); name == "often" {
				if jobs++; tick.Before(w.now.Add(-1000 * time.Second)) {
					w.Fatalf("%v is not among the last 1,000 ticks", tick)
				}
			}
		}
		equal(w, "jobs, of 3,600 ticks", jobs, 1000)
	}},
	{"with_CatchUpNone_a_tick_is_late_by_a_minute_at_most", func(w *world) {
		p := hourly()
		p.CatchUp = onceq.None
		w.put(p)
		w.after(2*time.Hour + minute)
		w.serve()
		w.wantTicks(time.UTC, "01T14:00:00")
		w.after(2*time.Hour + time.Millisecond)
		w.serve()
		w.wantTicks(time.UTC, "01T14:00:00")
		w.sameTime("next", w.schedule().Next, start.Add(5*time.Hour))
	}},
	{"a_tick_while_the_last_is_running_is_skipped_with_Unique", func(w *world) {
		w.put(hourly(onceq.Unique{}))
		w.after(time.Hour)
		w.serve()
		run := w.start()
		w.after(time.Hour)
		w.beat(run)
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00")
		equal(w, "the job of the tick that was skipped", w.schedule().Last, nil)
		w.complete(run)
		w.after(time.Hour)
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00 01T15:00:00")
		w.is(w.schedule().Last.ID, onceq.Available)
	}},
	{"a_tick_while_the_last_is_running_runs_afterwards_with_Coalesce", func(w *world) {
		w.put(hourly(key, coalesce))
		w.after(time.Hour)
		w.serve()
		run := w.start()
		for range 2 {
			w.after(time.Hour)
			w.beat(run)
			w.serve()
		}
		w.complete(run)
		w.complete(w.start())
		w.idle()
	}},
	{"half_past_two_runs_at_three_on_the_day_of_the_gap", func(w *world) {
		w.wantDay("30 2 * * *", "America/New_York", "2026-03-07T12:00", 2, "08T03:00:00 09T02:30:00")
	}},
	{"half_past_one_runs_once_on_the_long_day_and_hourly_runs_twenty_five_times", func(w *world) {
		w.wantDay("30 1 * * *", "America/New_York", "2026-10-31T12:00", 2, "01T01:30:00 02T01:30:00")
		loc := w.zone("America/New_York")
		w.at(time.Date(2026, 10, 31, 23, 59, 0, 0, loc))
		w.put(onceq.Periodic{Name: "hourly", Schedule: "@hourly", Location: loc, Args: task(1), CatchUp: onceq.All})
		w.at(time.Date(2026, 11, 1, 23, 59, 0, 0, loc))
		w.serve()
		n := 0
		for _, j := range w.jobs() {
			if name, _, _ := onceq.Tick(j); name == "hourly" {
				n++
			}
		}
		equal(w, "hours of the long day", n, 25)
	}},
	{"midnight_that_does_not_exist_is_one_oclock", func(w *world) {
		w.wantDay("@daily", "America/Sao_Paulo", "2018-11-03T12:00", 2, "04T01:00:00 05T00:00:00")
	}},
	{"a_date_that_does_not_exist_has_no_tick", func(w *world) {
		w.wantDay("0 9 * * *", "Pacific/Apia", "2011-12-28T12:00", 3, "29T09:00:00 31T09:00:00 01T09:00:00")
	}},
	{"an_edit_while_the_tick_runs_is_not_lost", func(w *world) {
		w.put(hourly())
		w.serve()
		gate := &gated{Store: w.Store, at: make(chan struct{}), open: make(chan struct{})}
		w.runNow(w.scheduleRow().ID)
		w.background(w.periodicWorker(gate, false))
		<-gate.at // it is about to put the next row, as it has read it
		edited := make(chan error, 1)
		go func() { _, err := w.client.PutPeriodic(w.ctx, withArgs(hourly(), 2)); edited <- err }()
		select {
		case err := <-edited:
			w.Fatalf("the edit returned while the tick ran: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(gate.open)
		w.must(<-edited)
		w.after(time.Hour)
		w.eventually("the tick", func() bool { return w.schedule().Last != nil })
		equal(w, "args", string(w.schedule().Last.Args), "2")
	}},
	{"edits_among_ticks_are_all_in_force_when_they_return", func(w *world) {
		w.real()
		w.put(hourly())
		for range 2 {
			w.background(w.periodicWorker(w.Store, false))
		}
		hurries := w.hurrySchedules()
		for n := range scaled(40) {
			w.put(withArgs(hourly(), n))
			for range 2 { // now, and after some more runs of the row
				r, err := w.client.TickNow(w.ctx, "report")
				w.must(err)
				equal(w, "args after an edit", string(r.Job.Args), fmt.Sprint(n))
				before := hurries.Load()
				w.eventually("a run", func() bool { return hurries.Load() > before })
				time.Sleep(rand.N(5 * time.Millisecond))
			}
		}
	}},
	{"a_schedule_is_listed_at_each_moment_of_its_ticks", func(w *world) {
		w.real()
		w.put(hourly())
		w.background(w.periodicWorker(w.Store, false))
		hurries := w.hurrySchedules()
		for looks := 0; looks < scaled(400) || hurries.Load() < int64(scaled(20)); looks++ {
			w.must(w.ctx.Err())
			w.schedule() // there is one, always
		}
	}},
	{"an_edit_of_the_job_loses_no_tick_that_is_due", func(w *world) {
		w.put(hourly())
		w.serve()
		w.after(time.Hour)
		w.put(withArgs(hourly(), 2))
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00")
		equal(w, "args", string(w.schedule().Last.Args), "2")
		p := hourly()
		p.Schedule = "30 * * * *"
		w.put(p)
		w.after(time.Hour)
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00 01T13:30:00")
	}},
	{"a_schedule_that_is_put_again_stays_as_it_is", func(w *world) {
		w.put(hourly())
		before := w.scheduleRow()
		w.after(minute)
		w.put(hourly())
		equal(w, "its row", w.scheduleRow().ID, before.ID)
		w.serve(withArgs(hourly(), 2)) // the last one to come wins
		equal(w, "source", w.schedule().Source, "code")
		r, err := w.client.TickNow(w.ctx, "report")
		w.must(err)
		equal(w, "args", string(r.Job.Args), "2")
	}},
	{"a_paused_schedule_makes_nothing_and_resumes_with_the_next_tick", func(w *world) {
		p := hourly()
		p.CatchUp = onceq.All
		w.put(p)
		w.must(w.client.PausePeriodic(w.ctx, p.Name))
		w.after(3*time.Hour + minute)
		w.serve()
		w.runNow(w.scheduleRow().ID)
		w.serve(p) // a worker that has it in its code leaves it paused
		info := w.schedule()
		equal(w, "paused", line(info.Paused, info.Next.IsZero(), info.Source), "true true code")
		w.after(minute)
		w.must(w.client.ResumePeriodic(w.ctx, p.Name))
		w.serve(p)
		w.wantTicks(time.UTC, "")
		w.after(time.Hour)
		w.serve(p)
		w.wantTicks(time.UTC, "01T16:00:00")
		w.wantErr(w.client.PausePeriodic(w.ctx, "nobody"), onceq.ErrNotFound)
		w.wantErr(w.client.ResumePeriodic(w.ctx, "nobody"), onceq.ErrNotFound)
	}},
	{"a_schedule_that_no_worker_knows_runs_nothing_and_is_reported", func(w *world) {
		w.serve(hourly())
		w.after(time.Hour)
		seen := w.now
		w.serve()
		w.wantTicks(time.UTC, "")
		w.sameTime("an orphan since", w.schedule().Orphan, seen)
		w.after(minute)
		w.serve(hourly()) // the program that has it in its code is back
		w.wantTicks(time.UTC, "01T13:00:00")
		equal(w, "an orphan still", w.schedule().Orphan.IsZero(), true)
		w.after(time.Hour)
		w.serve()
		w.after(25 * time.Hour)
		w.serve()
		w.wantTicks(time.UTC, "01T13:00:00")
		all, err := w.client.Periodics(w.ctx)
		w.must(err)
		equal(w, "schedules after a day", len(all), 0)
	}},
	{"a_host_clock_an_hour_off_changes_nothing", func(w *world) {
		for i, off := range []time.Duration{-time.Hour, time.Hour, 20 * 365 * day} {
			p := hourly()
			p.Name = fmt.Sprint(i)
			w.at(time.Now().Add(off).Truncate(time.Hour))
			w.put(p)
			w.serve()
			equal(w, "jobs before the tick", w.scheduleOf(p.Name).Last, nil)
			w.after(time.Hour)
			w.serve()
			_, tick, _ := onceq.Tick(w.scheduleOf(p.Name).Last)
			w.sameTime("the tick", tick, w.now)
			w.must(w.client.RemovePeriodic(w.ctx, p.Name))
		}
	}},
	{"a_store_clock_that_jumps_a_day_doubles_no_tick", func(w *world) {
		p := hourly()
		w.put(p)
		for _, jump := range []time.Duration{time.Hour, day, -day, time.Hour, time.Hour, 22 * time.Hour, time.Hour} {
			w.after(jump)
			w.serve()
			if jump < 0 {
				w.runNow(w.scheduleRow().ID)
				w.serve()
			}
		}
		w.wantTicks(time.UTC, "01T13:00:00 02T13:00:00 02T14:00:00")
	}},
	{"jitter_is_the_same_on_every_worker", func(w *world) {
		p := hourly()
		p.Jitter = time.Hour
		waits := map[time.Duration]bool{}
		for i := range 8 {
			p.Name = fmt.Sprint("p", i/2)
			w.at(start)
			w.put(p)
			w.after(time.Hour)
			w.serve()
			last := w.scheduleOf(p.Name).Last
			_, tick, _ := onceq.Tick(last)
			wait := last.RunAt.Sub(tick)
			if wait < 0 || wait >= p.Jitter {
				w.Fatalf("the job is due %v after its tick", wait)
			}
			waits[wait] = true
			w.must(w.client.RemovePeriodic(w.ctx, p.Name))
			w.remove(last.ID)
		}
		equal(w, "different waits of four schedules, twice each", len(waits), 4)
	}},
	{"a_tick_by_hand_is_a_job_besides_the_others", func(w *world) {
		w.put(hourly())
		w.must(w.client.PausePeriodic(w.ctx, "report"))
		r, err := w.client.TickNow(w.ctx, "report")
		w.must(err)
		equal(w, "outcome", r.Outcome, onceq.Inserted)
		name, tick, ok := onceq.Tick(r.Job)
		equal(w, "tick", line(name, tick.Equal(w.now), ok), "report true true")
		_, err = w.client.TickNow(w.ctx, "nobody")
		w.wantErr(err, onceq.ErrNotFound)
		_, _, ok = onceq.Tick(w.insert(task(1)))
		equal(w, "a plain job has a tick", ok, false)
	}},
	{"a_removed_schedule_makes_nothing_any_more", func(w *world) {
		w.put(hourly())
		w.serve()
		w.must(w.client.RemovePeriodic(w.ctx, "report"))
		w.after(2 * time.Hour)
		w.serve()
		w.wantTicks(time.UTC, "")
		w.wantErr(w.client.RemovePeriodic(w.ctx, "report"), onceq.ErrNotFound)
		all, err := w.client.Periodics(w.ctx)
		w.must(err)
		equal(w, "schedules", len(all), 0)
	}},
	{"what_makes_a_tick_one_job_cannot_be_said_of_it", func(w *world) {
		berlin := w.zone("Europe/Berlin")
		for field, change := range map[string]func(p *onceq.Periodic){
			"Periodic.Name":     func(p *onceq.Periodic) { p.Name = "" },
			"schedule":          func(p *onceq.Periodic) { p.Schedule = "0 0 31 2 *" },
			"Periodic.Location": func(p *onceq.Periodic) { p.Location = time.FixedZone("CET", 3600) },
			"Periodic.CatchUp":  func(p *onceq.Periodic) { p.CatchUp = 3 },
			"Periodic.Jitter":   func(p *onceq.Periodic) { p.Jitter = -1 },
			"args":              func(p *onceq.Periodic) { p.Args = nil },
			"ID":                func(p *onceq.Periodic) { p.Options = []onceq.Option{onceq.ID("a")} },
			"Token": func(p *onceq.Periodic) {
				p.Options = []onceq.Option{onceq.ID("a"), onceq.Token([16]byte{1})}
			},
			"delay":            func(p *onceq.Periodic) { p.Options = []onceq.Option{onceq.Delay(minute)} },
			"retention":        func(p *onceq.Periodic) { p.Options = []onceq.Option{onceq.Retention(minute)} },
			"retention failed": func(p *onceq.Periodic) { p.Options = []onceq.Option{onceq.RetentionFailed(minute)} },
			"queue":            func(p *onceq.Periodic) { p.Options = []onceq.Option{onceq.Queue("onceq.x")} },
		} {
			p := hourly()
			p.Location = berlin
			change(&p)
			_, err := w.client.PutPeriodic(w.ctx, p)
			equal(w, "field", w.refused(err).Field, field)
			_, err = onceq.NewWorker(w.Store, &onceq.WorkerConfig{Periodic: []onceq.Periodic{p}})
			equal(w, "field", w.refused(err).Field, "WorkerConfig.Periodic[0]: "+field)
		}
		_, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{Periodic: []onceq.Periodic{hourly(), hourly()}})
		equal(w, "field", w.refused(err).Field, "WorkerConfig.Periodic[1].Name")
	}},
}
