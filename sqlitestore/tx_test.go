package sqlitestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// rowsOf makes unique rows with IDs name-0, name-1 …
func rowsOf(name string, n int) []onceq.NewRow {
	rows := make([]onceq.NewRow, n)
	for i := range rows {
		id := fmt.Sprintf("%s-%d", name, i)
		key := sha256.Sum256([]byte(id))
		rows[i] = onceq.NewRow{ID: id, Nonce: [16]byte(key[:]), Kind: "event", Queue: "default",
			Encoding: onceq.EncodingJSON, Args: []byte(`{}`),
			Priority: 5, MaxAttempts: 25, Retention: time.Hour, RetentionFailed: time.Hour,
			Claim: &onceq.Claim{Key: key, Text: "kind=event key=" + id, Hold: onceq.Hold{Until: onceq.UntilFinished}}}
	}
	return rows
}

func TestATransactionsJobsAreThereIfItCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	for _, commit := range []bool{true, false} {
		name := fmt.Sprintf("commit-%v", commit)
		tx, err := s.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// The enqueue of another goroutine waits for the outcome, and gets
		// a truthful answer.
		rival := rowsOf(name, 1)
		rival[0].ID = "rival-" + name
		answer := make(chan onceq.EnqueueResult)
		if r, err := s.Tx(tx).Enqueue(ctx, rowsOf(name, 1)); err != nil || r[0].Outcome != onceq.Inserted {
			t.Fatal(r, err)
		}
		go func() {
			r, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rival})
			if err != nil {
				t.Error(err)
			}
			answer <- r[0]
		}()
		if commit {
			err = tx.Commit()
		} else {
			err = tx.Rollback()
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]onceq.Outcome{true: onceq.Skipped, false: onceq.Inserted}[commit]
		if r := <-answer; r.Outcome != want {
			t.Errorf("commit %v: the rival was %s, want %s", commit, r.Outcome, want)
		}
	}
}

func TestATransactionThatFailsToEnqueueKeepsWhatItDidBefore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	tx, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("before", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("CREATE TEMP TRIGGER no BEFORE INSERT ON onceq_jobs WHEN new.id = 'bad-3' BEGIN SELECT " +
		"RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("bad", 5)); err == nil || !strings.Contains(err.Error(), "no") {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	jobs, err := s.Get(ctx, []string{"before-0", "bad-0", "bad-4"})
	if err != nil || jobs[0] == nil || jobs[1] != nil || jobs[2] != nil {
		t.Fatal(jobs, err)
	}
}

func TestBeginGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	tx, err := s.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf("a", 1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, s, rowsOf("a", 1))
}

func TestATransactionWhoseContextEndsGivesTheLockBack(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	ctx, cancel := context.WithCancel(context.Background())
	tx, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("a", 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if r := enqueue(t, s, rowsOf("a", 1)); r[0].Outcome != onceq.Inserted {
		t.Fatal(r[0].Outcome)
	}
}

func TestATransactionBegunElsewhereMakesNobodyFail(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := opened(t, path)
	tx, err := s.db.BeginTx(ctx, nil) // without the side lock: writers meet SQLite's own
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("tx", 1)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := s.Enqueue(short, onceq.EnqueueRequest{Rows: rowsOf("a", 1)}); !errors.Is(err,
		context.DeadlineExceeded) || errors.Is(err, onceq.ErrUncertain) {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf(fmt.Sprint("waits", i), 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

func TestAFullDiskIsADefiniteError(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, rowsOf("first", 10))
	limit := func(pages string) {
		t.Helper()
		if err := s.write(ctx, "limit", func(st *step) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.writer.raw.ExecContext(ctx, "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("40")
	_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf("many", 1000)})
	if err == nil || errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "full") {
		t.Fatal(err)
	}
	if jobs, err := s.Get(ctx, []string{"many-0"}); err != nil || jobs[0] != nil {
		t.Fatal("half of it is there:", jobs, err)
	}
	limit("1000000")
	enqueue(t, s, rowsOf("many", 1000))
	if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

func TestAPanicRollsBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	func() {
		defer func() { _ = recover() }()
		_ = s.write(ctx, "panic", func(st *step) error {
			var results []onceq.EnqueueResult
			if err := st.enqueue(&results, rowsOf("a", 1)); err != nil {
				t.Error(err)
			}
			panic("no")
		})
	}()
	if r := enqueue(t, s, rowsOf("a", 1)); r[0].Outcome != onceq.Inserted {
		t.Fatal(r[0].Outcome)
	}
}

func TestDuplicatesWriteNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := opened(t, path)
	enqueue(t, s, rowsOf("a", 100))
	rows := rowsOf("a", 100)
	for i := range rows {
		rows[i].ID = "again-" + rows[i].ID
	}
	tx, err := s.Begin(ctx) // nobody can write now
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for i, r := range enqueue(t, s, rows) {
		if r.Outcome != onceq.Skipped || r.Job.ID != fmt.Sprintf("a-%d", i) {
			t.Fatal(r)
		}
	}
}

func TestANameWithNULIsRefusedWhole(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	rows := rowsOf("a", 2)
	rows[1].ID = "a\x00b"
	var invalid *onceq.InvalidError
	if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows}); !errors.As(err, &invalid) || invalid.Field != "ID" {
		t.Fatal(err)
	}
	if jobs, err := s.Get(ctx, []string{"a-0"}); err != nil || jobs[0] != nil {
		t.Fatal(jobs, err)
	}
}
