package sqlitestore

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest"
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
	c := &clock{}
	path := filepath.Join(t.TempDir(), "jobs.db")
	open := func() *Store {
		s, err := Open(path, &Config{clock: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return harnessOf(open(), c, func() onceq.Store { return open() })
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

func TestStoreInMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		c := &clock{}
		s, err := Open(":memory:", &Config{clock: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return harnessOf(s, c, nil)
	})
}
