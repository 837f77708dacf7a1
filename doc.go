// Package onceq is a background job queue in which a duplicate cannot get
// in.
//
// A unique job holds a key. The key is written in the same atomic step as
// the job, and until it is released no second job with that key is
// accepted, from any process. A duplicate is not lost and is no error: the
// answer names the job that holds the key, since when, and what will free
// it.
//
// The same promises hold on SQLite (package sqlitestore, nothing to
// install), PostgreSQL (package pgstore) and Redis or Valkey (package
// redisstore).
//
// Execution is at least once: a worker that dies after the work and before
// its report has the job run again. Make handlers idempotent.
//
// # The twelve names to begin with
//
// A program that enqueues:
//
//   - [Args] is what a job is about: your own type, with a method Kind.
//   - [NewClient] makes a client of a store that you have opened.
//   - [Client.Enqueue] accepts a job, or answers with the one that is there.
//   - [Unique] makes a job unique by its kind, its queue and (parts of) its
//     args.
//   - [UniqueKey] makes it unique by a key of your own.
//   - [OnConflict] says what a duplicate does: [Skip] (the default),
//     [Reject], [Replace], [Debounce], [Coalesce] or [Supersede].
//   - [Receipt] is the answer, with the job and, for a duplicate, the
//     [Conflict].
//   - [Client.WithTx] enqueues inside your own SQL transaction.
//
// A program that works:
//
//   - [NewWorker] makes a worker on a store.
//   - [Handle] registers the handler for a type of args.
//   - [Job] is what a handler gets: the row, and the args decoded.
//   - [Worker.Run] runs jobs until its context ends, then drains.
//
// In one piece:
//
//	type Reindex struct {
//		Repo int64 `json:"repo"`
//	}
//
//	func (Reindex) Kind() string { return "reindex" }
//
//	store, err := sqlitestore.Open("jobs.db", nil)
//	client, err := onceq.NewClient(store, nil)
//	receipt, err := client.Enqueue(ctx, Reindex{Repo: 42}, onceq.Unique{})
//	if receipt.Duplicate() {
//		log.Println(receipt.Conflict) // who holds the key, since when, what frees it
//	}
//
//	worker, err := onceq.NewWorker(store, nil)
//	onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[Reindex]) error {
//		return reindex(ctx, job.Args.Repo)
//	})
//	err = worker.Run(ctx)
//
// # Where the rest stands
//
//   - How one job differs from the next: the [Option] values, such as
//     [Queue], [ID], [Delay], [Priority], [MaxAttempts], [Timeout],
//     [Retention]. Defaults for all jobs or for a kind are in [Config]; a
//     type of args brings its own by [EnqueueOptioner].
//   - How long a key is held: the fields Until, Window and TTL of [Unique].
//   - What a handler may return: nil, an error, [Cancel], [Discard],
//     [Snooze].
//   - How a worker works: [WorkerConfig], [RetryPolicy], [Middleware].
//     [EnqueueMiddleware] wraps every enqueue.
//   - What a job gives: [HandleResult], and [Receipt.Wait] for who waits.
//   - Jobs on a schedule: [Periodic].
//   - What is there and why: [Client.Explain], [Client.Jobs], [Client.Keys],
//     [Client.Queues]; [JobRow] and [HeldKey] are the rows.
//   - What an operator can do: [Client.Cancel], [Client.Retry],
//     [Client.RunNow], [Client.Delete], [Client.ReleaseKey], [Client.Pause].
//     [Client.Doctor] checks a whole store. The command onceq does the same
//     in a shell.
//   - What to branch on: [ErrDuplicate], [ErrNotFound], [ErrUncertain],
//     [ErrLeaseLost], [ErrClosed] with errors.Is, and [*InvalidError],
//     [*DuplicateError], [*UncertainError] with errors.As.
//   - What to measure: the MeterProvider of [Config] and [WorkerConfig]
//     gets metrics of enqueues and runs, and [MeasureStore] adds those of
//     the store: docs/metrics.md lists them. The TracerProvider gets spans:
//     docs/tracing.md has the picture.
//   - Tests of your own code: package onceqtest, and docs/testing.md.
//
// The guides are in the folder docs: uniqueness.md says what a key does in
// every case, lifecycle.md what a job does, stores.md what each store
// promises under which fault, results.md how to wait for a job, periodic.md
// when a schedule ticks.
//
// # For people who write stores
//
// [Store] is the whole contract between this package and a store, and the
// types that its methods take and return ([NewRow], [Finish], [Change] and
// so on) are for stores only: a program that enqueues or works never needs
// them. [Hold] has the arithmetic that every store must give. Package
// storetest is the suite that a store has to pass, and docs/rules.md has
// the rules that it tests.
package onceq
