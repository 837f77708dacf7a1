package onceqtest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

var fromAsynq = []line{
	{"`NewTask(type, payload)`, `Client.Enqueue`", inBubble(func(t *trial) {
		t.enqueue(mail{"a@b"})
		t.enqueue(onceq.Bytes("raw", []byte{0xff, 0}))
		w := t.worker(onceq.WorkerConfig{})
		onceq.Handle(w, func(_ context.Context, job *onceq.Job[mail]) error {
			if job.Args.To != "a@b" {
				t.Errorf("mail to %q", job.Args.To)
			}
			return nil
		})
		w.HandleKind("raw", func(_ context.Context, job *onceq.JobRow) error {
			if !bytes.Equal(job.Args, []byte{0xff, 0}) {
				t.Errorf("payload %x", job.Args)
			}
			return nil
		})
		if ran := t.drain(w); len(ran) != 2 || ran[0].State != onceq.Completed || ran[1].State != onceq.Completed {
			t.Errorf("%d jobs were run", len(ran))
		}
	})},
	{"`ServeMux.HandleFunc(pattern, f)`", inBubble(func(t *trial) {
		w, any := t.handles(onceq.WorkerConfig{}, arrives), t.worker(onceq.WorkerConfig{})
		t.enqueue(onceq.JSON("mail:digest", []byte(`{}`)))
		if ran := t.drain(w); len(ran) != 0 {
			t.Error("a handler was called for a kind that begins as its own")
		}
		any.HandleAny(func(_ context.Context, job *onceq.JobRow) error {
			if !strings.HasPrefix(job.Kind, "mail:") {
				return errors.New("no handler")
			}
			return nil
		})
		if ran := t.drain(any); len(ran) != 1 || ran[0].State != onceq.Completed {
			t.Errorf("%d jobs were run", len(ran))
		}
	})},
	{"a task without a handler fails", inBubble(func(t *trial) {
		job := t.enqueue(onceq.JSON("new", []byte(`{}`)))
		stop := t.runs(t.handles(onceq.WorkerConfig{}, arrives))
		time.Sleep(time.Minute)
		stop()
		if left := t.job(job.ID); left.State != onceq.Available || left.Attempt != 0 {
			t.Errorf("it is %s, attempt %d", left.State, left.Attempt)
		}
	})},
	{"`mux.Use(middleware)`", inBubble(func(t *trial) {
		var order []string
		says := func(what string) onceq.Middleware {
			return func(next onceq.Handler) onceq.Handler {
				return func(ctx context.Context, job *onceq.JobRow) error {
					order = append(order, what, string(job.Args))
					return next(ctx, job)
				}
			}
		}
		t.enqueue(mail{"a"})
		t.drain(t.handles(onceq.WorkerConfig{Middleware: []onceq.Middleware{says("outer"), says("inner")}}, arrives))
		if want := []string{"outer", `{"to":"a"}`, "inner", `{"to":"a"}`}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
	})},
	{"`Queues: {\"critical\": 6, \"low\": 1}`", inBubble(func(t *trial) {
		for range 4 {
			t.enqueue(mail{}, onceq.Queue("critical"))
			t.enqueue(mail{}, onceq.Queue("low"))
		}
		stop := t.runs(t.handles(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{
			"critical": {Concurrency: 3}, "low": {Concurrency: 1}}, ShutdownTimeout: time.Second}, untilItEnds))
		for queue, want := range map[string]int{"critical": 3, "low": 1} {
			n := 0
			for _, err := range t.client.Jobs(t.Context(), onceq.JobFilter{Queue: queue,
				States: []onceq.State{onceq.Running}}) {
				t.must(err)
				n++
			}
			if n != want {
				t.Errorf("%d of %s run at once, want %d", n, queue, want)
			}
		}
		stop()
	})},
	{"`StrictPriority`", inBubble(func(t *trial) {
		for _, priority := range []int{9, 5, 0, 5} {
			t.enqueue(mail{}, onceq.Priority(priority))
		}
		var order []int
		t.drain(t.handles(onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}}},
			func(_ context.Context, job *onceq.Job[mail]) error { order = append(order, job.Priority); return nil }))
		if want := []int{0, 5, 5, 9}; !slices.Equal(order, want) {
			t.Errorf("ran in the order %d, want %d", order, want)
		}
	})},
	{"`RetryDelayFunc`", inBubble(func(t *trial) {
		policy := func(job *onceq.JobRow, err error) time.Duration {
			if !errors.Is(err, errMail) {
				t.Errorf("the policy is asked about %v", err)
			}
			return time.Duration(job.Attempt) * time.Hour
		}
		w := t.handles(onceq.WorkerConfig{Retry: policy}, bounces)
		byPolicy, own := t.enqueue(mail{}), t.enqueue(mail{}, onceq.Backoff{Initial: time.Minute, Max: time.Minute})
		began := time.Now()
		t.drain(w)
		for id, most := range map[string]time.Duration{byPolicy.ID: time.Hour, own.ID: time.Minute} {
			if after := t.job(id).RunAt.Sub(began); after <= 0 || after > most || id == byPolicy.ID && after < most {
				t.Errorf("the next run is after %v, want %v", after, most)
			}
		}
	})},
	{"`MaxRetry(n)`", inBubble(func(t *trial) {
		if job := t.enqueue(mail{}); job.MaxAttempts != 25 {
			t.Errorf("%d attempts unless said", job.MaxAttempts)
		}
		if job := t.ran(bounces, onceq.MaxAttempts(1)); job.State != onceq.Discarded {
			t.Errorf("after one attempt of one it is %s", job.State)
		}
		if job := t.ran(bounces, onceq.MaxAttempts(2)); job.State != onceq.Retryable {
			t.Errorf("after one attempt of two it is %s", job.State)
		}
	})},
	{"`SkipRetry`", inBubble(func(t *trial) {
		job := t.ran(func(context.Context, *onceq.Job[mail]) error { return onceq.Discard(errMail) })
		if job.State != onceq.Discarded || job.Attempt != 1 || !strings.Contains(job.Errors[0].Error, errMail.Error()) {
			t.Errorf("%s, attempt %d, %v", job.State, job.Attempt, job.Errors)
		}
	})},
	{"`RevokeTask`", inBubble(func(t *trial) {
		job := t.ran(func(context.Context, *onceq.Job[mail]) error { return onceq.Cancel(errMail) })
		if t.is(job.ID, onceq.Cancelled); !strings.Contains(job.Errors[0].Error, errMail.Error()) {
			t.Error(job.Errors)
		}
	})},
	{"`IsFailure`", inBubble(func(t *trial) {
		job := t.ran(func(context.Context, *onceq.Job[mail]) error { return onceq.Snooze(time.Hour) })
		if job.State != onceq.Scheduled || job.Attempt != 0 || len(job.Errors) != 0 {
			t.Errorf("%s, attempt %d, %v", job.State, job.Attempt, job.Errors)
		}
	})},
	{"archived tasks, for 90 days", inBubble(func(t *trial) {
		job := t.ran(bounces, onceq.MaxAttempts(1), onceq.RetentionFailed(90*24*time.Hour))
		if kept := t.job(job.ID).KeepUntil().Sub(job.FinishedAt); kept != 90*24*time.Hour {
			t.Errorf("kept for %v", kept)
		}
		_, err := t.client.Retry(t.Context(), job.ID)
		t.must(err)
		t.is(job.ID, onceq.Available)
	})},
	{"`Retention`", inBubble(func(t *trial) {
		job := t.ran(arrives)
		if kept := t.job(job.ID).KeepUntil().Sub(job.FinishedAt); kept != 24*time.Hour {
			t.Errorf("kept for %v", kept)
		}
		job = t.ran(arrives, onceq.Retention(0))
		if _, err := t.client.Job(t.Context(), job.ID); !errors.Is(err, onceq.ErrNotFound) {
			t.Errorf("with Retention(0) it is still there: %v", err)
		}
	})},
	{"`ResultWriter`, `TaskInfo.Result`", inBubble(func(t *trial) {
		receipt, err := t.client.Enqueue(t.Context(), mail{})
		t.must(err)
		w := t.worker(onceq.WorkerConfig{})
		onceq.HandleResult(w, func(context.Context, *onceq.Job[mail]) (int, error) { return 42, nil })
		stop := t.runs(w)
		defer stop()
		if n, err := onceq.WaitFor[int](t.Context(), receipt); n != 42 || err != nil {
			t.Errorf("waited for %d, %v", n, err)
		}
		if n, err := onceq.ResultOf[int](t.job(receipt.Job.ID)); n != 42 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})},
	{"`Timeout`, `Deadline`", inBubble(func(t *trial) {
		t.ran(func(ctx context.Context, _ *onceq.Job[mail]) error {
			if _, has := ctx.Deadline(); has {
				t.Error("a run has a deadline that nobody said")
			}
			return nil
		})
		began := time.Now()
		job := t.ran(untilItEnds, onceq.Timeout(time.Minute))
		if took := time.Since(began); job.State != onceq.Retryable || took != time.Minute {
			t.Errorf("%s after %v", job.State, took)
		}
	})},
	{"`ProcessIn`, `ProcessAt`", inBubble(func(t *trial) {
		at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		if job := t.enqueue(mail{}, onceq.RunAt(at)); !job.RunAt.Equal(at) {
			t.Errorf("due at %v, want %v", job.RunAt, at)
		}
		if job := t.enqueue(mail{}, onceq.Delay(time.Hour)); job.RunAt.Sub(job.EnqueuedAt) != time.Hour {
			t.Errorf("due at %v", job.RunAt)
		}
	})},
	{"`Group`, `GroupAggregator`", inBubble(func(t *trial) {
		group := []onceq.Option{onceq.UniqueKey("digest"), onceq.Delay(time.Minute),
			onceq.OnConflict(onceq.Debounce{MaxWait: time.Hour})}
		var last *onceq.JobRow
		for _, to := range []string{"a", "b", "c"} {
			last = t.enqueue(mail{to}, group...)
			time.Sleep(30 * time.Second)
		}
		var sent []string
		w := t.handles(onceq.WorkerConfig{}, func(_ context.Context, job *onceq.Job[mail]) error {
			sent = append(sent, job.Args.To)
			return nil
		})
		stop := t.runs(w)
		time.Sleep(time.Hour)
		stop()
		if t.is(last.ID, onceq.Completed); !slices.Equal(sent, []string{"c"}) {
			t.Errorf("sent %q, want one for all, with the last args", sent)
		}
	})},
	{"`Scheduler`, `PeriodicTaskManager`", inBubble(func(t *trial) {
		minutely := onceq.Periodic{Name: "minutely", Schedule: "* * * * *", Args: mail{"all"}}
		stop := []func(){}
		sent := make(chan string, 10)
		for range 2 { // replicas
			stop = append(stop, t.runs(t.handles(onceq.WorkerConfig{Periodic: []onceq.Periodic{minutely}},
				func(_ context.Context, job *onceq.Job[mail]) error { sent <- job.Args.To; return nil })))
		}
		time.Sleep(150 * time.Second)
		stop[0]()
		stop[1]()
		if len(sent) != 2 {
			t.Errorf("%d jobs in two and a half minutes", len(sent))
		}
	})},
	{"`BaseContext`", inBubble(func(t *trial) {
		type key struct{}
		t.enqueue(mail{})
		var got any
		w := t.handles(onceq.WorkerConfig{}, func(ctx context.Context, _ *onceq.Job[mail]) error {
			got = ctx.Value(key{})
			return nil
		})
		_, err := w.Drain(context.WithValue(t.Context(), key{}, "of the program"))
		if t.must(err); got != "of the program" {
			t.Errorf("a handler sees %v", got)
		}
	})},
	{"`GetTaskID`, `GetRetryCount`, `GetMaxRetry`, `GetQueueName`", inBubble(func(t *trial) {
		t.ran(func(_ context.Context, job *onceq.Job[mail]) error {
			if job.ID != "x" || job.Attempt != 1 || job.MaxAttempts != 3 || job.Queue != "q" {
				t.Errorf("%s %d %d %s", job.ID, job.Attempt, job.MaxAttempts, job.Queue)
			}
			return nil
		}, onceq.ID("x"), onceq.MaxAttempts(3), onceq.Queue("q"))
	})},
	{"`ErrorHandler`", inBubble(func(t *trial) {
		var reported []onceq.State
		report := func(_ context.Context, job *onceq.JobRow, err error) {
			if reported = append(reported, job.State); !errors.Is(err, errMail) {
				t.Errorf("reported %v", err)
			}
		}
		t.enqueue(mail{}, onceq.MaxAttempts(2))
		t.drain(t.handles(onceq.WorkerConfig{OnFinish: report,
			Retry: func(*onceq.JobRow, error) time.Duration { return 0 }}, bounces))
		if want := []onceq.State{onceq.Retryable, onceq.Discarded}; !slices.Equal(reported, want) {
			t.Errorf("reported %q, want %q", reported, want)
		}
	})},
	{"`HealthCheckFunc`", inBubble(func(t *trial) {
		_, err := t.client.Queues(t.Context())
		t.must(err)
		t.store.Close()
		if _, err := t.client.Queues(t.Context()); err == nil {
			t.Error("a store that is closed answers")
		}
	})},
	{"`Server.Run`, `Shutdown`, `ShutdownTimeout`", inBubble(func(t *trial) {
		short, long := make(chan struct{}), t.enqueue(mail{"long"})
		done := t.enqueue(mail{"short"})
		stop := t.runs(t.handles(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			if job.Args.To == "short" {
				<-short
				return nil
			}
			return untilItEnds(ctx, job)
		}))
		time.AfterFunc(10*time.Second, func() { close(short) })
		began := time.Now()
		stop()
		if took := time.Since(began); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		t.is(done.ID, onceq.Completed)
		if job := t.job(long.ID); job.State.Finished() || job.Attempt != 0 {
			t.Errorf("what was stopped is %s, attempt %d", job.State, job.Attempt)
		}
	})},
	{"`Inspector`: `GetTaskInfo`, `ListPendingTasks` …, `GetQueueInfo`", inBubble(func(t *trial) {
		job := t.enqueue(mail{}, onceq.Delay(time.Hour))
		t.is(job.ID, onceq.Scheduled)
		for got, err := range t.client.Jobs(t.Context(), onceq.JobFilter{States: []onceq.State{onceq.Scheduled}}) {
			if t.must(err); got.ID != job.ID {
				t.Errorf("listed %s", got.ID)
			}
		}
		queues, err := t.client.Queues(t.Context())
		if t.must(err); len(queues) != 1 || queues[0].Counts[onceq.Scheduled] != 1 {
			t.Errorf("queues %v", queues)
		}
	})},
	{"`Inspector`: `RunTask`, `ArchiveTask`, `DeleteTask`, and `…All…Tasks`", inBubble(func(t *trial) {
		job, another := t.enqueue(mail{}, onceq.Delay(time.Hour)), t.enqueue(mail{})
		_, err := t.client.RunNow(t.Context(), job.ID)
		t.must(err)
		t.is(job.ID, onceq.Available)
		_, err = t.client.Cancel(t.Context(), job.ID)
		t.must(err)
		t.is(job.ID, onceq.Cancelled)
		t.must(t.client.Delete(t.Context(), job.ID))
		n, err := t.client.CancelAll(t.Context(), onceq.JobFilter{States: []onceq.State{onceq.Available}})
		if t.must(err); n != 1 {
			t.Errorf("cancelled %d", n)
		}
		t.is(another.ID, onceq.Cancelled)
		if _, err := t.client.DeleteAll(t.Context(), onceq.JobFilter{}); err == nil {
			t.Error("an empty filter means every job")
		}
	})},
	{"`Inspector`: `PauseQueue`, `UnpauseQueue`", inBubble(func(t *trial) {
		w := t.handles(onceq.WorkerConfig{}, arrives)
		t.enqueue(mail{})
		t.must(t.client.Pause(t.Context(), "default"))
		if ran := t.drain(w); len(ran) != 0 {
			t.Error("a job of a paused queue ran")
		}
		t.must(t.client.Resume(t.Context(), "default"))
		if ran := t.drain(w); len(ran) != 1 {
			t.Errorf("%d ran", len(ran))
		}
	})},
	{"`Inspector`: `CancelProcessing`", inBubble(func(t *trial) {
		var cause error
		job := t.enqueue(mail{})
		stop := t.runs(t.handles(onceq.WorkerConfig{}, func(ctx context.Context, job *onceq.Job[mail]) error {
			cause = untilItEnds(ctx, job)
			return cause
		}))
		_, err := t.client.Cancel(t.Context(), job.ID)
		t.must(err)
		time.Sleep(time.Second)
		if t.is(job.ID, onceq.Cancelled); !errors.Is(cause, onceq.ErrCancelRequested) {
			t.Errorf("the run ended because %v", cause)
		}
		stop()
	})},
	{"`Inspector`: `Servers`", inBubble(func(t *trial) {
		stop := t.runs(t.handles(onceq.WorkerConfig{ID: "w"}, arrives))
		time.Sleep(time.Minute)
		all, err := t.client.Workers(t.Context())
		if t.must(err); len(all) != 1 {
			t.Fatalf("%d workers", len(all))
		}
		if about := all[0].Details(); !about.Serves("default", "mail") || all[0].Late {
			t.Errorf("%+v", about)
		}
		stop()
	})},
	{"`Inspector`: `History`", inBubble(func(t *trial) {
		t.enqueue(mail{})
		stop := t.runs(t.handles(onceq.WorkerConfig{}, arrives))
		time.Sleep(2 * time.Minute)
		stop()
		stats, err := t.client.Stats(t.Context(), onceq.StatsRequest{Kind: "mail"})
		if t.must(err); len(stats.Series) != 1 || stats.Series[0].Total().Ended[0] != 1 {
			t.Errorf("%+v", stats.Series)
		}
	})},
	{"`Inspector`: `UpdateTaskPayload`", inBubble(func(t *trial) {
		job := t.enqueue(mail{"a"}, onceq.UniqueKey("k"))
		t.enqueue(mail{"b"}, onceq.UniqueKey("k"), onceq.OnConflict(onceq.Replace{Args: true}))
		if got := string(t.job(job.ID).Args); got != `{"to":"b"}` {
			t.Errorf("args %s", got)
		}
	})},
}
