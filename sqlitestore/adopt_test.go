package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// pool is a database that a caller has opened.
func pool(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestNewRefusesConnectionsThatBreakItsPromises(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, parameters, says string }{
		{"nothing_said", "", "busy_timeout = 0"},
		{"no_log", "?_pragma=busy_timeout(5000)", "journal_mode = delete"},
		{"no_patience", "?_pragma=journal_mode(wal)", "busy_timeout = 0"},
		{"synced_now_and_then", "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=synchronous(normal)",
			"synchronous = 1"},
		{"never_synced", "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=synchronous(off)",
			"synchronous = 0"},
		{"for_one_alone", "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=locking_mode(exclusive)",
			"locking_mode = exclusive"},
		{"only_to_read", "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=query_only(1)",
			"query_only = 1"},
		{"text_of_two_bytes", "?_pragma=encoding('UTF-16le')&_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)",
			"encoding = UTF-16le"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.db")
			_, err := New(pool(t, "file:"+path+c.parameters), nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %q in it", err, c.says)
			}
			if line := fmt.Sprintf("sqlitestore.DSN(%q)", path); !strings.Contains(err.Error(), line) ||
				!strings.Contains(err.Error(), "_pragma=busy_timeout") {
				t.Errorf("the error has no line to copy: %v", err)
			}
		})
	}
}

func TestNewLooksAtMoreThanTheConnectionThatWasSetByHand(t *testing.T) {
	t.Parallel()
	for _, most := range []int{0, 1} {
		db := pool(t, "file:"+filepath.Join(t.TempDir(), "app.db"))
		db.SetMaxOpenConns(most)
		if _, err := db.Exec("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL"); err != nil {
			t.Fatal(err)
		}
		s, err := New(db, nil)
		if most == 1 && err == nil { // there is no other
			s.Close()
		} else if most == 1 || err == nil || !strings.Contains(err.Error(), "busy_timeout = 0") {
			t.Errorf("of at most %d connections: %v", most, err)
		}
	}
}

func TestNewTakesLessDurabilityWhereConfigSaysSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := New(pool(t,
		"file:"+path+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=synchronous(normal)"),
		&Config{Synchronous: Normal})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestDSNIsWhatNewWants(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app.db", "with space & 100% #?.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		for range 2 { // new, and there already
			s, err := New(pool(t, DSN(path)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.file.path != path {
				t.Errorf("it is in %s, want %s", s.file.path, path)
			}
			s.Close()
		}
	}
	db := pool(t, DSN(":memory:"))
	db.SetMaxOpenConns(1)
	s, err := New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// The connections of the caller's pool come back as they were.
func TestBorrowedConnectionsKeepTheirPatience(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, most := range []int{1, 3, 0} {
		s := adopted(t, most)
		db := s.db
		enqueue(t, s, rowsOf("a", 2))
		tx, err := s.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		busyTimeout := func(on querier) (ms int) {
			if err := on.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&ms); err != nil {
				t.Fatal(err)
			}
			return ms
		}
		if ms := busyTimeout(tx); ms != 5000 {
			t.Errorf("of %d connections: in a transaction of Begin it is %d", most, ms)
		}
		if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("tx", 1)); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, []string{"a-0", "a-1"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var conns []*sql.Conn
		for range max(1, db.Stats().OpenConnections) {
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			if ms := busyTimeout(conn); ms != 5000 {
				t.Errorf("of %d connections: one came back with a busy_timeout of %d", most, ms)
			}
		}
		for _, c := range conns {
			c.Close()
		}
	}
}

// Transactions that were begun by the caller's own means, against each
// other and against the store's own writers: none is told that the file is
// busy.
func TestTransactionsOfTheCallersOwnDoNotMeetBusy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := adopted(t, 0)
	if _, err := s.db.Exec("CREATE TABLE orders (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 25 {
				err := func() error {
					tx, err := s.db.BeginTx(ctx, nil)
					if err != nil {
						return err
					}
					defer tx.Rollback()
					var n int
					// It reads first, as most do.
					if err := tx.QueryRow("SELECT count(*) FROM orders").Scan(&n); err != nil {
						return err
					}
					if _, err := tx.Exec("INSERT INTO orders VALUES (?)", n); err != nil {
						return err
					}
					if _, err := s.Tx(tx).Enqueue(ctx, rowsOf(fmt.Sprint("tx-", g, "-", i), 1)); err != nil {
						return err
					}
					return tx.Commit()
				}()
				if err == nil {
					_, err = s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf(fmt.Sprint("own-", g, "-", i), 1)})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	var orders, jobs int
	if err := s.DB().QueryRow("SELECT count(*), (SELECT count(*) FROM onceq_jobs) FROM "+
		"orders").Scan(&orders, &jobs); err != nil || orders != 200 || jobs != 400 {
		t.Error(orders, jobs, err)
	}
}

func TestATransactionBegunElsewhereWaitsAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, rowsOf("a", 1))
	late, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback()
	writer, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.Tx(late).Enqueue(short, rowsOf("late", 1)); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "Store.Begin") {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := s.Tx(late).Enqueue(ctx, rowsOf("late", 1))
		answer <- err
	}()
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestATransactionThatHasReadBeforeSomebodyWroteIsToldSo(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	tx, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM onceq_jobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	enqueue(t, s, rowsOf("a", 1))
	if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("b", 1)); err == nil || errors.Is(err, onceq.ErrUncertain) ||
		!strings.Contains(err.Error(), "begin it with Store.Begin") {
		t.Fatal(err)
	}
}

func TestTheCallersOwnQueriesWaitForNobody(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	tx, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("CREATE TABLE users (name TEXT)"); err != nil {
		t.Fatal(err)
	}
	var n int
	read, err := s.DB().BeginTx(ctx, nil) // while somebody writes
	if err != nil {
		t.Fatal(err)
	}
	if err := read.QueryRow("SELECT count(*) FROM onceq_jobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if err := read.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.DB().QueryRow("SELECT count(*) FROM users").Scan(&n); err != nil {
		t.Fatal(err)
	}
}
