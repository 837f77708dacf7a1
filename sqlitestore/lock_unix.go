//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package sqlitestore

import (
	"os"
	"syscall"
)

// tryFlock locks a file if no other process has locked it. On a file system
// without such locks it always succeeds: SQLite's own lock still keeps
// writers apart, as on systems without flock.
func tryFlock(f *os.File) bool {
	for {
		switch syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK, syscall.ENOLCK:
			return false
		default:
			return true
		}
	}
}

func funlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
