// Package guardasynq keeps duplicates out of an asynq application. asynq stays,
// and two lines change:
//
//	client := guardasynq.NewClient(asynq.NewClient(redis), g)
//	mux.Use(guardasynq.Middleware(g))
//
// where g is a guard of package guard, on any store of onceq. From then on a
// task is refused while an equal one waits, runs, or has failed and will be
// tried again. The error is an [*onceq.DuplicateError] that names the task in
// the way, and it is an asynq.ErrDuplicateTask too. The key is free when the
// task has ended, and not before: there is no TTL to guess.
//
// Two tasks are the same if their types and payloads are, unless the options of
// the guard say otherwise. Payloads that are JSON are compared by value, others
// as bytes. Tasks without a claim, such as those of asynq.Scheduler or those
// that were enqueued before, run as they always did.
package guardasynq
