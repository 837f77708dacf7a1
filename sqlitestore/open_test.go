package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// opened opens a store in a file, for one test.
func opened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// execute runs SQL on a file, as another application would.
func execute(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatCannotBeAStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string) (open string)
		want error
		says string
	}{
		{"a_newer_schema", func(t *testing.T, path string) string {
			opened(t, path).Close()
			execute(t, path, "UPDATE onceq_meta SET value = 99 WHERE name = 'schema'")
			return path
		}, ErrNewerSchema, "upgrade onceq"},
		{"a_directory", func(t *testing.T, path string) string {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return path
		}, nil, "it is a directory"},
		{"a_read_only_file", func(t *testing.T, path string) string {
			opened(t, path).Close()
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
			return path
		}, ErrReadOnly, "make it writable"},
		{"a_file_that_is_no_database", func(t *testing.T, path string) string {
			write(t, path, []byte(strings.Repeat("To whom it may concern. ", 100)))
			return path
		}, ErrNotDatabase, "name another file"},
		{"a_short_file_that_is_no_database", func(t *testing.T, path string) string {
			write(t, path, []byte("hi\n"))
			return path
		}, ErrNotDatabase, "name another file"},
		{"a_file_that_ends_in_its_header", func(t *testing.T, path string) string {
			write(t, path, []byte("SQLite format 3\x00\x10\x00"))
			return path
		}, ErrCorrupt, "backup"},
		{"a_file_that_was_cut_off", func(t *testing.T, path string) string {
			fill(t, path)
			if err := os.Truncate(path, 8192); err != nil {
				t.Fatal(err)
			}
			return path
		}, ErrCorrupt, "backup"},
		{"a_file_with_a_page_overwritten", func(t *testing.T, path string) string {
			fill(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", 4096)), 2*4096); err != nil {
				t.Fatal(err)
			}
			return path
		}, ErrCorrupt, "backup"},
		{"the_database_of_another_application", func(t *testing.T, path string) string {
			execute(t, path, "CREATE TABLE users (name TEXT)")
			return path
		}, ErrForeign, "users"},
		{"a_missing_folder", func(t *testing.T, path string) string { return filepath.Join(path, "jobs.db") }, nil,
			"does not exist: make it first"},
		{"a_folder_that_is_a_file", func(t *testing.T, path string) string {
			write(t, path, nil)
			return filepath.Join(path, "jobs.db")
		}, nil, "is not a folder"},
		{"a_device", func(*testing.T, string) string { return os.DevNull }, nil, "no regular file"},
		{"no_name", func(*testing.T, string) string { return "" }, nil, "no path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := c.make(t, filepath.Join(t.TempDir(), "jobs.db"))
			s, err := Open(path, nil)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) ||
				!strings.HasPrefix(err.Error(), "sqlitestore: open "+path+": ") {
				t.Fatalf("got error %q, want %v and %q in it", err, c.want, c.says)
			}
			t.Log(err)
		})
	}
}

// fill makes a store of some pages.
func fill(t *testing.T, path string) {
	t.Helper()
	s := opened(t, path)
	enqueue(t, s, rowsOf("fill", 500))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func enqueue(t *testing.T, s *Store, rows []onceq.NewRow) []onceq.EnqueueResult {
	t.Helper()
	results, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestOpenMakesAFileForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "with space & 100% #?.db")
	s := opened(t, path)
	enqueue(t, s, rowsOf("a", 1))
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		if !strings.HasPrefix(f.Name(), filepath.Base(path)) {
			t.Errorf("a file of another name: %s", f.Name())
		}
	}
}

func TestTwoNamesOfAFileAreOneStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "jobs.db"), filepath.Join(dir, "link.db")); err != nil {
		t.Skip(err)
	}
	enqueue(t, opened(t, filepath.Join(dir, "jobs.db")), rowsOf("a", 1))
	rows := rowsOf("a", 1)
	rows[0].ID = "other"
	if r := enqueue(t, opened(t, filepath.Join(dir, "link.db")), rows); r[0].Outcome != onceq.Skipped {
		t.Fatal(r[0].Outcome)
	}
	if _, err := os.Stat(filepath.Join(dir, "link.db-onceq-lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the link has a lock of its own")
	}
}

func TestOpenKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	fill(t, path)
	s := opened(t, path)
	if jobs, err := s.Get(context.Background(), []string{"fill-7"}); err != nil || jobs[0] == nil {
		t.Fatal(jobs, err)
	}
	if findings, err := s.Check(context.Background()); err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
}

func TestLinkedSQLiteIsNewEnough(t *testing.T) {
	t.Parallel()
	for v, old := range map[string]bool{"3.51.2": true, "3.51.3": false, "3.52.0": false, "3.9.99": true, "4.0": false,
		"3.51": true, "3.53.4": false} {
		if older(v, oldest) != old {
			t.Errorf("older(%s) = %v", v, !old)
		}
	}
}

func TestAStoreInMemoryLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := opened(t, ":memory:")
	enqueue(t, s, rowsOf("a", 1))
	folder := s.private
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(folder, "is still there")
	}
}

func TestNewKeepsJobsBesideTheCallersTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, dsn string
		most      int
	}{
		{"a_file_and_any_number_of_connections", "file", 0},
		{"a_file_and_one_connection", "file", 1},
		{"a_file_and_three_connections", "file", 3},
		{"memory_and_one_connection", ":memory:", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			if c.dsn == "file" {
				c.dsn = "file:" + filepath.Join(t.TempDir(),
					"app.db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)"
			}
			db, err := sql.Open("sqlite", c.dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(c.most)
			if _, err := db.Exec("CREATE TABLE users (name TEXT); PRAGMA user_version = 7"); err != nil {
				t.Fatal(err)
			}
			s, err := New(db, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if r := enqueue(t, s, rowsOf("a", 3)); r[2].Outcome != onceq.Inserted {
				t.Fatal(r[2].Outcome)
			}
			wakes, err := s.Wake(ctx, onceq.WakeRequest{Queues: []string{"default"}})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := s.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec("INSERT INTO users VALUES ('ann')"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Tx(tx).Enqueue(ctx, rowsOf("tx", 1)); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			<-wakes
			var users, version int
			if err := db.QueryRow("SELECT count(*) FROM users").Scan(&users); err != nil || users != 1 {
				t.Fatal(users, err)
			}
			if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != 7 {
				t.Fatal(version, err)
			}
			if jobs, err := s.Get(ctx, []string{"a-0", "tx-0"}); err != nil || jobs[0] == nil || jobs[1] == nil {
				t.Fatal(jobs, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := db.Ping(); err != nil {
				t.Fatal("Close closed the caller's database:", err)
			}
		})
	}
}

func TestNewRefusesMemoryOfManyConnections(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := New(db, nil); err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns(1)") {
		t.Fatal(err)
	}
	if _, err := New(nil, nil); err == nil {
		t.Fatal("New(nil)")
	}
}
