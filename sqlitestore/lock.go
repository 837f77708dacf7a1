package sqlitestore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// lock says whose turn it is to write the file: first among the goroutines here, in the order
// in which they came, then among processes. Each is taken by itself, so that nobody waits for
// something else, such as a connection of the caller's pool, with the file's lock in hand.
//
// SQLite's own lock is not fair: who writes all the time keeps it, and another process may wait
// for seconds. So a process first locks a side file. That alone would let the process that has
// just given it back take it again before a waiter wakes up; therefore there is a second file,
// the turnstile: whoever wants the lock waits in the turnstile, and stays in it until it has
// the lock. Only one can wait there, and nobody can pass it.
//
// A process waits by asking again and again: a call that blocks in the kernel could not be called
// back, and would outlive the store.
type lock struct {
	turn  chan struct{} // holds a token while nobody here has the turn
	files *lockFiles    // nil: nobody outside this process

	mu      sync.Mutex
	waiting int // goroutines that want the turn

	// Whoever has the turn may read and write these.
	queued bool      // this process is in the turnstile
	since  time.Time // when this process got the lock; zero while it has not got it
}

// slice is how long a process keeps the lock for goroutines of its own while others may be waiting.
const slice = 4 * time.Millisecond

// How often a process asks for the lock: the one that is next all the time, as others hold it
// for less than a millisecond; those behind it often; and all of them now and then when
// somebody keeps it for long.
const (
	askNext   = 30 * time.Microsecond // for askSoon
	askOften  = 200 * time.Microsecond
	askSeldom = 3 * time.Millisecond
	askSoon   = 10 * time.Millisecond
	askLong   = 200 * time.Millisecond // from then on seldom
)

func newLock(files *lockFiles) *lock {
	l := &lock{turn: make(chan struct{}, 1), files: files}
	l.turn <- struct{}{}
	return l
}

// errGaveUp: a wait has ended, with its context or with done.
var errGaveUp = errors.New("gave up waiting")

// takeTurn waits for the turn among the goroutines here.
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
	case <-l.turn: // whoever had it may have kept the file for us
		l.leaveLocked()
	default:
	}
	return err
}

// takeFile waits for the lock among processes. The caller has the turn, and keeps it.
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

// tryFile goes through the turnstile and takes the lock, as far as it gets without waiting.
func (l *lock) tryFile() bool {
	l.queued = l.queued || tryFlock(l.files.turnstile)
	if !l.queued || !tryFlock(l.files.lock) {
		return false
	}
	funlock(l.files.turnstile)
	l.queued = false
	return true
}

// dropFile gives the lock to other processes. The caller has the turn, and keeps it.
func (l *lock) dropFile() {
	if !l.since.IsZero() {
		funlock(l.files.lock)
		l.since = time.Time{}
	}
}

// leave gives the turn to the next goroutine here, with the file for as long as a slice lasts.
func (l *lock) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked()
}

func (l *lock) leaveLocked() {
	if l.waiting == 0 || time.Since(l.since) > slice {
		l.dropFile()
	}
	if l.waiting == 0 && l.queued { // who had the turn has given up
		funlock(l.files.turnstile)
		l.queued = false
	}
	l.turn <- struct{}{} // never blocks: the caller has the only token
}

// close gives the files up. Nobody has the turn or waits for it.
func (l *lock) close() {
	if l.files != nil {
		l.files.close()
	}
}

// lockFiles are the turnstile and the lock.
type lockFiles struct{ turnstile, lock *os.File }

// openLockFiles opens, and makes where needed, the side files of a database.
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
