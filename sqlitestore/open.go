package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/onceq/onceq/internal/listen"
	sqlite "modernc.org/sqlite" // the driver "sqlite": SQLite without cgo
)

// Why a file cannot be a store. The error names the file and says what to
// do.
var (
	// ErrNewerSchema means that a newer onceq has written the file.
	ErrNewerSchema = errors.New("written by a newer version of onceq")
	// ErrNotDatabase means that the file is not an SQLite database.
	ErrNotDatabase = errors.New("not an SQLite database")
	// ErrForeign means that the database belongs to another application.
	ErrForeign = errors.New("the database of another application")
	// ErrCorrupt means that the file is damaged.
	ErrCorrupt = errors.New("corrupt")
	// ErrReadOnly means that the file cannot be written.
	ErrReadOnly = errors.New("read-only")
	// ErrNetwork means that the file lies on a network file system, or on
	// one that may be, whose locks SQLite cannot rely on.
	ErrNetwork = errors.New("on a network file system")
	// ErrMoved means that the file of an open store was moved, deleted or
	// replaced. Calls of that store fail with it and change nothing.
	ErrMoved = errors.New("moved, deleted or replaced while it was open")
)

const (
	// oldest is the first SQLite without the bugs that have lost writes in
	// WAL mode.
	oldest = "3.51.3"
	// openTimeout bounds the wait for others who write the file while it is
	// opened.
	openTimeout = 30 * time.Second
)

// DSN is the data source name with which a program opens a database file of
// its own, with database/sql and the driver "sqlite", so that [New] can
// keep jobs in it:
//
//	db, err := sql.Open("sqlite", sqlitestore.DSN("app.db"))
//
// Connections use the write-ahead log, sync what they commit, wait 5
// seconds for each other, and begin transactions as writing ones (except
// those of sql.TxOptions{ReadOnly: true}). More parameters of the driver
// may be added after an "&".
func DSN(path string) string {
	return fileURL(path, url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(wal)",
		"synchronous(full)"}})
}

func fileURL(path string, parameters url.Values) string {
	if abs, err := filepath.Abs(path); err == nil && path != ":memory:" {
		path = abs
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + parameters.Encode()
}

// ownDSN is how Open connects. Reading through Store.DB takes no write
// lock, so transactions begin as reading ones. Checkpoints are rarer than
// by default: keys are random, and a page that was written ten times is
// then copied back once.
func ownDSN(path string, config Config) string {
	return fileURL(path, url.Values{"_pragma": {"busy_timeout(5000)",
		"synchronous(" + config.Synchronous.String() + ")", "cache_size(-32000)",
		"wal_autocheckpoint(4000)", fmt.Sprintf("journal_size_limit(%d)", keptLog)}})
}

// keepLocks makes SQLite take locks that survive when other code of this
// process opens and closes the database file. That works on Linux, if no
// database was opened before; elsewhere such code must be avoided (see
// docs/stores.md).
var keepLocks = sync.OnceFunc(func() { _, _ = sqlite.OFDLocking(true) })

// Open opens the store in a file. It makes the file, readable by its owner
// only, if it does not exist; its folder must exist. ":memory:" is a store
// that lives in this process while it is open. nil config = defaults.
//
// The errors of a file that cannot be a store are [ErrNewerSchema],
// [ErrNotDatabase], [ErrForeign], [ErrCorrupt], [ErrReadOnly],
// [ErrNetwork], and those of package os.
func Open(path string, config *Config) (*Store, error) {
	var c Config
	if config != nil {
		c = *config
	}
	s, err := open(path, c)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: open %s: %w", path, err)
	}
	return s, nil
}

func open(path string, config Config) (*Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	keepLocks()
	if path == ":memory:" {
		return openPrivate(ctx, config)
	}
	path, err := prepareFile(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", ownDSN(path, config))
	if err != nil {
		return nil, err
	}
	s := newStore(db, config)
	s.owned, s.keeps, s.syncs = true, true, config.Synchronous == Full
	if err := s.sharesFile(path); err != nil {
		db.Close()
		return nil, err
	}
	return s.ready(ctx, path)
}

// sharesFile notes the file of the store that other processes may have open
// too.
func (s *Store) sharesFile(path string) (err error) {
	if s.file, err = newDatabase(path); err != nil {
		return err
	}
	files, err := openLockFiles(path)
	if err != nil {
		return err
	}
	s.lock, s.shared = newLock(files), share(path)
	return nil
}

// openPrivate makes a store that no other process can open. In SQLite's own
// databases in memory nobody can read while a transaction writes. So this
// is a file as any other, in a folder of its own among the temporary files:
// it is never synced, and is removed when the store is closed.
func openPrivate(ctx context.Context, config Config) (*Store, error) {
	removeAbandoned()
	folder, err := os.MkdirTemp("", privatePrefix)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "jobs.db")
	files, err := openLockFiles(path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	tryFlock(files.lock) // locked while the store is open: see removeAbandoned
	config.Synchronous = off
	db, err := sql.Open("sqlite", ownDSN(path, config))
	if err != nil {
		files.close()
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s := newStore(db, config)
	s.owned, s.keeps, s.private, s.held, s.lock, s.shared = true, true, folder, files, newLock(nil), share(path)
	s.listeners = listen.New(nil) // no other process has it
	return s.ready(ctx, path)
}

const privatePrefix = "onceq-memory-"

// removeAbandoned removes the files of stores in memory whose process was
// killed.
func removeAbandoned() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), privatePrefix+"*"))
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || time.Since(info.ModTime()) < time.Minute { // it may be new
			continue
		}
		if f, err := os.OpenFile(filepath.Join(folder, "jobs.db-onceq-lock"), os.O_RDONLY|noFollow, 0); err == nil {
			if tryFlock(f) {
				_ = os.RemoveAll(folder)
			}
			f.Close()
		}
	}
}

// ready checks and migrates the database, and closes the store if that
// fails.
func (s *Store) ready(ctx context.Context, path string) (*Store, error) {
	err := s.migrate(ctx, path)
	if err == nil && path != "" {
		err = s.checkSmall(ctx, path)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
