package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// task is a job for tests.
type task struct {
	N int `json:"n"`
}

func (task) Kind() string { return "task" }

func clientOf(t testing.TB, s onceq.Store) *onceq.Client {
	t.Helper()
	c, err := onceq.NewClient(s, &onceq.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fresh is a store under a namespace of its own on the shared server.
func fresh(t testing.TB, c Config) *Store {
	t.Helper()
	c.Namespace = namespace()
	s := open(t, redistest.URL(t), c)
	side := s.client
	t.Cleanup(func() {
		for _, p := range s.parts {
			side.Unlink(context.Background(), p.keys...)
		}
	})
	return s
}

// healthy wants the invariants to hold on the whole store.
func healthy(t testing.TB, s *Store) onceq.DoctorReport {
	t.Helper()
	c, err := onceq.NewClient(s, &onceq.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	report, err := c.Doctor(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Error(v)
	}
	return report
}

func items(n int, from int) []onceq.Item {
	all := make([]onceq.Item, n)
	for i := range all {
		all[i] = onceq.NewItem(task{from + i}, onceq.Unique{})
	}
	return all
}

func TestTheNumberOfPartitionsIsFixedAtTheFirstUse(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 5})
	url, name := redistest.URL(t), s.config.Namespace
	if n := open(t, url, Config{Namespace: name}).Partitions(); n != 5 {
		t.Errorf("opened again with %d partitions", n)
	}
	_, err := Open(t.Context(), url, &Config{Namespace: name, Partitions: 4, Logger: quiet})
	var invalid *onceq.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "Config.Partitions" ||
		!strings.Contains(err.Error(), "must be 5") {
		t.Errorf("opened with another number: %v", err)
	}
}

func TestACallersIDWithAKeyElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 8})
	c := clientOf(t, s)
	refused, kept := 0, 0
	for i := range 64 {
		r, err := c.Enqueue(t.Context(), task{i}, onceq.Unique{}, onceq.ID(fmt.Sprint("id ", i)))
		var invalid *onceq.InvalidError
		switch {
		case err == nil && r.Outcome == onceq.Inserted:
			kept++
		case errors.As(err, &invalid) && invalid.Field == "ID" && !errors.Is(err, onceq.ErrUncertain):
			refused++
		default:
			t.Fatal(r.Outcome, err)
		}
	}
	if kept == 0 || refused == 0 || kept > 24 {
		t.Errorf("%d were kept and %d refused; about one in 8 lies where its key does", kept, refused)
	}
	for i := range 64 {
		if _, err := c.Enqueue(t.Context(), task{i}, onceq.ID(fmt.Sprint("alone ", i))); err != nil {
			t.Error(err)
		}
		if j, err := c.Job(t.Context(), fmt.Sprint("alone ", i)); err != nil || j.ID != fmt.Sprint("alone ", i) {
			t.Error(j, err)
		}
	}
	healthy(t, s)
}

func TestAMadeIDFallsWhereItsKeyLies(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 24})
	for i := range 1000 {
		key := onceq.Key{byte(i), byte(i >> 8), 7}
		id := s.Place(fmt.Sprintf("%023dZZZ", i), &key)
		if s.ofID(id) != s.ofKey(&key) || len(id) != 26 || id[:23] != fmt.Sprintf("%023d", i) || !made(id) {
			t.Fatalf("placed as %q", id)
		}
	}
}

// TestOneQueueIsFetchedInOrderFromAllPartitions has priorities, run times
// and IDs mixed over partitions.
func TestOneQueueIsFetchedInOrderFromAllPartitions(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 8})
	c := clientOf(t, s)
	for i := range 500 {
		if _, err := c.Enqueue(t.Context(), task{i}, onceq.Unique{}, onceq.Priority(i*7%10)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var got []*onceq.JobRow
	for no := int64(1); len(got) < 500; no++ {
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 33}}})
		if err != nil || len(f.Jobs) == 0 {
			t.Fatal(len(got), err)
		}
		got = append(got, f.Jobs...)
	}
	if !slices.IsSortedFunc(got, func(a, b *onceq.JobRow) int {
		if a.Priority != b.Priority {
			return a.Priority - b.Priority
		}
		return a.RunAt.Compare(b.RunAt)
	}) {
		t.Error("they were not fetched in order")
	}
}

// TestAKindBehindManyOthersIsFound: a script looks at a bounded number of
// jobs, a fetch goes on.
func TestAKindBehindManyOthersIsFound(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 3} {
		s := fresh(t, Config{Partitions: parts})
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(3500, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Enqueue(t.Context(), onceq.JSON("rare", []byte("1")), onceq.Priority(9)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}, Kinds: []string{"rare"}})
		if err != nil || len(f.Jobs) != 1 || f.Jobs[0].Kind != "rare" {
			t.Errorf("%d partitions: %d jobs, %v", parts, len(f.Jobs), err)
		}
		if f.NextDue >= 0 {
			t.Errorf("%d partitions: next due in %v, and there is none of that kind", parts, f.NextDue)
		}
	}
}

// TestWhatWaitsInAQueueIsListedWithoutTheRetriesOfOthers: what is to be
// retried waits, and the index of a queue has it.
func TestWhatWaitsInAQueueIsListedWithoutTheRetriesOfOthers(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	if _, err := c.EnqueueMany(t.Context(), items(20, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enqueue(t.Context(), task{1}, onceq.Queue("other")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 20}, {Queue: "other", Slots: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var ends []onceq.Finish
	for _, j := range f.Jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Retryable, Delay: time.Hour})
	}
	if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
		t.Fatal(err)
	}
	for _, states := range [][]onceq.State{{onceq.Scheduled, onceq.Retryable}, {onceq.Available, onceq.Retryable}} {
		for _, limit := range []int{1000, 1} {
			p, err := s.List(t.Context(), onceq.ListRequest{Queue: "other", States: states, Limit: limit})
			if err != nil || len(p.Jobs) != 1 || p.Jobs[0].State != onceq.Retryable || p.Looked != 1 {
				t.Errorf("%v, at most %d: %d jobs of %d that were looked at, %v", states, limit, len(p.Jobs), p.Looked,
					err)
			}
		}
	}
}

// TestNumbersBeyondFourteenDigitsStayExact: Lua prints a number with %.14g.
func TestNumbersBeyondFourteenDigitsStayExact(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	at := time.UnixMilli(1<<47 + 123456789012345 - 7).UTC() // 15 digits
	setClock(t, s, at)
	j, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{Until: onceq.UntilFinished,
		Window: 12345 * time.Millisecond}, onceq.Delay(1001*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	read := func() *onceq.JobRow {
		row, err := c.Job(t.Context(), j.Job.ID)
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	if row := read(); !row.EnqueuedAt.Equal(at) || !row.RunAt.Equal(at.Add(1001*time.Millisecond)) ||
		!row.Anchor.Equal(row.RunAt) {
		t.Errorf("enqueued at %d, to run at %d, want %d", row.EnqueuedAt.UnixMilli(), row.RunAt.UnixMilli(),
			at.UnixMilli())
	}
	at = at.Add(1001 * time.Millisecond)
	setClock(t, s, at)
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	no := int64(1<<47 + 1234567891)
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
	if err != nil || len(f.Jobs) != 1 {
		t.Fatal(len(f.Jobs), err)
	}
	// A fetch number one lower hands nothing back; the same one does.
	for _, e := range []struct {
		done int64
		back int
	}{{no - 1, 0}, {no, 1}} {
		if x, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute,
			FetchesDone: e.done}); err != nil || x.Back != e.back {
			t.Errorf("fetches done %d: %d handed back, want %d (%v)", e.done, x.Back, e.back, err)
		}
	}
	if f, err = s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no + 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}}); err != nil || len(f.Jobs) != 1 {
		t.Fatal(len(f.Jobs), err)
	}
	if _, err := s.Finish(t.Context(),
		onceq.FinishRequest{Runs: []onceq.Finish{
			{ID: j.Job.ID, Run: 2, Worker: "w", State: onceq.Completed}}}); err != nil {
		t.Fatal(err)
	}
	held, err := c.Key(t.Context(), *j.Job.Key)
	if err != nil || !held.FreesAt.Equal(at.Add(12345*time.Millisecond)) || !read().FinishedAt.Equal(at) {
		t.Errorf("frees at %v, want %v (%v)", held, at.Add(12345*time.Millisecond), err)
	}
	sound(t, s)
}

// TestMemoryFullIsDefiniteAndNothingIsHalfDone: each enqueue is taken as a
// whole or refused as a whole, and what runs can finish.
func TestMemoryFullIsDefiniteAndNothingIsHalfDone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, parts := range []int{1, 4} {
		server.Do("flushall")
		server.Do("config", "set", "maxmemory", 0)
		s := open(t, server.URL(), Config{Partitions: parts, Patience: 100 * time.Millisecond})
		c := clientOf(t, s)
		if _, err := c.EnqueueMany(t.Context(), items(300, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}})
		if err != nil || len(f.Jobs) != 100 {
			t.Fatal(len(f.Jobs), err)
		}
		server.Do("config", "set", "maxmemory", "1mb")
		for _, enqueue := range []func() error{
			func() error { _, err := c.Enqueue(t.Context(), task{1000}, onceq.Unique{}); return err },
			func() error {
				_, err := c.Enqueue(t.Context(), task{1001}, onceq.Unique{TTL: time.Hour}, onceq.Delay(time.Hour))
				return err
			},
			func() error { _, err := c.Enqueue(t.Context(), task{1002}, onceq.ID("mine")); return err },
			func() error { _, err := c.EnqueueMany(t.Context(), items(500, 2000)); return err },
			func() error {
				_, err := c.Enqueue(t.Context(), task{150}, onceq.Unique{}, onceq.OnConflict(onceq.Supersede))
				return err
			},
		} {
			if err := enqueue(); err == nil || errors.Is(err, onceq.ErrUncertain) ||
				!strings.Contains(err.Error(), "OOM") {
				t.Errorf("%d partitions: %v, want a definite error that says OOM", parts, err)
			}
		}
		if _, err := c.Enqueue(t.Context(), task{150}, onceq.Unique{}); err != nil {
			t.Errorf("a duplicate writes nothing, and got %v", err)
		}
		var ends []onceq.Finish
		for i, j := range f.Jobs {
			state := onceq.Completed
			if i%3 == 0 {
				state = onceq.Retryable
			}
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: state,
				Error: strings.Repeat("no luck ", i%2)})
		}
		if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
			t.Errorf("what runs cannot finish: %v", err)
		}
		if f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 2,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}}); err != nil || len(f.Jobs) != 10 {
			t.Errorf("fetched %d: %v", len(f.Jobs), err)
		}
		if r := healthy(t, s); r.Jobs != 300 {
			t.Errorf("%d jobs are there, want 300", r.Jobs)
		}
		sound(t, s)
		server.Do("config", "set", "maxmemory", 0)
	}
}

// TestAScriptTheServerDoesNotKnowIsBroughtThere: also to a pipeline of several.
func TestAScriptTheServerDoesNotKnowIsBroughtThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Partitions: 4})
	c := clientOf(t, s)
	for i := range 5 {
		server.Do("script", "flush")
		receipts, err := c.EnqueueMany(t.Context(), items(1000, 500*i))
		if err != nil {
			t.Fatal(err)
		}
		for k, r := range receipts {
			if want := i > 0 && k < 500; r.Duplicate() != want {
				t.Fatalf("round %d, item %d: %s", i, k, r.Outcome)
			}
		}
		server.Do("script", "flush")
		if _, err := c.Enqueue(t.Context(), task{-i - 1}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
	}
	if r := healthy(t, s); r.Jobs != 3005 {
		t.Errorf("%d jobs", r.Jobs)
	}
}

func TestAnAnswerOfAnotherRequestIsNotTaken(t *testing.T) {
	tr := &trip{script: luaGet, wire: &wire{token: token([]byte("12345678"))}}
	tr.wire.sent.Store(true)
	c := call{redis.NewCmd(t.Context())}
	for _, reply := range [][]any{{"87654321", "\x00\x00\x00\x00\x00\x01", []any{}}, {}, {"12345678"},
		{int64(1), "x"}} {
		c.SetVal(reply)
		if tr.err = tr.read(c); tr.err == nil || tr.definite() {
			t.Errorf("%q: %v, want an error that says nothing of what happened", reply, tr.err)
		}
	}
	c.SetVal([]any{"12345678", "\x00\x00\x00\x00\x00\x01", []any{}})
	if err := tr.read(c); err != nil || tr.now != 1 {
		t.Error(tr.now, err)
	}
}

func TestAWakeOfAnotherProcessIsQuick(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	other := clientOf(t, open(t, redistest.URL(t), Config{Namespace: s.config.Namespace}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wake, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range 50 {
		if _, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: int64(i + 1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 10}}}); err != nil {
			t.Fatal(err)
		}
		for len(wake) > 0 {
			<-wake
		}
		at := time.Now()
		if _, err := other.Enqueue(ctx, task{i}, onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
			took = append(took, time.Since(at))
		case <-time.After(5 * time.Second):
			t.Fatal("not woken")
		}
	}
	slices.Sort(took)
	t.Logf("half of the wakes took at most %v, the longest %v", took[len(took)/2], took[len(took)-1])
}

// TestRetentionIsCappedByNumber: more finished jobs than RetentionMax are
// pruned early, but for those that hold a key.
func TestRetentionIsCappedByNumber(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{RetentionMax: 50})
	c := clientOf(t, s)
	for i := range 200 {
		opts := []onceq.Option{onceq.Retention(time.Hour)}
		if i%10 == 0 {
			opts = append(opts, onceq.Unique{Until: onceq.UntilDeleted})
		}
		if _, err := c.Enqueue(t.Context(), task{i}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 200}}})
	if err != nil {
		t.Fatal(err)
	}
	var ends []onceq.Finish
	for _, j := range f.Jobs {
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
	}
	if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
		t.Fatal(err)
	}
	pruned := 0
	for range 20 {
		swept, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 30})
		if err != nil || swept.Jobs > 30 {
			t.Fatal(swept.Jobs, err)
		}
		if pruned += swept.Jobs; !swept.More {
			break
		}
	}
	r := healthy(t, s)
	if pruned != 150 || r.Jobs != 50 || r.Keys != 20 {
		t.Errorf("%d pruned, %d jobs and %d keys left, want 150, 50 and 20", pruned, r.Jobs, r.Keys)
	}
	sound(t, s)
}

// TestClosedIsClosed: all that the store started has ended, and the
// caller's client is the caller's.
func TestClosedIsClosed(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	own := redis.NewClient(o)
	defer func() { _ = own.Close() }()
	s, err := New(own, &Config{Namespace: namespace(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	wake, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	drop(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range wake { // it ends
	}
	if _, err := s.Enqueue(t.Context(), onceq.EnqueueRequest{Rows: []onceq.NewRow{{ID: "a"}}}); !errors.Is(err,
		onceq.ErrClosed) {
		t.Error(err)
	}
	if err := own.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client was closed: %v", err)
	}
}

// TestIDsOutOfOrderAreListedInOrder: batches of several clients with clocks
// of their own, and IDs that go again.
func TestIDsOutOfOrderAreListedInOrder(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]bool{}
	for range 120 {
		base, n := rng.IntN(2000), 1+rng.IntN(60)
		if rng.IntN(4) == 0 {
			base = 0
		}
		var rows []onceq.NewRow
		for range n {
			id := fmt.Sprintf("01M%023d", base+rng.IntN(1+rng.IntN(300)))
			if rng.IntN(30) == 0 {
				id = fmt.Sprint("own ", rng.IntN(1000))
			}
			rows = append(rows, onceq.NewRow{ID: id, Kind: "k", Queue: "q", MaxAttempts: 1})
			want[id] = true
		}
		if _, err := s.Enqueue(t.Context(), onceq.EnqueueRequest{Rows: rows}); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(3) == 0 {
			var ids []string
			for id := range want {
				if len(ids) < 40 {
					ids = append(ids, id)
				}
			}
			if _, err := s.Change(t.Context(), onceq.Change{Op: onceq.OpDelete, IDs: ids}); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				delete(want, id)
			}
		}
	}
	var got []string
	for after := ""; ; {
		page, err := s.List(t.Context(), onceq.ListRequest{Cursor: after, Limit: 37})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			got = append(got, j.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("%d are listed of %d, in order: %v", len(got), len(want),
			slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }))
	}
	sound(t, s)
}

// The ID of a tick says its time and is not made by a client. It gets a suffix
// where it would not lie with the key of its job; the suite's own store would
// do that for it (see placing).
func TestTicksOfUniqueJobsLieWithTheirKeys(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{Partitions: 8})
	c := clientOf(t, s)
	w, err := onceq.NewWorker(s, &onceq.WorkerConfig{Client: c, ServePeriodic: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		name := fmt.Sprint("tick", i)
		if _, err := c.PutPeriodic(t.Context(), onceq.Periodic{Name: name, Schedule: "@every 1s", Args: task{i},
			Options: []onceq.Option{onceq.Unique{}}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	named := map[string]bool{}
	for len(named) < 8 && ctx.Err() == nil {
		page, err := c.JobsPage(t.Context(), onceq.JobFilter{Kind: task{}.Kind()}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			name, _, _ := strings.Cut(j.ID, "@")
			named[name] = true
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(named) < 8 {
		t.Errorf("only %v have a job", named)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	healthy(t, s)
}
