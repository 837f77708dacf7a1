package sqlitestore

import (
	"path/filepath"
	"syscall"
	"testing"
)

func TestFileSystemsOfOtherMachinesAreKnown(t *testing.T) {
	// From linux/magic.h.
	for magic, name := range map[uint32]string{0x6969: "NFS", 0xFF534D42: "CIFS", 0x01021997: "9p",
		0x65735546: "FUSE", 0x00C36400: "Ceph"} {
		if networks[magic] != name {
			t.Errorf("%#x is %q, want %s", magic, networks[magic], name)
		}
	}
	// ext4, xfs, btrfs, tmpfs, overlay, zfs
	for _, local := range []uint32{0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0x2FC12FC1} {
		if networks[local] != "" {
			t.Errorf("%#x is taken for %s", local, networks[local])
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(t.TempDir(), &st); err != nil {
		t.Fatal(err)
	}
	networks[uint32(st.Type)] = "test" // as if this disk were elsewhere
	defer delete(networks, uint32(st.Type))
	if err := refuseNetwork(filepath.Join(t.TempDir(), "jobs.db")); err == nil {
		t.Error("it is not refused")
	}
}
