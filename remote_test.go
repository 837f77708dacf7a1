package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// counted counts the fetches of a store.
type counted struct {
	onceq.Store
	fetches atomic.Int64
	deaf    bool // it has no wake-ups
}

func (c *counted) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	c.fetches.Add(1)
	return c.Store.Fetch(ctx, r)
}

func (c *counted) Traits() onceq.Traits {
	traits := c.Store.Traits()
	if c.deaf {
		traits.Wake = nil
	}
	return traits
}

// remotes is a Remote that runs, on a store whose fetches are counted.
type remotes struct {
	*bubble
	*onceq.Remote
	counted *counted
	end     func()
}

func withRemote(t *testing.T, config *onceq.RemoteConfig, test func(t *testing.T, r *remotes)) {
	t.Helper()
	c := &counted{Store: memstore.New(nil)}
	inBubble(t, func() onceq.Store { c.Store = memstore.New(nil); return c }, func(t *testing.T, b *bubble) {
		if config == nil {
			config = &onceq.RemoteConfig{}
		}
		own := *config
		own.Logger = quiet
		remote, err := onceq.NewRemote(c, &own)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- remote.Run(ctx) }()
		synctest.Wait()
		r := &remotes{b, remote, c, sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})}
		defer r.end()
		test(t, r)
	})
}

func (r *remotes) join() string {
	r.t.Helper()
	name, err := r.Join(r.t.Context(), "me", onceq.Joining{Name: "py", Queues: map[string]int{"default": 1},
		About: onceq.WorkerAbout{Lang: "python"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return name
}

func one() map[string]int { return map[string]int{"default": 1} }

// fetch asks for one job, without waiting.
func (r *remotes) fetch(worker string, no int64, runs ...onceq.Run) onceq.RemoteFetched {
	r.t.Helper()
	got, err := r.Fetch(r.t.Context(), onceq.RemoteFetch{Owner: "me", Worker: worker, No: no, Runs: runs,
		Queues: one()})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *remotes) run(worker string, no int64) onceq.Run {
	r.t.Helper()
	got := r.fetch(worker, no)
	if len(got.Jobs) != 1 {
		r.t.Fatalf("fetched %d jobs", len(got.Jobs))
	}
	return onceq.Run{ID: got.Jobs[0].ID, Run: got.Jobs[0].Run}
}

// poll waits for one job in the background.
func (r *remotes) poll(ctx context.Context, f onceq.RemoteFetch) <-chan onceq.RemoteFetched {
	done := make(chan onceq.RemoteFetched, 1)
	if f.Queues == nil {
		f.Queues = one()
	}
	f.Owner, f.No, f.Wait = "me", 1, 20*time.Second
	go func() {
		got, err := r.Fetch(ctx, f)
		if err != nil && ctx.Err() == nil {
			r.t.Error(err)
		}
		done <- got
	}()
	return done
}

func TestALostFetchAnswerCostsNoAttemptAndNoLease(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		id, me := r.enqueue(mail{"a"}), r.join()
		r.fetch(me, 1) // nobody gets this answer
		got := r.fetch(me, 2)
		if got.Back != 1 || len(got.Jobs) != 1 || got.Jobs[0].ID != id || got.Jobs[0].Attempt != 1 ||
			got.Jobs[0].Run != 2 {
			t.Errorf("%+v", got)
		}
		// What is in hand stays, and a fetch that comes late is handed back.
		run := onceq.Run{ID: id, Run: 2}
		if got := r.fetch(me, 3, run); got.Back != 0 || len(got.Lost) != 0 {
			t.Errorf("%+v", got)
		}
		other := r.enqueue(mail{"b"})
		r.fetch(me, 2, run) // late: it starts the other job
		if x, err := r.Extend(t.Context(), "me", me, []onceq.Run{run}, 3); err != nil || x.Back != 1 {
			t.Errorf("%+v, %v", x, err)
		}
		if j := r.wants(other, onceq.Available); j.Attempt != 0 {
			t.Errorf("%d attempts", j.Attempt)
		}
	})
}

func TestAHundredPollsAndOneJobCostThreeFetches(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		var polls []<-chan onceq.RemoteFetched
		for range 100 {
			polls = append(polls, r.poll(t.Context(), onceq.RemoteFetch{Worker: r.join()}))
		}
		synctest.Wait()
		before := r.counted.fetches.Load()
		began := time.Now()
		id := r.enqueueAndWait(mail{"a"})
		if n := r.counted.fetches.Load() - before; n > 3 {
			t.Errorf("one job cost %d fetches", n)
		}
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		r.wants(id, onceq.Running)
		before = r.counted.fetches.Load()
		time.Sleep(10 * time.Second)
		if n := r.counted.fetches.Load() - before; n > 11 {
			t.Errorf("99 idle polls cost %d fetches in ten seconds", n)
		}
		// As many jobs as polls are all given at once.
		for i := range 99 {
			r.enqueue(mail{fmt.Sprint(i)})
		}
		began = time.Now()
		got := 0
		for _, p := range polls {
			got += len((<-p).Jobs)
		}
		if got != 100 || time.Since(began) > 0 {
			t.Errorf("%d jobs after %v", got, time.Since(began))
		}
	})
}

// TestEachJobFindsAPollThatTakesIt: polls of several queues and kinds wait.
func TestEachJobFindsAPollThatTakesIt(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		idle := onceq.RemoteFetch{Worker: r.join(), Kinds: []string{"other"}}
		r.poll(t.Context(), idle)
		both := r.poll(t.Context(), onceq.RemoteFetch{Worker: r.join(), Queues: map[string]int{"default": 1, "b": 1}})
		b := r.poll(t.Context(), onceq.RemoteFetch{Worker: r.join(), Queues: map[string]int{"b": 1}})
		synctest.Wait()
		began := time.Now()
		r.enqueueAndWait(mail{"a"})
		r.enqueueAndWait(mail{"b"}, onceq.Queue("b"))
		if len((<-both).Jobs)+len((<-b).Jobs) != 2 || time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		later := r.poll(t.Context(), onceq.RemoteFetch{Worker: r.join()})
		r.enqueue(mail{"c"}, onceq.Delay(700*time.Millisecond))
		if n := len((<-later).Jobs); n != 1 || time.Since(began) != 700*time.Millisecond {
			t.Errorf("%d jobs after %v", n, time.Since(began))
		}
	})
}

func TestAPollWhoseClientIsGoneHandsBackWhatItFetched(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		gone, cancel := context.WithCancel(t.Context())
		first := r.poll(gone, onceq.RemoteFetch{Worker: r.join()})
		synctest.Wait()
		second := r.poll(t.Context(), onceq.RemoteFetch{Worker: r.join()})
		synctest.Wait()
		r.counted.Store = &cutter{r.counted.Store, cancel}
		id := r.enqueue(mail{"a"})
		if got := <-first; len(got.Jobs) != 0 {
			t.Errorf("%+v", got)
		}
		began := time.Now()
		if got := <-second; len(got.Jobs) != 1 || got.Jobs[0].ID != id || got.Jobs[0].Attempt != 1 {
			t.Errorf("%+v", got)
		}
		if time.Since(began) > time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
	})
}

// cutter ends the context of a client once it has fetched something.
type cutter struct {
	onceq.Store
	cut func()
}

func (c *cutter) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	f, err := c.Store.Fetch(ctx, r)
	if len(f.Jobs) > 0 {
		c.cut()
	}
	return f, err
}

func TestATurnThatIsNotUsedGoesToTheNextPoll(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		unused := 0
		for range 50 {
			gone, cancel := context.WithCancel(t.Context())
			first := r.poll(gone, onceq.RemoteFetch{Worker: r.join()})
			synctest.Wait()
			stays, end := context.WithCancel(t.Context())
			second := r.poll(stays, onceq.RemoteFetch{Worker: r.join()})
			synctest.Wait()
			began := time.Now()
			id := r.enqueue(mail{"a"}) // the turn of the first has come
			cancel()
			if len((<-first).Jobs) == 0 { // it was gone before it could look
				unused++
				if got := len((<-second).Jobs); got != 1 || time.Since(began) > 0 {
					t.Fatalf("%d jobs after %v", got, time.Since(began))
				}
			}
			end()
			if _, err := r.client.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d turns were not used", unused)
	})
}

func TestAKilledRemoteWorkerIsRescuedByRemoteAlone(t *testing.T) {
	lease := 6 * time.Second
	withRemote(t, &onceq.RemoteConfig{Lease: lease, Retry: func(*onceq.JobRow, error) time.Duration { return 0 }},
		func(t *testing.T, r *remotes) {
			id, me := r.enqueue(mail{"a"}), r.join()
			run := r.run(me, 1)
			for range 10 {
				time.Sleep(lease / 3)
				if x, err := r.Extend(t.Context(), "me", me, []onceq.Run{run}, 1); err != nil || len(x.Lost) > 0 {
					t.Fatal(x, err)
				}
			}
			r.wants(id, onceq.Running)
			time.Sleep(2 * lease)
			if j := r.wants(id, onceq.Available); j.Attempt != 1 || len(j.Errors) != 1 ||
				!strings.Contains(j.Errors[0].Error, me) {
				t.Errorf("%+v", j.Errors)
			}
			if _, err := r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "completed"}); !errors.Is(err,
				onceq.ErrLeaseLost) {
				t.Errorf("a late finish: %v", err)
			}
			r.wants(id, onceq.Available)
		})
}

func TestARepeatedFinishGetsTheFirstAnswer(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		me := r.join()
		for no, c := range []struct {
			verdict onceq.Verdict
			want    onceq.State
			in      time.Duration
			text    string
		}{
			{onceq.Verdict{Outcome: "completed", Result: []byte(`{"n":1}`)}, onceq.Completed, 0, ""},
			{onceq.Verdict{Outcome: "failed", Error: "no", Delay: time.Hour}, onceq.Retryable, time.Hour, "no"},
			{onceq.Verdict{Outcome: "failed"}, onceq.Retryable, 0, "the worker said no more"},
			{onceq.Verdict{Outcome: "discarded", Error: "no"}, onceq.Discarded, 0, "no"},
			{onceq.Verdict{Outcome: "cancelled", Error: "no"}, onceq.Cancelled, 0, "no"},
			{onceq.Verdict{Outcome: "snoozed", Delay: time.Minute}, onceq.Scheduled, time.Minute, ""},
		} {
			id := r.enqueue(mail{"a"})
			run := r.run(me, int64(no+1))
			for range 2 {
				got, err := r.Finish(t.Context(), "me", me, run, c.verdict)
				if err != nil || got != c.want {
					t.Errorf("%+v: %s, %v", c.verdict, got, err)
				}
			}
			j := r.wants(id, c.want)
			if c.in > 0 && time.Until(j.RunAt).Round(time.Second) != c.in {
				t.Errorf("%+v: again in %v", c.verdict, time.Until(j.RunAt))
			}
			if c.text != "" && j.Errors[0].Error != c.text {
				t.Errorf("%+v: %+v", c.verdict, j.Errors)
			}
			if string(j.Result) != string(c.verdict.Result) {
				t.Errorf("result %s", j.Result)
			}
		}
		id := r.enqueue(mail{"a"}, onceq.MaxAttempts(1))
		run := r.run(me, 10)
		if got, err := r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "returned"}); err != nil ||
			got.Finished() {
			t.Errorf("%s, %v", got, err)
		}
		run = r.run(me, 11)
		last := onceq.Verdict{Outcome: "failed", Error: "no", Stack: "at x"}
		if got, _ := r.Finish(t.Context(), "me", me, run, last); got != onceq.Discarded {
			t.Errorf("the last attempt: %s", got)
		}
		if j := r.job(id); j.Attempt != 1 || j.Errors[0].Stack != "at x" {
			t.Errorf("%+v", j)
		}
		id = r.enqueue(mail{"a"}, onceq.Retention(0))
		run = r.run(me, 12)
		r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "completed"})
		if _, err := r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "completed"}); !errors.Is(err,
			onceq.ErrNotFound) {
			t.Errorf("a job that is not kept (%s): %v", id, err)
		}
	})
}

func TestAMadeUpWorkerNameIsRefused(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		me := r.join()
		for _, name := range []string{"", "py", "py-0123456789-x", strings.ToUpper(me), me + "a", "a/" + me,
			strings.Repeat("a", 200)} {
			_, err := r.Fetch(t.Context(), onceq.RemoteFetch{Owner: "me", Worker: name, No: 1, Queues: one()})
			if invalid := (*onceq.InvalidError)(nil); !errors.As(err, &invalid) || invalid.Path[0] != "worker" {
				t.Errorf("%q: %v", name, err)
			}
		}
		seen := map[string]bool{}
		for range 100 {
			if name := r.join(); seen[name] {
				t.Errorf("%s was issued twice", name)
			} else {
				seen[name] = true
			}
		}
	})
}

func TestAnOwnerCannotTouchTheRunsOfAnother(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		id, me := r.enqueue(mail{"a"}), r.join()
		run := r.run(me, 1)
		if _, err := r.Finish(t.Context(), "you", me, run, onceq.Verdict{Outcome: "completed"}); !errors.Is(err,
			onceq.ErrLeaseLost) {
			t.Errorf("%v", err)
		}
		if x, err := r.Extend(t.Context(), "you", me, []onceq.Run{run}, 1); err != nil || len(x.Lost) != 1 {
			t.Errorf("%+v, %v", x, err)
		}
		if err := r.Leave(t.Context(), "you", me); err != nil {
			t.Error(err)
		}
		r.wants(id, onceq.Running)
		for _, owner := range []string{"", "a/b", "a b", strings.Repeat("a", 41)} {
			if _, err := r.Join(t.Context(), owner, onceq.Joining{}); err == nil {
				t.Errorf("owner %q is taken", owner)
			}
		}
		if err := r.Leave(t.Context(), "me", me); err != nil {
			t.Error(err)
		}
		if j := r.wants(id, onceq.Available); j.Attempt != 0 {
			t.Errorf("%d attempts", j.Attempt)
		}
	})
}

func TestCancelReachesARemoteRunWithinABeat(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		id, me := r.enqueue(mail{"a"}), r.join()
		run := r.run(me, 1)
		if _, err := r.client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if x, err := r.Extend(t.Context(), "me", me, []onceq.Run{run}, 1); err != nil || len(x.Stop) != 1 ||
			x.Stop[0] != run {
			t.Errorf("%+v, %v", x, err)
		}
		if got := r.fetch(me, 2, run); len(got.Stop) != 1 {
			t.Errorf("%+v", got)
		}
		if got, err := r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "failed"}); got != onceq.Cancelled {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func TestTheEndOfRunEndsPolls(t *testing.T) {
	withRemote(t, nil, func(t *testing.T, r *remotes) {
		me := r.join()
		p := r.poll(t.Context(), onceq.RemoteFetch{Worker: me})
		synctest.Wait()
		began := time.Now()
		r.end()
		if got := <-p; len(got.Jobs) != 0 || time.Since(began) > 0 {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		id := r.enqueue(mail{"a"}) // what is due is still given, and finished
		run := r.run(me, 2)
		if _, err := r.Finish(t.Context(), "me", me, run, onceq.Verdict{Outcome: "completed"}); err != nil {
			t.Error(err)
		}
		r.wants(id, onceq.Completed)
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run")
		}
	})
}

// TestPollsLookOnceASecondWithoutWakeUps: and without Run each looks for itself.
func TestPollsLookOnceASecondWithoutWakeUps(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprint("running=", running), func(t *testing.T) {
			c := &counted{deaf: true}
			inBubble(t, func() onceq.Store { c.Store = memstore.New(nil); return c }, func(t *testing.T, b *bubble) {
				remote, err := onceq.NewRemote(c, &onceq.RemoteConfig{Logger: quiet})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer func() { cancel(); synctest.Wait() }()
				if running {
					go remote.Run(ctx)
					synctest.Wait()
				}
				r := &remotes{bubble: b, Remote: remote, counted: c}
				var polls []<-chan onceq.RemoteFetched
				for range 5 {
					polls = append(polls, r.poll(ctx, onceq.RemoteFetch{Worker: r.join()}))
				}
				synctest.Wait()
				before := c.fetches.Load()
				time.Sleep(10*time.Second + time.Millisecond)
				want := map[bool]int64{true: 10, false: 50}[running]
				if n := c.fetches.Load() - before; n != want {
					t.Errorf("%d fetches in ten seconds, want %d", n, want)
				}
				id := r.enqueue(mail{"a"})
				pass(time.Second)
				r.wants(id, onceq.Running)
				for _, p := range polls {
					<-p
				}
			})
		})
	}
}
