package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	// schema is the number of the last file in schema/.
	schema = 4
	// applicationID marks a file that Open made: "oncq".
	// https://sqlite.org/pragma.html#pragma_application_id
	applicationID = 0x6f6e6371
	// smallFile is the size up to which a file is read through when it is
	// opened, to find damage before it does harm.
	smallFile = 4 << 20
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// migrate brings the schema of the database to this version, or finds that
// it cannot. Processes that start together take turns. ctx bounds the
// waiting, not the work: a large file may take a while.
func (s *Store) migrate(ctx context.Context, path string) error {
	if s.file == nil && path != "" { // in memory, where SQLite makes the file
		defer func() { s.file, _ = newDatabase(path) }()
	}
	err := s.inTurn(ctx, func(w *conn) error { return s.migrateOnce(w, path) })
	if busy(err) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("others are writing it: %w", err)
	}
	return describe(err)
}

func (s *Store) migrateOnce(w *conn, path string) (err error) {
	ctx := context.Background()
	row := func(query string, into any) error { return w.raw.QueryRowContext(ctx, query).Scan(into) }

	var version string
	if err := row("SELECT sqlite_version()", &version); err != nil {
		return err
	}
	if older(version, oldest) {
		return fmt.Errorf("SQLite %s is too old: onceq needs %s or newer, which mends lost writes in WAL "+
			"mode", version, oldest)
	}
	if path != "" { // a file that Open opened
		if err := useLog(row); err != nil {
			return err
		}
	}
	if _, err := w.raw.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			_, _ = w.raw.ExecContext(ctx, "ROLLBACK")
		}
	}()
	have, err := schemaOf(row)
	if err != nil {
		return err
	}
	if have == 0 && path != "" {
		if err := refuseForeign(row); err != nil {
			return err
		}
	}
	if have > schema {
		return fmt.Errorf("it is %w (its schema is %d, this one knows %d): upgrade onceq", ErrNewerSchema, have, schema)
	}
	for n := have + 1; n <= schema; n++ {
		if err := apply(ctx, w.raw, n); err != nil {
			return err
		}
	}
	if path != "" && have == 0 {
		if _, err := w.raw.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	if _, err := w.raw.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	open = false
	return nil
}

// useLog switches the file to the write-ahead log, if Open opened it.
func useLog(row func(query string, into any) error) error {
	have, err := schemaOf(row)
	if err == nil && have == 0 {
		err = refuseForeign(row)
	}
	if err != nil {
		return err
	}
	var mode string
	if err := row("PRAGMA journal_mode = WAL", &mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system does not support SQLite's WAL mode (journal_mode stays %q): use a local "+
			"disk", mode)
	}
	return nil
}

// schemaOf is the number of the schema that the database has; 0 = none.
func schemaOf(row func(query string, into any) error) (have int, err error) {
	var tables int
	if err := row("SELECT count(*) FROM sqlite_schema WHERE name = 'onceq_meta'", &tables); err != nil || tables == 0 {
		return 0, err
	}
	return have, row("SELECT value FROM onceq_meta WHERE name = 'schema'", &have)
}

// apply runs the files of one step of the schema.
func apply(ctx context.Context, conn *sql.Conn, n int) error {
	files, err := fs.Glob(schemaFiles, fmt.Sprintf("schema/%03d_*.sql", n))
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// refuseForeign refuses a database without our tables that belongs to
// another application.
func refuseForeign(row func(query string, into any) error) error {
	var id, version int
	var names sql.NullString
	for _, q := range []struct {
		query string
		into  any
	}{{"PRAGMA application_id", &id}, {"PRAGMA user_version", &version},
		{"SELECT group_concat(name, ', ') FROM (SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT " +
			"5)", &names}} {
		if err := row(q.query, q.into); err != nil {
			return err
		}
	}
	if id == 0 && version == 0 && !names.Valid {
		return nil
	}
	return fmt.Errorf("it is %w (tables %s; application_id %d; user_version %d): name another file, or open it "+
		"yourself and use sqlitestore.New to keep jobs beside its tables",
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
		return fmt.Errorf("it is %w (%s): restore it from a backup, or see "+
			"https://sqlite.org/recovery.html", ErrCorrupt, findings[0])
	}
	return nil
}

// describe says in our words what SQLite found wrong with a file.
func describe(err error) error {
	switch code(err) {
	case codeCorrupt:
		return fmt.Errorf("it is %w: restore it from a backup, or see https://sqlite.org/recovery.html: "+
			"%w", ErrCorrupt, err)
	case codeNotADB:
		return fmt.Errorf("it is %w: name another file: %w", ErrNotDatabase, err)
	case codeReadOnly:
		if extended(err) == codeReadOnlyFolder {
			return errFolder(err)
		}
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
