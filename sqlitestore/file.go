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

// Only SQLite opens and closes the database file. On POSIX systems a
// process that closes a file loses all its locks on it, also those that
// SQLite took through another descriptor. The next program that closes the
// database then believes to be the last one, and deletes the log that is in
// use. So what must be known of the file is asked with stat.

// smallest is the size of the smallest SQLite database: one page.
const smallest = 512

// prepareFile checks a file before SQLite touches it, and makes it if it
// does not exist. It returns the real path of the file: two names of a file
// must lead to the same locks.
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

// follow resolves symbolic links in the path. The last one may point to a
// file that does not exist yet.
func follow(path string) (string, error) {
	for range 40 { // as many as Linux follows
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real, nil
		}
		target, err := os.Readlink(path)
		if err != nil { // not a link, or it does not exist
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return path, nil // an error of the folder is reported later
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

// making is locked from the check of a file until the new file is closed
// again. No store of this process can have it open then.
var making sync.Mutex

// makeFile makes an empty file that only its owner can read. SQLite would
// make it readable for all.
func makeFile(path string) error {
	making.Lock()
	defer making.Unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // other errors are reported later
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrExist): // another process made it meanwhile
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the file is not there, and this user may not make it: %w", err)
	}
	return err
}

// checkFile refuses a file that cannot be a store, as far as stat shows.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a directory: name a file in it, such as " + filepath.Join(path, "onceq.db"))
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	case info.Mode().Perm()&0o222 == 0: // root could write it, but nobody wants that
		return fmt.Errorf("it is %w (%s): make it writable, or work on a copy", ErrReadOnly, info.Mode().Perm())
	case !mayWrite(path):
		return fmt.Errorf("it is %w: this user may not write it, and to look is to write too: give the user the "+
			"right, or work on a copy", ErrReadOnly)
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
	info   fs.FileInfo  // when the store was opened
	looked atomic.Int64 // when it was last checked, in Unix milliseconds
}

func newDatabase(path string) (*database, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &database{path: path, info: info}, nil
}

// there checks that the path still names the open file. What is written to
// a file that was moved away is not lost, but nobody who opens the path
// finds it. A file that was put in its place would be mixed up with the log
// of this one.
func (d *database) there() error {
	if d == nil { // a store in memory
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
	return nil // stat cannot tell; SQLite will say what is wrong
}

// thereLately is there for calls that only read: it checks ten times a
// second at most.
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

// openSideFile opens a file beside the database, and makes it if needed.
// Like the files of SQLite itself it gets the owner and the mode of the
// database, whoever makes it: otherwise a command of root could lock out
// the owner of the database.
func openSideFile(path, suffix string) (*os.File, error) {
	mode := fs.FileMode(0o600)
	info, err := os.Stat(path)
	if err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.OpenFile(path+suffix, os.O_RDONLY|os.O_CREATE|noFollow, mode) // enough for a lock
	if errors.Is(err, fs.ErrPermission) {
		if _, missing := os.Lstat(path + suffix); errors.Is(missing, fs.ErrNotExist) {
			return nil, errFolder(err)
		}
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
