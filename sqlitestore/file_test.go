//go:build unix

package sqlitestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onceq/onceq"
)

func TestSideFilesAreLikeTheDatabase(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(path string) error{
		"that_are_new": func(string) error { return nil },
		"that_root_made_for_itself": func(path string) error { // as earlier versions did
			return errors.Join(os.WriteFile(path+"-onceq-turn", nil, 0o600), os.WriteFile(path+"-onceq-lock", nil,
				0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "jobs.db")
			write(t, path, nil)
			if err := errors.Join(before(path), os.Chmod(path, 0o664)); err != nil {
				t.Fatal(err)
			}
			owner := uint32(os.Geteuid())
			if owner == 0 {
				owner = 12345
				if err := os.Chown(path, 12345, 12346); err != nil {
					t.Fatal(err)
				}
			}
			s := opened(t, path)
			enqueue(t, s, rowsOf("a", 1))
			files, err := filepath.Glob(path + "-*")
			if err != nil || len(files) < 4 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				info, err := os.Stat(f)
				if err != nil {
					t.Fatal(err)
				}
				if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o664 || st.Uid != owner ||
					owner == 12345 && st.Gid != 12346 {
					t.Errorf("%s: %s of %d:%d", f, info.Mode(), st.Uid, st.Gid)
				}
			}
		})
	}
}

func TestASideFileThatIsALinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, nil)
	if err := os.Symlink(victim, path+"-onceq-turn"); err != nil {
		t.Fatal(err)
	}
	write(t, path, nil)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(path, nil); err == nil {
		s.Close()
		t.Error("it was opened")
	}
	if info, err := os.Stat(victim); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("what the link points at has changed:", info.Mode(), err)
	}
}

func TestAFileWithTwoNamesIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	opened(t, path).Close()
	if err := os.Link(path, path+".copy"); err != nil {
		t.Skip(err)
	}
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "2 names") {
		t.Fatal(err)
	}
}

func TestALinkToAFileThatIsNotThereLeadsToIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(os.Symlink("next.db", filepath.Join(dir, "first.db")), os.Symlink("jobs.db",
		filepath.Join(dir, "next.db")),
		os.Symlink("loop.db", filepath.Join(dir, "loop.db"))); err != nil {
		t.Fatal(err)
	}
	opened(t, filepath.Join(dir, "first.db"))
	if info, err := os.Lstat(filepath.Join(dir, "jobs.db")); err != nil || info.Mode() != 0o600 {
		t.Fatal(info, err)
	}
	if _, err := Open(filepath.Join(dir, "loop.db"), nil); err == nil {
		t.Fatal("a link to itself was opened")
	}
}

func TestAFileThatIsNotThereAnyMoreIsNoticed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, c := range []struct {
		name, says string
		do         func(t *testing.T, path string) error
	}{
		{"moved", "not there any more", func(_ *testing.T, path string) error { return os.Rename(path, path+".old") }},
		{"deleted", "not there any more", func(_ *testing.T, path string) error { return os.Remove(path) }},
		{"deleted_with_its_side_files", "not there any more", func(_ *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.Remove(path+"-wal"), os.Remove(path+"-shm"))
		}},
		{"replaced_by_an_empty_file", "another file", func(t *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		}},
		{"replaced_by_another_store", "another file", func(t *testing.T, path string) error {
			other := filepath.Join(t.TempDir(), "other.db")
			fill(t, other)
			return os.Rename(other, path)
		}},
		{"in_a_folder_that_was_moved", "not there any more", func(_ *testing.T, path string) error {
			return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "folder")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "jobs.db")
			s := opened(t, path)
			enqueue(t, s, rowsOf("a", 3))
			if _, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w", Lease: 1e9}); err != nil {
				t.Fatal(err)
			}
			if err := c.do(t, path); err != nil {
				t.Fatal(err)
			}
			again := rowsOf("a", 1)
			again[0].ID = "again"
			s.file.looked.Store(0) // as if the last look were a tenth of a second ago
			for what, call := range map[string]func() error{
				"a duplicate": func() error { _, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: again}); return err },
				"an enqueue": func() error {
					_, err := s.Enqueue(ctx, onceq.EnqueueRequest{Rows: rowsOf("b",
						1)})
					return err
				},
				"a heartbeat": func() error {
					_, err := s.Extend(ctx, onceq.ExtendRequest{Worker: "w",
						Lease: 1e9})
					return err
				},
				"a transaction": func() error {
					tx, err := s.Begin(ctx)
					if err == nil {
						_ = tx.Rollback()
					}
					return err
				},
				"a fetch": func() error {
					_, err := s.Fetch(ctx, onceq.FetchRequest{Worker: "w", No: 1,
						Queues: []onceq.QueueSlots{{Queue: "default", Slots: 2}}})
					return err
				},
				"a list": func() error { _, err := s.List(ctx, onceq.ListRequest{Limit: 5}); return err },
			} {
				err := call()
				if !errors.Is(err, ErrMoved) || errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(),
					c.says) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func TestAFileThatIsPutBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := opened(t, path)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsOf("a", 1)}); !errors.Is(err,
		ErrMoved) {
		t.Fatal(err)
	}
	if err := os.Rename(path+".old", path); err != nil {
		t.Fatal(err)
	}
	if r := enqueue(t, s, rowsOf("a", 1)); r[0].Outcome != onceq.Inserted {
		t.Fatal(r[0].Outcome)
	}
}

func TestTheDatabaseOfAnotherApplicationIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	execute(t, path, "CREATE TABLE users (name TEXT)")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); !errors.Is(err, ErrForeign) {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Error("it was changed, to the write-ahead log for instance", err)
	}
}

func TestOddNamesAreNamesOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"we?ird #1%41.db", "a b.db", "é😀.db", "x&y=z.db", ":memory:.db", "file:x.db",
		"semi;colon'quote\".db", "new\nline.db", "?mode=ro.db"} {
		path := filepath.Join(dir, name)
		s := opened(t, path)
		enqueue(t, s, rowsOf("a", 1))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: %v", name, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 9*3 {
		t.Error("there are other files:", files, err)
	}
}
