package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The database file is opened and closed by SQLite and by nothing else. On POSIX systems a process
// that closes a file loses all its locks on it, also those that SQLite has taken through another
// descriptor; the next program that closes the database then takes itself for the last one and
// deletes the log that is in use. So what is to be known of the file is asked with stat.

// smallest is the size of the smallest SQLite database: one page.
const smallest = 512

// prepareFile finds out what can be told of a file before SQLite touches it, and makes it where
// there is none. It returns the file's real path: two names of a file must lead to the same
// locks.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", errors.New(`no path: name a file, or ":memory:"`)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if path, err = follow(path); err != nil {
		return "", err
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the folder %s does not exist: make it first", folder)
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a folder", folder)
	}
	if err := refuseNetwork(path); err != nil {
		return "", err
	}
	if err := makeFile(path); err != nil {
		return "", err
	}
	return path, checkFile(path)
}

// follow is the path without symbolic links; the last of them may point at a file that is not
// there yet.
func follow(path string) (string, error) {
	for range 40 { // as many as Linux follows
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real, nil
		}
		target, err := os.Readlink(path)
		if err != nil { // no link, and not there
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return path, nil // what is wrong with the folder is said later
			}
			return filepath.Join(folder, filepath.Base(path)), nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// making is held from the look for a file until the new one is closed again. Nobody here can
// have it open by then.
var making sync.Mutex

// makeFile makes an empty file for its owner only, which SQLite would make for all to read.
func makeFile(path string) error {
	making.Lock()
	defer making.Unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong with it is said later
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrExist): // another process has made it meanwhile
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the file is not there, and this user may not make it: %w", err)
	}
	return err
}

// checkFile refuses a file that cannot be a store, as far as stat tells.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a directory: name a file in it, such as " + filepath.Join(path, "onceq.db"))
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	case info.Mode().Perm()&0o222 == 0: // root could write it all the same, and would not be meant to
		return fmt.Errorf("it is %w (%s): make it writable, or work on a copy", ErrReadOnly, info.Mode().Perm())
	case info.Size() > 0 && info.Size() < smallest:
		return fmt.Errorf("it is %w, or a %w one that ends within its header (it has %d bytes): name another file, "+
			"or restore it from a backup",
			ErrNotDatabase, ErrCorrupt, info.Size())
	case links(info) > 1:
		return fmt.Errorf("it has %d names (hard links), and each of them would have locks and a log of its own: "+
			"leave it one", links(info))
	}
	return nil
}

// refuseNetwork refuses a path on the file system of another machine.
func refuseNetwork(path string) error {
	if n := networkOf(filepath.Dir(path)); n != "" {
		return fmt.Errorf("it is %w (%s), where locks cannot be relied on: use a local disk, or onceq's PostgreSQL "+
			"or Redis store", ErrNetwork, n)
	}
	return nil
}

// database is the file of an open store.
type database struct {
	path   string
	info   fs.FileInfo  // as it was when the store was opened
	looked atomic.Int64 // when it was last looked at, in Unix milliseconds
}

func newDatabase(path string) (*database, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &database{path: path, info: info}, nil
}

// there finds out whether the path still names the file that is open. What is written to a file
// that was moved away is not lost, but nobody who opens the path will find it; and a file that
// was put in its place would be mixed up with the log of this one.
func (d *database) there() error {
	if d == nil { // in memory
		return nil
	}
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s was %w: it is not there any more; nothing is written to it from now on; put it back, "+
			"or restart this program", d.path, ErrMoved)
	case err == nil && !os.SameFile(info, d.info):
		return fmt.Errorf("%s was %w: another file has its name now; nothing is written from now on; restart this "+
			"program to use that one", d.path, ErrMoved)
	}
	return nil // where it cannot be told, SQLite will say what is wrong
}

// thereLately is there for calls that only read: it looks ten times a second at most.
func (d *database) thereLately() error {
	const often = 100
	if d == nil {
		return nil
	}
	if now := time.Now().UnixMilli(); now-d.looked.Load() >= often {
		err := d.there()
		if err != nil {
			return err
		}
		d.looked.Store(now)
	}
	return nil
}

// openSideFile opens a file beside the database, and makes it where needed. As SQLite's own it
// gets the owner and the mode of the database, whoever comes first: else the owner of the
// database could be locked out by root's command.
func openSideFile(path, suffix string) (*os.File, error) {
	mode := fs.FileMode(0o600)
	info, err := os.Stat(path)
	if err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.OpenFile(path+suffix, os.O_RDONLY|os.O_CREATE|noFollow, mode) // a lock needs no more than that
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: give that file the owner and the mode of %s", err, filepath.Base(path))
	}
	if err != nil {
		return nil, err
	}
	if own, err := f.Stat(); err == nil && info != nil && own.Mode().IsRegular() && own.Size() == 0 && links(own) <= 1 {
		resemble(f, own, info)
	}
	return f, nil
}
