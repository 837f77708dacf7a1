package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlSavepoint  = load("savepoint")
	sqlRelease    = load("release")
	sqlRollbackTo = load("rollback_to")
	sqlWriteLock  = load("write_lock")
)

// ending is what to do when a transaction of Begin has ended.
type ending struct{ news }

// Begin opens a transaction of the caller's on the database of the store.
// It is an immediate one, which has waited its turn among all writers; no
// other writer can make it fail. The caller commits it or rolls it back
// (which happens by itself when ctx ends). Until then nobody else writes
// the file: every other enqueue waits, also one of this program that does
// not go through Tx.
func (s *Store) Begin(ctx context.Context) (*sql.Tx, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, wrap("begin", err)
	}
	defer leave()
	if err := s.lock.takeTurn(ctx, s.open.Done()); err != nil {
		return nil, wrap("begin", s.stopped(ctx))
	}
	conn, tx, err := s.begin(ctx)
	if err != nil {
		s.lock.leave()
		return nil, wrap("begin", s.why(err))
	}
	s.watch(conn, tx)
	return tx, nil
}

// begin takes a connection, then the file, and begins. The caller has the
// turn.
func (s *Store) begin(ctx context.Context) (*conn, *sql.Tx, error) {
	s.lock.dropFile()
	on, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	tx, err := s.beginOn(ctx, on)
	if err != nil {
		on.close()
		return nil, nil, err
	}
	return on, tx, nil
}

// beginOn takes the file and begins on a connection.
func (s *Store) beginOn(ctx context.Context, on *conn) (*sql.Tx, error) {
	if err := s.lock.takeFile(ctx, s.open.Done()); err != nil {
		return nil, s.stopped(ctx)
	}
	var tx *sql.Tx
	for wait := time.Duration(0); ; {
		var err error
		if tx, err = beginOnce(ctx, on); err == nil {
			break
		}
		if !busy(err) {
			return nil, err
		}
		if err := pause(ctx, s.open.Done(), &wait); err != nil {
			return nil, err
		}
	}
	// The caller's statements get the busy_timeout that the connection had.
	if err := errors.Join(s.file.there(), on.restore(tx)); err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return tx, nil
}

func beginOnce(ctx context.Context, on *conn) (*sql.Tx, error) {
	tx, err := on.raw.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, sqlWriteLock.text); err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return tx, nil
}

// watch releases the lock when a transaction has ended, however it ends.
func (s *Store) watch(on *conn, tx *sql.Tx) {
	e := &ending{}
	s.mu.Lock()
	s.begun[tx] = e
	s.mu.Unlock()
	go func() {
		on.raw.Close() // blocks until the transaction has ended; nothing else of a *sql.Tx does
		s.mu.Lock()
		news := e.news
		s.mu.Unlock()
		s.lock.leave()
		s.tell(news)
		s.mu.Lock()
		delete(s.begun, tx) // from now on Close may close the files
		last := s.closed && len(s.begun) == 0
		s.mu.Unlock()
		if last {
			_ = s.giveUpFiles()
		}
	}()
}

// Tx wraps a transaction on the database of the store, so that jobs can be
// enqueued in it. It may come from [Store.Begin], or from elsewhere on the
// same file. The latter does not take part in the fair queue of writers: it
// may wait long for its turn, and a deferred one can fail with SQLITE_BUSY
// if another writes after its first read. After such an error nothing was
// enqueued, and the transaction is to be rolled back.
func (s *Store) Tx(tx *sql.Tx) onceq.Tx {
	if tx == nil {
		return nil // the client says what is wrong
	}
	return &callersTx{store: s, tx: tx}
}

type callersTx struct {
	store *Store
	tx    *sql.Tx
	conn  *conn
}

// Data names the file.
func (t *callersTx) Data() string { return t.store.data() }

// Enqueue accepts rows inside the transaction, all or none. If it fails the
// transaction stays usable, unless SQLite has ended it.
func (t *callersTx) Enqueue(ctx context.Context, rows []onceq.NewRow) (results []onceq.EnqueueResult, err error) {
	what := fmt.Sprintf("enqueue %d jobs in a transaction", len(rows))
	if err := checkNames(rows); err != nil {
		return nil, wrap(what, err)
	}
	err = t.take(ctx, what, func(st *step) error { return st.enqueue(&results, rows) })
	if err != nil {
		return nil, err
	}
	return results, nil
}

// Finish ends runs inside the transaction.
func (t *callersTx) Finish(ctx context.Context, r onceq.FinishRequest) (results []onceq.FinishResult, err error) {
	err = t.take(ctx, fmt.Sprintf("finish %d runs in a transaction", len(r.Runs)), func(st *step) (err error) {
		results, err = st.finishAll(r.Runs)
		return err
	})
	return results, err
}

// Change is an operator's step on jobs, inside the transaction.
func (t *callersTx) Change(ctx context.Context, c onceq.Change) (results []onceq.ChangeResult, err error) {
	err = t.take(ctx, fmt.Sprintf("change %d jobs in a transaction", len(c.IDs)), func(st *step) (err error) {
		results, err = st.changeAll(c)
		return err
	})
	return results, err
}

// take does a step inside the transaction, all of it or nothing.
func (t *callersTx) take(ctx context.Context, what string, f func(*step) error) error {
	leave, err := t.store.enter(ctx)
	if err != nil {
		return wrap(what, err)
	}
	defer leave()
	if t.conn == nil {
		t.conn = newConn(t.tx)
	}
	if err := t.becomeWriter(ctx); err != nil {
		return wrap(what, err)
	}
	if err := t.step(f); err != nil {
		return wrap(what, t.store.why(err))
	}
	return nil
}

// becomeWriter makes a transaction that was begun elsewhere, and has not
// written yet, a writing one, so that the clock is read under the write
// lock. It waits as long as ctx allows, not as long as the connection
// would. A transaction that has read before another wrote can never write.
func (t *callersTx) becomeWriter(ctx context.Context) (err error) {
	t.store.mu.Lock()
	ours := t.store.begun[t.tx] != nil
	t.store.mu.Unlock()
	if ours {
		return nil
	}
	if err := t.conn.impatient(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.conn.restore(t.tx)) }()
	for wait := time.Duration(0); ; {
		err := t.conn.exec(sqlWriteLock)
		switch {
		case !busy(err):
			return err
		case extended(err) == codeBusySnapshot:
			return fmt.Errorf("%w: the transaction has read, and somebody else has written since: roll it back, "+
				"and begin it with Store.Begin", err)
		}
		if err := pause(ctx, t.store.open.Done(), &wait); err != nil {
			return fmt.Errorf("%w: somebody else writes, and this transaction does not wait its turn: begin it "+
				"with Store.Begin", err)
		}
	}
}

func (t *callersTx) step(f func(*step) error) (err error) {
	if err := t.conn.exec(sqlSavepoint); err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, t.conn.exec(sqlRollbackTo), t.conn.exec(sqlRelease))
		}
	}()
	st := newStep(t.conn, t.store.clock.now())
	if err := f(st); err != nil {
		return err
	}
	if err := st.flush(); err != nil {
		return err
	}
	if err := t.conn.exec(sqlRelease); err != nil {
		return err
	}
	open = false
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if e := t.store.begun[t.tx]; e != nil {
		e.news.add(st.news)
	} else {
		t.store.expectCommit()
	}
	return nil
}
