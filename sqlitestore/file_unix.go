//go:build unix

package sqlitestore

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow refuses a side file that is a symbolic link: root would give
// away the file to which it points.
const noFollow = syscall.O_NOFOLLOW

// mayWrite reports whether this user may write a file.
func mayWrite(path string) bool {
	const write = 2
	return syscall.Access(path, write) == nil
}

// links is how many names a file has.
func links(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Nlink)
	}
	return 1
}

// resemble gives a file the owner and the mode of another, as far as this
// user may.
func resemble(f *os.File, own, other fs.FileInfo) {
	have, ok1 := own.Sys().(*syscall.Stat_t)
	want, ok2 := other.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (have.Uid != want.Uid || have.Gid != want.Gid) {
		owner := -1
		if os.Geteuid() == 0 {
			owner = int(want.Uid)
		}
		_ = f.Chown(owner, int(want.Gid))
	}
	if own.Mode().Perm() != other.Mode().Perm() { // umask may have removed some bits
		_ = f.Chmod(other.Mode().Perm())
	}
}
