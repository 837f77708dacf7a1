package sqlitestore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// lock says whose turn it is to write the file: first among the goroutines
// of this process, in the order in which they came, then among processes.
// Each is taken by itself, so that no goroutine waits for something else,
// such as a connection of the caller's pool, while it has the lock of the
// file.
//
// SQLite's own lock is not fair: a process that writes all the time keeps
// it, and another may wait for seconds. So a process first locks a side
// file. With that alone, the process that has just released it could take
// it again before a waiter wakes up. So there is a second file, the
// turnstile: a process that wants the lock waits in the turnstile, and
// stays in it until it has the lock. Only one can wait there, and none can
// pass it.
//
// A process waits by trying again and again: a call that blocks in the
// kernel could not be cancelled, and would outlive the store.
type lock struct {
	turn  chan struct{} // has a token while no goroutine has the turn
	files *lockFiles    // nil: no other process can write the file

	mu      sync.Mutex
	waiting int // goroutines that want the turn

	// Only the goroutine that has the turn may use these.
	queued bool      // this process is in the turnstile
	since  time.Time // when this process got the lock; zero while it does not have it
}

// slice is how long a process keeps the lock for its own goroutines while
// other processes may wait.
const slice = 4 * time.Millisecond

// How often a process tries to get the lock. The next in line tries all the
// time, because others hold the lock for less than a millisecond; those
// behind it try often; and all try now and then when a process keeps the
// lock for long.
const (
	askNext   = 30 * time.Microsecond // for askSoon
	askOften  = 200 * time.Microsecond
	askSeldom = 3 * time.Millisecond
	askSoon   = 10 * time.Millisecond
	askLong   = 200 * time.Millisecond // after this time, try seldom
)

func newLock(files *lockFiles) *lock {
	l := &lock{turn: make(chan struct{}, 1), files: files}
	l.turn <- struct{}{}
	return l
}

// errGaveUp says that a wait has ended, with its context or with done.
var errGaveUp = errors.New("gave up waiting")

// takeTurn waits for the turn among the goroutines of this process.
func (l *lock) takeTurn(ctx context.Context, done <-chan struct{}) error {
	l.mu.Lock()
	if l.waiting == 0 {
		select {
		case <-l.turn:
			l.mu.Unlock()
			return nil
		default:
		}
	}
	l.waiting++
	l.mu.Unlock()

	var err error
	select {
	case <-l.turn:
	case <-ctx.Done():
		err = errGaveUp
	case <-done:
		err = errGaveUp
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	if err == nil {
		return nil
	}
	select {
	case <-l.turn: // the one before may have kept the file for us
		l.leaveLocked()
	default:
	}
	return err
}

// takeFile waits for the lock among processes. The caller has the turn, and
// keeps it.
func (l *lock) takeFile(ctx context.Context, done <-chan struct{}) error {
	if l.files == nil || !l.since.IsZero() {
		return nil
	}
	for begun := time.Now(); !l.tryFile(); {
		switch waited := time.Since(begun); {
		case waited > askLong:
			t := time.NewTimer(askSeldom)
			select {
			case <-t.C:
			case <-ctx.Done():
			case <-done:
			}
			t.Stop()
		case waited < askSoon && l.queued:
			nap(askNext)
		default:
			nap(askOften)
		}
		select {
		case <-ctx.Done():
			return errGaveUp
		case <-done:
			return errGaveUp
		default:
		}
	}
	l.since = time.Now()
	return nil
}

// tryFile goes through the turnstile and takes the lock, as far as it gets
// without waiting.
func (l *lock) tryFile() bool {
	l.queued = l.queued || tryFlock(l.files.turnstile)
	if !l.queued || !tryFlock(l.files.lock) {
		return false
	}
	funlock(l.files.turnstile)
	l.queued = false
	return true
}

// dropFile gives the lock to other processes. The caller has the turn, and
// keeps it.
func (l *lock) dropFile() {
	if !l.since.IsZero() {
		funlock(l.files.lock)
		l.since = time.Time{}
	}
}

// leave gives the turn to the next goroutine, with the file while a slice
// lasts.
func (l *lock) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked()
}

func (l *lock) leaveLocked() {
	if l.waiting == 0 || time.Since(l.since) > slice {
		l.dropFile()
	}
	if l.waiting == 0 && l.queued { // the goroutine that had the turn gave up
		funlock(l.files.turnstile)
		l.queued = false
	}
	l.turn <- struct{}{} // never blocks: the caller has the only token
}

// close closes the files. No goroutine has the turn or waits for it.
func (l *lock) close() {
	if l.files != nil {
		l.files.close()
	}
}

// lockFiles are the turnstile and the lock.
type lockFiles struct{ turnstile, lock *os.File }

// openLockFiles opens the side files of a database, and makes them if
// needed.
func openLockFiles(path string) (*lockFiles, error) {
	turnstile, err := openSideFile(path, "-onceq-turn")
	if err != nil {
		return nil, err
	}
	lock, err := openSideFile(path, "-onceq-lock")
	if err != nil {
		turnstile.Close()
		return nil, err
	}
	return &lockFiles{turnstile, lock}, nil
}

func (f *lockFiles) close() {
	f.turnstile.Close()
	f.lock.Close()
}
