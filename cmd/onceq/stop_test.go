//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is an onceq work that runs one job, of one attempt, whose process
// has written its number.
type service struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	child int // the job's process
}

// serve starts a worker whose job is the shell script, and waits until that
// says ready (which it does at once unless it says so itself). begin, which
// may be nil, may change how the worker starts.
func serve(t *testing.T, script string, begin func(*exec.Cmd), flags ...string) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir()}
	s.onceq("enqueue", "long", "--id", "j", "--max-attempts", "1")
	if !strings.Contains(script, "ready") {
		script = "ready; " + script
	}
	script = "ready() { echo $$ >child.new && mv child.new child; }; " + script
	s.cmd = exec.Command("onceq", append([]string{"work", "--exec", script, "--queues", "default=1"}, flags...)...)
	s.cmd.Dir, s.cmd.Env = s.dir, append(os.Environ(), "ONCEQ_STORE=sqlite:jobs.db")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errOut bytes.Buffer
	s.cmd.Stderr = &errOut
	if begin != nil {
		begin(s.cmd)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = syscall.Kill(-max(s.child, 2), syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the worker said:\n%s", errOut.String())
		}
	})
	s.until("the job's process runs", func() bool {
		number, err := os.ReadFile(filepath.Join(s.dir, "child"))
		s.child, _ = strconv.Atoi(strings.TrimSpace(string(number)))
		return err == nil && s.child > 0
	})
	return s
}

// onceq runs a command beside the worker.
func (s *service) onceq(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("onceq", args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "ONCEQ_STORE=sqlite:jobs.db")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("onceq %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *service) until(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it never came that %s", what)
		}
	}
}

// size is that of a file in the worker's folder; 0 when there is none.
func (s *service) size(name string) int64 {
	info, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// ends waits until the worker has ended.
func (s *service) ends() {
	s.t.Helper()
	ended := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(60 * time.Second):
		s.t.Fatal("the worker did not end")
	}
}

// job is "STATE, N attempts": what became of the job.
func (s *service) job() string {
	s.t.Helper()
	var job struct {
		State   string `json:"state"`
		Attempt int    `json:"attempt"`
	}
	if err := json.Unmarshal([]byte(s.onceq("job", "show", "j", "--json")), &job); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%s, %d attempts", job.State, job.Attempt)
}

const handedBack = "available, 0 attempts"

// A service manager signals the worker and the processes of its jobs, in
// either order, whatever these do about it.
func TestAStopThatReachesTheJobsTooHandsThemBack(t *testing.T) {
	for name, script := range map[string]string{
		"a process":                       "exec sleep 30",
		"a shell that waits":              "sleep 30; true",
		"a shell that goes on":            "sleep 30; exit 4",
		"it exits with 1":                 "trap 'exit 1' TERM INT HUP; ready; sleep 30 & wait",
		"it says the number of a signal":  "trap 'exit 143' TERM INT HUP; ready; sleep 30 & wait",
		"its child says that number":      "trap : TERM INT HUP; (ready; exec sleep 30); exit $?",
		"it takes its time and then says": "trap 'sleep 0.3; exit 1' TERM INT HUP; ready; sleep 30 & wait",
	} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			for _, childFirst := range []bool{false, true} {
				if sig != syscall.SIGTERM && childFirst {
					continue
				}
				t.Run(fmt.Sprintf("%s, %v, child first %v", name, sig, childFirst), func(t *testing.T) {
					t.Parallel()
					s := serve(t, script, nil)
					worker := func() { _ = s.cmd.Process.Signal(sig) }
					if !childFirst {
						worker()
					}
					_ = syscall.Kill(-s.child, sig)
					if childFirst {
						worker()
					}
					s.ends()
					if got := s.job(); got != handedBack {
						t.Errorf("the job is %s", got)
					}
				})
			}
		}
	}
}

// What a process says by itself counts, also while the worker ends.
func TestAProcessThatIsAskedToStopMayStillSayHowItEnded(t *testing.T) {
	for code, want := range map[int]string{0: "completed, 1 attempts", 100: "discarded, 1 attempts",
		75: "scheduled, 0 attempts"} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := serve(t, fmt.Sprintf("trap 'exit %d' TERM; ready; sleep 30 & wait", code), nil)
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			_ = syscall.Kill(-s.child, syscall.SIGTERM)
			s.ends()
			if got := s.job(); got != want {
				t.Errorf("the job is %s, not %s", got, want)
			}
		})
	}
}

// A process that does not heed its stop is killed in time for the worker to end well.
func TestAProcessThatIgnoresItsStopIsKilledBeforeTheWorkerEnds(t *testing.T) {
	t.Parallel()
	s := serve(t, "trap '' TERM; ready; while :; do sleep 0.1; done", nil, "--shutdown-timeout", "100ms")
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends()
	if code := s.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if got := s.job(); got != handedBack {
		t.Errorf("the job is %s", got)
	}
	s.until("the job's process ends with its worker", func() bool { return syscall.Kill(-s.child, 0) != nil })
}

// A process that somebody ends alone has failed: nobody asked the worker to
// stop.
func TestAProcessThatIsKilledAloneHasFailed(t *testing.T) {
	t.Parallel()
	s := serve(t, "exec sleep 30", nil)
	_ = syscall.Kill(-s.child, syscall.SIGKILL)
	s.until("the job is discarded", func() bool { return s.job() == "discarded, 1 attempts" })
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends()
}

// The reader of the worker's output ends: nothing more can be shown, so the
// worker ends as on a signal, and a job that writes is not hurt.
func TestAPipeThatEndsStopsTheWorkerGently(t *testing.T) {
	for _, flag := range []string{"", "--json"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			var reader *os.File
			begin := func(cmd *exec.Cmd) {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				reader, cmd.Stdout, cmd.Stderr = r, w, w
				t.Cleanup(func() { _ = w.Close() })
			}
			flags := []string{"--shutdown-timeout", "500ms"}
			if flag != "" {
				flags = append(flags, flag)
			}
			s := serve(t, "while :; do echo line; echo err >&2; sleep 0.01; done", begin, flags...)
			_ = s.cmd.Stdout.(*os.File).Close() // ours; the worker has its own
			if _, err := reader.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			_ = reader.Close()
			s.ends()
			if got := s.job(); got != handedBack {
				t.Errorf("the job is %s", got)
			}
			s.until("the job's process ends with its worker", func() bool { return syscall.Kill(-s.child, 0) != nil })
		})
	}
}

// A job that ends well while its worker ends for a broken pipe is
// completed, although what it wrote could not be shown.
func TestAJobIsNotFailedForOutputThatNobodyReads(t *testing.T) {
	t.Parallel()
	var reader *os.File
	s := serve(t, "until test -e go; do sleep 0.01; done; echo one && echo two && echo three", func(cmd *exec.Cmd) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		reader, cmd.Stdout = r, w
		t.Cleanup(func() { _ = w.Close() })
	})
	_ = s.cmd.Stdout.(*os.File).Close()
	_ = reader.Close()
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ends()
	if got := s.job(); got != "completed, 1 attempts" {
		t.Errorf("the job is %s", got)
	}
}

// The reader is there and does not read: the worker ends all the same, and
// its jobs are handed back.
func TestAReaderThatReadsNothingDoesNotKeepTheWorker(t *testing.T) {
	t.Parallel()
	var reader *os.File
	s := serve(t, "touch full; yes", func(cmd *exec.Cmd) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		reader, cmd.Stdout = r, w
		t.Cleanup(func() { _, _ = w.Close(), reader.Close() })
	}, "--shutdown-timeout", "200ms")
	_ = s.cmd.Stdout.(*os.File).Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends()
	if got := s.job(); got != handedBack {
		t.Errorf("the job is %s", got)
	}
}

// nohup says that a closed terminal is not to matter.
func TestAHangupThatIsIgnoredStaysIgnored(t *testing.T) {
	t.Parallel()
	s := serve(t, "until test -e go; do sleep 0.01; done", func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`}, cmd.Args...)
	})
	_ = s.cmd.Process.Signal(syscall.SIGHUP)
	s.onceq("enqueue", "next", "--id", "next")
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("the next job is run too", func() bool {
		return strings.Contains(s.onceq("job", "show", "next", "--json"), `"state":"completed"`)
	})
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends()
}

// timeout(1) sends its signal to the worker and to the group that the
// worker is in: twice is once.
func TestASignalThatComesTwiceAtOnceIsOne(t *testing.T) {
	t.Parallel()
	s := serve(t, "trap 'exit 1' TERM; ready; sleep 0.5 & wait", nil)
	for range 2 {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	s.ends()
	if got := s.job(); got != "completed, 1 attempts" {
		t.Errorf("the job is %s", got)
	}
}
