//go:build darwin || freebsd || linux

package sqlitestore

import "syscall"

// freeSpace is how many bytes this user may still write into a folder.
func freeSpace(folder string) (bytes int64, known bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(folder, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
