package sqlitestore

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// longRows are rows with args of so many bytes.
func longRows(name string, n, size int) []onceq.NewRow {
	rows := rowsOf(name, n)
	for i := range rows {
		rows[i].Args = bytes.Repeat([]byte{'1'}, size)
	}
	return rows
}

// fetch starts up to n jobs for the worker "w".
func fetch(t *testing.T, s *Store, no int64, n int) onceq.Fetched {
	t.Helper()
	ctx := context.Background()
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute, FetchesDone: -1}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: no, Kinds: []string{"event"},
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: n}}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func run(t *testing.T, s *Store, query string) {
	t.Helper()
	if _, err := s.db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// Where the table of long args is not to be found, whoever reads them fails.
func TestOnlyWhoNeedsArgsReadsThem(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &clock{}
	now := time.Now().UnixMilli()
	c.still.Store(now)
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), &Config{clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	enqueue(t, s, longRows("a", 12, 20_000))
	runs := fetch(t, s, 1, 8).Jobs
	if len(runs) != 8 || len(runs[7].Args) != 20_000 {
		t.Fatal(len(runs))
	}
	run(t, s, "ALTER TABLE onceq_args RENAME TO hidden")

	end := func(i int, state onceq.State, text string) onceq.Finish {
		return onceq.Finish{ID: runs[i].ID, Run: 1, Worker: "w", State: state, Error: text, Delay: time.Hour}
	}
	var lost []onceq.Beat
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"a cancel of a run", func() error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{runs[0].ID, runs[1].ID}})
			return err
		}},
		{"a heartbeat", func() error {
			r := onceq.ExtendRequest{Worker: "w", Lease: time.Minute}
			for _, j := range runs[:7] {
				r.Runs = append(r.Runs, onceq.Run{ID: j.ID, Run: 1})
			}
			r.FetchesDone = 1 // so that the eighth is handed back
			e, err := s.Extend(ctx, r)
			if err == nil && (len(e.Stop) != 2 || e.Back != 1 || len(e.Lost) > 0) {
				err = fmt.Errorf("%+v", e)
			}
			return err
		}},
		{"results of every kind", func() error {
			_, err := s.Finish(ctx, onceq.FinishRequest{Runs: []onceq.Finish{end(0, onceq.Completed, ""), end(1,
				onceq.Discarded, "no"),
				end(2, onceq.Retryable, "no"), end(3, onceq.Scheduled, ""), end(4, onceq.Completed, "")}})
			return err
		}},
		{"cancels of what waits", func() error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: []string{"a-8", "a-9"}})
			return err
		}},
		{"a retry", func() error {
			_, err := s.Change(ctx, onceq.Change{Op: onceq.OpRetry, IDs: []string{"a-8", runs[1].ID}})
			return err
		}},
		{"a list", func() error {
			p, err := s.List(ctx, onceq.ListRequest{Limit: 50})
			if err == nil && len(p.Jobs) != 12 {
				err = fmt.Errorf("%d jobs", len(p.Jobs))
			}
			return err
		}},
		{"a list of what runs", func() error {
			_, err := s.List(ctx, onceq.ListRequest{Limit: 50, States: []onceq.State{onceq.Running}})
			return err
		}},
		{"a list of keys", func() error { _, err := s.Keys(ctx, onceq.KeysRequest{Limit: 50}); return err }},
		{"counts", func() error { _, err := s.Queues(ctx, onceq.QueuesRequest{}); return err }},
		{"a sweep that finds a worker", func() error {
			c.still.Store(now + time.Hour.Milliseconds()/2)
			swept, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 100})
			lost = swept.Expired
			return err
		}},
		{"a sweep that lists its runs", func() error {
			swept, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 100, Lost: lost})
			if err == nil && (len(swept.Runs) != 2 || swept.Runs[0].Args != nil) {
				err = fmt.Errorf("%+v", swept)
			}
			return err
		}},
		{"the end of a worker", func() error {
			_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w"})
			return err
		}},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}

	run(t, s, "ALTER TABLE hidden RENAME TO onceq_args")
	jobs, err := s.Get(ctx, []string{"a-0", "a-11"})
	if err != nil || len(jobs[0].Args) != 20_000 || len(jobs[1].Args) != 20_000 {
		t.Fatal(jobs, err)
	}
}

// A change of a job writes a page or two, however long its args are.
func TestAChangeDoesNotWriteLongArgsAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, longRows("a", 4, 1<<20))
	written := func(what string, do func()) {
		t.Helper()
		run(t, s, "PRAGMA wal_checkpoint(TRUNCATE)")
		do()
		var busy, pages, done int
		if err := s.db.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &done); err != nil {
			t.Fatal(err)
		}
		if pages > 60 { // four times the args are 1,024 pages
			t.Errorf("%s writes %d pages", what, pages)
		}
	}
	var jobs []*onceq.JobRow
	written("a fetch", func() { jobs = fetch(t, s, 1, 4).Jobs })
	written("a failure", func() {
		var r onceq.FinishRequest
		for _, j := range jobs {
			r.Runs = append(r.Runs, onceq.Finish{ID: j.ID, Run: 1, Worker: "w", State: onceq.Retryable, Error: "no"})
		}
		if _, err := s.Finish(ctx, r); err != nil {
			t.Fatal(err)
		}
	})
}

// Args move in and out of the row of their job as their length changes.
func TestArgsOfEveryLengthComeBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	sizes := []int{1, inline - 1, inline, inline + 1, 100_000, 3, 200_000, inline, inline + 5}
	for _, encoding := range []string{onceq.EncodingJSON, onceq.EncodingBytes} {
		name := encoding
		for i, size := range sizes {
			row := longRows(name, 1, size)[0]
			row.Encoding, row.Delay = encoding, time.Hour
			row.ID, row.Nonce = fmt.Sprint(name, i), [16]byte{byte(i)}
			row.Reactions = onceq.Reactions{Scheduled: onceq.ActionWrite, Available: onceq.ActionWrite}
			row.Write = onceq.FieldArgs
			want := onceq.Replaced
			if i == 0 {
				want = onceq.Inserted
			}
			r := enqueue(t, s, []onceq.NewRow{row})[0]
			if r.Outcome != want || !bytes.Equal(r.Job.Args, row.Args) {
				t.Fatalf("%s %d: %s with args of %d bytes", name, size, r.Outcome, len(r.Job.Args))
			}
			got, err := s.Get(ctx, []string{name + "0"})
			if err != nil || !bytes.Equal(got[0].Args, row.Args) || got[0].Encoding != encoding {
				t.Fatalf("%s %d: %d bytes, %v", name, size, len(got[0].Args), err)
			}
			duplicate := row
			duplicate.ID, duplicate.Nonce, duplicate.Reactions = "duplicate", [16]byte{1, 1}, onceq.Reactions{}
			if d := enqueue(t, s, []onceq.NewRow{duplicate})[0]; d.Outcome != onceq.Skipped ||
				!bytes.Equal(d.Job.Args, row.Args) {
				t.Fatalf("%s %d: %s with args of %d bytes", name, size, d.Outcome, len(d.Job.Args))
			}
			if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
				t.Fatal(findings, err)
			}
		}
		p, err := s.List(ctx, onceq.ListRequest{Limit: 10, Args: true})
		if err != nil || len(p.Jobs[0].Args) != sizes[len(sizes)-1] {
			t.Fatal(p, err)
		}
	}
	if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: []string{"json0", "bytes0"}}); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.db.QueryRow("SELECT count(*) FROM onceq_args").Scan(&left); err != nil || left != 0 {
		t.Error("args of jobs that are gone:", left, err)
	}
}

func TestASweepIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &clock{}
	now := time.Now()
	c.still.Store(now.UnixMilli())
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), &Config{Synchronous: off, clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	enqueue(t, s, longRows("a", 5, 7<<20))
	ids := []string{"a-0", "a-1", "a-2", "a-3", "a-4"}
	if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: ids}); err != nil {
		t.Fatal(err)
	}
	c.still.Store(now.Add(2 * time.Hour).UnixMilli()) // the retention is over
	var pruned []int
	for more := true; more && len(pruned) < 10; {
		swept, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		pruned, more = append(pruned, swept.Jobs), swept.More
	}
	if fmt.Sprint(pruned) != "[2 2 1]" {
		t.Errorf("sweeps of at most %d bytes pruned %v", pruneBytes, pruned)
	}
	if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

// A check finds args that are nobody's, and jobs that have lost theirs.
func TestCheckLooksAfterArgs(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, append(longRows("a", 1, 20_000), longRows("b", 1, 5)...))
	run(t, s, "UPDATE onceq_args SET seq = 2")
	if findings, err := s.Check(context.Background()); err != nil || len(findings) != 2 {
		t.Error(findings, err)
	}
}
