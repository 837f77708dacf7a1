package sqlitestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// logSize is the size of a store's write-ahead log.
func logSize(t *testing.T, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.file.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Readers that overlap all the time, here and as another process would read,
// keep SQLite from beginning its log anew. Some list jobs, others are streams of
// duplicates.
func TestTheLogBeginsAnewUnderSteadyReaders(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, other := opened(t, path), opened(t, path)
	other.shared = share(path + " of another process")
	s.shortening = shortening{long: 1 << 20, wait: logWait}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for i := range 5 {
		on := s
		if i >= 3 {
			on = other
		}
		read := func() error {
			_, err := on.List(ctx, onceq.ListRequest{Limit: 200, Args: true})
			return err
		}
		if i%2 == 1 {
			n, held := 0, rowsOf("held", 1)[0].Claim
			read = func() error {
				n++
				rows := rowsOf(fmt.Sprint("duplicate", i, n), 1)
				rows[0].Claim = held
				_, err := on.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
				return err
			}
		}
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := read(); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	shorter, last := 0, int64(0)
	for end, i := time.Now().Add(2*time.Minute), 0; shorter < 3; i++ {
		if time.Now().After(end) {
			t.Fatalf("the log has %d bytes, and began anew %d times", last, shorter)
		}
		if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: longRows(fmt.Sprint(i), 50, 2000)}); err != nil {
			t.Fatal(err)
		}
		size := logSize(t, s)
		if size < last {
			shorter++
		}
		last = size
	}
}

// A reader that stays keeps the log long, and nobody else from writing.
func TestAReaderThatStaysKeepsNobodyFromWriting(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, rowsOf("first", 1))
	s.shortening = shortening{long: 1, wait: 50 * time.Millisecond}
	tx, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM onceq_jobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		enqueue(t, s, rowsOf(fmt.Sprint("more", i), 10))
	}
	if s.shortening.rest == 0 {
		t.Error("nothing has been in the way")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.shortening.next = time.Time{}
	enqueue(t, s, rowsOf("last", 1))
	if size := logSize(t, s); size != 0 || s.shortening.rest != 0 {
		t.Errorf("the log has %d bytes; the next look is in %v", size, s.shortening.rest)
	}
	if findings, err := s.Check(ctx); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

// What a queue has left behind goes with its last job, whatever has removed that.
func TestNothingStaysOfAQueueWithoutJobs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	rows := rowsOf("a", 40)
	for i := range rows {
		rows[i].Queue, rows[i].Retention, rows[i].RetentionFailed = fmt.Sprint("tenant-", i), 0, 0
	}
	enqueue(t, s, rows)
	if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpPause, Queue: "paused"}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range rows {
		ids = append(ids, rows[i].ID)
	}
	if _, err := s.Change(ctx, onceq.Change{Op: onceq.OpCancel, IDs: ids[:39]}); err != nil {
		t.Fatal(err)
	}
	left := func() (names string) {
		t.Helper()
		if err := s.db.QueryRow("SELECT group_concat(queue) FROM (SELECT queue FROM onceq_queues ORDER BY " +
			"1)").Scan(&names); err != nil {
			t.Fatal(err)
		}
		return names
	}
	if swept, err := s.Sweep(ctx, onceq.SweepRequest{Limit: 10}); err != nil || swept.More {
		t.Fatal(swept, err)
	}
	if got := left(); got != "paused,tenant-39" {
		t.Errorf("there are rows of the queues %s", got)
	}
	if q, err := s.Queues(ctx, onceq.QueuesRequest{}); err != nil || len(q.Queues) != 2 {
		t.Error(q, err)
	}
}

// A duplicate is only read, and counted in memory. What was counted is one
// small write.
func TestDuplicatesWriteNothingAndTheirNoteLittle(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	enqueue := func() {
		if _, err := client.Enqueue(ctx, onceq.JSON("x", []byte("{}")), onceq.Unique{}); err != nil {
			t.Fatal(err)
		}
	}
	enqueue()
	before := logSize(t, s)
	for range 200 {
		enqueue()
	}
	if size := logSize(t, s); size != before && time.Since(start) < time.Second { // then a note may have come
		t.Errorf("200 duplicates wrote %d bytes", size-before)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats(ctx, onceq.StatsRequest{Span: 24 * time.Hour})
	if err != nil || len(stats.Series) != 1 {
		t.Fatal(stats, err)
	}
	if n := stats.Series[0].Total(); n.Enqueued != [6]int64{1, 200} {
		t.Errorf("noted %v", n.Enqueued)
	}
	if size := logSize(t, s); size == before || size > before+256<<10 {
		t.Errorf("a note wrote %d bytes", size-before)
	}
}
