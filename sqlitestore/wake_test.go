package sqlitestore

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// running starts a job for the worker "w", and returns what its worker hears.
func running(t *testing.T, s *Store) (<-chan onceq.Wake, func(on *Store)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	enqueue(t, s, rowsOf("a", 1))
	if f := fetch(t, s, 1, 1); len(f.Jobs) != 1 {
		t.Fatal(f)
	}
	wakes, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return wakes, func(on *Store) {
		t.Helper()
		if _, err := on.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{"a-0"}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWorkerHearsOfACancelOfItsOwnProcessBeforeTheCancelReturns(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	wakes, cancel := running(t, s)
	for range 100 { // more wake-ups than anybody listens to
		s.tell(news{due: map[work]bool{{queue: "default"}: true}})
	}
	cancel(s)
	for {
		select {
		case w := <-wakes:
			if w.Stop {
				return
			}
		default:
			t.Fatal("no stop has arrived")
		}
	}
}

func TestAWorkerHearsOfACancelElsewhereSoon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	var waits []time.Duration
	for range 9 {
		s := opened(t, path)
		other := opened(t, path)
		wakes, cancel := running(t, s)
		cancel(other)
		begun := time.Now()
		for heard := false; !heard; {
			select {
			case w := <-wakes:
				heard = w.Stop
			case <-time.After(20 * time.Second):
				t.Fatal("no stop has arrived")
			}
		}
		waits = append(waits, time.Since(begun))
		if e, err := s.Extend(context.Background(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute,
			Runs: []onceq.Run{{ID: "a-0", Run: 1}}}); err != nil || len(e.Stop) != 1 {
			t.Fatal(e, err)
		}
		if _, err := s.Finish(context.Background(), onceq.FinishRequest{Runs: []onceq.Finish{
			{ID: "a-0", Run: 1, Worker: "w", State: onceq.Cancelled}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Change(context.Background(), onceq.Change{Op: onceq.OpDelete,
			IDs: []string{"a-0"}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	slices.Sort(waits)
	t.Logf("heard %v after the cancel (median; longest %v)", waits[len(waits)/2], waits[len(waits)-1])
}

// A listener that asked for a kind is not to be woken by jobs of another kind
// because the poller looked while a step of ours committed.
func TestALookDuringOurOwnCommitWakesNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, other := opened(t, path), opened(t, path)
	listen := func(queue, kind string) <-chan onceq.Wake {
		wakes, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{queue}, Kinds: []string{kind}})
		if err != nil {
			t.Fatal(err)
		}
		return wakes
	}
	enqueue(t, s, rowsOf("a", 1))
	wakes, looked := listen("default", "another"), listen("elsewhere", "another")
	ids := 0
	look := func() { // the poller wakes a listener for every job of another process
		t.Helper()
		rows := rowsOf(fmt.Sprint("look", ids), 1)
		ids++
		rows[0].Queue = "elsewhere"
		enqueue(t, other, rows)
		select {
		case <-looked:
		case <-time.After(20 * time.Second):
			t.Fatal("the poller has not looked")
		}
	}
	look()
	select {
	case <-wakes: // the first look may wake everybody
	default:
	}
	due := map[work]bool{{queue: "default", kind: "a"}: true}
	s.own.add(due, 1) // a step that has counted, and commits
	look()
	s.own.add(due, -1) // it has not committed, which is as if it had counted and committed
	look()
	look() // by now all is told of the look before
	select {
	case w := <-wakes:
		t.Fatalf("woken by our own step: %+v", w)
	default:
	}
}
