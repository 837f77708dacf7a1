//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalProcess sends a signal to a process and, if it is in a group of its
// own, to all that it started.
func signalProcess(cmd *exec.Cmd, sig syscall.Signal) {
	to := cmd.Process.Pid
	if cmd.SysProcAttr != nil {
		to = -to
	}
	_ = syscall.Kill(to, sig) // it may have ended by itself
}

// passedOn are the signals that onceq once passes on to its command, besides
// those that end it.
var passedOn = []os.Signal{syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// codeOf is how a process ended, in the words of a shell.
func codeOf(p *os.ProcessState) int {
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.ExitCode()
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
