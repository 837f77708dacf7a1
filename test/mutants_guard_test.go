package test

// Faults of package guard, and of the rules of a store that it stands on. The
// suite of SQLite must find them: by a case, or by the random histories of
// guards.
var guardMutants = []mutant{
	{"a rescue has the backoff of a job", "guard/beat.go",
		"policy = func(*onceq.JobRow, error) time.Duration { return patience }",
		"policy = func(*onceq.JobRow, error) time.Duration { return min(patience, time.Second) }",
		append(inStore("guarding/a_consumer_that_dies_gives_its_message_to_the_next_and_the_key_stays"), guardModel)},
	{"a worker rescues a claim with its own backoff", "guarded.go",
		"return func(*JobRow, error) time.Duration { return patience }",
		"return func(*JobRow, error) time.Duration { return min(patience, time.Second) }",
		inStore("guarding/a_worker_of_jobs_rescues_a_claim_with_its_patience")},
	{"a failure begins no patience", "guard/run.go",
		"func(*onceq.JobRow, error) time.Duration { return patience })", "onceq.DefaultRetry)",
		append(inStore("guarding/a_failure_that_will_be_retried_keeps_the_key_and_the_retry_is_not_refused"),
			guardModel)},
	{"the last word on a failure frees the key", "guard/run.go",
		"case f.State == onceq.Retryable && r.final:", "case f.State == onceq.Retryable:",
		append(inStore("guarding/a_failure_that_will_be_retried_keeps_the_key_and_the_retry_is_not_refused"),
			guardModel)},
	{"a confirm takes back a key that another has", "guard/send.go",
		"_, failed[patience] = g.store.Change(ctx, onceq.Change{Op: onceq.OpMove, IDs: ids, " +
			"Delay: patience,\n\t\t\tStates: []onceq.State{onceq.Scheduled, onceq.Available}})",
		"g.store.Change(ctx, onceq.Change{Op: onceq.OpRetry, IDs: ids, WithoutKey: true})\n" +
			"\t\t_, failed[patience] = g.store.Change(ctx, onceq.Change{Op: onceq.OpMove, IDs: ids, " +
			"Delay: patience,\n\t\t\tStates: []onceq.State{onceq.Scheduled, onceq.Available}})",
		[]string{guardModel}},
	{"a claim that lost its key is done", "guard/run.go",
		"case c.Job.State != onceq.Cancelled || c.Job.SupersededBy == \"\":", "case c.Job.State != onceq.Available:",
		append(inStore("guarding/a_lapsed_message_runs_all_the_same",
			"guarding/a_lapsed_message_takes_its_key_back_when_it_is_free"), guardModel)},
	{"a second copy of a message is an echo of the first", "guard/store.go", "no := g.nextNo()", "no := int64(1)",
		append(inStore("guarding/two_copies_at_once_are_one_run"), guardModel)},
	{"a start is repeated under another number", "guard/store.go", "if !s.unsure {\n\t\ts.no = g.nextNo()",
		"if true {\n\t\ts.no = g.nextNo()",
		append(inStore("guarding/a_start_and_an_end_whose_answers_were_lost_are_one_run"), guardModel)},
	{"a send that failed leaves its claim", "guard/send.go", "failed = append(failed, row.ID)", "_ = row.ID",
		append(inStore("guarding/a_failed_send_leaves_no_claim_and_the_next_is_accepted_at_once"), guardModel)},
	{"a send that may have happened is taken for one that failed", "guard/send.go",
		"case isUncertain(errs[i]):", "case false:",
		append(inStore("guarding/a_send_whose_answer_was_lost_is_sent_again_under_its_own_token"), guardModel)},
	{"a heartbeat says that starts are over", "guard/beat.go",
		"r := onceq.ExtendRequest{Worker: g.worker, Lease: g.config.Lease, Runs: sortedRuns(g.runs)}",
		"r := onceq.ExtendRequest{Worker: g.worker, Lease: g.config.Lease, FetchesDone: g.no}",
		[]string{guardModel}},
	{"what was started for nobody stays", "guard/store.go",
		"if doubt {\n\t\tg.doubts = looks", "if false {\n\t\tg.doubts = looks",
		append(inStore("guarding/a_caller_that_gives_up_a_start_leaves_no_run_behind"), guardModel)},
	{"a process that was taken for lost starts nothing", "guard/run.go",
		"\t\tcase c.Err == nil: // the store had taken this guard for lost\n", "",
		inStore("guarding/a_process_that_was_taken_for_lost_starts_again")}, // random histories miss it
	{"a message in doubt is given its whole patience", "guarded.go", "row.Delay, row.MaxAttempts = s.guard.InDoubt,",
		"row.Delay, row.MaxAttempts = patience,",
		append(
			inStore("guarding/a_producer_that_dies_before_the_send_blocks_its_key_for_a_minute_not_a_day"),
			guardModel,
		)},
}

// guardModel is the random histories of guards.
const guardModel = "TestModel/random_histories_of_guards_keep_the_rules"
