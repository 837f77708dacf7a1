package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fixture"
	"github.com/onceq/onceq/internal/redistest"
)

// oldWorkerLeaves has the worker of beginInForm1 go, ten minutes ago.
func oldWorkerLeaves(t *testing.T, s *Store) {
	t.Helper()
	p := s.parts[0]
	lease := string(put48(nil, 1<<47))
	for _, err := range []error{
		s.client.HDel(t.Context(), p.meta(), "kold worker", "old").Err(),
		s.client.ZRem(t.Context(), p.keys[2], "l"+lease+"old worker").Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// crowd enqueues n jobs of everything that an index knows: waiting, delayed,
// with an ID of the caller's, large, running, retryable, finished, and one
// behind another. It returns their IDs.
func crowd(t *testing.T, s *Store, c *onceq.Client, n int) (ids []string) {
	t.Helper()
	var items []onceq.Item
	for i := range n {
		opts := []onceq.Option{onceq.Unique{Until: onceq.UntilDeleted}, onceq.Priority(i % 10),
			onceq.Queue([]string{"default", "other"}[i%2]), onceq.Retention(time.Hour)}
		args := `{"n":` + fmt.Sprint(i) + `}`
		switch i % 7 {
		case 1:
			opts = append(opts, onceq.ID(fmt.Sprint("own ", i)))
		case 2:
			opts = append(opts, onceq.Delay(time.Hour))
		case 3:
			args = `"` + strings.Repeat("x", 5000) + fmt.Sprint(i) + `"`
		}
		items = append(items, onceq.NewItem(onceq.JSON(fmt.Sprint("kind ", i%5), []byte(args)), opts...))
	}
	receipts, err := c.EnqueueMany(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		ids = append(ids, r.Job.ID)
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: n / 5}, {Queue: "other", Slots: n / 10}}})
	if err != nil {
		t.Fatal(err)
	}
	var ends []onceq.Finish
	for i, j := range f.Jobs {
		end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed}
		switch i % 4 {
		case 0:
			continue
		case 1:
			end.State, end.Delay, end.Error = onceq.Retryable, time.Hour*time.Duration(i%2), "no"
		}
		ends = append(ends, end)
	}
	if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
		t.Fatal(err)
	}
	coalesced := []onceq.Option{onceq.UniqueKey("behind"), onceq.OnConflict(onceq.Coalesce), onceq.Queue("third")}
	for range 2 {
		r, err := c.Enqueue(t.Context(), task{1}, coalesced...)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Job.ID)
		third := []onceq.QueueSlots{{Queue: "third", Slots: 1}}
		if _, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 2, Queues: third}); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// rowsOf are the lines of jobs, as the fixtures write them.
func rowsOf(t *testing.T, c *onceq.Client) (lines []string) {
	t.Helper()
	for j, err := range c.Jobs(t.Context(), onceq.JobFilter{All: true, Args: true}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fixture.Line(j))
	}
	return lines
}

// TestAStoreIsBroughtToANewFormInSteps: more jobs than one script takes, of
// every sort, are the same afterwards, and what is enqueued meanwhile by
// others is there too.
func TestAStoreIsBroughtToANewFormInSteps(t *testing.T) {
	t.Parallel()
	url, space := redistest.URL(t), namespace()
	beginInForm1(t, url, space)
	s := open(t, url, Config{Namespace: space})
	c := clientOf(t, s)
	ids := crowd(t, s, c, 3*perStep+7)
	sound(t, s)
	inForm(t, s, formOld)
	before := rowsOf(t, c)

	// A program that knows form 1 alone gives large jobs no cover.
	var large []string
	for _, j := range before {
		var id string
		if _, err := fmt.Sscanf(j, "job %q", &id); err != nil {
			t.Fatal(err)
		}
		if len(j) > 5000 && strings.Contains(j, " run=0 ") {
			large = append(large, "\x00"+packID(id))
		}
	}
	jobs := s.parts[0].keys[0]
	if n, err := s.client.HDel(t.Context(), jobs, large...).Result(); int(n) != len(large) || n < 50 {
		t.Fatalf("%d of %d covers, %v", n, len(large), err)
	}

	oldWorkerLeaves(t, s)
	var during atomic.Int64
	stop, over := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for stop.Err() == nil {
				if _, err := c.Enqueue(t.Context(), task{int(during.Add(1))}, onceq.Queue("meanwhile")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	open(t, url, Config{Namespace: space})
	over()
	all.Wait()
	inForm(t, s, formNew)
	after := slices.DeleteFunc(rowsOf(t, c), func(l string) bool { return strings.Contains(l, `queue="meanwhile"`) })
	if !slices.Equal(before, after) {
		t.Errorf("%d jobs are otherwise in the new form", len(before))
		for i := range min(len(before), len(after)) {
			if before[i] != after[i] {
				t.Fatalf("first\n  %s\nnow\n  %s", before[i], after[i])
			}
		}
	}
	sound(t, s)
	healthy(t, s)
	for _, field := range large {
		if n := s.client.HStrLen(t.Context(), jobs, field).Val(); n < 100 {
			t.Fatalf("a large job has no cover: its own field has %d bytes", n)
		}
	}

	// Whatever waits can be run, by kind, and each ends once.
	setClock(t, s, time.Now().Add(2*time.Hour))
	ended := map[string]bool{}
	for no := int64(3); ; no++ {
		extend := onceq.ExtendRequest{Worker: "w", Lease: time.Hour, FetchesDone: no - 1}
		if _, err := s.Extend(t.Context(), extend); err != nil { // what ran is handed back
			t.Fatal(err)
		}
		r := onceq.FetchRequest{Worker: "w", No: no,
			Kinds: []string{"task", "kind 0", "kind 1", "kind 2", "kind 3", "kind 4"}}
		for _, q := range []string{"default", "other", "third", "meanwhile"} {
			r.Queues = append(r.Queues, onceq.QueueSlots{Queue: q, Slots: 100})
		}
		f, err := s.Fetch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Jobs) == 0 {
			break
		}
		var ends []onceq.Finish
		for _, j := range f.Jobs {
			if ended[j.ID] {
				t.Fatalf("%s has ended and runs again", j.ID)
			}
			ended[j.ID] = true
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
		}
		if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		j, err := c.Job(t.Context(), id)
		if err != nil || j.State != onceq.Completed {
			t.Fatalf("job %s: %v, %v, want it completed", id, j, err)
		}
	}
	sound(t, s)
}

// TestAProgramRefusesAFormOfLater: whatever it calls, it is told at once
// and definitely, and changes nothing.
func TestAProgramRefusesAFormOfLater(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	r, err := c.Enqueue(t.Context(), task{1})
	if err != nil {
		t.Fatal(err)
	}
	meta := s.parts[0].meta()
	later := "made by a later version of onceq, in form 4: 0/1"
	if err := s.client.HSet(t.Context(), meta, "v", "4", "p", later).Err(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"enqueue": func() error { _, err := c.Enqueue(t.Context(), task{2}); return err },
		"fetch": func() error {
			_, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
				Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
			return err
		},
		"extend": func() error {
			_, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
			return err
		},
		"job":   func() error { _, err := c.Job(t.Context(), r.Job.ID); return err },
		"sweep": func() error { _, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 10}); return err },
		"open": func() error {
			o, err := Open(t.Context(), s.address, &Config{Namespace: s.config.Namespace, Logger: quiet})
			if err == nil {
				_ = o.Close()
			}
			return err
		},
	} {
		err := call()
		if err == nil || errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), `form "4"`) ||
			!strings.Contains(err.Error(), "later version") {
			t.Errorf("%s: %v, want a definite error that names the form", name, err)
		}
	}
}
