package test

import "strings"

// Faults of schedules: of their rows, which are jobs and the same on every store,
// and of package cron, which knows the rules of time.
var periodicMutants = []mutant{
	{"a tick in a gap comes before it", "internal/cron/next.go", "at = max(p.start, wall-p.offset)",
		"at = wall - p.offset", inCron("half past two runs at three on the day of the gap")},
	{"an hour that comes twice has its ticks twice", "internal/cron/next.go", "from := today.reached(now, loc) + 1",
		"from := now + today.offset + 1", inCron("it ran already when the hour comes again")},
	{"an hourly tick is lost on the long day", "internal/cron/parse.go",
		`s.elapsed = strings.HasPrefix(texts[1], "*")`, "s.elapsed = false",
		inCron("hourly runs in both of the hours")},
	{"day of month and day of week must both fit", "internal/cron/next.go", "listed = s.days | onWeekdays",
		"listed = s.days & onWeekdays", inCron("the 13th, and each Friday")},
	{"a star with a step is a restriction", "internal/cron/parse.go",
		`s.either = !strings.HasPrefix(texts[2], "*") && !strings.HasPrefix(texts[4], "*")`,
		`s.either = texts[2] != "*" && texts[4] != "*"`,
		inCron("a star with a step is no restriction: odd days that are Mondays")},
	{"a date that does not exist has its tick on the next", "internal/cron/next.go", "shows < tomorrow {", "true {",
		inCron("a date that does not exist has no tick")},
	{"Sunday is not 7", "internal/cron/parse.go", "(s.weekdays | s.weekdays>>sunday)", "s.weekdays",
		inCron("Sunday is 0 and 7")},
	{"2100 is a leap year", "internal/cron/next.go", "(year%100 != 0 || year%400 == 0)", "true",
		inCron("the 29th of February")},
	{"@every counts from now", "internal/cron/next.go", "now+s.every-mod(now, s.every)", "now+s.every",
		inCron("multiples since the epoch, whatever the zone")},
	{"31 February is taken", "internal/cron/parse.go", "if !s.either && !s.comes() {", "if false {",
		[]string{"TestEveryRefusalSaysWhatToWrite"}},

	{"the ID of a job does not say its tick", "periodicrow.go", `r.ID = s.Name + "@" + tick.UTC().Format(time.RFC3339)`,
		"r.ID = c.ids.next(time.Now())",
		append(inStore("periodic/a_worker_killed_in_the_middle_of_a_tick_loses_none_and_doubles_none"), scheduleModel)},
	{"the next row does not stand behind the run that makes it", "periodicrow.go",
		"Reactions{Running: ActionStand}", "Reactions{}",
		append(inStore("periodic/a_tick_has_one_job_and_the_schedule_goes_on"), scheduleModel)},
	{"an edit stands behind the tick that runs", "periodicrow.go", "Ended: ActionTake}",
		"Ended: ActionTake,\n\tRunning: ActionStand}",
		inStore("periodic/an_edit_while_the_tick_runs_is_not_lost")},
	{"an edit that met a tick is taken for done", "periodic.go", "return false, nil // a worker makes a tick",
		"return true, nil // a worker makes a tick",
		inStore("periodic/edits_among_ticks_are_all_in_force_when_they_return")},
	{"All makes up for one tick", "periodicrow.go", "return t.last(after, now, mostCaughtUp)",
		"return t.last(after, now, 1)",
		append(inStore("periodic/all_missed_ticks_run_with_CatchUpAll_oldest_first"), scheduleModel)},
	{"All makes the oldest ticks of those that it may not make", "periodicrow.go",
		"return ticks[max(0, len(ticks)-n):]", "return ticks[:min(n, len(ticks))]",
		inStore("periodic/all_missed_ticks_run_with_CatchUpAll_oldest_first")},
	{"None makes a tick that is an hour late", "periodicrow.go", "now.Add(-time.Minute - 1)", "now.Add(-2 * time.Hour)",
		inStore("periodic/with_CatchUpNone_a_tick_is_late_by_a_minute_at_most")},
	{"a schedule that goes on makes up for its pause", "periodic.go",
		"next.state.After = time.Time{} // ticks count from this edit on", "",
		append(inStore("periodic/a_paused_schedule_makes_nothing_and_resumes_with_the_next_tick"), scheduleModel)},
	{"the clock of a worker decides", "periodicrun.go", "now := job.StartedAt", "now := time.Now()",
		inStore("periodic/after_three_hours_of_downtime_one_job_runs_by_default")},
	{"a clock that was put back makes ticks again", "periodicrun.go", "if now.After(next.state.After) {", "if true {",
		inStore("periodic/a_store_clock_that_jumps_a_day_doubles_no_tick")}, // random histories put no clock back
	{"each worker has a jitter of its own", "periodicrow.go", "h.Write([]byte(r.ID))",
		"h.Write([]byte(c.ids.next(time.Now())))",
		inStore("periodic/jitter_is_the_same_on_every_worker")},
	{"a schedule that nobody has stays for ever", "periodicrun.go", "case now.Sub(since) > orphanFor:", "case false:",
		inStore("periodic/a_schedule_that_no_worker_knows_runs_nothing_and_is_reported")},
	{"a worker runs a schedule that is not in its code", "periodicrun.go",
		"if w.mine[p.spec.Name] == nil && p.spec.Source", "if false && p.spec.Source",
		inStore("periodic/a_schedule_that_no_worker_knows_runs_nothing_and_is_reported")},
	{"a tick in a partition has the ID of one store", "periodicrow.go",
		"if c.place != nil && c.place(r.ID, r.key()) != r.ID {", "if false {",
		[]string{"TestTicksOfUniqueJobsLieWithTheirKeys"}},
}

// scheduleModel is the random histories of schedules.
const scheduleModel = "TestModel/random_histories_of_schedules_keep_the_rules"

// inCron names a row of the table of instants.
func inCron(row string) []string {
	return []string{"TestTicksWhereClocksJump/" + strings.ReplaceAll(row, " ", "_")}
}
