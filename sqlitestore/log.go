package sqlitestore

import (
	"context"
	"fmt"
	"time"
)

// The write-ahead log is copied back into the file as it grows, and begins anew
// when nobody reads what stands in it. Where readers overlap all the time that
// instant never comes, and the log only grows. So a writer that finds it long
// makes it begin anew: with the write lock in hand it waits a little for those
// who read an old part. New readers of this process wait meanwhile; those of
// others see all of the log, and are in nobody's way unless there are more than
// SQLite has marks for (four).
const (
	longLog = 64 << 20 // from what size on
	logWait = time.Second
	keptLog = 16 << 20 // how much of the file stays when the log begins anew by itself
)

// shortening says when to look at the log next. Whoever has the turn uses it.
type shortening struct {
	long  int64         // from what size on it is long
	often time.Duration // how long from look to look
	wait  time.Duration // how long readers here, and then readers elsewhere, may keep on
	next  time.Time
	rest  time.Duration // after the last attempt, which somebody has kept from its end
}

const (
	lookAtLog = 100 * time.Millisecond
	mostRest  = 30 * time.Second
)

// shortenLog makes a long log begin anew. The caller has the turn and the file.
// It is no failure when that cannot be done now.
func (s *Store) shortenLog(w *conn) {
	now := time.Now()
	if s.shared == nil || now.Before(s.shortening.next) {
		return
	}
	s.shortening.next = now.Add(s.shortening.often)
	if s.logSize() < s.shortening.long {
		return
	}
	quiet, err := s.truncateLog(w, s.shortening.wait)
	if quiet && err == nil {
		s.shortening.rest = 0
		return
	}
	s.shortening.rest = min(max(2*s.shortening.rest, time.Second), mostRest)
	s.shortening.next = now.Add(s.shortening.rest)
}

// truncateLog is the connection's while nobody here reads. quiet is false where
// somebody does for longer.
func (s *Store) truncateLog(w *conn, wait time.Duration) (quiet bool, err error) {
	return s.shared.quiet(wait, func() error { return w.truncateLog(wait) })
}

// truncateLog copies the whole log back into the file and empties it, unless
// somebody reads an old part of it for longer than wait.
func (c *conn) truncateLog(wait time.Duration) error {
	ctx := context.Background()
	if _, err := c.raw.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", wait.Milliseconds())); err != nil {
		return err
	}
	var busy, pages, copied int
	err := c.raw.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	if err == nil && busy != 0 {
		err = fmt.Errorf("somebody reads an old part of the log: %d of its %d pages are copied", copied, pages)
	}
	if _, e := c.raw.ExecContext(ctx, "PRAGMA busy_timeout = 0"); e != nil {
		c.broken = true
	}
	return err
}
