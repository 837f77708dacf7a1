package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/onceq/onceq"
)

var sqlLeases = load("leases")

// Compact gives the space back that removed jobs have left in the file:
// SQLite's VACUUM writes what is there into a new file and copies that over the
// old one. What is removed is otherwise kept for new jobs.
//
// Nobody else writes meanwhile (reads go on), so it is something for a quiet
// hour: a gigabyte of jobs takes some seconds. Where jobs are running it gives
// up before their workers' leases are at stake. It needs as much free space as
// the jobs take, twice: in the folder for temporary files and beside the
// database. progress, which may be nil, is told how many bytes of the new file
// are written, of how many; it is called on the goroutine of the caller.
//
// An error says that nothing has changed, with one exception: where somebody
// reads an old part of the log the file is rewritten, and shrinks when that
// reader has ended.
func (s *Store) Compact(ctx context.Context, progress func(done, total int64)) error {
	const what = "compact"
	leave, err := s.enter(ctx)
	if err != nil {
		return wrap(what, err)
	}
	defer leave()
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return wrap(what, s.inTurn(ctx, func(w *conn) error { return s.compact(ctx, w, progress) }))
}

func (s *Store) compact(ctx context.Context, w *conn, progress func(done, total int64)) error {
	size, err := w.fileSize()
	if err != nil {
		return s.why(err)
	}
	if err := errors.Join(s.file.there(), s.roomFor(size.live())); err != nil {
		return err
	}
	limited, cancel, err := s.beforeLeasesEnd(ctx, w)
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.vacuum(limited, w, size.live(), progress); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil:
			return errors.New("jobs are running, and their workers would lose their leases before this is done: " +
				"stop the workers first; nothing has changed")
		case code(err) == codeFull:
			return fmt.Errorf("%w: %d bytes are needed in the folder for temporary files and beside the database; "+
				"nothing has changed", err, size.live())
		}
		return s.why(err)
	}
	if s.shared != nil { // a log, and not memory of the caller's
		quiet, err := s.truncateLog(w, 10*s.shortening.wait)
		if err != nil || !quiet {
			return fmt.Errorf("the file is rewritten, and shrinks as soon as nobody reads what it was before (%w)",
				errors.Join(err, errStillRead))
		}
	}
	progress(size.live(), size.live())
	return nil
}

var errStillRead = errors.New("somebody does still")

// vacuum runs VACUUM, and tells meanwhile how far it is: its second half goes
// through the log.
func (s *Store) vacuum(ctx context.Context, w *conn, total int64, progress func(done, total int64)) error {
	progress(0, total)
	before := s.logSize()
	done := make(chan error, 1)
	go func() {
		err := ctx.Err() // with little time nothing is begun
		if err == nil {
			_, err = w.raw.ExecContext(ctx, "VACUUM")
		}
		done <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			progress(min(max(s.logSize()-before, 0), total), total)
		}
	}
}

// roomFor looks whether there is room for a copy of so many bytes, in both
// places where it is needed.
func (s *Store) roomFor(size int64) error {
	if s.file == nil {
		return nil
	}
	for _, folder := range []string{temporary(), filepath.Dir(s.file.path)} {
		if free, known := freeSpace(folder); known && free < size {
			return fmt.Errorf("it takes %d MB in %s, where %d MB are free: make room (SQLITE_TMPDIR names another "+
				"folder "+
				"for temporary files); nothing has changed", size>>20+1, folder, free>>20)
		}
	}
	return nil
}

// temporary is the folder in which SQLite makes temporary files.
func temporary() string {
	for _, folder := range []string{os.Getenv("SQLITE_TMPDIR"), os.Getenv("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp"} {
		if info, err := os.Stat(folder); folder != "" && err == nil && info.IsDir() {
			return folder
		}
	}
	return "."
}

// leastTime is how long a compaction takes at least.
const leastTime = 10 * time.Millisecond

// beforeLeasesEnd is ctx until half of what is left of the leases of those who
// run jobs: a heartbeat waits for the write lock, like everybody. Leases that
// are over do not count.
func (s *Store) beforeLeasesEnd(ctx context.Context, w *conn) (context.Context, context.CancelFunc, error) {
	now, first := s.clock.now(), onceq.Never
	if err := w.each(sqlLeases, 1, func(v []any) error {
		if ends := integer(v[0]); ends > now {
			first = min(first, ends)
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	if first == onceq.Never {
		return ctx, func() {}, nil
	}
	left := time.Duration(first-now) * time.Millisecond / 2
	if left < leastTime {
		left = 0
	}
	limited, cancel := context.WithTimeout(ctx, left)
	return limited, cancel, nil
}
