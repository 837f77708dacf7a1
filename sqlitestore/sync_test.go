package sqlitestore

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// What is acknowledged is synced, what is only started is not: the level of
// the writing connection, read back from SQLite.
func TestEverythingButAFetchIsOnTheDiskBeforeItIsAcknowledged(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "jobs.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	level := func() (n int) {
		if err := s.writer.raw.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const normal, full = 1, 2
	wants := func(what string, want int) {
		t.Helper()
		if got := level(); got != want {
			t.Errorf("after %s the level is %d, want %d", what, got, want)
		}
	}
	row := onceq.NewRow{ID: "a", Kind: "k", Queue: "q", Args: []byte("1"), Encoding: "json", MaxAttempts: 1,
		Retention: time.Hour, RetentionFailed: time.Hour}
	for range 2 {
		if _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: []onceq.NewRow{row}}); err != nil {
			t.Fatal(err)
		}
		wants("an enqueue", full)
		if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		wants("a heartbeat", full)
		f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
			Queues: []onceq.QueueSlots{{Queue: "q", Slots: 1}}})
		if err != nil || len(f.Jobs) != 1 {
			t.Fatal(f, err)
		}
		wants("a fetch", normal)
		if _, err := s.Finish(ctx,
			onceq.FinishRequest{Runs: []onceq.Finish{
				{ID: row.ID, Run: 1, Worker: "w", State: onceq.Completed}}}); err != nil {
			t.Fatal(err)
		}
		wants("a finish", full)
		row.ID += "a"
	}
}
