package sqlitestore

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asOther runs f on a thread of its own, as a user who has no rights by
// being root.
func asOther(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const user = 12345
		for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS}, {syscall.SYS_SETRESGID, user, user, user},
			{syscall.SYS_SETRESUID, user, user, user}} {
			if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- errno
				return
			}
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// publicDir is a folder that other users reach.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// To look is to write, too: files that a user makes who may only read lock
// out the owner of the database. So that user makes none.
func TestAFileThatThisUserMayNotWriteIsRefusedAndNothingIsMade(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	path := filepath.Join(dir, "jobs.db")
	opened(t, path).Close()
	for _, name := range []string{"-onceq-turn", "-onceq-lock"} {
		if err := os.Remove(path + name); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(path, 0o464), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	asOther(t, func() {
		s, err := Open(path, nil)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "this user may not write it") {
			t.Error(err)
		}
	})
	if files, err := filepath.Glob(path + "*"); len(files) != 1 || err != nil {
		t.Error(files, err)
	}
}

func TestAFolderInWhichThisUserMayMakeNoFileIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, remove string }{
		{"for_the_files_of_onceq", "-onceq-*"}, {"for_the_log_of_SQLite", "-none"}} {
		t.Run(c.name, func(t *testing.T) {
			dir := publicDir(t)
			path := filepath.Join(dir, "jobs.db")
			opened(t, path).Close()
			if os.Geteuid() == 0 {
				files, err := filepath.Glob(path + "*")
				for _, f := range files {
					err = errors.Join(err, os.Chmod(f, 0o666))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			files, _ := filepath.Glob(path + c.remove)
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o755)
			asOther(t, func() {
				s, err := Open(path, nil)
				if err == nil {
					s.Close()
				}
				if !errors.Is(err, ErrReadOnly) ||
					!strings.Contains(err.Error(), "this user may make no files in its folder") {
					t.Error(err)
				}
			})
		})
	}
}
