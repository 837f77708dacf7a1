package onceqtest_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/onceqtest"
	"github.com/onceq/onceq/sqlitestore"
)

// report is args with terms of their own.
type report struct {
	Day string `json:"day"`
}

func (report) Kind() string { return "report" }

func (report) EnqueueOptions() []onceq.Option {
	return []onceq.Option{onceq.Queue("reports"), onceq.MaxAttempts(3), onceq.Timeout(time.Minute)}
}

var fromRiver = []line{
	{"`NewClient`, `Start`, `Stop`", inBubble(func(t *trial) {
		w := t.handles(onceq.WorkerConfig{}, arrives)
		stop := t.runs(w)
		job := t.enqueue(mail{})
		synctest.Wait()
		t.is(job.ID, onceq.Completed)
		stop()
	})},
	{"a client without `Queues` and `Workers`", inBubble(func(t *trial) {
		t.is(t.enqueue(mail{}).ID, onceq.Available) // there is a client, and no worker anywhere
	})},
	{"`StopAndCancel`", inBubble(func(t *trial) {
		var cause error
		job := t.enqueue(mail{})
		stop := t.runs(t.handles(onceq.WorkerConfig{ShutdownTimeout: time.Millisecond},
			func(ctx context.Context, job *onceq.Job[mail]) error { cause = untilItEnds(ctx, job); return cause }))
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second || !errors.Is(cause, onceq.ErrShutdown) {
			t.Errorf("after %v, because %v", took, cause)
		}
		if left := t.job(job.ID); left.State != onceq.Available || left.Attempt != 0 {
			t.Errorf("it is %s, attempt %d", left.State, left.Attempt)
		}
	})},
	{"`AddWorker`; an insert of an unknown kind is refused", inBubble(func(t *trial) {
		job := t.enqueue(report{}) // whoever enqueues need not know the handler
		w := t.handles(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"reports": {Concurrency: 1}}}, arrives)
		t.drain(w)
		t.is(job.ID, onceq.Available)
	})},
	{"`InsertOpts` of the args", inBubble(func(t *trial) {
		job := t.enqueue(report{}, onceq.MaxAttempts(5))
		if job.Queue != "reports" || job.MaxAttempts != 5 || job.Timeout != time.Minute {
			t.Errorf("%s, %d attempts, %v", job.Queue, job.MaxAttempts, job.Timeout)
		}
	})},
	{"`Worker.Timeout`, `JobTimeout`", inBubble(func(t *trial) {
		t.ran(func(ctx context.Context, _ *onceq.Job[mail]) error {
			if _, has := ctx.Deadline(); has {
				t.Error("a run has a deadline that nobody said")
			}
			return nil
		})
		wait := func(ctx context.Context, _ *onceq.Job[report]) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		job := onceqtest.Run(t, t.store, wait, report{})
		if took := time.Since(began); job.State != onceq.Retryable || took != time.Minute {
			t.Errorf("%s after %v", job.State, took)
		}
	})},
	{"`Worker.NextRetry`, `RetryPolicy`", inBubble(func(t *trial) {
		hourly := func(*onceq.JobRow, error) time.Duration { return time.Hour }
		w := t.handles(onceq.WorkerConfig{Retry: hourly}, bounces)
		job, began := t.enqueue(mail{}), time.Now()
		t.drain(w)
		if after := t.job(job.ID).RunAt.Sub(began); after.Round(time.Second) != time.Hour {
			t.Errorf("the next run is after %v", after)
		}
	})},
	{"`JobSnooze`, `JobCancel`", inBubble(func(t *trial) {
		job := t.ran(func(context.Context, *onceq.Job[mail]) error { return onceq.Snooze(time.Hour) })
		if job.State != onceq.Scheduled || job.Attempt != 0 {
			t.Errorf("%s, attempt %d", job.State, job.Attempt)
		}
		job = t.ran(func(context.Context, *onceq.Job[mail]) error { return onceq.Cancel(errMail) })
		t.is(job.ID, onceq.Cancelled)
	})},
	{"`Subscribe`", inBubble(func(t *trial) {
		receipt, err := t.client.Enqueue(t.Context(), mail{}, onceq.Delay(time.Minute))
		t.must(err)
		seen := make(chan *onceq.JobRow, 1)
		stop := t.runs(t.handles(onceq.WorkerConfig{OnFinish: func(_ context.Context, job *onceq.JobRow, _ error) {
			seen <- job
		}}, arrives))
		defer stop()
		if job := <-seen; job.State != onceq.Completed || job.ID != receipt.Job.ID {
			t.Errorf("the worker tells of %s %s", job.ID, job.State)
		}
		if job, err := receipt.Wait(t.Context()); err != nil || job.State != onceq.Completed {
			t.Errorf("waited for %v, %v", job, err)
		}
	})},
	{"`ErrorHandler`", inBubble(func(t *trial) {
		cancels := func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error {
				if err := next(ctx, job); err != nil {
					return onceq.Cancel(err)
				}
				return nil
			}
		}
		job := t.enqueue(mail{})
		t.drain(t.handles(onceq.WorkerConfig{Middleware: []onceq.Middleware{cancels}}, bounces))
		t.is(job.ID, onceq.Cancelled)
		job = t.ran(func(context.Context, *onceq.Job[mail]) error { panic("no such user") })
		if e := job.Errors[0]; job.State != onceq.Retryable || e.Error != "panic: no such user" || e.Stack == "" {
			t.Errorf("after a panic: %s, %+v", job.State, e)
		}
	})},
	{"`JobInsertMiddleware`, `HookInsertBegin`", func(t *testing.T) {
		store := onceqtest.NewStore(t)
		tenant := func(next onceq.Enqueuer) onceq.Enqueuer {
			return func(ctx context.Context, items []onceq.Item) ([]onceq.Receipt, error) {
				items = slices.Clone(items)
				for i := range items {
					items[i].Options = append(slices.Clone(items[i].Options), onceq.Tags("tenant-7"))
				}
				return next(ctx, items)
			}
		}
		client, err := onceq.NewClient(store, &onceq.Config{Middleware: []onceq.EnqueueMiddleware{tenant}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.EnqueueMany(t.Context(), []onceq.Item{onceq.NewItem(mail{})}); err != nil {
			t.Fatal(err)
		}
		onceqtest.RequireEnqueued(t, client, mail{}, onceq.Tags("tenant-7"))
	}},
	{"`WorkerMiddleware`, `HookWorkBegin`, `HookWorkEnd`", inBubble(func(t *trial) {
		var seen []string
		around := func(next onceq.Handler) onceq.Handler {
			return func(ctx context.Context, job *onceq.JobRow) error {
				seen = append(seen, "begin "+job.Kind)
				defer func() { seen = append(seen, "end "+job.Kind) }()
				return next(ctx, job)
			}
		}
		t.enqueue(mail{})
		t.drain(t.handles(onceq.WorkerConfig{Middleware: []onceq.Middleware{around}}, arrives))
		if want := []string{"begin mail", "end mail"}; !slices.Equal(seen, want) {
			t.Errorf("%q", seen)
		}
	})},
	{"`otelriver`", inBubble(func(t *trial) {
		spans, metrics := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
		traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		client, err := onceq.NewClient(t.store, &onceq.Config{TracerProvider: traces})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Enqueue(t.Context(), mail{}); err != nil {
			t.Fatal(err)
		}
		t.drain(t.handles(onceq.WorkerConfig{Client: client, TracerProvider: traces,
			MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics))}, arrives))
		ended := spans.Ended()
		if len(ended) != 2 || ended[1].Name() != "process default" || len(ended[1].Links()) != 1 ||
			ended[1].Links()[0].SpanContext.SpanID() != ended[0].SpanContext().SpanID() {
			t.Errorf("%v", ended)
		}
		var measured metricdata.ResourceMetrics
		if err := metrics.Collect(t.Context(), &measured); err != nil || len(measured.ScopeMetrics) != 1 {
			t.Errorf("%+v, %v", measured, err)
		}
	})},
	{"`PeriodicJobs`, `RunOnStart`", inBubble(func(t *trial) {
		var ticks []time.Time
		schedule := onceq.Periodic{Name: "p", Schedule: "@every 15m", Args: mail{}}
		w := t.handles(onceq.WorkerConfig{Periodic: []onceq.Periodic{schedule}},
			func(_ context.Context, job *onceq.Job[mail]) error {
				name, tick, ok := onceq.Tick(job.JobRow)
				if ticks = append(ticks, tick); name != "p" || !ok {
					t.Errorf("a job of %q, %v", name, ok)
				}
				return nil
			})
		stop := t.runs(w)
		_, err := t.client.TickNow(t.Context(), "p")
		t.must(err)
		time.Sleep(50 * time.Minute)
		stop()
		if len(ticks) != 4 {
			t.Errorf("ticks %v, want one at once and three in fifty minutes", ticks)
		}
	})},
	{"`JobCompleteTx`", func(t *testing.T) {
		store, client := onSQLite(t)
		for text, want := range map[string]onceq.State{"": onceq.Completed, "declined": onceq.Retryable} {
			if job := onceqtest.Run(t, store, pay(store), welcome{Text: text}); job.State != want {
				t.Errorf("%q: %s, want %s", text, job.State, want)
			}
		}
		var rows int
		if err := store.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM sent").Scan(&rows); err != nil ||
			rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
		// The lease is lost: what the handler has written is rolled back.
		worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: client,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		var lost error
		onceq.Handle(worker, func(ctx context.Context, job *onceq.Job[welcome]) error {
			_, err := store.Finish(ctx, onceq.FinishRequest{Runs: []onceq.Finish{{ID: job.ID, Run: job.Run,
				Worker: job.Worker, State: onceq.Cancelled}}}) // as who takes the run over
			// A wake-up may end the context of a lost run before it can pay.
			lost = errors.Join(err, pay(store)(context.WithoutCancel(ctx), job))
			return lost
		})
		if _, err := client.Enqueue(t.Context(), welcome{}); err != nil {
			t.Fatal(err)
		}
		if onceqtest.Drain(t, worker); !errors.Is(lost, onceq.ErrLeaseLost) {
			t.Errorf("completed a job that another has ended: %v", lost)
		}
		if err := store.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM sent").Scan(&rows); err != nil ||
			rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
	}},
	{"`JobCancelTx`, `JobDeleteTx`, `JobRetryTx`", func(t *testing.T) {
		store, client := onSQLite(t)
		receipt, err := client.Enqueue(t.Context(), mail{})
		if err != nil {
			t.Fatal(err)
		}
		for _, commit := range []bool{false, true} {
			tx, err := store.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			in := client.WithTx(store.Tx(tx))
			_, cancelled := in.Cancel(t.Context(), receipt.Job.ID)
			_, retried := in.Retry(t.Context(), receipt.Job.ID)
			_, cancelledAgain := in.Cancel(t.Context(), receipt.Job.ID)
			deleted := in.Delete(t.Context(), receipt.Job.ID)
			end := tx.Rollback
			if commit {
				end = tx.Commit
			}
			if err := errors.Join(cancelled, retried, cancelledAgain, deleted, end()); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Job(t.Context(), receipt.Job.ID); errors.Is(err, onceq.ErrNotFound) != commit {
				t.Errorf("committed %v: %v", commit, err)
			}
		}
	}},
	{"`RecordOutput`", inBubble(func(t *trial) {
		job := t.ran(func(ctx context.Context, _ *onceq.Job[mail]) error { return onceq.SetResult(ctx, 42) })
		if n, err := onceq.ResultOf[int](t.job(job.ID)); n != 42 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		job = t.ran(func(ctx context.Context, _ *onceq.Job[mail]) error {
			return errors.Join(onceq.SetResult(ctx, 42), errMail)
		})
		if _, err := onceq.ResultOf[int](t.job(job.ID)); !errors.Is(err, onceq.ErrNotFound) {
			t.Errorf("a run that will be tried again has a result: %v", err)
		}
	})},
	{"`JobGet`, `JobList`", inBubble(func(t *trial) {
		job := t.enqueue(mail{}, onceq.Tags("a"))
		t.enqueue(mail{}, onceq.Tags("b"))
		t.is(job.ID, onceq.Available)
		page, err := t.client.JobsPage(t.Context(), onceq.JobFilter{Tag: "a"}, "")
		if t.must(err); len(page.Jobs) != 1 || page.Jobs[0].ID != job.ID {
			t.Errorf("%d jobs", len(page.Jobs))
		}
	})},
	{"`rivertest.RequireInserted`, `RequireManyInserted`", inBubble(func(t *trial) {
		t.enqueue(mail{"a"}, onceq.Priority(1))
		t.enqueue(mail{"b"})
		onceqtest.RequireEnqueued(t, t.client, mail{"a"}, onceq.Priority(1), onceq.Queue("default"))
		onceqtest.RequireEnqueuedCount(t, t.client, mail{"b"}, 1)
		onceqtest.RequireNotEnqueued(t, t.client, mail{"c"})
	})},
	{"`rivertest.NewWorker(…).Work`, `WorkContext`", inBubble(func(t *trial) {
		if job := onceqtest.Run(t, t.store, bounces, mail{}); job.State != onceq.Retryable {
			t.Errorf("%s", job.State)
		}
		job := onceqtest.NewJob(t, mail{})
		if onceq.ClientFrom(onceqtest.Context(t, t.client, job.JobRow)) != t.client {
			t.Error("the context has another client")
		}
	})},
	{"`QueuePause(\"*\")`", inBubble(func(t *trial) {
		t.enqueue(mail{})
		t.enqueue(report{})
		queues, err := t.client.Queues(t.Context())
		t.must(err)
		for _, q := range queues {
			t.must(t.client.Pause(t.Context(), q.Name))
		}
		w := t.worker(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1},
			"reports": {Concurrency: 1}}})
		w.HandleAny(func(context.Context, *onceq.JobRow) error { return nil })
		if ran := t.drain(w); len(queues) != 2 || len(ran) != 0 {
			t.Errorf("%d queues, %d runs", len(queues), len(ran))
		}
	})},
	{"`Queues().Add`", inBubble(func(t *trial) {
		stop := t.runs(t.handles(onceq.WorkerConfig{}, arrives))
		more := t.runs(t.handles(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"new": {Concurrency: 1}}},
			arrives))
		job := t.enqueue(mail{}, onceq.Queue("new"))
		synctest.Wait()
		t.is(job.ID, onceq.Completed)
		more()
		stop()
	})},
	{"`RescueStuckJobsAfter`", inBubble(func(t *trial) {
		job := t.enqueue(mail{})
		_, err := t.store.Extend(t.Context(), onceq.ExtendRequest{Worker: "dead", Lease: 30 * time.Second})
		t.must(err)
		_, err = t.store.Fetch(t.Context(), onceq.FetchRequest{Worker: "dead", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
		t.must(err)
		t.is(job.ID, onceq.Running)
		w := t.handles(onceq.WorkerConfig{}, arrives)
		stop := t.runs(w)
		time.Sleep(2 * time.Minute)
		stop()
		if job := t.job(job.ID); job.State != onceq.Completed || job.Attempt != 2 {
			t.Errorf("%s, attempt %d", job.State, job.Attempt)
		}
	})},
	{"`CompletedJobRetentionPeriod` and others", inBubble(func(t *trial) {
		job := t.ran(bounces, onceq.MaxAttempts(1), onceq.RetentionFailed(7*24*time.Hour))
		if kept := t.job(job.ID).KeepUntil().Sub(job.FinishedAt); kept != 7*24*time.Hour {
			t.Errorf("kept for %v", kept)
		}
		client, err := onceq.NewClient(t.store, &onceq.Config{Defaults: []onceq.Option{onceq.Retention(time.Hour)}})
		t.must(err)
		defer client.Close()
		receipt, err := client.Enqueue(t.Context(), mail{})
		if t.must(err); receipt.Job.Retention != time.Hour {
			t.Errorf("kept for %v", receipt.Job.Retention)
		}
	})},
}

// onSQLite is a store with a table of its own.
func onSQLite(t *testing.T) (*sqlitestore.Store, *onceq.Client) {
	t.Helper()
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := store.DB().ExecContext(t.Context(), "CREATE TABLE sent (user)"); err != nil {
		t.Fatal(err)
	}
	return store, onceqtest.NewClient(t, store)
}
