package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// onTerminal begins an onceq once on a terminal of its own, and returns what is
// at its keyboard and screen.
func onTerminal(t *testing.T, script string) (f *fleet, cmd *exec.Cmd, outer *os.File) {
	f = &fleet{t, t.TempDir(), "sqlite:jobs.db"}
	outer, inner := terminal(t)
	m := f.command("once", "--key", "k", "--", "sh", "-c", script)
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = inner, inner, inner
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	_ = inner.Close()
	return f, m.cmd, outer
}

// On a terminal the command reads the keyboard, and a Ctrl-C reaches it once.
func TestACommandOnATerminalHasTheKeyboard(t *testing.T) {
	t.Parallel()
	f, cmd, outer := onTerminal(t, `trap 'echo x >>caught' INT; read line; echo "got $line" >got
touch ready; n=0; while test $n -lt 20; do sleep 0.05; n=$((n+1)); done; exit 4`)
	if _, err := outer.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	f.has("ready")
	if got, _ := os.ReadFile(filepath.Join(f.dir, "got")); string(got) != "got typed\n" {
		t.Errorf("%q", got)
	}
	if _, err := outer.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, outer)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("exit code %d", code)
	}
	if caught, _ := os.ReadFile(filepath.Join(f.dir, "caught")); string(caught) != "x\n" {
		t.Errorf("the command had these signals: %q", caught)
	}
	f.once("exit 0").ends(0, "")
}

// A terminal that is closed ends the command, and the key is free at once.
func TestAClosedTerminalEndsTheCommandAndFreesTheKey(t *testing.T) {
	t.Parallel()
	f, cmd, outer := onTerminal(t, "echo begun; while :; do sleep 0.05; done")
	said := make([]byte, 200)
	for all := ""; !strings.Contains(all, "begun"); {
		n, err := outer.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		all += string(said[:n])
	}
	_ = outer.Close()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+1 {
		t.Errorf("exit code %d", code)
	}
	f.once("exit 0").ends(0, "")
}

// nohup says that a closed terminal is not to matter, to the command either.
func TestACommandUnderNohupGoesOn(t *testing.T) {
	t.Parallel()
	f := &fleet{t, t.TempDir(), "sqlite:jobs.db"}
	m := f.command("once", "--key", "k", "--", "sh", "-c", "touch begun; until test -e go; do sleep 0.02; done; exit 3")
	m.cmd.Path, m.cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`}, m.cmd.Args...)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.has("begun")
	_ = m.cmd.Process.Signal(syscall.SIGHUP)
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.ends(3, "")
}
