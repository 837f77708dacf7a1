package sqlitestore

import (
	"context"
	"time"

	"github.com/onceq/onceq"
)

// write runs fn as one atomic step, under the write lock, and then tells
// the listeners what became due. fn may run more than once. ctx bounds the
// waiting; a step that has begun is brought to its end.
func (s *Store) write(ctx context.Context, what string, fn func(st *step) error) error {
	return s.writeAs(ctx, what, s.syncs, fn)
}

// writeSoon is write for a step that need not survive a power cut. The next
// step that must survive syncs it too, because the log is one sequence.
// Until then a power cut undoes it; a killed process does not.
func (s *Store) writeSoon(ctx context.Context, what string, fn func(st *step) error) error {
	return s.writeAs(ctx, what, false, fn)
}

func (s *Store) writeAs(ctx context.Context, what string, sync bool, fn func(st *step) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return wrap(what, err)
	}
	defer leave()
	var news news
	err = s.inTurn(ctx, func(w *conn) (err error) {
		if news, err = s.writeOnce(w, sync, fn); err == nil {
			s.shortenLog(w)
		}
		return err
	})
	s.tell(news) // after the lock was released
	return wrap(what, err)
}

// inTurn runs fn with the connection that writes, when it is the turn of
// this call to write the file. It repeats that while the file is busy,
// because another program, or a transaction begun elsewhere, writes without
// asking for the side lock.
//
// The turn belongs to this process, the connection may be the caller's, and
// the file is shared by all: hence the order in which they are taken.
func (s *Store) inTurn(ctx context.Context, fn func(w *conn) error) (err error) {
	if err := s.lock.takeTurn(ctx, s.open.Done()); err != nil {
		return s.stopped(ctx)
	}
	defer s.lock.leave()
	w, err := s.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { s.giveWriter(w, err) }()
	if err := s.lock.takeFile(ctx, s.open.Done()); err != nil {
		return s.stopped(ctx)
	}
	for wait := time.Duration(0); ; {
		if err = fn(w); !busy(err) {
			return err
		}
		if err := pause(ctx, s.open.Done(), &wait); err != nil {
			return err
		}
	}
}

// pause waits a little, and longer each time.
func pause(ctx context.Context, done <-chan struct{}, wait *time.Duration) error {
	*wait = min(20*time.Millisecond, *wait*2+time.Millisecond)
	t := time.NewTimer(*wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return onceq.ErrClosed
	}
}

var (
	sqlBegin     = load("begin")
	sqlBeginRead = load("begin_read")
	sqlCommit    = load("commit")
	sqlRollback  = load("rollback")
)

func (s *Store) writeOnce(w *conn, sync bool, fn func(st *step) error) (n news, err error) {
	if s.syncs && w.lazy == sync {
		if err := w.setSync(sync); err != nil {
			w.broken = true
			return n, err
		}
	}
	if err := w.exec(sqlBegin); err != nil {
		return n, s.why(err)
	}
	open := true
	defer func() {
		if open && w.exec(sqlRollback) != nil { // fn failed, or panicked
			w.broken = true
		}
	}()
	st := newStep(w, s.clock.now())
	if err := fn(st); err != nil {
		return n, s.why(err)
	}
	if err := st.flush(); err != nil {
		return n, s.why(err)
	}
	if err := s.file.there(); err != nil {
		return n, err
	}
	s.own.add(st.news.due, 1)
	if err := w.exec(sqlCommit); err != nil {
		s.own.add(st.news.due, -1)
		return n, uncertain(err)
	}
	open = false
	return st.news, nil
}

// takeWriter returns the connection that writes. The caller has the turn.
func (s *Store) takeWriter(ctx context.Context) (w *conn, err error) {
	if s.writer != nil {
		return s.writer, nil
	}
	s.lock.dropFile() // the goroutine before may have kept it for us
	if w, err = s.connect(ctx); err == nil && s.keeps {
		s.writer = w
	}
	return w, err
}

// giveWriter ends the use of that connection. After an error of the
// connection itself another is opened next time.
func (s *Store) giveWriter(w *conn, err error) {
	if s.keeps && !w.broken && !broken(err) {
		return
	}
	s.writer = nil
	w.close()
}
