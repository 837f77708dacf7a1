package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// New keeps jobs in a database that the caller has opened, with any driver
// for SQLite 3.51.3 or newer, beside the caller's own tables. Close leaves
// it open. nil config = defaults. With the driver "sqlite" open it like
// this:
//
//	db, err := sql.Open("sqlite", sqlitestore.DSN("app.db"))
//
// New refuses a database whose connections cannot keep the promises of the
// store. They need journal_mode = WAL, synchronous = FULL (or what
// Config.Synchronous says), and a busy_timeout. Every connection of the
// pool must have them, so they belong into the data source name.
//
// If the pool may open at least eight connections (or any number), the
// store keeps up to six of them; with a smaller pool it borrows one for
// each call. A database in memory needs db.SetMaxOpenConns(1), so that all
// calls use the same one.
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
	var path string
	if err := db.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = "+
		"'main'").Scan(&path); err != nil {
		return nil, describe(err)
	}
	s := newStore(db, config)
	most := db.Stats().MaxOpenConnections
	s.keeps = most == 0 || most >= 8
	if path == "" {
		if most != 1 {
			return nil, errors.New("this database is in memory, and every connection may have one of its own: call " +
				"db.SetMaxOpenConns(1) first")
		}
		s.lock = newLock(nil)
		return s.ready(ctx, "")
	}
	if err := refuseNetwork(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkConnections(ctx, db, path, config.Synchronous); err != nil {
		return nil, err
	}
	if err := s.sharesFile(path); err != nil {
		return nil, err
	}
	return s.ready(ctx, "")
}

// setting is what a PRAGMA of a caller's connection must say.
type setting struct {
	name string
	ok   func(value string) bool
	why  string
}

func settings(sync Synchronous) []setting {
	is := func(want string) func(string) bool { return func(v string) bool { return strings.EqualFold(v, want) } }
	atLeast := func(want int) func(string) bool {
		return func(v string) bool { n, err := strconv.Atoi(v); return err == nil && n >= want }
	}
	level, synced := 2, "FULL is needed, or jobs that were acknowledged are lost when the power fails "+
		"(Config.Synchronous can allow NORMAL)"
	if sync != Full {
		level, synced = 1, "NORMAL is needed, or a power cut damages the file"
	}
	return []setting{
		{"journal_mode", is("wal"), "WAL is needed, or readers and writers stop each other"},
		{"synchronous", atLeast(level), synced},
		{"busy_timeout", atLeast(1), "some time is needed, 5000 for instance, or transactions fail with " +
			"SQLITE_BUSY whenever somebody else writes"},
		{"locking_mode", is("normal"), "NORMAL is needed, or nobody else can open the file"},
		{"query_only", is("0"), "0 is needed, or nothing can be enqueued"},
		{"encoding", is("UTF-8"), "UTF-8 is needed, or jobs are listed in another order; it can be set before the " +
			"first table is made"},
	}
}

// checkConnections checks that the connections of a caller's pool have the
// settings that the store relies on. A setting made with db.Exec belongs to
// one connection only, so a new connection is checked too.
func checkConnections(ctx context.Context, db *sql.DB, path string, sync Synchronous) error {
	stats := db.Stats()
	n := min(stats.Idle+1, 16)
	if most := stats.MaxOpenConnections; most > 0 {
		n = max(1, min(n, most-stats.InUse))
	}
	for i := range n {
		conn, err := oneOf(ctx, db, i)
		if conn == nil && err == nil {
			return nil // the other connections are in use
		}
		if err != nil {
			return fmt.Errorf("no connection of the pool is free: %w", err)
		}
		defer conn.Close() // at the end, so that the next is another connection
		var wrong []string
		for _, s := range settings(sync) {
			var value string
			if err := conn.QueryRowContext(ctx, "PRAGMA "+s.name).Scan(&value); err != nil {
				return describe(err)
			}
			if !s.ok(value) {
				wrong = append(wrong, fmt.Sprintf("%s = %s: %s", s.name, value, s.why))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("a connection of this database has %s. Open it with sql.Open(\"sqlite\", "+
				"sqlitestore.DSN(%q)), that is with the data source name %q",
				strings.Join(wrong, "; and "), path, DSN(path))
		}
	}
	return nil
}

// oneOf takes connection i of those to check; nil if only the first can be
// had soon.
func oneOf(ctx context.Context, db *sql.DB, i int) (*sql.Conn, error) {
	if i == 0 {
		return db.Conn(ctx)
	}
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	conn, err := db.Conn(soon)
	if soon.Err() != nil {
		return conn, nil
	}
	return conn, err
}

// DB is the database in which the store lies, for the caller's own reading:
// queries there take no write lock and never wait. To write, use Begin,
// which waits for its turn. Do not close it.
func (s *Store) DB() *sql.DB { return s.db }
