package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a new terminal: what is at its keyboard and screen, and what a process is given.
func terminal(t *testing.T) (outer, inner *os.File) {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = outer.Close(), inner.Close() })
	return outer, inner
}

func TestAClosedTerminalHandsJobsBack(t *testing.T) {
	outer, inner := terminal(t)
	s := serve(t, "echo begun; while :; do echo line; sleep 0.01; done", func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, "--shutdown-timeout", "500ms")
	_ = inner.Close()
	if _, err := io.ReadFull(outer, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = outer.Close()
	s.ends()
	if got := s.job(); got != handedBack {
		t.Errorf("the job is %s", got)
	}
	s.until("the job's process ends with its worker", func() bool { return syscall.Kill(-s.child, 0) != nil })
}

// Ctrl-C reaches the worker through the terminal; the jobs, which are in groups of their own, go on to their end.
func TestCtrlCOnATerminalLetsJobsEnd(t *testing.T) {
	outer, inner := terminal(t)
	s := serve(t, "until test -e go; do sleep 0.01; done", func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	})
	_ = inner.Close()
	said := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(outer)
		said <- all
	}()
	if _, err := outer.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	s.until("the worker fetches no more", func() bool { return s.onceq("enqueue", "next", "--unique") != "" })
	if err := os.WriteFile(s.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ends()
	if got := s.job(); got != "completed, 1 attempts" {
		t.Errorf("the job is %s", got)
	}
	t.Logf("%s", <-said)
}
