//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package sqlitestore

import "os"

// Without flock, processes wait for SQLite's own lock: as safe, but less
// fair.

func tryFlock(*os.File) bool { return true }
func funlock(*os.File)       {}
