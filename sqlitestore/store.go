// Package sqlitestore keeps onceq's jobs in one SQLite file: nothing to
// install, safe for many goroutines and many processes on one machine. Most
// people want [Open]:
//
//	store, err := sqlitestore.Open("jobs.db", nil)
//
// An acknowledged enqueue is on the disk (WAL, synchronous = FULL). Writers
// of all processes take turns in one fair queue, and SQLITE_BUSY never
// reaches a caller: a call that cannot write yet waits as long as its
// context allows. The file must lie on a local disk.
//
// Jobs can be enqueued in a transaction of the caller's on the same file:
// see [Store.Begin] and [Store.Tx]. [New] keeps jobs in a database that the
// caller has opened, beside the caller's own tables; the names of onceq's
// tables begin with "onceq_".
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/listen"
	"github.com/onceq/onceq/internal/rules"
)

// Config says how a store keeps its file. The zero value is ready to use.
type Config struct {
	// Namespace is not used, because a file is a namespace of its own. It
	// is here because the Config of every store has it.
	Namespace string
	// Synchronous says how safely an acknowledged step is written. With
	// Normal a power loss (not a crash of a process) may undo the last
	// acknowledged steps; the file stays sound. [New] does not use it:
	// there the caller's connections decide.
	Synchronous Synchronous
	// Clock is for tests: it tells the time in place of the host's clock (see
	// Clock in package onceqtest). Whoever else has the file open must use the
	// same one. nil = the host's clock.
	Clock func() time.Time

	clock *clock // nil = as Clock says
}

// Synchronous is SQLite's PRAGMA synchronous.
type Synchronous uint8

const (
	// Full waits until every acknowledged step is on the disk. It is the
	// default.
	Full Synchronous = iota
	// Normal leaves that to the next checkpoint.
	Normal

	off Synchronous = 255 // for data that ends with the process
)

func (s Synchronous) String() string {
	switch s {
	case Normal:
		return "normal"
	case off:
		return "off"
	}
	return "full"
}

// clock is the clock of the store. Tests make it stand still.
type clock struct {
	still atomic.Int64
	of    func() time.Time // nil = the host's
}

func (c *clock) now() int64 {
	if ms := c.still.Load(); ms != 0 {
		return ms
	}
	if c.of != nil {
		return c.of().UnixMilli()
	}
	return time.Now().UnixMilli()
}

// Store is an onceq.Store on one SQLite file. It is safe for concurrent
// use.
type Store struct {
	db      *sql.DB
	owned   bool       // Open opened db
	file    *database  // nil in memory
	shared  *shared    // with the other stores here that have the file open; nil in memory
	private string     // of a store in memory: the folder of its files
	held    *lockFiles // of a store in memory: locked while it is open
	syncs   bool       // a step is on the disk before it is acknowledged
	keeps   bool       // connections are kept between calls; the pool has enough
	clock   *clock
	lock    *lock

	// For the goroutine that has the turn.
	writer     *conn // nil before use and after a failure
	shortening shortening

	readers chan *conn    // open and not in use
	mayRead chan struct{} // has a token for each call that may read at once

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup  // under way
	open   context.Context // ends with Close
	shut   context.CancelFunc
	begun  map[*sql.Tx]*ending
	end    sync.Once

	listeners *listen.Registry
	own       ownCounts
	fresh     fresh
	expected  atomic.Int64 // until when to look often for commits, in nanoseconds since 1970
}

// maxReaders is how many connections read at once.
const maxReaders = 4

func newStore(db *sql.DB, config Config) *Store {
	s := &Store{db: db, clock: config.clock, readers: make(chan *conn, maxReaders), mayRead: make(chan struct{},
		maxReaders), begun: map[*sql.Tx]*ending{}}
	s.open, s.shut = context.WithCancel(context.Background())
	if s.clock == nil {
		s.clock = &clock{of: config.Clock}
	}
	for range maxReaders {
		s.mayRead <- struct{}{}
	}
	s.listeners, s.shortening = listen.New(s.hear), shortening{long: longLog, often: lookAtLog, wait: logWait}
	return s
}

// Close waits for the calls that are under way (those that wait for their
// turn give up), ends all wake-ups and closes the file. A database that was
// passed to New stays open. When it returns nothing of the store runs any
// more, except for transactions of Begin, which the caller can still end.
// Later calls, a second Close too, answer onceq.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return onceq.ErrClosed
	}
	s.closed = true
	s.shut()
	s.mu.Unlock()

	s.listeners.Close()
	s.calls.Wait()
	if s.writer != nil {
		s.writer.close()
	}
	close(s.readers)
	for r := range s.readers {
		r.close()
	}
	var err error
	if s.owned {
		err = s.db.Close()
	}
	s.mu.Lock()
	open := len(s.begun)
	s.mu.Unlock()
	if open == 0 { // else the end of the last transaction does this
		err = errors.Join(err, s.giveUpFiles())
	}
	if err != nil {
		return fmt.Errorf("sqlitestore: close: %w", err)
	}
	return nil
}

// giveUpFiles closes the files beside the database. The last that needs
// them calls it: Close, or the end of a transaction.
func (s *Store) giveUpFiles() (err error) {
	s.end.Do(func() { err = s.closeFiles() })
	return err
}

func (s *Store) closeFiles() error {
	if s.shared != nil {
		s.shared.leave()
	}
	if s.lock != nil {
		s.lock.close()
	}
	if s.held != nil {
		s.held.close()
	}
	if s.private != "" {
		return os.RemoveAll(s.private)
	}
	return nil
}

// enter begins a call; leave ends it.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, onceq.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.calls.Add(1)
	return s.calls.Done, nil
}

// stopped is why a wait has ended: because of ctx, or else because of
// Close.
func (s *Store) stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return onceq.ErrClosed
}

// connect takes a connection of the pool. The pool may be the caller's, so
// no lock of the file is held meanwhile.
func (s *Store) connect(ctx context.Context) (*conn, error) {
	if err := s.file.there(); err != nil { // else SQLite would make a new file
		return nil, err
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.open, stop)()
	conn, err := s.db.Conn(waiting)
	if err != nil {
		if waiting.Err() != nil {
			err = s.stopped(ctx)
		}
		return nil, err
	}
	on := newConn(conn)
	if s.owned {
		on.direct = newDirect()
	}
	if err := on.impatient(); err != nil {
		on.close()
		return nil, err
	}
	return on, nil
}

// readAll runs fn on one snapshot.
func (s *Store) readAll(ctx context.Context, what string, fn func(st *step) error) error {
	return s.read(ctx, what, func(st *step) (err error) {
		if err := st.exec(sqlBeginRead); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, st.exec(sqlRollback)) }()
		return fn(st)
	})
}

// read runs fn without the write lock: each of its statements sees what is
// committed.
func (s *Store) read(ctx context.Context, what string, fn func(st *step) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return wrap(what, err)
	}
	defer leave()
	for wait := time.Duration(0); ; {
		err := s.readOnce(ctx, fn)
		if !busy(err) {
			return wrap(what, s.why(err))
		}
		if err := pause(ctx, s.open.Done(), &wait); err != nil {
			return wrap(what, err)
		}
	}
}

func (s *Store) readOnce(ctx context.Context, fn func(st *step) error) (err error) {
	select {
	case <-s.mayRead:
	default:
		select {
		case <-s.mayRead:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.open.Done():
			return onceq.ErrClosed
		}
	}
	defer func() { s.mayRead <- struct{}{} }()
	if err := s.file.thereLately(); err != nil {
		return err
	}
	var r *conn
	select {
	case r = <-s.readers:
	default:
		if r, err = s.connect(ctx); err != nil {
			return err
		}
	}
	defer func() {
		if s.keeps && !broken(err) {
			s.readers <- r
		} else {
			r.close()
		}
	}()
	if s.shared != nil { // at last, so that nobody waits for something else with it in hand
		select {
		case <-s.shared.reading:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { s.shared.reading <- struct{}{} }()
	}
	return fn(s.snapshot(r))
}

func (s *Store) snapshot(on *conn) *step {
	return &step{conn: on, Book: rules.Book{Now: s.clock.now()}, readOnly: true}
}

// Traits says what the store can do besides.
func (s *Store) Traits() onceq.Traits {
	return onceq.Traits{Wake: s.Wake, Check: s.Check, Growth: s.growth, Info: s.info, Data: s.data()}
}

// data names the file.
func (s *Store) data() string {
	if s.file == nil {
		return "SQLite in memory, " + s.private
	}
	return "SQLite file " + s.file.path
}

var _ onceq.Store = (*Store)(nil)
