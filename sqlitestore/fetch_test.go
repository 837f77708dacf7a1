package sqlitestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// fetchAll fetches until nothing is left, and returns the IDs, those of a fetch
// after the other.
func fetchAll(t *testing.T, s *Store, r onceq.FetchRequest) (rounds [][]string) {
	t.Helper()
	ctx := context.Background()
	r.Worker = "w"
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour, FetchesDone: -1}); err != nil {
		t.Fatal(err)
	}
	for r.No = 1; r.No < 1000; r.No++ {
		f, err := s.Fetch(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, j := range f.Jobs {
			ids = append(ids, j.ID)
		}
		if len(ids) > 0 {
			rounds = append(rounds, ids)
		}
		if f.NextDue != 0 {
			return rounds
		}
		if len(ids) == 0 {
			t.Fatal("a fetch brings nothing and says that there is more")
		}
	}
	t.Fatal("there is no end of it")
	return nil
}

// Jobs of several kinds come in their common order: by priority, run time and ID,
// also where one kind has far more that is due earlier than the others.
func TestKindsAreMergedInTheOrderOfTheirJobs(t *testing.T) {
	t.Parallel()
	c := &clock{}
	now := time.Now().Truncate(time.Millisecond)
	c.still.Store(now.UnixMilli())
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), &Config{Synchronous: off, clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kinds := []string{"early", "late", "mixed", "few", "none"}
	rows := rowsOf("x", 400)
	for i := range rows {
		r := &rows[i]
		r.Priority = i % 2
		switch {
		case i < 250:
			r.Kind, r.Delay = "early", time.Duration(i/7)*time.Millisecond
		case i < 320:
			r.Kind, r.Delay = "late", time.Duration(1000-i)*time.Millisecond
		case i < 395:
			r.Kind, r.Delay = "mixed", time.Duration(i*37%900)*time.Millisecond
		default:
			r.Kind, r.Delay = "few", time.Duration(i)*time.Millisecond
		}
	}
	want := slices.Clone(rows)
	slices.SortFunc(want, func(a, b onceq.NewRow) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Delay, b.Delay), cmp.Compare(a.ID, b.ID))
	})
	for i := 0; i < len(rows); i += 50 {
		enqueue(t, s, rows[i:i+50])
	}
	c.still.Store(now.Add(time.Minute).UnixMilli())
	for _, asked := range [][]string{kinds, nil} {
		for _, slots := range []int{1, 7, 100, 1000} {
			if slots == 1 && asked == nil {
				continue
			}
			var got []string
			for _, round := range fetchAll(t, s, onceq.FetchRequest{Kinds: asked,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: slots}}}) {
				got = append(got, round...)
			}
			if len(got) != len(want) {
				t.Fatalf("%d slots: %d jobs", slots, len(got))
			}
			for i := range want {
				if got[i] != want[i].ID {
					t.Fatalf("%d slots: job %d is %s, want %s", slots, i, got[i], want[i].ID)
				}
			}
			// All of them wait again, as they did.
			run(t, s, "UPDATE onceq_jobs SET state = 0, worker = '', attempt = 0, run = 0")
			run(t, s, "UPDATE onceq_queues SET scheduled = scheduled + running, running = 0")
		}
	}
}

func TestAFetchAndAPageEndAtTheirBytes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	for _, size := range []int{100, 20_000} { // in the row of the job, and apart
		rows := longRows(fmt.Sprint("size", size), 6, size)
		for i := range rows {
			rows[i].Kind = fmt.Sprint("kind", i%2)
		}
		enqueue(t, s, rows)
		for _, kinds := range [][]string{{"kind0", "kind1"}, {"kind0"}} {
			f := fetchAll(t, s, onceq.FetchRequest{Kinds: kinds, MaxBytes: 2*size + size/2,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
			for i, round := range f {
				if len(round) > 2 || len(round) < 2 && i < len(f)-1 {
					t.Errorf("%d bytes of %v: fetches of %v", size, kinds, f)
				}
			}
			run(t, s, "UPDATE onceq_jobs SET state = 0, worker = '', attempt = 0, run = 0")
			run(t, s, "UPDATE onceq_queues SET scheduled = scheduled + running, running = 0")
		}
		one := fetchAll(t, s, onceq.FetchRequest{Kinds: []string{"kind1"}, MaxBytes: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}})
		if len(one) != 3 {
			t.Errorf("fetches of one byte at most: %v", one)
		}
		if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w"}); err != nil {
			t.Fatal(err)
		}
		ids := make([]string, len(rows))
		for i := range rows {
			ids[i] = rows[i].ID
		}
		if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: ids}); err != nil {
			t.Fatal(err)
		}
	}

	enqueue(t, s, longRows("page", 5, onceq.MaxPageBytes/2-100))
	var sizes []int
	for after := ""; ; {
		p, err := s.List(ctx, onceq.ListRequest{Limit: 100, Cursor: after, Args: true})
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(p.Jobs))
		if after = p.Next; after == "" {
			break
		}
	}
	if fmt.Sprint(sizes) != "[2 2 1]" {
		t.Errorf("pages with args have %v jobs", sizes)
	}
	if p, err := s.List(ctx, onceq.ListRequest{Limit: 100}); err != nil || len(p.Jobs) != 5 || p.Next != "" {
		t.Error("a page without args:", len(p.Jobs), p.Next, err)
	}
}

// A transaction that could not begin keeps nobody here from writing.
func TestABeginThatFailsGivesItsTurnBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, other := opened(t, path), opened(t, path)
	tx, err := other.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Begin(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	within, enough := context.WithTimeout(context.Background(), 20*time.Second)
	defer enough()
	if _, err := s.Enqueue(within, onceq.EnqueueRequest{Rows: rowsOf("a", 1)}); err != nil {
		t.Fatal(err)
	}
}
