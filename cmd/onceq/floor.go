package main

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// floor is what a program does without a library: a table, and one
// committed insert at a time behind a mutex. It uses the driver that
// sqlitestore links.
type floor struct {
	db      *sql.DB
	mu      sync.Mutex
	insert1 *sql.Stmt
}

func openFloor(ctx context.Context, path string) (*floor, error) {
	db, err := sql.Open("sqlite",
		"file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	f := &floor{db: db}
	if _, err = db.ExecContext(ctx,
		`create table jobs (id integer primary key, kind text not null, queue text not null, args blob not null,
		state text not null, run_at integer not null, unique_key text not null unique)`); err == nil {
		f.insert1, err = db.PrepareContext(ctx,
			`insert into jobs (kind, queue, args, state, run_at, unique_key)
				values (?, ?, ?, 'available', ?, ?) on conflict do nothing`)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *floor) close() { _ = f.db.Close() }

func (f *floor) insert(ctx context.Context, _ int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	key := fmt.Sprintf("%032x%032x", now.UnixNano(), now.UnixNano()*7919)
	_, err := f.insert1.ExecContext(ctx, "onceq-bench", "default",
		fmt.Appendf(nil, `{"account":%d,"email":"somebody.%08d@example.com","reason":"benchmark","note":"%08d"}`,
			now.UnixNano()%977, now.UnixNano(), 0), now.UnixMilli(), key)
	return err
}

// sqliteVersion is the version of the SQLite that is linked.
func sqliteVersion() string {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return "unknown"
	}
	defer db.Close()
	v := "unknown"
	_ = db.QueryRow("select sqlite_version()").Scan(&v)
	return v
}
