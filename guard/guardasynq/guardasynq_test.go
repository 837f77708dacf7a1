package guardasynq_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardasynq"
	"github.com/onceq/onceq/internal/brokertest"
	"github.com/onceq/onceq/internal/redistest"
	"github.com/onceq/onceq/storeurl"
)

// stage is an asynq on a Redis of its own, and a guard whose claims stand there
// too.
type stage struct {
	*testing.T
	redis  asynq.RedisClientOpt
	store  onceq.Store
	guard  *guard.Guard
	client *guardasynq.Client
	look   *asynq.Inspector
}

func newStage(t *testing.T) *stage {
	t.Helper()
	server := redistest.Start(t)
	return newStageOn(t, server, server.URL())
}

// newStageOn is a stage whose claims stand in another store.
func newStageOn(t *testing.T, server *redistest.Server, url string) *stage {
	t.Helper()
	s := &stage{T: t, redis: asynq.RedisClientOpt{Addr: server.Addr}}
	var err error
	s.store, err = storeurl.Open(t.Context(), url)
	s.must(err)
	s.guard, err = guard.New(s.store, &guard.Config{Lease: time.Second, Logger: slog.New(slog.DiscardHandler)})
	s.must(err)
	s.client = guardasynq.NewClient(asynq.NewClient(s.redis), s.guard)
	s.look = asynq.NewInspector(s.redis)
	t.Cleanup(func() {
		s.look.Close()
		s.client.Close()
		s.guard.Close()
		s.store.Close()
	})
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// serve handles tasks of the type "welcome".
func (s *stage) serve(handle func(ctx context.Context, task *asynq.Task) error) {
	s.Helper()
	server := asynq.NewServer(s.redis, asynq.Config{Concurrency: 4, LogLevel: asynq.FatalLevel,
		IsFailure: guardasynq.IsFailure, TaskCheckInterval: 10 * time.Millisecond,
		DelayedTaskCheckInterval: 20 * time.Millisecond,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return 100 * time.Millisecond }})
	mux := asynq.NewServeMux()
	mux.Use(guardasynq.Middleware(s.guard))
	mux.HandleFunc("welcome", handle)
	s.must(server.Start(mux))
	s.Cleanup(server.Shutdown)
}

func welcome(opts ...asynq.Option) *asynq.Task {
	return asynq.NewTask("welcome", []byte(`{"user": 42, "lang": "en"}`), opts...)
}

func (s *stage) enqueues(opts ...asynq.Option) *asynq.TaskInfo {
	s.Helper()
	info, err := s.client.EnqueueContext(s.Context(), welcome(), opts...)
	s.must(err)
	return info
}

// refuses checks that an equal task is refused, and returns why.
func (s *stage) refuses() *onceq.DuplicateError {
	s.Helper()
	_, err := s.client.Enqueue(asynq.NewTask("welcome", []byte(`{"lang":"en","user":42}`)))
	var dup *onceq.DuplicateError
	if !errors.Is(err, asynq.ErrDuplicateTask) || !errors.As(err, &dup) {
		s.Fatalf("an equal task: %v, want a duplicate", err)
	}
	return dup
}

func (s *stage) eventually(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited too long until %s", what)
		}
	}
}

// claim is the row of a task's claim.
func (s *stage) claim(info *asynq.TaskInfo) *onceq.JobRow {
	s.Helper()
	jobs, err := s.store.Get(s.Context(), []string{info.Headers[guardasynq.Header]})
	s.must(err)
	if jobs[0] == nil {
		s.Fatalf("task %s has no claim: headers %v", info.ID, info.Headers)
	}
	return jobs[0]
}

func (s *stage) ends(info *asynq.TaskInfo, state onceq.State) {
	s.Helper()
	s.eventually("the claim is "+string(state), func() bool { return s.claim(info).State == state })
}

// The case asynq_retry_keeps_archive_frees.
func TestAsynqRetryKeepsArchiveFrees(t *testing.T) {
	brokertest.OnEachStore(t, func(t *testing.T, url string) {
		s := newStageOn(t, redistest.Start(t), url)
		first := s.enqueues(asynq.MaxRetry(2))
		if dup := s.refuses(); dup.Holder != first.Headers[guardasynq.Header] {
			t.Errorf("it names %s, want %s", dup.Holder, first.Headers[guardasynq.Header])
		}
		var runs atomic.Int64
		step := make(chan error)
		s.serve(func(context.Context, *asynq.Task) error { runs.Add(1); return <-step })
		for n := range 2 {
			s.ends(first, onceq.Running)
			s.refuses()
			step <- errors.New("no")
			s.eventually("it has failed", func() bool { return len(s.claim(first).Errors) > n })
			s.refuses() // the retry is coming, or runs already: its own claim does not refuse it
		}
		step <- errors.New("no")
		s.ends(first, onceq.Discarded)
		s.eventually("it is archived", func() bool {
			got, err := s.look.GetTaskInfo("default", first.ID)
			return err == nil && got.State == asynq.TaskStateArchived
		})
		second := s.enqueues()
		step <- nil
		s.ends(second, onceq.Completed)
		s.enqueues()
		step <- nil
		if n := runs.Load(); n != 5 {
			t.Errorf("%d runs, want 5", n)
		}
	})
}

func TestTheLastFailureFreesTheKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var how atomic.Value
	s.serve(func(context.Context, *asynq.Task) error { return how.Load().(func() error)() })
	no := errors.New("no")
	for name, c := range map[string]struct {
		handler  func() error
		retries  int
		state    onceq.State
		archived bool
	}{
		"retries are spent":  {func() error { return no }, 0, onceq.Discarded, true},
		"a panic is the end": {func() error { panic("no") }, 0, onceq.Discarded, true},
		"asynq.SkipRetry":    {func() error { return asynq.SkipRetry }, 9, onceq.Discarded, true},
		"onceq.Discard":      {func() error { return onceq.Discard(no) }, 9, onceq.Discarded, true},
		"asynq.RevokeTask":   {func() error { return asynq.RevokeTask }, 9, onceq.Cancelled, false},
		"onceq.Cancel":       {func() error { return onceq.Cancel(no) }, 9, onceq.Cancelled, false},
	} {
		how.Store(c.handler)
		info := s.enqueues(asynq.MaxRetry(c.retries))
		s.ends(info, c.state)
		s.eventually(name+": it has left the queue", func() bool {
			got, err := s.look.GetTaskInfo("default", info.ID)
			return errors.Is(err, asynq.ErrTaskNotFound) && !c.archived ||
				err == nil && got.State == asynq.TaskStateArchived && c.archived
		})
	}
}

func TestTheOptionsOfATaskAreKept(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := asynq.NewClient(s.redis)
	defer plain.Close()
	at := time.Now().Add(3 * 24 * time.Hour).Truncate(time.Second)
	for _, opts := range [][]asynq.Option{
		{},
		{asynq.Queue("mails"), asynq.MaxRetry(3), asynq.Timeout(90 * time.Second), asynq.Retention(time.Hour)},
		{asynq.Deadline(at), asynq.ProcessAt(at)},
		{asynq.TaskID("order-7")},
	} {
		for _, apart := range []int{0, len(opts)} { // said by the task, and by the call
			want, err := plain.Enqueue(welcome(opts...))
			s.must(err)
			s.must(s.look.DeleteTask(want.Queue, want.ID))
			headers := asynq.NewTaskWithHeaders("welcome", []byte("x"), map[string]string{"trace": "1"},
				opts[apart:]...)
			info, err := s.client.Enqueue(headers, opts[:apart]...)
			s.must(err)
			got, err := s.look.GetTaskInfo(info.Queue, info.ID)
			s.must(err)
			if got.Headers["trace"] != "1" || len(got.Headers) != 2 || len(headers.Headers()) != 1 {
				t.Errorf("headers %v, and those of the task itself %v", got.Headers, headers.Headers())
			}
			s.must(s.guard.Flush(t.Context()))
			if !got.NextProcessAt.IsZero() && got.State == asynq.TaskStateScheduled {
				if lapses := s.claim(info).RunAt; lapses.Before(at.Add(23 * time.Hour)) {
					t.Errorf("its patience ends at %v, and asynq runs it at %v", lapses, at)
				}
			}
			s.must(s.look.DeleteTask(got.Queue, got.ID))
			s.must(s.guard.Release(t.Context(), guard.Token(got.Headers[guardasynq.Header])))
			if len(opts) == 1 && got.ID != want.ID {
				t.Errorf("its ID is %s, want %s", got.ID, want.ID)
			}
			got.ID, got.Headers = want.ID, want.Headers
			got.Payload, got.NextProcessAt = want.Payload, want.NextProcessAt
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v:\n got %+v\nwant %+v", opts, got, want)
			}
		}
	}
}

func TestWhatDoesNotGoWithAGuardIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, opt := range []asynq.Option{asynq.Unique(time.Minute), asynq.Group("g")} {
		for _, call := range []func() (*asynq.TaskInfo, error){
			func() (*asynq.TaskInfo, error) { return s.client.Enqueue(welcome(opt)) },
			func() (*asynq.TaskInfo, error) { return s.client.Enqueue(welcome(), opt, asynq.ProcessIn(time.Hour)) },
		} {
			var invalid *onceq.InvalidError
			if _, err := call(); !errors.As(err, &invalid) {
				t.Errorf("%v: %v, want it refused", opt, err)
			}
		}
	}
	if _, err := s.client.Enqueue(welcome(), asynq.Queue("")); err == nil {
		t.Error("a queue without a name was accepted")
	}
	s.enqueues() // nothing is held by those
}

func TestWhatIsTheSameIsSaidByOptionsOfOnceq(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	byUser := s.client.With(onceq.Unique{Fields: []string{"user"}})
	for lang, want := range map[string]bool{"en": true} {
		_, err := byUser.Enqueue(asynq.NewTask("welcome", []byte(`{"user":1,"lang":"`+lang+`"}`)))
		if (err == nil) != want {
			t.Fatal(err)
		}
	}
	if _, err := byUser.Enqueue(asynq.NewTask("welcome", []byte(`{"user":1,"lang":"fr"}`))); !errors.Is(err,
		asynq.ErrDuplicateTask) {
		t.Errorf("another task of that user: %v", err)
	}
	for range 2 { // not JSON: compared as bytes; nil too
		if _, err := s.client.With(onceq.NotUnique).Enqueue(asynq.NewTask("welcome", nil)); err != nil {
			t.Error(err)
		}
	}
	_, err := s.client.Enqueue(asynq.NewTask("welcome", nil))
	s.must(err)
	if _, err := s.client.Enqueue(asynq.NewTask("welcome", nil)); !errors.Is(err, asynq.ErrDuplicateTask) {
		t.Errorf("two tasks without a payload: %v", err)
	}
}

func TestACopyOfATaskIsTheSameRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs, last atomic.Int64
	step := make(chan error)
	s.serve(func(ctx context.Context, _ *asynq.Task) error {
		runs.Add(1)
		n, _ := asynq.GetRetryCount(ctx)
		last.Store(int64(n))
		return <-step
	})
	info := s.enqueues(asynq.MaxRetry(5))
	s.ends(info, onceq.Running)
	plain := asynq.NewClient(s.redis)
	defer plain.Close()
	again := func(retries int) *asynq.TaskInfo {
		i, err := plain.Enqueue(asynq.NewTaskWithHeaders("welcome", info.Payload, info.Headers),
			asynq.MaxRetry(retries))
		s.must(err)
		return i
	}
	copied, lastTry := again(1), again(0)
	s.eventually("the copy was put off", func() bool {
		i, err := s.look.GetTaskInfo("default", copied.ID)
		s.must(err)
		return i.State == asynq.TaskStateRetry && i.Retried == 0 && i.LastErr == guard.ErrBusy.Error()
	})
	if i, err := s.look.GetTaskInfo("default", lastTry.ID); err != nil || i.State != asynq.TaskStateActive {
		t.Errorf("the copy on its last try: %+v, %v; it should wait", i, err)
	}
	step <- nil
	for _, i := range []*asynq.TaskInfo{info, copied, lastTry} {
		s.eventually("each copy has left the queue", func() bool {
			_, err := s.look.GetTaskInfo("default", i.ID)
			return errors.Is(err, asynq.ErrTaskNotFound)
		})
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs of one task", n)
	}
}

// twice sends each script twice, as go-redis does when the answer to the first
// was lost.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil || cmd.Name() != "evalsha" && cmd.Name() != "eval" {
			return err
		}
		return next(ctx, cmd)
	}
}

func TestATaskThatRedisGotTwiceWasEnqueued(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	defer c.Close()
	c.AddHook(twice{})
	client := guardasynq.NewClient(asynq.NewClientFromRedisClient(c), s.guard)
	info, err := client.Enqueue(welcome())
	s.must(err)
	if got, err := s.look.GetTaskInfo("default", info.ID); err != nil || got.State != asynq.TaskStatePending {
		t.Errorf("the task is %+v, %v", got, err)
	}
	s.refuses()
	// With an ID of the caller's another task may have it.
	if _, err := client.Enqueue(asynq.NewTask("welcome", nil), asynq.TaskID("x")); !errors.Is(err,
		asynq.ErrTaskIDConflict) {
		t.Errorf("%v", err)
	}
}

func TestAnEnqueueThatFailsHoldsNoKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	down := guardasynq.NewClient(asynq.NewClient(asynq.RedisClientOpt{Addr: redistest.FreeAddr(t)}), s.guard)
	defer down.Close()
	if _, err := down.Enqueue(welcome()); err == nil {
		t.Fatal("it was enqueued where no server is")
	}
	s.enqueues()
}

func TestATaskWithoutAClaimRuns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	s.serve(func(context.Context, *asynq.Task) error { runs.Add(1); return nil })
	plain := asynq.NewClient(s.redis)
	defer plain.Close()
	_, err := plain.Enqueue(welcome())
	s.must(err)
	s.eventually("it runs", func() bool { return runs.Load() == 1 })
}
