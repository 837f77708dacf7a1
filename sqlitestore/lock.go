package sqlitestore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// lock is whose turn it is to write the file: first among the goroutines here, in the order in which they came, then among processes.
//
// SQLite's own lock is not fair: who writes all the time keeps it, and another process may wait for seconds. So a process first takes a
// blocking lock of a side file. That alone would let the process that has just given it back take it again before a waiter wakes up;
// therefore there is a second file, the turnstile: whoever wants the lock waits in the turnstile, and stays in it until it has the lock.
// Only one can wait there, and nobody can pass it.
type lock struct {
	turn     chan struct{} // holds a token while nobody here has the lock
	files    *lockFiles    // nil: nobody outside this process
	mu       sync.Mutex
	waiting  int           // goroutines that want the lock
	since    time.Time     // when this process got the files; zero while it has not got them
	pending  chan struct{} // closed when the goroutine that waits for the files has got them; nil when there is none
	orphaned bool          // nobody waits for that goroutine any more
	closed   bool
	held     *lockFiles // of a store in memory: locked for good
}

// slice is how long a process keeps the lock for goroutines of its own while others may be waiting.
const slice = 4 * time.Millisecond

// lockFiles are the turnstile and the lock.
type lockFiles struct{ turnstile, lock *os.File }

func newLock(files *lockFiles) *lock {
	l := &lock{turn: make(chan struct{}, 1), files: files}
	l.turn <- struct{}{}
	return l
}

// openLockFiles opens, and makes where needed, the side files of a database.
func openLockFiles(path string) (*lockFiles, error) {
	turnstile, err := os.OpenFile(path+"-onceq-turn", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+"-onceq-lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		turnstile.Close()
		return nil, err
	}
	return &lockFiles{turnstile, lock}, nil
}

// wait blocks until this process has the lock.
func (f *lockFiles) wait() error {
	if err := flock(f.turnstile); err != nil {
		return err
	}
	err := flock(f.lock)
	return errors.Join(err, funlock(f.turnstile))
}

// try takes the lock if nobody has it or waits for it.
func (f *lockFiles) try() bool {
	if !tryFlock(f.turnstile) {
		return false
	}
	got := tryFlock(f.lock)
	return funlock(f.turnstile) == nil && got
}

func (f *lockFiles) close() {
	f.turnstile.Close()
	f.lock.Close()
}

// tryAcquire takes the lock if nobody has it or waits for it.
func (l *lock) tryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting > 0 || l.pending != nil {
		return false
	}
	select {
	case <-l.turn:
	default:
		return false
	}
	if l.files == nil || !l.since.IsZero() {
		return true
	}
	if l.files.try() {
		l.since = time.Now()
		return true
	}
	l.turn <- struct{}{}
	return false
}

// acquire waits for the lock as long as ctx allows.
func (l *lock) acquire(ctx context.Context) error {
	l.mu.Lock()
	l.waiting++
	l.mu.Unlock()
	select {
	case <-l.turn:
	default:
		select {
		case <-l.turn:
		case <-ctx.Done():
			l.giveUp()
			return ctx.Err()
		}
	}
	l.mu.Lock()
	l.waiting--
	if l.files == nil || !l.since.IsZero() {
		l.mu.Unlock()
		return nil
	}
	if l.pending == nil && l.files.try() {
		l.since = time.Now()
		l.mu.Unlock()
		return nil
	}
	if l.pending == nil {
		l.pending = make(chan struct{})
		go l.await()
	}
	l.orphaned = false
	pending := l.pending
	l.mu.Unlock()

	select {
	case <-pending:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() { // not yet: whoever is next here waits on
		l.orphaned = true
		l.turn <- struct{}{}
		return ctx.Err()
	}
	return nil
}

// giveUp leaves the queue of this process. The files may have been kept for whoever leaves.
func (l *lock) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	select {
	case <-l.turn:
		l.pass()
	default:
	}
}

// await is the one goroutine of this process that waits for the files.
func (l *lock) await() {
	for l.files.wait() != nil {
		time.Sleep(10 * time.Millisecond) // out of locks: SQLite's own still keeps writers apart, so only fairness waits
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.orphaned {
		l.orphaned = false
		_ = funlock(l.files.lock)
	} else {
		l.since = time.Now()
	}
	close(l.pending)
	l.pending = nil
	if l.closed {
		l.files.close()
	}
}

// release gives the lock to the next goroutine here, or to another process.
func (l *lock) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass()
}

func (l *lock) pass() {
	if !l.since.IsZero() && (l.waiting == 0 || time.Since(l.since) > slice) {
		_ = funlock(l.files.lock)
		l.since = time.Time{}
	}
	l.turn <- struct{}{} // never blocks: the caller has the only token
}

// close gives up the files. A goroutine that still waits for them closes them when it has got them.
func (l *lock) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.files != nil && l.pending == nil {
		l.files.close()
	}
	if l.held != nil {
		l.held.close()
	}
}
