//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup gives a process a group of its own: a Ctrl-C on the terminal
// does not reach it, and signalGroup reaches all that it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup asks a process and all that it started to end, or kills them.
func signalGroup(cmd *exec.Cmd, kill bool) {
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	_ = syscall.Kill(-cmd.Process.Pid, sig) // it may have ended by itself
}

// byStopSignal reports whether a process, or the last one that a shell ran,
// was ended by a signal that stops services.
func byStopSignal(p *os.ProcessState) bool {
	sig := syscall.Signal(p.ExitCode() - 128) // how a shell reports a signal
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		sig = status.Signal()
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGKILL:
		return true
	}
	return false
}
