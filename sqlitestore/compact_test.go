package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// emptied is a store from which most has been removed: 8 of 8.8 MB.
func emptied(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	var ids []string
	for i := range 40 {
		name := fmt.Sprint("gone", i)
		enqueue(t, s, longRows(name, 4, 50_000))
		for k := range 4 {
			ids = append(ids, fmt.Sprintf("%s-%d", name, k))
		}
	}
	enqueue(t, s, longRows("stays", 10, 50_000))
	if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpDelete, IDs: ids}); err != nil {
		t.Fatal(err)
	}
	if err := s.inTurn(ctx, func(w *conn) error { return w.truncateLog(time.Minute) }); err != nil {
		t.Fatal(err)
	}
}

func fileBytes(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestCompactGivesSpaceBackWhileOthersUseTheFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, open := range map[string]func(t *testing.T) *Store{
		"a_file":       func(t *testing.T) *Store { return opened(t, filepath.Join(t.TempDir(), "jobs.db")) },
		"a_small_pool": func(t *testing.T) *Store { return adopted(t, 1) },
		"memory":       func(t *testing.T) *Store { return opened(t, ":memory:") },
		"a_store_of_the_first_form": func(t *testing.T) *Store {
			return opened(t, firstForm(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			emptied(t, s)
			path := s.file.path
			before := fileBytes(t, path)
			var other *Store
			if s.private == "" {
				other = opened(t, path)
			}
			var told []int64
			total := int64(0)
			if err := s.Compact(ctx, func(done, of int64) {
				if len(told) > 0 && done < told[len(told)-1] || done > of {
					t.Errorf("after %v of %d it says %d of %d", told, total, done, of)
				}
				told, total = append(told, done), of
			}); err != nil {
				t.Fatal(err)
			}
			after := fileBytes(t, path)
			if after > before/4 || logSize(t, s) != 0 {
				t.Errorf("the file had %d bytes and has %d; the log has %d", before, after, logSize(t, s))
			}
			if len(told) < 2 || told[0] != 0 || told[len(told)-1] != total || total < 500_000 || total > 2_000_000 {
				t.Errorf("progress was %v of %d", told, total)
			}
			for _, on := range []*Store{s, other} {
				if on == nil {
					continue
				}
				again := longRows("stays", 10, 1)
				for i := range again {
					again[i].ID = "again-" + again[i].ID
				}
				for _, r := range enqueue(t, on, again) {
					if r.Outcome != onceq.Skipped || len(r.Job.Args) != 50_000 {
						t.Fatalf("%s, %d bytes", r.Outcome, len(r.Job.Args))
					}
				}
				enqueue(t, on, rowsOf(fmt.Sprintf("more %p", on), 3))
				if findings, err := on.Check(ctx); err != nil || len(findings) > 0 {
					t.Fatal(findings, err)
				}
			}
			if err := s.Compact(ctx, nil); err != nil { // there is nothing to gain
				t.Fatal(err)
			}
		})
	}
}

func TestCompactStopsWithItsContext(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	emptied(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	err := s.Compact(ctx, func(done, total int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	enqueue(t, s, rowsOf("a", 1))
	if findings, err := s.Check(context.Background()); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

// A heartbeat waits for the write lock as everybody does, and must not wait for
// too long.
func TestCompactGivesUpBeforeALeaseEnds(t *testing.T) {
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
	emptied(t, s)
	if f := fetch(t, s, 1, 1); len(f.Jobs) != 1 { // the lease is a minute
		t.Fatal(f)
	}
	limited, cancel, err := s.beforeLeasesEnd(ctx, s.writer)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if end, ok := limited.Deadline(); !ok || time.Until(end) > 30*time.Second {
		t.Error("with a minute left the deadline is", end, ok)
	}
	c.still.Store(now + time.Minute.Milliseconds() - 1)
	before := fileBytes(t, s.file.path)
	if err := s.Compact(ctx, nil); err == nil || !strings.Contains(err.Error(), "stop the workers first") {
		t.Error("with a millisecond left:", err)
	}
	if after := fileBytes(t, s.file.path); after != before {
		t.Errorf("the file had %d bytes and has %d", before, after)
	}
	c.still.Store(now + time.Minute.Milliseconds() + 1) // a lease that is over is nobody's
	if err := s.Compact(ctx, nil); err != nil {
		t.Error(err)
	}
	if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

func TestCompactSaysWhatRoomItNeeds(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	free, known := freeSpace(filepath.Dir(s.file.path))
	if !known {
		t.Skip("it cannot be told here")
	}
	if err := s.roomFor(free / 2); err != nil {
		t.Error(err)
	}
	if err := s.roomFor(free * 4); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Error(err)
	}
}

// A disk that is full leaves the file as it was.
func TestCompactOnAFullDiskChangesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	emptied(t, s)
	if err := s.inTurn(ctx, func(w *conn) error {
		_, err := w.raw.ExecContext(ctx, "PRAGMA max_page_count = 1") // that is: as many as there are
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: longRows("more", 400, 50_000)}); err == nil ||
		code(err) != codeFull {
		t.Fatal(err)
	}
	if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	if err := s.Compact(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// The file is rewritten at once, and shrinks when the last reader of what it
// was before has ended.
func TestCompactBesideAReaderThatStays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	emptied(t, s)
	enqueue(t, s, rowsOf("a", 1))
	before := fileBytes(t, s.file.path)
	tx, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM onceq_jobs").Scan(&n); err != nil || n != 11 {
		t.Fatal(n, err)
	}
	s.shortening.wait = 10 * time.Millisecond
	if err := s.Compact(ctx, nil); err == nil || !strings.Contains(err.Error(), "as soon as nobody reads") {
		t.Fatal(err)
	}
	enqueue(t, s, rowsOf("b", 1))
	if err := tx.QueryRow("SELECT count(*) FROM onceq_jobs").Scan(&n); err != nil || n != 11 {
		t.Fatal("the reader sees something else now:", n, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if after := fileBytes(t, s.file.path); after > before/4 {
		t.Errorf("the file had %d bytes and has %d", before, after)
	}
}
