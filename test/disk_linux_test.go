package test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// smallDisk is a folder on a disk of its own, of so many MiB. Only the
// administrator can make one; else it is "".
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "onceq-disk-") // a server may run as another user, who cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+strconv.Itoa(mib)+"m"); err != nil {
		return ""
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill fills the disk of a folder to the last byte; the function frees it
// again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Logf("the disk is full already: %v", err)
		return func() {}
	}
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
	return func() {
		f.Close()
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
