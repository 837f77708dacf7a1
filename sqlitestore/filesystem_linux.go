package sqlitestore

import "syscall"

// networks are the file systems of other machines, and those that may be
// one (9p and FUSE bring the folders of a host or another machine into a
// container or a virtual machine), by the magic numbers of statfs(2).
var networks = map[uint32]string{
	0x6969: "NFS", 0x517B: "SMB", 0xFF534D42: "CIFS", 0xFE534D42: "SMB2", 0x5346414F: "AFS",
	0x73757245: "Coda", 0x564C: "NCP", 0x00C36400: "Ceph", 0x0BD00BD0: "Lustre", 0x47504653: "GPFS",
	0x7461636F: "OCFS2", 0x01161970: "GFS2", 0x19830326: "FhGFS",
	0x01021997: "9p", 0x65735546: "FUSE", 0x786F4256: "VirtualBox", 0xBACBACBC: "VMware",
}

// networkOf names the network file system on which path lies; "" for a
// local one, and if it cannot be found out.
func networkOf(path string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(path, &st) != nil {
		return ""
	}
	return networks[uint32(st.Type)]
}
