package onceq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// slow is a store that counts the rows of each trip, and holds the first
// trip back until the others have gathered.
type slow struct {
	onceq.Store
	mu    sync.Mutex
	rows  []int
	first chan struct{}
}

func (s *slow) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	s.mu.Lock()
	s.rows = append(s.rows, len(rows))
	n := len(s.rows)
	s.mu.Unlock()
	if n == 1 {
		<-s.first
	}
	return s.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
}

// together enqueues all items at once, so that all but the first share a trip.
func together(t *testing.T, s *slow, client *onceq.Client, items []onceq.Item) []onceq.Receipt {
	t.Helper()
	receipts := make([]onceq.Receipt, len(items))
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := client.Enqueue(t.Context(), push{0, "first"}); err != nil {
			t.Error(err)
		}
	})
	for onceq.Waiting(client) != 0 || s.trips() == 0 {
		time.Sleep(0)
	}
	for i, item := range items {
		all.Go(func() { receipts[i], _ = client.Enqueue(t.Context(), item.Args, item.Options...) })
		for onceq.Waiting(client) <= i {
			time.Sleep(0)
		}
	}
	close(s.first)
	all.Wait()
	return receipts
}

func (s *slow) trips() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

func newSlow(t *testing.T) (*slow, *onceq.Client) {
	s := &slow{Store: memstore.New(nil), first: make(chan struct{})}
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return s, client
}

func TestEqualKeysOfOneTripAreSentOnce(t *testing.T) {
	s, client := newSlow(t)
	unique := onceq.Unique{Fields: []string{"repo"}}
	receipts := together(t, s, client, []onceq.Item{
		onceq.NewItem(push{1, "a"}, unique), onceq.NewItem(push{1, "a"}, unique),
		onceq.NewItem(push{1, "b"}, unique, onceq.OnConflict(onceq.Reject)), onceq.NewItem(push{2, "a"}, unique),
	})
	if s.rows[1] != 2 {
		t.Errorf("%d rows were sent, want 2", s.rows[1])
	}
	holder := receipts[0].Job.ID
	for i, want := range []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Inserted} {
		if receipts[i].Outcome != want {
			t.Errorf("%d: %s, want %s", i, receipts[i].Outcome, want)
		}
	}
	for i := 1; i <= 2; i++ {
		c := receipts[i].Conflict
		if c == nil || c.Holder != holder || receipts[i].Job.ID != holder || c.FreesWhen != "finished" ||
			c.ArgsDiffer != (i == 2) {
			t.Errorf("%d: %+v", i, c)
		}
		held, err := client.Key(t.Context(), c.Key)
		if err != nil || held.Conflict([16]byte{}).Since != c.Since || !held.FreesAt.Equal(c.FreesAt) ||
			held.Text != c.Text {
			t.Errorf("%d: the answer %+v is not the store's %+v (%v)", i, c, held, err)
		}
	}
}

func TestWhatWritesOrNamesItsIDIsNeverFolded(t *testing.T) {
	s, client := newSlow(t)
	u := onceq.Unique{}
	together(t, s, client, []onceq.Item{
		onceq.NewItem(push{1, "a"}, u, onceq.OnConflict(onceq.Coalesce)),
		onceq.NewItem(push{1, "a"}, u, onceq.OnConflict(onceq.Coalesce)),
		onceq.NewItem(push{1, "a"}, u, onceq.ID("x")), onceq.NewItem(push{1, "a"}, u, onceq.ID("x")),
		onceq.NewItem(push{1, "a"}), onceq.NewItem(push{1, "a"}),
	})
	if s.rows[1] != 6 {
		t.Errorf("%d rows were sent, want all 6", s.rows[1])
	}
}

func TestAKeyThatHoldsForNoTimeAnswersForNobodyElse(t *testing.T) {
	s, client := newSlow(t)
	u := onceq.Unique{Until: onceq.UntilDue}
	receipts := together(t, s, client, []onceq.Item{onceq.NewItem(push{1, "a"}, u), onceq.NewItem(push{1, "a"}, u),
		onceq.NewItem(push{1, "a"}, u)})
	for i, r := range receipts {
		if r.Outcome != onceq.Inserted {
			t.Errorf("%d: %s, want inserted: the key is held for no time", i, r.Outcome)
		}
	}
}

// counting is a store that counts the rows of each call.
type counting struct {
	onceq.Store
	rows []int
}

func (c *counting) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	c.rows = append(c.rows, len(rows))
	return c.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
}

// A batch is as if its items were enqueued one after another, whatever is
// folded.
func TestABatchWithEqualKeysAnswersAsItsItemsDoOneAfterAnother(t *testing.T) {
	still := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	open := func() (*counting, *onceq.Client) {
		s := &counting{Store: memstore.New(func() time.Time { return still })}
		c, err := onceq.NewClient(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return s, c
	}
	folded := 0
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		items := make([]onceq.Item, 2+random.IntN(8))
		rare := random.IntN(3) == 0 // what is not folded
		for i := range items {
			u := onceq.Unique{Fields: []string{"repo"}}
			opts := []onceq.Option{}
			switch random.IntN(4) {
			case 0:
				u.Window = time.Minute
			case 1:
				opts = append(opts, onceq.Delay(time.Hour))
			case 2:
				opts = append(opts, onceq.OnConflict(onceq.Reject))
			}
			reason := "same"
			if rare {
				switch random.IntN(6) {
				case 0:
					u.Until = onceq.UntilDue
				case 1:
					reason = "other"
				case 2:
					opts = append(opts, onceq.OnConflict(onceq.Replace{Args: true}))
				case 3:
					opts = append(opts, onceq.ID(fmt.Sprint("id", random.IntN(2))))
				}
			}
			items[i] = onceq.NewItem(push{random.IntN(3), reason}, append(opts, u)...)
		}
		store, together := open()
		_, single := open()
		if random.IntN(2) == 0 {
			for _, c := range []*onceq.Client{together, single} {
				if _, err := c.Enqueue(t.Context(), push{0, "before"},
					onceq.Unique{Fields: []string{"repo"}}); err != nil {
					t.Fatal(err)
				}
			}
			store.rows = nil
		}
		got, err := together.EnqueueMany(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		if store.rows[0] < len(items) {
			folded++
		}
		number := map[string]int{} // of a job: it is made in the same place
		name := func(id string) string { return fmt.Sprint("job ", number[id]) }
		for i, item := range items {
			want, err := single.Enqueue(t.Context(), item.Args, item.Options...)
			var duplicate *onceq.DuplicateError
			if err != nil && !errors.As(err, &duplicate) {
				t.Fatal(err)
			}
			for _, r := range []*onceq.Receipt{&got[i], &want} {
				job := *r.Job
				if r.Outcome == onceq.Inserted {
					number[job.ID] = i + 1
				}
				job.ID, job.Displaced = name(job.ID), name(job.Displaced)
				r.Job = &job
				if r.Conflict != nil {
					c := *r.Conflict
					c.Holder = name(c.Holder)
					if c.By == "id" {
						c.Text = ""
					}
					r.Conflict = &c
				}
			}
			if !reflect.DeepEqual(got[i].Conflict, want.Conflict) || got[i].Outcome != want.Outcome ||
				got[i].Job.ID != want.Job.ID || got[i].Job.State != want.Job.State {
				t.Fatalf("seed %d, item %d of %d:\n%+v %+v %+v\nby itself\n%+v %+v %+v", seed, i, len(items),
					got[i].Outcome, got[i].Job, got[i].Conflict, want.Outcome, want.Job, want.Conflict)
			}
		}
	}
	if folded < 100 {
		t.Errorf("%d of 500 batches were folded", folded)
	}
}

// gated is a store that loses the answer of its first call and holds its
// second one back.
type gated struct {
	onceq.Store
	calls atomic.Int64
	open  chan struct{}
}

func (s *gated) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	n := s.calls.Add(1)
	if n == 2 {
		<-s.open
	}
	results, err := s.Store.Enqueue(ctx, r)
	if n == 1 {
		return nil, fmt.Errorf("%w: answer cut", onceq.ErrUncertain)
	}
	return results, err
}

func TestAResendThatSharesATripWithARivalGetsItsFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &gated{Store: memstore.New(nil), open: make(chan struct{})}
		c := clientOf(t, s, nil)
		var all sync.WaitGroup
		enqueue := func(to string, want onceq.Outcome) {
			all.Go(func() {
				r, _ := c.Enqueue(t.Context(), mail{to}, onceq.Unique{}, onceq.OnConflict(onceq.Reject))
				if r.Outcome != want {
					t.Errorf("%s is %s, want %s", to, r.Outcome, want)
				}
			})
			synctest.Wait()
		}
		enqueue("ada", onceq.Inserted) // its answer is lost, and it waits before it sends again
		enqueue("bob", onceq.Inserted) // is under way
		enqueue("ada", onceq.Rejected) // waits for the next trip
		time.Sleep(time.Second)        // and so does the first
		close(s.open)
		all.Wait()
		if n := s.calls.Load(); n != 3 {
			t.Errorf("%d trips, want 3: the rival and the resend share one", n)
		}
	})
}
