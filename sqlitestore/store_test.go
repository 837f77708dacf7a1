package sqlitestore

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("ONCEQ_TEST_CHILD"); role != "" {
		os.Exit(child(role, os.Getenv("ONCEQ_TEST_FILE")))
	}
	goleak.VerifyTestMain(m)
}

// harness is a store on a file of its own, and its clock.
func harness(t *testing.T) storetest.Harness {
	t.Helper()
	return harnessWith(t, func(path string, config *Config) (*Store, error) {
		config.Synchronous = off
		return Open(path, config)
	})
}

// harnessOfNew is a store on a database of the caller's, whose statements go
// through database/sql.
func harnessOfNew(t *testing.T) storetest.Harness {
	t.Helper()
	return harnessWith(t, func(path string, config *Config) (*Store, error) {
		return New(pool(t, fileURL(path, url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)",
			"journal_mode(wal)", "synchronous(normal)"}})), config)
	})
}

func harnessWith(t *testing.T, make func(path string, config *Config) (*Store, error)) storetest.Harness {
	t.Helper()
	c := &clock{}
	path := filepath.Join(t.TempDir(), "jobs.db")
	open := func() *Store {
		s, err := make(path, &Config{Synchronous: Normal, clock: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	h := harnessOf(open(), c, func() onceq.Store { return open() })
	h.Bytes = func() (all []byte) {
		for _, suffix := range []string{"", "-wal"} {
			part, err := os.ReadFile(path + suffix)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			all = append(all, part...)
		}
		return all
	}
	return h
}

func harnessOf(s *Store, c *clock, open func() onceq.Store) storetest.Harness {
	return storetest.Harness{
		Store: s,
		SetClock: func(t time.Time) {
			if t.IsZero() {
				c.still.Store(0)
			} else {
				c.still.Store(t.UnixMilli())
			}
		},
		Open: open,
		Begin: func(ctx context.Context) (storetest.Tx, error) {
			tx, err := s.Begin(ctx)
			if err != nil {
				return storetest.Tx{}, err
			}
			return storetest.Tx{Tx: s.Tx(tx), Commit: tx.Commit, Rollback: tx.Rollback}, nil
		},
	}
}

func TestStore(t *testing.T) { storetest.Run(t, harness) }

// A decorator of our own around a store with everything: transactions,
// wake-ups, several processes. The store keeps its jobs in a database of the
// caller's, so that these cases run through database/sql too.
func TestStoreThatIsMeasured(t *testing.T) {
	storetest.Run(t, storetest.Decorated(harnessOfNew, func(s onceq.Store) onceq.Store {
		m, err := onceq.MeasureStore(s, metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}), storetest.Seam...)
}

func TestModel(t *testing.T) { model.Run(t, harness) }

func TestAStoreInMemoryIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, ":memory:")
	tx, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("a", 1)); err != nil {
		t.Fatal(err)
	}
	if jobs, err := s.Get(ctx, []string{"a-0"}); err != nil || jobs[0] != nil {
		t.Fatal("seen before it was committed:", jobs, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 2}}})
	if err != nil || len(f.Jobs) != 1 {
		t.Fatal(f, err)
	}
	if other := opened(t, ":memory:"); enqueue(t, other, rowsOf("a", 1))[0].Outcome != onceq.Inserted {
		t.Fatal("two stores in memory are one")
	}
}

func TestOnlyACommitThatFailsOnTheDiskIsUncertain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text            string
		busy, uncertain bool
	}{
		{"database is locked (5) (SQLITE_BUSY)", true, false},
		{"database table is locked", true, false},
		{"database or disk is full", false, false},
		{"disk I/O error", false, true},
		{"something else", false, true},
	} {
		err := errors.New(c.text)
		if busy(err) != c.busy || errors.Is(uncertain(err), onceq.ErrUncertain) != c.uncertain ||
			!errors.Is(uncertain(err), err) {
			t.Errorf("%s: busy %v, as a failed commit %v", c.text, busy(err), uncertain(err))
		}
	}
}
