// Package pgtest gives tests a PostgreSQL server: the one that
// ONCEQ_TEST_POSTGRES names, or a private one. The private one runs on a free
// port of this machine, keeps its files in a temporary folder, and ends with
// the test binary.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
//
// Where PostgreSQL is not installed, a test that asks for a server is skipped
// and says so. With ONCEQ_TEST_REQUIRE=1 it fails.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// help says what to do where there is no server.
const help = `no PostgreSQL server for tests: these tests need one.
  Install it (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server;
  macOS: brew install postgresql). It need not run: the tests start a server of their own.
  Or name a server of yours: ONCEQ_TEST_POSTGRES=postgres://user@host/database.`

// shared is the server of this test binary.
var shared struct {
	sync.Mutex
	started bool
	url     string
	server  *Server
	err     error
}

// Main wraps the tests of a package and ends the shared server after them.
func Main(m Tests) Tests { return run{m} }

// Tests is a *testing.M, or what wraps one.
type Tests interface {
	Run() int // runs the tests; the result is the exit code
}

type run struct{ m Tests }

func (r run) Run() int {
	code := r.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Stop()
	}
	return code
}

// URL names a database that all tests of this binary share: each uses a schema
// of its own. The private server runs with fsync off; [Start] starts one that a
// test may crash.
func URL(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.started {
		shared.started = true
		if shared.url = os.Getenv("ONCEQ_TEST_POSTGRES"); shared.url == "" {
			if shared.server, shared.err = start("-c", "fsync=off", "-c", "full_page_writes=off", "-c",
				"synchronous_commit=off"); shared.err == nil {
				shared.url = shared.server.URL()
			}
		}
	}
	if shared.err != nil {
		missing(t, shared.err)
	}
	return shared.url
}

// Start starts a server for one test, as durable as PostgreSQL is by default,
// which the test may crash. Settings are passed as "-c", "name=value".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.Stop)
	return s
}

// missing skips a test in a way that people notice, or fails it.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
		t.Fatalf("%s\n  %v", help, err)
	}
	once.Do(func() {
		text := fmt.Sprintf("\n*** SKIPPED: %s\n*** (%v)\n\n", help, err)
		os.Stderr.WriteString(text)
		// `go test` hides what a passing package writes, but not what is
		// written to the terminal.
		if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
			_, _ = tty.WriteString(text)
			_ = tty.Close()
		}
	})
	t.Skipf("%s (%v)", help, err)
}

var once sync.Once

// Server is a private server.
type Server struct {
	bin      string // where its programs are
	folder   string
	port     int
	settings []string
	as       *Account

	mu      sync.Mutex
	process *os.Process // nil while it is down
	ended   chan struct{}
}

// Programs returns the folder with the programs of the newest PostgreSQL on
// this machine.
func Programs() (string, error) {
	var folders []string
	if path, err := exec.LookPath("pg_config"); err == nil {
		if out, err := exec.Command(path, "--bindir").Output(); err == nil {
			folders = append(folders, strings.TrimSpace(string(out)))
		}
	}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(versions, func(a, b string) int { return versionOf(b) - versionOf(a) })
	folders = append(folders, versions...)
	more, _ := filepath.Glob("/usr/pgsql-*/bin")
	folders = append(folders, more...)
	folders = append(folders, "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql/bin",
		"/usr/local/opt/postgresql/bin", "/usr/bin", "/usr/local/bin")
	for _, f := range folders {
		if _, err := os.Stat(filepath.Join(f, "initdb")); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(f, "postgres")); err == nil {
			return f, nil
		}
	}
	return "", errors.New("initdb and postgres are not in any of " + strings.Join(folders, ", "))
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
	return n
}

func start(settings ...string) (s *Server, err error) {
	s = &Server{settings: settings}
	if s.bin, err = Programs(); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp("", "onceq-postgres-"); err != nil {
		return nil, err
	}
	if s.as, err = Unprivileged(); err == nil {
		err = s.as.Own(s.folder)
	}
	if err != nil {
		os.RemoveAll(s.folder)
		return nil, err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-A", "trust", "-U", "postgres", "-E",
		"UTF8", "--locale=C", "-N")
	s.as.Run(initdb)
	initdb.Dir = s.folder
	if out, err := initdb.CombinedOutput(); err != nil {
		os.RemoveAll(s.folder)
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for range 3 { // another program may take the port first
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	os.RemoveAll(s.folder)
	return nil, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// Port is the port on 127.0.0.1, the same after a restart.
func (s *Server) Port() int { return s.port }

// URL names its database "postgres".
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Start starts the server, again if it ended, and waits until it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("it runs")
	}
	var err error
	for range 5 { // after a kill its other processes need a moment to end
		if err = s.launch(); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

// launch starts the process. s.mu is locked.
func (s *Server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-k", s.folder, "-c",
		"listen_addresses=127.0.0.1", "-c", "max_connections=300"}, s.settings...)
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.folder
	s.as.Run(cmd)
	diesWithThread(cmd.SysProcAttr)
	begun, ended := make(chan error), make(chan struct{})
	go func() {
		// The server is ended with the thread that started it. That thread
		// lives as long as this process, however that ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // the tests end it in many ways, so its exit code says nothing
		}
	}()
	if err := <-begun; err != nil {
		return err
	}
	s.process, s.ended = cmd.Process, ended
	if err := s.answers(ended); err != nil {
		_ = s.process.Kill() // it may have ended
		<-ended
		s.process = nil
		text, _ := os.ReadFile(filepath.Join(s.folder, "log"))
		return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

// answers waits until a connection can be made.
func (s *Server) answers(ended chan struct{}) error {
	var err error
	for range 600 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		var conn *pgx.Conn
		if conn, err = pgx.Connect(ctx, s.URL()); err == nil {
			err = conn.Close(ctx)
			cancel()
			return err
		}
		cancel()
		select {
		case <-ended:
			return errors.New("postgres ended")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("postgres does not answer: %w", err)
}

// Signal ends the server and waits for that. SIGINT is a fast shutdown, SIGQUIT
// an immediate one (for its files the same as a crash), SIGKILL a crash.
func (s *Server) Signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	pid := s.process.Pid
	children := childrenOf(pid)
	_ = s.process.Signal(sig) // it may have ended
	<-s.ended
	s.process = nil
	if sig == syscall.SIGKILL {
		for _, child := range children { // they would end by themselves, but later
			if process, err := os.FindProcess(child); err == nil {
				_ = process.Kill() // it may have ended
			}
		}
	}
}

// childrenOf returns the processes that a process has started.
func childrenOf(pid int) (all []int) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// Stop ends the server and removes its files.
func (s *Server) Stop() {
	s.Signal(syscall.SIGQUIT)
	os.RemoveAll(s.folder)
}

// CPU is the processor time that the processes of the server have used, also
// those that have ended. Without /proc it is 0.
func (s *Server) CPU() (total time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	for i, pid := range append([]int{s.process.Pid}, childrenOf(s.process.Pid)...) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		last := 13 // utime and stime
		if i == 0 {
			last = 15 // and cutime and cstime: children that have ended
		}
		for _, f := range fields[11:last] {
			ticks, err := strconv.Atoi(f)
			if err == nil {
				total += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
	}
	return total
}

// Standby makes it a standby that follows nobody, until it is promoted.
func (s *Server) Standby() error {
	s.Signal(syscall.SIGINT)
	mark := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := s.as.Own(mark); err != nil {
		return err
	}
	return s.Start()
}
