// Package clients_test runs the clients of other languages against a server.
package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
	"github.com/onceq/onceq/sqlitestore"
)

const token = "operate-0123456789abcdefghij"

// languages are the clients, each with how a program of testdata is run.
var languages = []struct {
	name    string
	command func(t *testing.T, program string) *exec.Cmd
}{
	{"python", func(t *testing.T, program string) *exec.Cmd {
		cmd := exec.Command(tool(t, "python3"), "-s", filepath.Join("testdata", program+".py"))
		cmd.Env = append(os.Environ(), "PYTHONPATH=python", "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}},
	{"node", func(t *testing.T, program string) *exec.Cmd {
		// A folder as npm install makes it.
		folder := t.TempDir()
		here, err := filepath.Abs("typescript")
		text, readErr := os.ReadFile(filepath.Join("testdata", program+".mjs"))
		for _, err := range []error{err, readErr, os.Mkdir(filepath.Join(folder, "node_modules"), 0o755),
			os.Symlink(here, filepath.Join(folder, "node_modules", "onceq")),
			os.WriteFile(filepath.Join(folder, "main.mjs"), text, 0o644)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(tool(t, "node"), filepath.Join(folder, "main.mjs"))
		cmd.Env = os.Environ()
		return cmd
	}},
}

// tool is a program of another language. What it will read is read here too: go
// test takes an old result for good only if what the test has read is as before.
func tool(t *testing.T, name string) string {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(name + " is not installed")
	}
	return path
}

// each runs a test for each language.
func each(t *testing.T, test func(t *testing.T, s *server, command func(program string) *exec.Cmd)) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			test(t, serve(t), func(program string) *exec.Cmd { return l.command(t, program) })
		})
	}
}

// server is what onceq serve serves, on a SQLite file. It can cut answers.
type server struct {
	*testing.T
	url    string
	client *onceq.Client
	mu     sync.Mutex
	cuts   map[string]int // by the end of the path: so many answers are cut
	fetch  map[string]fetches
}

// fetches are the numbers of a worker's.
type fetches struct {
	no       int64 // of the last
	answered int64 // the last whose answer was not cut
	known    int64 // that one, when the next came: the worker knew it
}

// follows wants that a worker numbers its fetches as it must.
func (s *server) follows(call string, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	var said struct {
		Worker string `json:"worker"`
		No     int64  `json:"no"`
		Done   int64  `json:"fetches_done"`
		Leave  bool   `json:"leave"`
	}
	if err != nil || json.Unmarshal(text, &said) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fetch[said.Worker]
	switch {
	case call == "fetch" && said.No != f.no+1:
		s.Errorf("fetch %d follows fetch %d", said.No, f.no)
	case call == "extend" && !said.Leave && (said.Done < f.known || said.Done > f.no):
		s.Errorf("fetch %d is said to be the last, after %d was answered and %d sent", said.Done, f.known, f.no)
	}
	if call == "fetch" {
		f.no, f.known = said.No, f.answered
		s.fetch[said.Worker] = f
	}
}

// answeredFetch takes in that the answer to the last fetch of a worker was sent.
func (s *server) answeredFetch(text []byte) {
	var said struct {
		Worker string `json:"worker"`
		No     int64  `json:"no"`
	}
	if json.Unmarshal(text, &said) == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		f := s.fetch[said.Worker]
		f.answered = said.No
		s.fetch[said.Worker] = f
	}
}

const lease = 5 * time.Second

func serve(t *testing.T) *server {
	t.Helper()
	store, err := sqlitestore.Open(filepath.Join(t.TempDir(), "q.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, store)
}

// serveOn serves a store, and closes it.
func serveOn(t *testing.T, store interface {
	onceq.Store
	io.Closer
}) *server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	client, err := onceq.NewClient(store, &onceq.Config{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	remote, err := onceq.NewRemote(store, &onceq.RemoteConfig{Logger: log, Lease: lease,
		Retry: func(*onceq.JobRow, error) time.Duration { return time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := dashboard.ReadTokens(strings.NewReader("operate " + token + " o\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := dashboard.New(client, &dashboard.Config{Authorize: tokens.Authorize, Who: tokens.Who, Remote: remote,
		Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{T: t, client: client, cuts: map[string]int{}, fetch: map[string]fetches{}}
	listening := httptest.NewServer(s.cutting(d))
	s.url = listening.URL
	ctx, stop := context.WithCancel(context.Background())
	swept := make(chan error, 1)
	go func() { swept <- remote.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-swept; err != nil {
			t.Error(err)
		}
		listening.Close()
		for _, c := range []io.Closer{d, client, store} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// cut lets the next answers to a call be lost, although it is carried out.
func (s *server) cut(call string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts[call] = times
}

// wasCut reports that all answers that were to be lost were lost.
func (s *server) wasCut(call string) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts[call] != 0 {
		s.Errorf("%d answers of %s were not cut", s.cuts[call], call)
	}
}

func (s *server) cutting(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		var text []byte
		if call == "fetch" || call == "extend" {
			s.follows(call, r)
			text, _ = io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(text))
		}
		s.mu.Lock()
		concerned := r.Method == "POST" && s.cuts[call] > 0
		s.mu.Unlock()
		if !concerned {
			inner.ServeHTTP(w, r)
			if call == "fetch" {
				s.answeredFetch(text)
			}
			return
		}
		rec := httptest.NewRecorder()
		inner.ServeHTTP(rec, r)
		empty := call == "fetch" && bytes.Contains(rec.Body.Bytes(), []byte(`"jobs":[]`)) // nothing is lost with it
		s.mu.Lock()
		cut := s.cuts[call] > 0 && !empty
		if cut {
			s.cuts[call]--
		}
		s.mu.Unlock()
		half := rec.Body.Bytes()
		if cut {
			half = half[:len(half)/2]
		}
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(half)
		if !cut && call == "fetch" {
			s.answeredFetch(text)
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
	})
}

func (s *server) enqueue(kind string, args any, opts ...onceq.Option) string {
	s.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		s.Fatal(err)
	}
	r, err := s.client.Enqueue(s.Context(), onceq.JSON(kind, text), opts...)
	if err != nil {
		s.Fatal(err)
	}
	return r.Job.ID
}

// until waits for a state of a job.
func (s *server) until(id string, what string, ok func(*onceq.JobRow) bool) *onceq.JobRow {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		job, err := s.client.Job(s.Context(), id)
		if err == nil && ok(job) {
			return job
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s: it is never so: %+v, %v", what, job, err)
		}
	}
}

// is waits until a job is in a state.
func (s *server) is(id string, want onceq.State) *onceq.JobRow {
	s.Helper()
	return s.until(id, string(want), func(j *onceq.JobRow) bool { return j.State == want })
}

// program is one that runs, and what it says.
type program struct {
	*testing.T
	cmd   *exec.Cmd
	in    io.Writer
	lines chan string
	errs  bytes.Buffer
	ended chan error
}

func (s *server) start(cmd *exec.Cmd, env ...string) *program {
	s.Helper()
	p := &program{T: s.T, cmd: cmd, lines: make(chan string, 1000), ended: make(chan error, 1)}
	cmd.Env = append(append(cmd.Env, "ONCEQ_URL="+s.url, "ONCEQ_TOKEN="+token), env...)
	cmd.Stderr = &p.errs
	out, err := cmd.StdoutPipe()
	in, inErr := cmd.StdinPipe()
	if err != nil || inErr != nil {
		s.Fatal(err, inErr)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	p.in = in
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
		close(p.lines)
		p.ended <- cmd.Wait()
	}()
	s.Cleanup(func() {
		_ = cmd.Process.Kill() // usually it has ended
		for range p.lines {
		}
	})
	return p
}

// line is the next that is printed.
func (p *program) line() string {
	p.Helper()
	select {
	case line, ok := <-p.lines:
		if ok {
			return line
		}
		p.Fatalf("it has ended: %v\n%s", <-p.ended, &p.errs)
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		for range p.lines {
		}
		p.Fatalf("it says nothing more\n%s", &p.errs)
	}
	return ""
}

func (p *program) says(want string) {
	p.Helper()
	if got := p.line(); got != want {
		p.Fatalf("it says %q, want %q", got, want)
	}
}

// finished waits for its end, and wants that nothing more was said than that.
func (p *program) finished(want ...string) {
	p.Helper()
	var rest []string
	for line := range p.lines {
		rest = append(rest, line)
	}
	if err := <-p.ended; err != nil || strings.Join(rest, "\n") != strings.Join(want, "\n") {
		p.Fatalf("%v %q\n%s", err, rest, &p.errs)
	}
}
