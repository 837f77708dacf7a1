//go:build darwin || freebsd

package sqlitestore

import (
	"strings"
	"syscall"
)

// networks are the file systems of other machines, and those that may be
// one, by the beginnings of their names in statfs(2).
var networks = []string{"nfs", "smbfs", "afpfs", "webdav", "ftp", "9p", "fuse", "macfuse", "osxfuse",
	"AppleVirtIOFS", "virtiofs"}

// networkOf names the network file system on which path lies; "" for a
// local one, and if it cannot be found out.
func networkOf(path string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(path, &st) != nil {
		return ""
	}
	var name strings.Builder
	for _, c := range st.Fstypename {
		if c == 0 {
			break
		}
		name.WriteByte(byte(c))
	}
	for _, n := range networks {
		if strings.HasPrefix(name.String(), n) {
			return name.String()
		}
	}
	return ""
}
