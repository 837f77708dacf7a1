//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownGroup lets a process lead a group of its own: a Ctrl-C on the terminal does not reach it, and signalGroup reaches all it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup asks a process and all it started to end, or ends them.
func signalGroup(cmd *exec.Cmd, kill bool) {
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	_ = syscall.Kill(-cmd.Process.Pid, sig) // it may have ended by itself
}
