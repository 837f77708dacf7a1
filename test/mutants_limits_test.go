package test

// Faults of a limit of the whole fleet. It stands on slots, which are jobs, so
// each rule is there once, whatever the store. Those of its own tests are played
// in a bubble, and those of the suite on SQLite.
var limitMutants = []mutant{
	{"a queue has a slot too many", "global.go", "for i := range n {\n\t\tl.kinds",
		"for i := range n + 1 {\n\t\tl.kinds",
		inStore("limited/a_queue_limited_to_one_runs_one_job_at_a_time_in_four_processes",
			"limited/no_more_than_five_of_a_queue_run_in_three_processes_and_no_fewer")},
	{"a job runs without a slot", "pool.go", "return min(q.own(), q.limit.usable()-q.busy)", "return q.own()",
		inStore("limited/a_queue_limited_to_one_runs_one_job_at_a_time_in_four_processes")},
	{"a slot is given back while a job runs on it", "global.go", "spare := len(l.held) - busy - l.asked;",
		"spare := len(l.held) - l.asked;", []string{"TestAWorkerThatHasNoSlotIsGivenOneAfterTenSeconds"}},
	{"an idle worker keeps its slots", "global.go", "s.giveBackLocked(q, l.usable()-l.most)", "s.giveBackLocked(q, 0)",
		append(inStore("limited/an_idle_worker_gives_its_slots_to_a_busy_one"),
			"TestSlotsThatAreNotNeededAreGivenBack")},
	{"the slots of a dead worker come back late", "guarded.go", "return 0, true\n\t}\n\tif !strings",
		"return time.Hour, true\n\t}\n\tif !strings",
		inStore("limited/a_killed_workers_slots_come_back")},
	{"a worker gives no slot to one that asks", "global.go",
		"slot.wanted = slot.wanted || slices.Contains(x.Stop, slot.Run)", "_ = x.Stop",
		append(inStore("limited/a_worker_that_waits_for_ten_seconds_is_given_a_slot_of_a_busy_one"),
			"TestAWorkerThatHasNoSlotIsGivenOneAfterTenSeconds")},
	{"a worker without a slot asks for none", "global.go", "l.since, ask = now, true", "l.since = now",
		[]string{"TestAWorkerThatHasNoSlotIsGivenOneAfterTenSeconds"}},
	{"a worker that ends keeps its slots until its lease is over", "global.go", "s.ending = true", "s.ending = false",
		[]string{"TestAShutdownGivesSlotsBackAsRunsEnd"}},
	{"two queues have one set of slots", "global.go", "Key: queue[len(slotsPrefix):]})", `Key: "slot"})`,
		[]string{"TestTwoLimitedQueuesHaveSlotsOfTheirOwn"}},
	{"slots are not made", "global.go", "got == 0 && !time.Now().Before(l.putAt)",
		"got < 0 && !time.Now().Before(l.putAt)",
		inStore("limited/no_more_than_five_of_a_queue_run_in_three_processes_and_no_fewer")},
	{"an unanswered fetch of slots is never handed back", "global.go", "s.fetched = r.No // see session.fetch",
		"_ = r.No // see session.fetch", []string{"TestALimitHoldsWhileAnswersAreLostAndWorkersStall"}},
}
