//go:build !unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signalProcess kills the process: this system has no process groups and no
// gentler way.
func signalProcess(cmd *exec.Cmd, _ syscall.Signal) { _ = cmd.Process.Kill() }

var passedOn []os.Signal

func codeOf(p *os.ProcessState) int { return p.ExitCode() }

func byStopSignal(*os.ProcessState) bool { return false }
