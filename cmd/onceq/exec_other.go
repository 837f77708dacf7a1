//go:build !unix

package main

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

// signalGroup kills the process: this system has no process groups and no
// gentler way.
func signalGroup(cmd *exec.Cmd, _ bool) { _ = cmd.Process.Kill() }

func byStopSignal(*os.ProcessState) bool { return false }
