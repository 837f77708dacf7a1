package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlSavepoint  = load("savepoint")
	sqlRelease    = load("release")
	sqlRollbackTo = load("rollback_to")
	sqlWriteLock  = load("write_lock")
)

// ending is what is to be done when a transaction of Begin has ended.
type ending struct{ due map[string]bool }

// Begin opens a transaction of the caller's on the store's database: an immediate one, which has waited its turn among all writers and
// which nobody can make fail by writing in between. It is the caller's to commit or roll back (which happens by itself when ctx ends).
// Until then nobody else writes the file: every other enqueue waits, also one of this program that does not go through Tx.
func (s *Store) Begin(ctx context.Context) (*sql.Tx, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, wrap("begin", err)
	}
	defer leave()
	if err := s.turn(ctx); err != nil {
		return nil, wrap("begin", err)
	}
	for wait := time.Duration(0); ; {
		conn, tx, err := s.beginOnce(ctx)
		if err == nil {
			s.watch(conn, tx)
			return tx, nil
		}
		if !busy(err) {
			s.lock.release()
			return nil, wrap("begin", err)
		}
		if err := pause(ctx, s.open.Done(), &wait); err != nil {
			s.lock.release()
			return nil, wrap("begin", err)
		}
	}
}

func (s *Store) beginOnce(ctx context.Context) (*sql.Conn, *sql.Tx, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if _, err := tx.ExecContext(ctx, sqlWriteLock.text); err != nil {
		_ = tx.Rollback()
		conn.Close()
		return nil, nil, err
	}
	return conn, tx, nil
}

// watch gives the lock back when a transaction has ended, however it ends.
func (s *Store) watch(conn *sql.Conn, tx *sql.Tx) {
	e := &ending{due: map[string]bool{}}
	s.mu.Lock()
	s.begun[tx] = e
	s.mu.Unlock()
	go func() {
		conn.Close() // blocks until the transaction has ended: the one thing of a *sql.Tx that can be waited for
		s.mu.Lock()
		delete(s.begun, tx)
		last := s.closed && len(s.begun) == 0
		due := e.due
		s.mu.Unlock()
		s.lock.release()
		s.waker.tell(due)
		if last {
			_ = s.giveUpFiles()
		}
	}()
}

// Tx makes a transaction on the store's database one to enqueue in. It may be one of Begin, or one begun elsewhere on the same file; the
// latter takes no part in the fair queue of writers: it may wait long for its turn, and a deferred one can fail with SQLITE_BUSY when
// somebody else writes after its first read. Such a failure is definite: nothing was enqueued, and the transaction is to be rolled back.
func (s *Store) Tx(tx *sql.Tx) onceq.Tx {
	return &callersTx{store: s, tx: tx}
}

type callersTx struct {
	store   *Store
	tx      *sql.Tx
	session *session
}

// Enqueue accepts rows inside the transaction, all or none. Where it fails the transaction stays usable, unless SQLite has ended it.
func (t *callersTx) Enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	what := fmt.Sprintf("enqueue %d jobs in a transaction", len(rows))
	leave, err := t.store.enter(ctx)
	if err != nil {
		return nil, wrap(what, err)
	}
	defer leave()
	if err := checkNames(rows); err != nil {
		return nil, wrap(what, err)
	}
	if t.session == nil {
		t.session = newSession(t.tx)
	}
	var results []onceq.EnqueueResult
	if err := t.enqueue(&results, rows); err != nil {
		return nil, wrap(what, err)
	}
	return results, nil
}

func (t *callersTx) enqueue(results *[]onceq.EnqueueResult, rows []onceq.NewRow) (err error) {
	// A transaction that has read and not written yet becomes the writing one here, so that the clock is read under the write lock.
	if err := t.session.exec(sqlWriteLock); err != nil {
		return err
	}
	if err := t.session.exec(sqlSavepoint); err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, t.session.exec(sqlRollbackTo), t.session.exec(sqlRelease))
		}
	}()
	st := newStep(t.session, t.store.clock.now())
	if err := st.enqueue(results, rows); err != nil {
		return err
	}
	if err := st.flush(); err != nil {
		return err
	}
	if err := t.session.exec(sqlRelease); err != nil {
		return err
	}
	open = false
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if e := t.store.begun[t.tx]; e != nil {
		maps.Copy(e.due, st.due)
	} else {
		t.store.waker.expect()
	}
	return nil
}
