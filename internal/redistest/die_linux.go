package redistest

import "syscall"

// dieWithParent ends the server when the test process ends, also when that is
// killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
