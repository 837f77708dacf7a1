package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/onceq/onceq/internal/redistest"
)

// terminal is a new terminal: what is at its keyboard and screen, and what
// a process is given.
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
	t.Parallel()
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

// What a worker says on a terminal when it begins has no password.
func TestTheBannerHasNoPassword(t *testing.T) {
	t.Parallel()
	url := strings.Replace(redistest.URL(t), "redis://", "redis://:S3CRET@", 1) // a server without a password takes any
	outer, inner := terminal(t)
	cmd := exec.Command("onceq", "work", "--exec", "true", "--store", url)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = inner.Close()
	screen := bufio.NewReader(outer)
	for banner := false; !banner; {
		line, err := screen.ReadString('\n') // the store may warn of something first
		if err != nil || !strings.HasPrefix(line, "onceq: ") || strings.Contains(line, "S3CRET") {
			t.Fatalf("%q, %v", line, err)
		}
		banner = strings.HasPrefix(line, "onceq: running jobs of default=10 from redis://127.0.0.1:")
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Who had the hang-up ignored wants the worker to outlive its terminal,
// although it cannot write to it any more.
func TestAClosedTerminalIsOutlivedWhereTheHangupIsIgnored(t *testing.T) {
	t.Parallel()
	outer, inner := terminal(t)
	s := serve(t, "while ! test -e go; do echo line; echo >>lines; sleep 0.01; done", func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`}, cmd.Args...)
	})
	_ = inner.Close()
	if _, err := io.ReadFull(outer, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = outer.Close()
	before := s.size("lines")
	s.until("more is written that nobody can see", func() bool { return s.size("lines") > before+5 })
	s.onceq("enqueue", "next", "--id", "next")
	if err := os.WriteFile(s.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("the next job is run too", func() bool {
		return strings.Contains(s.onceq("job", "show", "next", "--json"), `"state":"completed"`)
	})
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends()
	if got := s.job(); got != "completed, 1 attempts" {
		t.Errorf("the job is %s", got)
	}
}

// Ctrl-C reaches the worker through the terminal; the jobs, which are in
// groups of their own, go on to their end.
func TestCtrlCOnATerminalLetsJobsEnd(t *testing.T) {
	t.Parallel()
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
