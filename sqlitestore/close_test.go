package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/onceq/onceq"
)

// These tests look for goroutines that are left, so no other test runs
// beside them.

func TestNobodyWaitsForTheFileAfterClose(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "jobs.db")
	other := opened(t, path)
	tx, err := other.Begin(ctx) // as another process would hold the file, for as long as it likes
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	before := goleak.IgnoreCurrent()
	s := openedWhileBusy(t, path, tx)
	answers := make(chan error)
	for i := range 3 {
		go func() {
			_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf(fmt.Sprint("waits", i), 1)})
			answers <- err
		}()
	}
	waiting := func() int {
		s.lock.mu.Lock()
		defer s.lock.mu.Unlock()
		return s.lock.waiting
	}
	for waiting() < 2 { // and the third has the turn
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-answers; !errors.Is(err, onceq.ErrClosed) || errors.Is(err, onceq.ErrUncertain) {
			t.Error(err)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
	if !tryFlock(other.lock.files.turnstile) {
		t.Error("the closed store is still in the queue for the file")
	}
	funlock(other.lock.files.turnstile)
}

// openedWhileBusy opens a store on a file that a transaction writes: what
// is there already needs no write.
func openedWhileBusy(t *testing.T, path string, tx *sql.Tx) *Store {
	t.Helper()
	files, err := openLockFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", ownDSN(path, Config{}))
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(db, Config{})
	s.owned, s.keeps, s.lock = true, true, newLock(files)
	return s
}

func TestAFileThatIsGivenUpIsLeftToTheNextInLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	one, two := opened(t, path), opened(t, path)
	tx, err := one.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := two.Enqueue(short, onceq.EnqueueRequest{Rows: rowsOf("a", 1)}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, one, rowsOf("b", 1)) // does not stand behind who has given up
	enqueue(t, two, rowsOf("a", 1))
}

func TestNothingOfAStoreRunsAfterClose(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *Store{
		"a_file":   func(t *testing.T) *Store { return opened(t, filepath.Join(t.TempDir(), "jobs.db")) },
		"memory":   func(t *testing.T) *Store { return opened(t, ":memory:") },
		"a_pool":   func(t *testing.T) *Store { return adopted(t, 0) },
		"one_conn": func(t *testing.T) *Store { return adopted(t, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			s := open(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var wakes []<-chan onceq.Wake
			for range 3 {
				w, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}, Worker: "w"})
				if err != nil {
					t.Fatal(err)
				}
				wakes = append(wakes, w)
			}
			enqueue(t, s, rowsOf("a", 20))
			tx, err := s.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, w := range wakes {
				for range w {
				}
			}
			if !s.owned {
				s.db.Close()
			}
			if err := goleak.Find(before); err != nil {
				t.Error(err)
			}
		})
	}
}

// adopted is a store in a database that is the caller's, of at most so many
// connections.
func adopted(t *testing.T, most int) *Store {
	t.Helper()
	db, err := sql.Open("sqlite", DSN(filepath.Join(t.TempDir(), "app.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(most)
	s, err := New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAWakeUpEndsWithItsContextAndLeavesNothing(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, rowsOf("a", 1))
	before := goleak.IgnoreCurrent()
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for range 4 {
			w, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				for range w {
				}
			})
		}
		cancel()
		group.Wait()
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A call that Close cuts off answers truly: nothing of it is in the file.
func TestADefiniteErrorOfACallThatCloseCutsOffIsTrue(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, other := opened(t, path), opened(t, path)
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var failed []string
	var callers sync.WaitGroup
	began := make(chan struct{}, 50)
	for g := range 50 {
		callers.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprint(g, "-", i)
				_, err := client.Enqueue(ctx, onceq.JSON("k", []byte("1")), onceq.ID(id))
				if err == nil {
					if i == 0 {
						began <- struct{}{}
					}
					continue
				}
				if !errors.Is(err, onceq.ErrUncertain) {
					mu.Lock()
					failed = append(failed, id)
					mu.Unlock()
				}
				return
			}
		})
	}
	for range 50 {
		<-began
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	jobs, err := other.Get(ctx, failed)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range jobs {
		if j != nil {
			t.Errorf("%s was refused and is there", failed[i])
		}
	}
	t.Logf("%d callers were refused", len(failed))
}

// exhausted uses up the pool of a store, and says how to give it back.
func exhausted(t *testing.T, s *Store, most int) (giveBack func()) {
	t.Helper()
	var taken []*sql.Conn
	for s.db.Stats().InUse < most {
		conn, err := s.db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, conn)
	}
	return func() {
		for _, c := range taken {
			c.Close()
		}
	}
}

// waitsFor waits until somebody waits for a connection of the pool.
func waitsFor(t *testing.T, s *Store, before int64) {
	t.Helper()
	for end := time.Now().Add(time.Minute); s.db.Stats().WaitCount <= before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody waits for a connection")
		}
	}
}

// What the caller owns, here the connections of its pool, is waited for
// without the file's lock in hand: else every process would wait.
func TestTheFileIsFreeWhileAConnectionIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := adopted(t, 2)
	other := opened(t, s.file.path)
	defer exhausted(t, s, 2)()
	for what, call := range map[string]func(ctx context.Context) error{
		"an enqueue": func(ctx context.Context) error {
			_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
			return err
		},
		"a transaction": func(ctx context.Context) error { _, err := s.Begin(ctx); return err },
		"a wake-up": func(ctx context.Context) error {
			_, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
			return err
		},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		before, answer := s.db.Stats().WaitCount, make(chan error, 1)
		go func() { answer <- call(ctx) }()
		waitsFor(t, s, before)
		within, enough := context.WithTimeout(context.Background(), time.Minute)
		if _, err := other.Enqueue(within, onceq.EnqueueRequest{Rows: rowsOf(what, 1)}); err != nil {
			t.Errorf("while %s waits for a connection, another process: %v", what, err)
		}
		enough()
		cancel()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A worker that begins while the pool is exhausted keeps nobody else.
func TestAWakeUpThatWaitsForAConnectionKeepsNobody(t *testing.T) {
	t.Parallel()
	s := adopted(t, 8)
	enqueue(t, s, rowsOf("warm", 1))
	defer exhausted(t, s, 8)()
	ctx, cancel := context.WithCancel(context.Background())
	before, begun := s.db.Stats().WaitCount, make(chan error, 1)
	go func() {
		wake, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
		if err == nil { // it is there after a second, and ends with its context
			for range wake {
			}
		}
		begun <- err
	}()
	waitsFor(t, s, before)
	answer := make(chan error, 1)
	go func() {
		_, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsOf("a", 1)})
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("an enqueue waits for the worker that waits for a connection")
	}
	cancel()
	if err := <-begun; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Close ends also what waits for a connection of the caller's.
func TestCloseEndsAWaitForAConnection(t *testing.T) {
	t.Parallel()
	s := adopted(t, 1)
	defer exhausted(t, s, 1)()
	before, answer := s.db.Stats().WaitCount, make(chan error, 1)
	go func() {
		_, err := s.Queues(context.Background(), onceq.QueuesRequest{})
		answer <- err
	}()
	waitsFor(t, s, before)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, onceq.ErrClosed) {
		t.Error(err)
	}
}
