package sqlitestore

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite": SQLite without cgo
)

// Why a file cannot be a store. The error names the file and says what to do.
var (
	// ErrNewerSchema: a newer onceq has written the file.
	ErrNewerSchema = errors.New("written by a newer version of onceq")
	// ErrNotDatabase: the file is something else than an SQLite database.
	ErrNotDatabase = errors.New("not an SQLite database")
	// ErrForeign: the database belongs to another application.
	ErrForeign = errors.New("the database of another application")
	// ErrCorrupt: the file is damaged.
	ErrCorrupt = errors.New("corrupt")
	// ErrReadOnly: the file cannot be written.
	ErrReadOnly = errors.New("read-only")
	// ErrNetwork: the file lies on a network file system, whose locks SQLite cannot rely on.
	ErrNetwork = errors.New("on a network file system")
)

const (
	// schema is the number of the last file in schema/.
	schema = 1
	// applicationID marks a file that Open made: "oncq". https://sqlite.org/pragma.html#pragma_application_id
	applicationID = 0x6f6e6371
	// oldest is the first SQLite without the bugs that have lost writes in WAL mode.
	oldest = "3.51.3"
	// openTimeout bounds the wait for others who write the file while it is being opened.
	openTimeout = 30 * time.Second
	// smallFile is up to what size a file is read through when it is opened, to find damage before it does harm.
	smallFile = 4 << 20
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// Open opens the store in a file, and makes the file (readable by its owner only) where there is none; its folder must exist. ":memory:"
// is a store that lives in this process as long as it is open. nil config = defaults.
//
// The errors of a file that cannot be a store are ErrNewerSchema, ErrNotDatabase, ErrForeign, ErrCorrupt, ErrReadOnly, ErrNetwork, and
// those of package os.
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
	if path == ":memory:" {
		return openPrivate(ctx, config)
	}
	path, err := prepareFile(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, config))
	if err != nil {
		return nil, err
	}
	files, err := openLockFiles(path)
	if err != nil {
		db.Close()
		return nil, err
	}
	s := newStore(db, config)
	s.owned, s.keeps, s.lock, s.syncs = true, true, newLock(files), config.Synchronous == Full
	return s.ready(ctx, path)
}

// openPrivate makes a store that nobody else can open. SQLite's own databases in memory let nobody read while a transaction writes, so
// this is a file like any other, in a folder of its own among the temporary files: never synced, and removed when the store is closed.
func openPrivate(ctx context.Context, config Config) (*Store, error) {
	removeAbandoned()
	folder, err := os.MkdirTemp("", privatePrefix)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "jobs.db")
	files, err := openLockFiles(path)
	if err == nil {
		err = flock(files.lock) // held as long as the store is open: see removeAbandoned
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	config.Synchronous = off
	db, err := sql.Open("sqlite", dsn(path, config))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s := newStore(db, config)
	s.owned, s.keeps, s.private, s.lock = true, true, folder, newLock(nil)
	s.lock.held = files
	return s.ready(ctx, path)
}

const privatePrefix = "onceq-memory-"

// removeAbandoned removes the files of stores in memory whose process was killed.
func removeAbandoned() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), privatePrefix+"*"))
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || time.Since(info.ModTime()) < time.Minute { // it may be just being made
			continue
		}
		if f, err := os.OpenFile(filepath.Join(folder, "jobs.db-onceq-lock"), os.O_RDWR, 0); err == nil {
			if tryFlock(f) {
				_ = os.RemoveAll(folder)
			}
			f.Close()
		}
	}
}

// ready checks and migrates the database, and closes the store where that fails.
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

// New keeps jobs in a database that the caller has opened, with any driver for SQLite 3.51.3 or newer, beside the caller's own tables.
// Close leaves it open. nil config = defaults.
//
// The caller's connections decide about durability; "journal_mode = WAL" and "synchronous = FULL" are what Open uses. Of a pool that
// may open at least eight connections (or any number) the store keeps up to six; with a smaller one it borrows one for each call.
// A database in memory needs db.SetMaxOpenConns(1), so that there is one.
func New(db *sql.DB, config *Config) (*Store, error) {
	var c Config
	if config != nil {
		c = *config
	}
	s, err := adopt(db, c)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: new: %w", err)
	}
	return s, nil
}

func adopt(db *sql.DB, config Config) (*Store, error) {
	if db == nil {
		return nil, errors.New("db is nil: open one with sql.Open, or use sqlitestore.Open")
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	var path, name string
	var no int
	if err := db.QueryRowContext(ctx, "SELECT seq, name, file FROM pragma_database_list WHERE name = 'main'").Scan(&no, &name, &path); err != nil {
		return nil, describe(err)
	}
	s := newStore(db, config)
	most := db.Stats().MaxOpenConnections
	s.keeps = most == 0 || most >= 8
	if path == "" {
		if most != 1 {
			return nil, errors.New("this database is in memory, and every connection may have one of its own: call db.SetMaxOpenConns(1) first")
		}
		s.lock = newLock(nil)
		return s.ready(ctx, "")
	}
	if n := networkOf(filepath.Dir(path)); n != "" {
		return nil, fmt.Errorf("%s is %w (%s): use a local disk, or onceq's PostgreSQL or Redis store", path, ErrNetwork, n)
	}
	files, err := openLockFiles(path)
	if err != nil {
		return nil, err
	}
	s.lock = newLock(files)
	return s.ready(ctx, "")
}

func dsn(path string, config Config) string {
	// The writer waits for its turn before it asks SQLite for anything, and tries again by itself where that says busy.
	// Checkpoints are rarer than by default: keys are random, and a page that was written ten times is copied back once.
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + url.Values{"_pragma": {
		"busy_timeout(0)", "synchronous(" + config.Synchronous.String() + ")", "cache_size(-32000)", "wal_autocheckpoint(4000)",
	}}.Encode()
}

// magic is how every SQLite database begins.
const magic = "SQLite format 3\x00"

// prepareFile finds out what can be told of a file before SQLite touches it, and makes it where there is none. It returns the file's
// real path: two names of a file must lead to the same locks.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", errors.New(`no path: name a file, or ":memory:"`)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	folder, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the folder %s does not exist: make it first", filepath.Dir(path))
	case err != nil:
		return "", err
	case !folder.IsDir():
		return "", fmt.Errorf("%s is not a folder", filepath.Dir(path))
	}
	if n := networkOf(filepath.Dir(path)); n != "" {
		return "", fmt.Errorf("it is %w (%s), where locks cannot be relied on: use a local disk, or onceq's PostgreSQL or Redis store", ErrNetwork, n)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errors.New("it is a directory: name a file in it, such as " + filepath.Join(path, "onceq.db"))
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	case info.Mode().Perm()&0o222 == 0: // root could write it all the same, and would not be meant to
		return "", fmt.Errorf("it is %w (%s): make it writable, or work on a copy", ErrReadOnly, info.Mode().Perm())
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("it is %w for this user: %w", ErrReadOnly, err)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var head [100]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case n == 0: // new
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return "", err
	case !bytes.HasPrefix(head[:n], []byte(magic)):
		return "", fmt.Errorf("it is %w: name another file", ErrNotDatabase)
	case n < len(head):
		return "", fmt.Errorf("it is %w: it ends within its header; restore it from a backup", ErrCorrupt)
	}
	return filepath.EvalSymlinks(path) // again: it may have been a link to a file that was not there
}

// migrate brings the schema of the database to this version, or finds that it cannot. Processes that start at once take turns.
func (s *Store) migrate(ctx context.Context, path string) error {
	if err := s.lock.acquire(ctx); err != nil {
		return fmt.Errorf("others are writing it: %w", err)
	}
	defer s.lock.release()
	for wait := time.Duration(0); ; {
		err := s.migrateOnce(ctx, path)
		if !busy(err) {
			return describe(err)
		}
		if ctxErr := pause(ctx, s.open.Done(), &wait); ctxErr != nil {
			return fmt.Errorf("others are writing it: %w", err)
		}
	}
}

func (s *Store) migrateOnce(ctx context.Context, path string) (err error) {
	w, err := s.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { s.giveWriter(w, err) }()
	row := func(query string, into any) error { return w.conn.QueryRowContext(ctx, query).Scan(into) }

	var version string
	if err := row("SELECT sqlite_version()", &version); err != nil {
		return err
	}
	if older(version, oldest) {
		return fmt.Errorf("SQLite %s is too old: onceq needs %s or newer, which mends lost writes in WAL mode", version, oldest)
	}
	if path != "" { // a file of our own
		var mode string
		if err := row("PRAGMA journal_mode = WAL", &mode); err != nil {
			return err
		}
		if mode != "wal" {
			return fmt.Errorf("its file system does not support SQLite's WAL mode (journal_mode stays %q): use a local disk", mode)
		}
	}
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK")
		}
	}()
	var tables int
	if err := row("SELECT count(*) FROM sqlite_schema WHERE name = 'onceq_meta'", &tables); err != nil {
		return err
	}
	have := 0
	if tables > 0 {
		if err := row("SELECT value FROM onceq_meta WHERE name = 'schema'", &have); err != nil {
			return err
		}
	} else if path != "" {
		if err := refuseForeign(row); err != nil {
			return err
		}
	}
	if have > schema {
		return fmt.Errorf("it is %w (its schema is %d, this one knows %d): upgrade onceq", ErrNewerSchema, have, schema)
	}
	for n := have + 1; n <= schema; n++ {
		files, err := fs.Glob(schemaFiles, fmt.Sprintf("schema/%03d_*.sql", n))
		if err != nil {
			return err
		}
		for _, name := range files {
			text, err := schemaFiles.ReadFile(name)
			if err != nil {
				return err
			}
			if _, err := w.conn.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if path != "" && have == 0 {
		if _, err := w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	if _, err := w.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	open = false
	return nil
}

// refuseForeign finds out whether a database without our tables is somebody else's.
func refuseForeign(row func(query string, into any) error) error {
	var id, version int
	var names sql.NullString
	for _, q := range []struct {
		query string
		into  any
	}{{"PRAGMA application_id", &id}, {"PRAGMA user_version", &version},
		{"SELECT group_concat(name, ', ') FROM (SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 5)", &names}} {
		if err := row(q.query, q.into); err != nil {
			return err
		}
	}
	if id == 0 && version == 0 && !names.Valid {
		return nil
	}
	return fmt.Errorf("it is %w (tables %s; application_id %d; user_version %d): name another file, or open it yourself and use sqlitestore.New to keep jobs beside its tables",
		ErrForeign, names.String, id, version)
}

// checkSmall reads a small file through.
func (s *Store) checkSmall(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() > smallFile {
		return err
	}
	var findings []string
	err = s.readOnce(ctx, func(st *step) (err error) {
		findings, err = st.quickCheck()
		return err
	})
	if err != nil {
		return describe(err)
	}
	if len(findings) > 0 {
		return fmt.Errorf("it is %w (%s): restore it from a backup, or see https://sqlite.org/recovery.html", ErrCorrupt, findings[0])
	}
	return nil
}

// describe says in our words what SQLite found wrong with a file.
func describe(err error) error {
	switch code(err) {
	case codeCorrupt:
		return fmt.Errorf("it is %w: restore it from a backup, or see https://sqlite.org/recovery.html: %w", ErrCorrupt, err)
	case codeNotADB:
		return fmt.Errorf("it is %w: name another file: %w", ErrNotDatabase, err)
	case codeReadOnly:
		return fmt.Errorf("it is %w: %w", ErrReadOnly, err)
	}
	return err
}

// older compares versions such as 3.51.3.
func older(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range b {
		n, m := 0, 0
		if i < len(a) {
			n, _ = strconv.Atoi(a[i])
		}
		m, _ = strconv.Atoi(b[i])
		if n != m {
			return n < m
		}
	}
	return false
}
