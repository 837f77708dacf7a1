package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// tidy sweeps until there is nothing more to do, and then so many times
// more: what is looked at in stretches is looked at as a whole.
func tidy(t *testing.T, s *Store, times int) {
	t.Helper()
	for times > 0 {
		swept, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if !swept.More {
			times--
		}
	}
}

// fields are those of a partition's meta that begin with a letter and have
// so many bytes; 0 = any.
func fields(t *testing.T, s *Store, part int, letter byte, size int) (found []string) {
	t.Helper()
	names, err := s.client.HKeys(t.Context(), s.parts[part].meta()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range names {
		if f[0] == letter && (size == 0 || len(f) == size) {
			found = append(found, f)
		}
	}
	return found
}

// queueRows are the queues of which any partition has a row.
func queueRows(t *testing.T, s *Store) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for p := range s.parts {
		for _, f := range fields(t, s, p, 'q', 0) {
			names[f[1:]] = true
		}
	}
	return names
}

// TestQueuesThatNobodyUsesAreForgotten: an hour after its last job a queue
// goes, unless it is paused, or somebody waits for its jobs.
func TestQueuesThatNobodyUsesAreForgotten(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 3} {
		s := fresh(t, Config{Partitions: parts})
		c := clientOf(t, s)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		setClock(t, s, at)
		const n = 250 // a sweep looks at 100 of a partition
		for i := range n {
			if _, err := c.Enqueue(t.Context(), task{i}, onceq.Queue(fmt.Sprint("queue ", i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Pause(t.Context(), "queue 1"); err != nil {
			t.Fatal(err)
		}
		filter := onceq.JobFilter{All: true}
		for j, err := range c.Jobs(t.Context(), filter) {
			if err != nil {
				t.Fatal(err)
			}
			if j.Queue != "queue 3" { // that one keeps its job
				if err := c.Delete(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		tidy(t, s, 6)
		if names := queueRows(t, s); len(names) != n {
			t.Errorf("%d partitions: at once %d of %d queues are left", parts, len(names), n)
		}
		setClock(t, s, at.Add(time.Hour-time.Millisecond))
		tidy(t, s, 6)
		if names := queueRows(t, s); len(names) != n {
			t.Errorf("%d partitions: within the hour %d of %d queues are left", parts, len(names), n)
		}
		if _, err := s.Wake(t.Context(), onceq.WakeRequest{Queues: []string{"queue 2"}}); err != nil { // asks again
			t.Fatal(err)
		}
		setClock(t, s, at.Add(time.Hour))
		tidy(t, s, 6)
		names := queueRows(t, s)
		if !names["queue 1"] || !names["queue 2"] || !names["queue 3"] || len(names) != 3 {
			t.Errorf("%d partitions: after an hour %d queues are left: %v, want 1 (paused), 2 (waited for) and 3 "+
				"(with a job)", parts, len(names), names)
		}
		if _, err := c.Enqueue(t.Context(), task{1}, onceq.Queue("queue 9")); err != nil {
			t.Fatal(err)
		}
		if names := queueRows(t, s); !names["queue 9"] || len(names) != 4 {
			t.Errorf("%d partitions: a queue that was forgotten does not come again: %v", parts, names)
		}
		sound(t, s)
	}
}

// TestProfilesThatNoJobHasAreForgotten: what jobs have in common goes with
// them, once there is much of it, and nobody takes one for another.
func TestProfilesThatNoJobHasAreForgotten(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c, other := clientOf(t, s), clientOf(t, open(t, s.address, Config{Namespace: s.config.Namespace}))
	profiles := func() int { return len(fields(t, s, 0, 'P', 5)) }
	const n = 500
	ids := map[int]string{}
	for i := range n {
		r, err := c.Enqueue(t.Context(), task{i}, onceq.Retention(time.Duration(i+1)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = r.Job.ID
	}
	if got := profiles(); got != n {
		t.Fatalf("%d profiles, want %d", got, n)
	}
	right := func(c *onceq.Client) {
		t.Helper()
		for i, id := range ids {
			j, err := c.Job(t.Context(), id)
			if err != nil || j.Retention != time.Duration(i+1)*time.Hour {
				t.Fatalf("job %d has retention %v, %v", i, j.Retention, err)
			}
		}
	}
	right(other) // it has read them all
	for i := range n {
		if i%10 != 0 {
			if err := c.Delete(t.Context(), ids[i]); err != nil {
				t.Fatal(err)
			}
			delete(ids, i)
		}
	}
	tidy(t, s, 40)
	if got := profiles(); got > 100 || got < len(ids) {
		t.Errorf("%d profiles are left of %d, and %d jobs: want those of the jobs, and 100 at most", got, n, len(ids))
	}
	if said := s.client.HGet(t.Context(), s.parts[0].meta(), "PN").Val(); said != fmt.Sprint(profiles()) {
		t.Errorf("%s profiles are counted, and there are %d", said, profiles())
	}
	right(other)
	for i := range n { // as they were, and in reverse
		r, err := other.Enqueue(t.Context(), task{-1 - i}, onceq.Retention(time.Duration(n-i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if old := ids[n-1-i]; old != "" {
			if err := other.Delete(t.Context(), old); err != nil {
				t.Fatal(err)
			}
		}
		ids[n-1-i] = r.Job.ID
	}
	right(c)
	right(other)
	sound(t, s)
}

// TestNothingOnlyGrows: after jobs of new kinds in new queues by new
// workers have come and gone, a store is as small as before.
func TestNothingOnlyGrows(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for round := range 4 {
		setClock(t, s, at)
		const n = 150
		for i := range n {
			kind := fmt.Sprintf("kind %d of round %d", i, round)
			queue := fmt.Sprintf("queue %d of round %d", i, round)
			worker := fmt.Sprintf("worker %d of round %d", i, round)
			opts := []onceq.Option{onceq.Queue(queue), onceq.Unique{Until: onceq.UntilDeleted},
				onceq.Retention(time.Minute)}
			if i%2 == 0 {
				opts = append(opts, onceq.ID(kind))
			}
			if _, err := c.Enqueue(t.Context(), onceq.JSON(kind, []byte("1")), opts...); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: worker, Lease: time.Minute}); err != nil {
				t.Fatal(err)
			}
			f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: worker, No: 1, Kinds: []string{kind},
				Queues: []onceq.QueueSlots{{Queue: queue, Slots: 2}}})
			if err != nil || len(f.Jobs) != 1 {
				t.Fatalf("%d jobs, %v", len(f.Jobs), err)
			}
			j := f.Jobs[0]
			end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: worker, State: onceq.Discarded, Error: "no"}
			_, err = s.Finish(t.Context(), onceq.FinishRequest{Runs: []onceq.Finish{end}})
			if err != nil {
				t.Fatal(err)
			}
			if i%3 > 0 { // a third of them just disappears
				_, err = s.Extend(t.Context(), onceq.ExtendRequest{Worker: worker, FetchesDone: 1})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		at = at.Add(time.Minute)
		setClock(t, s, at)
		tidy(t, s, 6)
		at = at.Add(time.Hour)
		setClock(t, s, at)
		swept, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sweep(t.Context(), onceq.SweepRequest{Limit: 1000, Lost: swept.Expired}); err != nil {
			t.Fatal(err)
		}
		tidy(t, s, 20)
		profiles, p := int64(len(fields(t, s, 0, 'P', 5))), s.parts[0]
		inJobs := s.client.HLen(t.Context(), p.keys[0]).Val() - profiles // each is counted there
		inKeys := s.client.HLen(t.Context(), p.keys[1]).Val()
		inIndex := s.client.ZCard(t.Context(), p.keys[2]).Val()
		inMeta := s.client.HLen(t.Context(), p.meta()).Val() - profiles
		if profiles > 100 || inJobs > 2 || inKeys > 1 || inIndex > 1 || inMeta > 8 {
			t.Errorf("after round %d: %d profiles, and besides %d fields of jobs, %d of keys, %d members of the index "+
				"and %d fields of meta", round, profiles, inJobs, inKeys, inIndex, inMeta)
		}
	}
	sound(t, s)
}

// TestAnIDOfTheCallersIsKnownForItsRetention: however many finished jobs
// there are, none with an ID of the caller's goes before its time. The others
// do, wherever they stand.
func TestAnIDOfTheCallersIsKnownForItsRetention(t *testing.T) {
	t.Parallel()
	n := 3000
	if os.Getenv("ONCEQ_LONG") != "" {
		n = 300_000
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	s := fresh(t, Config{RetentionMax: n / 30, Logger: log})
	c := clientOf(t, s)
	ids := make([]string, n)
	run := func(no int64, jobs int, more func(i int) []onceq.Option) {
		t.Helper()
		for from := 0; from < jobs; from += 500 {
			var batch []onceq.Item
			for i := from; i < min(from+500, jobs); i++ {
				batch = append(batch, onceq.NewItem(task{i}, append(more(i), onceq.Retention(time.Hour))...))
			}
			if _, err := c.EnqueueMany(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			for {
				no++
				f, err := s.Fetch(t.Context(), onceq.FetchRequest{Worker: "w", No: no,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 200}}})
				if err != nil {
					t.Fatal(err)
				}
				if len(f.Jobs) == 0 {
					break
				}
				var ends []onceq.Finish
				for _, j := range f.Jobs {
					ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
				}
				if _, err := s.Finish(t.Context(), onceq.FinishRequest{Runs: ends}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, err := s.Extend(t.Context(), onceq.ExtendRequest{Worker: "w", Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	run(0, n, func(i int) []onceq.Option {
		ids[i] = fmt.Sprint("order ", i)
		if i%100 == 0 { // one that looks like those that clients make
			ids[i] = fmt.Sprintf("01HZZZZZZZZZZZZZZZZ%07d", i)
		}
		return []onceq.Option{onceq.ID(ids[i])}
	})
	run(int64(10*n), n/3, func(i int) []onceq.Option {
		if i%10 == 0 {
			return []onceq.Option{onceq.Unique{Until: onceq.UntilDeleted}}
		}
		return nil
	})
	tidy(t, s, 5*n/1000)
	left, mine := 0, 0
	for j, err := range c.Jobs(t.Context(), onceq.JobFilter{All: true}) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(j.ID, "order") || strings.HasPrefix(j.ID, "01HZZZ"):
			mine++
		default:
			left++
		}
	}
	held := (n/3 + 9) / 10
	if mine != n || left != held {
		t.Errorf("%d of %d jobs with an ID of the caller's are kept, and of the others %d, want the %d that hold a key",
			mine, n, left, held)
	}
	for i := 0; i < n; i += max(1, n/1000) {
		r, err := c.Enqueue(context.Background(), task{i}, onceq.ID(ids[i]))
		if err != nil || r.Outcome != onceq.Skipped {
			t.Fatalf("the ID %q is forgotten: %s, %v", ids[i], r.Outcome, err)
		}
	}
	if got := said.String(); strings.Count(got, `"onceq: too many finished jobs"`) != 1 {
		t.Errorf("it is said once that more stays than RetentionMax: %s", got)
	}
	sound(t, s)
}

// TestAProfileIsNotTakenForAnotherOfItsName: the name of a profile is a hash
// of it. Where two have one name, each job has its own, also after the first
// was forgotten and in a process that had read it.
func TestAProfileIsNotTakenForAnotherOfItsName(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c, other := clientOf(t, s), clientOf(t, open(t, s.address, Config{Namespace: s.config.Namespace}))
	enqueue := func(c *onceq.Client, retention time.Duration) string {
		t.Helper()
		r, err := c.Enqueue(t.Context(), task{1}, onceq.Retention(retention))
		if err != nil {
			t.Fatal(err)
		}
		return r.Job.ID
	}
	wants := func(c *onceq.Client, id string, retention time.Duration) {
		t.Helper()
		if j, err := c.Job(t.Context(), id); err != nil || j.Retention != retention {
			t.Errorf("retention %v, %v, want %v", j.Retention, err, retention)
		}
	}
	row := onceq.NewRow{Kind: "task", Queue: "default", Encoding: onceq.EncodingJSON, MaxAttempts: 25, Timeout: 0}
	if j, err := c.Job(t.Context(), enqueue(c, time.Hour)); err != nil {
		t.Fatal(err)
	} else {
		row.MaxAttempts, row.Timeout = j.MaxAttempts, j.Timeout
	}
	var first, second time.Duration
	seen := map[uint32]time.Duration{}
	for n := 1; second == 0; n++ {
		row.Retention = time.Duration(n) * time.Second
		ref := refOf(appendProfile(nil, &row))
		if was := seen[ref]; was != 0 {
			first, second = was, row.Retention
		}
		seen[ref] = row.Retention
	}
	a := enqueue(c, first)
	b := enqueue(c, second)
	for _, c := range []*onceq.Client{c, other} {
		wants(c, a, first)
		wants(c, b, second)
	}
	for _, id := range []string{a, b} {
		if err := c.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 150 { // beyond so many, those that no job has are forgotten
		enqueue(c, time.Duration(1000+i)*time.Hour)
	}
	tidy(t, s, 40)
	b = enqueue(c, second)
	for _, c := range []*onceq.Client{other, c} {
		wants(c, b, second)
	}
	a = enqueue(other, first)
	for _, c := range []*onceq.Client{other, c} {
		wants(c, a, first)
		wants(c, b, second)
	}
	sound(t, s)
}

// A program of the version before reads a profile only up to its own last
// field, so that it files a failed job under Retention.
func TestASweepPutsRightWhatAnOlderProgramFiledUnderRetention(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	setClock(t, s, at)
	member := func(id string, kept time.Duration) string {
		return "f" + string(put48(nil, at.Add(kept).UnixMilli())) + id
	}
	for _, id := range []string{"kept", "retried", "deleted"} {
		_, err := c.Enqueue(t.Context(), task{1}, onceq.ID(id), onceq.Retention(time.Minute),
			onceq.RetentionFailed(time.Hour))
		if err == nil {
			_, err = c.Cancel(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ix, ctx := s.parts[0].keys[2], t.Context()
	s.client.ZRem(ctx, ix, member("kept", time.Hour))
	s.client.ZAdd(ctx, ix, redis.Z{Member: member("kept", time.Minute)},
		redis.Z{Member: member("retried", time.Minute)},
		redis.Z{Member: member("deleted", time.Minute)})
	if _, err := c.Retry(ctx, "retried"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, "deleted"); err != nil {
		t.Fatal(err)
	}
	setClock(t, s, at.Add(2*time.Minute))
	tidy(t, s, 1)
	sound(t, s)
	for _, id := range []string{"kept", "retried"} {
		if _, err := c.Job(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	setClock(t, s, at.Add(time.Hour))
	tidy(t, s, 1)
	if _, err := c.Job(ctx, "kept"); !errors.Is(err, onceq.ErrNotFound) {
		t.Errorf("the job that was kept: %v", err)
	}
	sound(t, s)
}
