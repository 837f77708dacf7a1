package listen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/onceq/onceq"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drain takes what a listener has not read.
func drain(wake <-chan onceq.Wake) (got []onceq.Wake) {
	for {
		select {
		case w, open := <-wake:
			if !open {
				return got
			}
			got = append(got, w)
		default:
			return got
		}
	}
}

func add(t *testing.T, r *Registry, request onceq.WakeRequest) <-chan onceq.Wake {
	t.Helper()
	wake, err := r.Add(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return wake
}

func TestAListenerHearsOfItsQueuesAndKindsAndWorker(t *testing.T) {
	r := New(nil)
	defer r.Close()
	mails := add(t, r, onceq.WakeRequest{Queues: []string{"a", "b"}, Kinds: []string{"mail"}, Worker: "w1"})
	any := add(t, r, onceq.WakeRequest{Queues: []string{"a"}, Worker: "w2"})
	for _, c := range []struct {
		name        string
		say         func() bool
		mails, any  []onceq.Wake
		nobodyHears bool
	}{
		{"its kind", func() bool { return r.Due("a", "mail") },
			[]onceq.Wake{{Queue: "a"}}, []onceq.Wake{{Queue: "a"}}, false},
		{"another kind", func() bool { return r.Due("a", "report") }, nil, []onceq.Wake{{Queue: "a"}}, false},
		{"another kind in a queue of one", func() bool { return r.Due("b", "report") }, nil, nil, true},
		{"a kind that is not known", func() bool { return r.Due("b", "") }, []onceq.Wake{{Queue: "b"}}, nil, false},
		{"any queue", func() bool { return r.Due("", "") }, []onceq.Wake{{}}, []onceq.Wake{{}}, false},
		{"another queue", func() bool { return r.Due("c", "mail") }, nil, nil, true},
		{"a stop", func() bool { return r.Stop("w1") }, []onceq.Wake{{Stop: true}}, nil, false},
		{"a stop of another", func() bool { return r.Stop("w3") }, nil, nil, true},
		{"a stop of nobody", func() bool { return r.Stop("") }, nil, nil, true},
	} {
		if woken := c.say(); woken == c.nobodyHears {
			t.Errorf("%s: woken is %v", c.name, woken)
		}
		if got := drain(mails); fmt.Sprint(got) != fmt.Sprint(c.mails) {
			t.Errorf("%s: the worker for mail got %v, want %v", c.name, got, c.mails)
		}
		if got := drain(any); fmt.Sprint(got) != fmt.Sprint(c.any) {
			t.Errorf("%s: the worker for anything got %v, want %v", c.name, got, c.any)
		}
	}
}

func TestAListenerThatDoesNotReadMissesNothing(t *testing.T) {
	r := New(nil)
	defer r.Close()
	wake := add(t, r, onceq.WakeRequest{Queues: []string{"a", "b"}, Worker: "w"})
	r.Due("b", "")
	r.Stop("w")
	for range 10 * unread {
		r.Due("a", "")
	}
	var any, stop bool
	for _, w := range drain(wake) {
		any = any || w == onceq.Wake{}
		stop = stop || w.Stop
	}
	if !any || !stop {
		t.Errorf("the wake-up for queue b was dropped: any=%v, stop=%v", any, stop)
	}
}

func TestTheSubscriptionLivesAsLongAsSomebodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most, begun atomic.Int32
		r := New(func(ctx context.Context, ready func()) {
			begun.Add(1)
			most.Store(max(most.Load(), at.Add(1)))
			ready()
			<-ctx.Done()
			time.Sleep(time.Second) // it takes a while to end
			at.Add(-1)
		})
		for range 3 {
			ctx, leave := context.WithCancel(t.Context())
			one, err := r.Add(ctx, onceq.WakeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			two, err := r.Add(ctx, onceq.WakeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			leave()
			for _, wake := range []<-chan onceq.Wake{one, two} {
				if _, open := <-wake; open {
					t.Error("a wake-up came from nobody")
				}
			}
		}
		r.Close()
		if at.Load() != 0 || most.Load() != 1 || begun.Load() != 3 {
			t.Errorf("%d subscriptions are left, %d were the most at once, %d began, want 0, 1, 3",
				at.Load(), most.Load(), begun.Load())
		}
	})
}

func TestAddWaitsUntilTheSubscriptionIsReadyButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ after, want time.Duration }{
			{300 * time.Millisecond, 300 * time.Millisecond}, {time.Hour, readyTime},
		} {
			r := New(func(ctx context.Context, ready func()) {
				select {
				case <-time.After(c.after):
					ready()
				case <-ctx.Done():
				}
				<-ctx.Done()
			})
			began := time.Now()
			add(t, r, onceq.WakeRequest{})
			if took := time.Since(began); took != c.want {
				t.Errorf("ready after %v: Add took %v, want %v", c.after, took, c.want)
			}
			r.Close()
		}
	})
}

func TestCloseEndsAllAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		r := New(func(ctx context.Context, ready func()) {
			<-ctx.Done() // it never gets ready
			time.Sleep(time.Second)
			ended = true
		})
		waiting := make(chan error, 1)
		go func() {
			_, err := r.Add(t.Context(), onceq.WakeRequest{})
			waiting <- err
		}()
		synctest.Wait()
		r.Close()
		if !ended {
			t.Error("the subscription outlived Close")
		}
		if err := <-waiting; !errors.Is(err, onceq.ErrClosed) {
			t.Errorf("Add during Close: %v", err)
		}
		if _, err := r.Add(t.Context(), onceq.WakeRequest{}); !errors.Is(err, onceq.ErrClosed) {
			t.Errorf("Add after Close: %v", err)
		}
	})
}

// Everything at once, for the race detector.
func TestListenersComeAndGoWhileOthersSend(t *testing.T) {
	var r *Registry
	r = New(func(ctx context.Context, ready func()) {
		ready()
		for ctx.Err() == nil {
			r.Anything()
			r.Due("q", "k")
			r.Requests()
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				ctx, leave := context.WithCancel(t.Context())
				wake, err := r.Add(ctx, onceq.WakeRequest{Queues: []string{"q"}, Worker: "w"})
				if err != nil {
					t.Error(err)
				}
				<-wake
				leave()
				for range wake {
				}
			}
		})
	}
	all.Wait()
	r.Close()
}
