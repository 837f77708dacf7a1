//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// fleet is a store, and a folder in which commands leave traces.
type fleet struct {
	*testing.T
	dir, store string
}

// onFleets runs a test on each kind of store.
func onFleets(t *testing.T, test func(f *fleet)) {
	namespace := strings.ToLower(fmt.Sprintf("once%x", time.Now().UnixNano()))
	for name, url := range map[string]func(t *testing.T, dir string) string{
		"sqlite":   func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "jobs.db") },
		"postgres": func(t *testing.T, _ string) string { return with(pgtest.URL(t), namespace) },
		"redis":    func(t *testing.T, _ string) string { return with(redistest.URL(t), namespace) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test(&fleet{t, dir, url(t, dir)})
		})
	}
}

func with(url, namespace string) string {
	if strings.Contains(url, "?") {
		return url + "&namespace=" + namespace
	}
	return url + "?namespace=" + namespace
}

// member is an onceq once of the fleet.
type member struct {
	f   *fleet
	cmd *exec.Cmd
	out bytes.Buffer
}

func (f *fleet) command(args ...string) *member {
	m := &member{f: f, cmd: exec.Command("onceq", args...)}
	m.cmd.Dir, m.cmd.Env = f.dir, append(os.Environ(), "ONCEQ_STORE="+f.store)
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.out
	m.cmd.WaitDelay = 10 * time.Second
	return m
}

// once begins an onceq once that runs a script under the key k.
func (f *fleet) once(script string, flags ...string) *member {
	f.Helper()
	m := f.command(append(append([]string{"once", "--key", "k"}, flags...), "--", "sh", "-c", script)...)
	if err := m.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = m.cmd.Process.Kill() })
	return m
}

// ends waits for a command, and wants its exit code and something in what it
// said.
func (m *member) ends(code int, said string) {
	m.f.Helper()
	err := m.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		m.f.Fatalf("%v\n%s", err, &m.out)
	}
	if got := m.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(m.out.String(), said) {
		m.f.Fatalf("exit code %d, not %d, and it said, without %q:\n%s", got, code, said, &m.out)
	}
}

// opened waits until the command has opened the store, a file. Then it heeds
// signals.
func (m *member) opened() {
	m.f.Helper()
	if runtime.GOOS != "linux" {
		time.Sleep(3 * time.Second) // there is no way to see it
		return
	}
	m.f.until("the command opens the store", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.cmd.Process.Pid))
		return slices.ContainsFunc(files, func(file string) bool {
			name, _ := os.Readlink(file)
			return filepath.Base(name) == "jobs.db"
		})
	})
}

// has waits until a file of the folder is there.
func (f *fleet) has(name string) {
	f.Helper()
	f.until(name+" is there", func() bool {
		_, err := os.Stat(filepath.Join(f.dir, name))
		return err == nil
	})
}

func (f *fleet) until(what string, done func() bool) {
	f.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("it never came that %s", what)
		}
	}
}

// isClean wants every invariant of the store to hold.
func (f *fleet) isClean() {
	f.Helper()
	m := f.command("doctor")
	if err := m.cmd.Run(); err != nil {
		f.Errorf("doctor: %v\n%s", err, &m.out)
	}
}

func TestOnceRunsOneOfMany(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		f.once("exit 0", "--guard", "other").ends(0, "") // the store is made
		ran, held := 0, 0
		var all sync.WaitGroup
		var mu sync.Mutex
		for range 8 {
			m := f.once("echo ran; sleep 0.05", "--window", "1h")
			all.Go(func() {
				_ = m.cmd.Wait()
				mu.Lock()
				defer mu.Unlock()
				switch code := m.cmd.ProcessState.ExitCode(); {
				case code == exitDone && strings.HasSuffix(m.out.String(), "ran\n"): // the store may warn first
					ran++
				case code == exitDuplicate && strings.Contains(m.out.String(), "not run: key k is held by claim"):
					held++
				default:
					f.Errorf("exit code %d\n%s", code, &m.out)
				}
			})
		}
		all.Wait()
		if ran != 1 || held != 7 {
			f.Errorf("%d ran, and %d were refused", ran, held)
		}
		f.once("exit 0", "--window", "1h").ends(exitDuplicate, "(completed)")
		f.isClean()
	})
}

// A command that takes many leases keeps its key, and another that waits runs
// as soon as it has ended.
func TestALongCommandKeepsItsKeyAndWhoWaitsComesNext(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		long := f.once("touch begun; until test -e go; do sleep 0.02; done; touch ended", "--lease", "1s")
		f.has("begun")
		next := f.once("test -e ended", "--lease", "1s", "--wait")
		for began := time.Now(); time.Since(began) < 4*time.Second; {
			f.once("exit 9", "--lease", "1s").ends(exitDuplicate, "(running)")
		}
		f.once("exit 9", "--wait=100ms").ends(exitDuplicate, "(running)")
		if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
			f.Fatal(err)
		}
		long.ends(0, "")
		began := time.Now()
		next.ends(0, "")
		f.Logf("who waited ended %v later", time.Since(began))
		f.isClean()
	})
}

// A failure frees the key at once, also where a success would keep it.
func TestACommandThatFailsFreesItsKey(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		f.once("exit 7", "--window", "1h").ends(7, "")
		f.once("kill -KILL $$", "--window", "1h").ends(128+9, "")
		f.once("sleep 30", "--window", "1h", "--timeout", "50ms").ends(exitTimeout, "longer than --timeout 50ms")
		f.once("exit 0", "--window", "1h").ends(0, "")
		f.once("exit 0").ends(exitDuplicate, "frees at")
		f.once("exit 9", "--held-code", "0").ends(0, "")
		f.once("exit 9", "--held-code", "75").ends(75, "frees at")
		m := f.command("once", "--key", "k", "--", "./no-such-command")
		_ = m.cmd.Run()
		if code := m.cmd.ProcessState.ExitCode(); code != exitNotFound {
			f.Errorf("exit code %d\n%s", code, &m.out)
		}
	})
}

// Nobody tidies this store but those who ask for the key.
func TestAnOnceThatIsKilledFreesItsKeyWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		dead := f.once("touch begun; sleep 60", "--lease", "2s", "--window", "1h")
		f.has("begun")
		_ = dead.cmd.Process.Kill()
		killed := time.Now()
		f.once("exit 9", "--lease", "2s").ends(exitDuplicate, "(running)")
		f.until("the key is free", func() bool {
			m := f.once("exit 0", "--lease", "2s")
			_ = m.cmd.Wait()
			return m.cmd.ProcessState.ExitCode() == exitDone
		})
		if took := time.Since(killed); took < time.Second || took > 20*time.Second {
			f.Errorf("the key was free %v after the kill", took)
		}
		f.isClean()
	})
}

// A process that stood still for longer than its lease has lost its key to
// another, and its command is told to stop.
func TestACommandWhoseClaimIsLostIsStopped(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		first := f.once("trap 'touch told; exit 5' TERM; touch begun; while :; do sleep 0.05; done", "--lease", "2s")
		f.has("begun")
		time.Sleep(300 * time.Millisecond) // between two heartbeats: one that stands still in SQLite's lock stops all
		_ = first.cmd.Process.Signal(syscall.SIGSTOP)
		second := f.once("touch second; until test -e told; do sleep 0.02; done", "--lease", "2s", "--wait")
		f.has("second")
		_ = first.cmd.Process.Signal(syscall.SIGCONT)
		first.ends(5, "onceq: ")
		f.has("told")
		second.ends(0, "")
		f.isClean()
	})
}

func TestACancelledClaimStopsItsCommand(t *testing.T) {
	t.Parallel()
	onFleets(t, func(f *fleet) {
		m := f.once("trap 'exit 6' TERM; touch begun; while :; do sleep 0.05; done", "--lease", "1s")
		f.has("begun")
		cancel := f.command("jobs", "cancel", "--queue", "onceq.guard/once")
		if err := cancel.cmd.Run(); err != nil {
			f.Fatalf("%v\n%s", err, &cancel.out)
		}
		m.ends(6, "onceq: the command was stopped: ")
		f.once("exit 0").ends(0, "")
	})
}

// The command gets the signal that onceq got, with all that it started.
func TestSignalsArePassedOnToTheCommand(t *testing.T) {
	t.Parallel()
	f := &fleet{t, t.TempDir(), ""}
	for name, sig := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
		"HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2} {
		f.store = "sqlite:" + name + ".db"
		m := f.once(fmt.Sprintf("trap 'touch got-%[1]s; exit 44' %[1]s; touch begun-%[1]s; sleep 30 & wait", name))
		f.has("begun-" + name)
		_ = m.cmd.Process.Signal(sig)
		m.ends(44, "")
		f.has("got-" + name)
	}
	f.store = "sqlite:default.db"
	m := f.once("touch begun; sleep 30; true")
	f.has("begun")
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	m.ends(128+15, "")
	f.once("exit 0").ends(0, "")
}

func TestASignalEndsTheWaitForAKey(t *testing.T) {
	t.Parallel()
	f := &fleet{t, t.TempDir(), "sqlite:jobs.db"}
	holder := f.once("touch begun; until test -e go; do sleep 0.02; done")
	f.has("begun")
	waits := f.once("touch never", "--wait")
	waits.opened()
	_ = waits.cmd.Process.Signal(syscall.SIGINT)
	waits.ends(128+2, "")
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	holder.ends(0, "")
	if _, err := os.Stat(filepath.Join(f.dir, "never")); err == nil {
		t.Error("the command was run")
	}
}

// The input, output, error and environment of the command are those of onceq.
func TestACommandHasTheInputAndOutputOfOnceq(t *testing.T) {
	t.Parallel()
	f := &fleet{t, t.TempDir(), "sqlite:jobs.db"}
	m := f.command("once", "--key", "my key", "--", "sh", "-c", `cat; echo "$ONCEQ_KEY $ONCEQ_STORE" >&2; pwd`)
	var out, errOut bytes.Buffer
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = strings.NewReader("in\n"), &out, &errOut
	if err := m.cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "in\n"+f.dir+"\n" || errOut.String() != "my key sqlite:jobs.db\n" {
		t.Errorf("%q and %q", &out, &errOut)
	}
}
