// Package redistest starts redis-server processes for tests: a single server, a
// cluster, or a master with Sentinels. They listen on free ports of the
// loopback interface, keep their files in a temporary directory, and end with
// the test.
//
// ONCEQ_TEST_REDIS=redis://… names a server to use in place of a private single
// one. Where no redis-server is installed, a test is skipped; with
// ONCEQ_TEST_REQUIRE=1 it fails and says how to install one.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// binaries are the names of the server, in the order of preference.
var binaries = []string{"redis-server", "valkey-server"}

// Binary is the path of the server program. Without one the test is skipped, or
// fails with ONCEQ_TEST_REQUIRE=1.
func Binary(t testing.TB) string {
	t.Helper()
	path, why := find()
	if path == "" {
		if os.Getenv("ONCEQ_TEST_REQUIRE") == "1" {
			t.Fatal(why)
		}
		fmt.Fprintf(os.Stderr, "\n*** %s is SKIPPED: %s\n\n", t.Name(), why)
		t.Skip(why)
	}
	return path
}

var find = sync.OnceValues(func() (path, why string) {
	for _, name := range append([]string{os.Getenv("ONCEQ_REDIS_SERVER")}, binaries...) {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	return "", "no redis-server (6.2 or later) was found in PATH. Install one (Debian, Ubuntu: " +
		"`apt-get install redis-server`; Fedora: `dnf install redis`; macOS: `brew install redis`), " +
		"name its program in ONCEQ_REDIS_SERVER, or name a running server in " +
		"ONCEQ_TEST_REDIS=redis://localhost:6379"
})

// Server is one process.
type Server struct {
	Addr string // host:port
	Dir  string // of its files

	t    testing.TB
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{} // closed when the process has ended
}

// Start starts a server with options of redis-server, such as "--appendonly",
// "yes". Without options it keeps nothing on disk.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s := prepare(t, t.TempDir(), options...)
	t.Cleanup(s.end)
	s.Restart()
	return s
}

func prepare(t testing.TB, dir string, options ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: dir, Addr: FreeAddr(t)}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--daemonize", "no", "--save", "",
		"--appendonly", "no",
		"--loglevel", "notice", "--logfile", ""}, options...)
	return s
}

// URL names the server.
func (s *Server) URL() string { return "redis://" + s.Addr }

// repair does what docs/stores.md asks for between a kill and the next start:
// it cuts an unfinished script off the end of the append-only file, as a whole.
// Redis itself, and Valkey until its pull request 4342, cuts off only the
// command that is unfinished, and leaves the first half of the script in the
// file: the start after the next one then does that half.
func (s *Server) repair(binary string) {
	s.t.Helper()
	file := filepath.Join(s.Dir, "appendonlydir", "appendonly.aof.manifest")
	if _, err := os.Stat(file); err != nil {
		file = filepath.Join(s.Dir, "appendonly.aof") // of 6.2
		if _, err := os.Stat(file); err != nil {
			return
		}
	}
	folder, name := filepath.Split(binary)
	check := exec.Command(folder+strings.Replace(name, "-server", "-check-aof", 1), "--fix", file)
	check.Stdin = strings.NewReader("y\n")
	if out, err := check.CombinedOutput(); err != nil {
		s.t.Fatalf("redistest: repair %s: %v\n%s", file, err, out)
	}
}

// Restart starts the process again, with the same options and files, and waits
// until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	binary := Binary(s.t)
	s.repair(binary)
	for try := 0; ; try++ {
		s.mu.Lock()
		s.log.Reset()
		s.cmd = exec.Command(binary, s.args...)
		s.cmd.Stdout, s.cmd.Stderr = &locked{s: s}, &locked{s: s}
		s.cmd.SysProcAttr = dieWithParent()
		err := s.cmd.Start()
		s.mu.Unlock()
		if err != nil {
			s.t.Fatalf("redistest: start %s: %v", binary, err)
		}
		s.done = make(chan struct{})
		go func(cmd *exec.Cmd, done chan struct{}) {
			_ = cmd.Wait()
			close(done)
		}(s.cmd, s.done)
		if s.answers() {
			return
		}
		s.end()
		if try == 4 {
			s.t.Fatalf("redistest: %s does not answer:\n%s", s.Addr, s.Log())
		}
	}
}

// Log is what the process has written since its last start.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

type locked struct{ s *Server }

func (l *locked) Write(p []byte) (int, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.log.Write(p)
}

func (s *Server) answers() bool {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialTimeout: 200 * time.Millisecond})
	defer func() { _ = c.Close() }()
	deadline := time.Now().Add(time.Minute) // it reads its files first
	for time.Now().Before(deadline) {
		info, err := c.Info(context.Background(), "all").Result()
		if err == nil && !strings.Contains(info, "loading:1") ||
			err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
			// The server of another test may have taken the port meanwhile.
			return err != nil || strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.cmd.Process.Pid))
		}
		select {
		case <-s.done:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}

// Kill ends the process at once, as a crash would.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Signal sends a signal to the process, for instance syscall.SIGSTOP.
func (s *Server) Signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

func (s *Server) end() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // a stopped process ends too
	<-s.done
}

// Client is a plain client of the server. It is closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Do runs a command on the server, which must succeed.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	v, err := c.Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil {
		s.t.Fatalf("redistest: %v on %s: %v", args, s.Addr, err)
	}
	return v
}

// sharing is one server, or several, used by many tests. It ends with the last
// of them.
type sharing struct {
	mu   sync.Mutex
	uses int
	url  string
	end  func()
}

func (s *sharing) use(t testing.TB, start func(dir string) (url string, end func())) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses == 0 {
		dir, err := os.MkdirTemp("", "onceq-redis")
		if err != nil {
			t.Fatal(err)
		}
		url, end := start(dir)
		s.url, s.end = url, func() {
			end()
			_ = os.RemoveAll(dir)
		}
	}
	s.uses++
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.uses--; s.uses == 0 {
			s.end()
		}
	})
	return s.url
}

var single, cluster sharing

// URL names a server that many tests share, each in a namespace of its own. It
// is the one in ONCEQ_TEST_REDIS, or a private one that ends with the last test
// that uses it.
func URL(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("ONCEQ_TEST_REDIS"); url != "" {
		return url
	}
	Binary(t)
	return single.use(t, func(dir string) (string, func()) {
		s := prepare(t, dir)
		s.Restart()
		return s.URL(), s.end
	})
}

// FreeAddr is a loopback address with a free port. The port 10,000 above is
// free too: the nodes of a cluster talk there. Both lie below the range from
// which systems take ports for outgoing connections, so that none of these
// takes the port before the server does.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 10_001 + rand.IntN(12_000)
		if free(port) && free(port+10_000) {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		}
	}
	t.Fatal("redistest: no free port")
	return ""
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
