package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/internal/redistest"
)

// Processes of onceq serve, and of workers that know only its HTTP, are killed
// here. What has run stands in a ledger, a file that outlives them.

// caller calls one of several servers: the one that answers.
type caller struct {
	urls []string
	at   int
}

var errAway = errors.New("no server answers")

// once asks each server at most once.
func (c *caller) once(method, path, body string, into any) (status int, err error) {
	for range c.urls {
		r, err := http.NewRequest(method, c.urls[c.at]+"api/v1/"+path, strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		r.Header.Set("Content-Type", "application/json")
		client := http.Client{Timeout: 40 * time.Second}
		res, err := client.Do(r)
		if err == nil {
			text, readErr := io.ReadAll(res.Body)
			res.Body.Close()
			if readErr == nil && res.StatusCode != http.StatusServiceUnavailable {
				if into != nil && res.StatusCode < 300 {
					err = json.Unmarshal(text, into)
				}
				return res.StatusCode, err
			}
		}
		c.at = (c.at + 1) % len(c.urls)
	}
	return 0, errAway
}

// call asks until there is an answer.
func (c *caller) call(method, path, body string, into any) (status int, err error) {
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if status, err = c.once(method, path, body, into); !errors.Is(err, errAway) {
			return status, err
		}
	}
	return status, err
}

// remoteWorker is the program of a worker of these tests: it writes each run into
// the ledger, works for a while, and finishes it. WORK=never ends no run.
func remoteWorker() {
	if err := workRemotely(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func workRemotely() error {
	c := &caller{urls: strings.Split(os.Getenv("URLS"), ",")}
	ledger, err := os.OpenFile(os.Getenv("LEDGER"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var me struct{ Worker string }
	if _, err := c.call("POST", "workers", `{"name":"test","queues":{"default":1}}`, &me); err != nil {
		return err
	}
	for no := 1; ; no++ {
		var got struct {
			Jobs []struct {
				ID           string
				Run, Attempt int64
			}
		}
		if _, err := c.once("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":%d,"queues":{"default":1},"wait_ms":2000}`,
			me.Worker, no), &got); err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for _, j := range got.Jobs {
			fmt.Fprintf(ledger, "%s %d\n", j.ID, j.Attempt)
			work, err := time.ParseDuration(os.Getenv("WORK"))
			if err != nil {
				select {}
			}
			time.Sleep(work)
			body := fmt.Sprintf(`{"worker":%q,"run":%d,"outcome":"completed"}`, me.Worker, j.Run)
			if status, err := c.call("POST", "jobs/"+url.PathEscape(j.ID)+"/finish", body, nil); err != nil ||
				status != http.StatusOK {
				return fmt.Errorf("finish of %s: %d, %w", j.ID, status, err)
			}
		}
	}
}

// started is a process that a test has started.
type started struct {
	cmd  *exec.Cmd
	out  *syncBuffer
	done chan struct{}
}

func start(t *testing.T, env []string, name string, args ...string) *started {
	t.Helper()
	p := &started{cmd: exec.Command(name, args...), out: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0", "ONCEQ_TOKEN="), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// end sends a signal, and waits for the end.
func (p *started) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	<-p.done
}

// startServe starts onceq serve, and waits until it answers.
func startServe(t *testing.T, store, address string, args ...string) *started {
	t.Helper()
	p := start(t, []string{"ONCEQ_STORE=" + store}, "onceq", append([]string{"serve", "--listen", address}, args...)...)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
	}
	t.Fatalf("serve does not answer: %s", p.out)
	return nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

var serveStores atomic.Int64

// onServedStores runs a test for each kind of store that processes can share.
func onServedStores(t *testing.T, test func(t *testing.T, store string)) {
	for name, of := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "q.db") },
		"postgres": func(t *testing.T) string { return pgtest.URL(t) },
		"redis":    func(t *testing.T) string { return redistest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := of(t)
			if name != "sqlite" {
				sign := "?"
				if strings.Contains(store, "?") {
					sign = "&"
				}
				store += fmt.Sprintf("%snamespace=serve%d_%d", sign, os.Getpid(), serveStores.Add(1))
			}
			test(t, store)
		})
	}
}

type servedJob struct {
	State        string
	Attempt, Run int64
	Errors       []struct{ Error string }
}

func (c *caller) job(t *testing.T, id string) (j servedJob) {
	t.Helper()
	if status, err := c.call("GET", "jobs/"+id, "", &j); err != nil || status != http.StatusOK {
		t.Fatalf("job %s: %d, %v", id, status, err)
	}
	return j
}

// eventually waits for something that happens in other processes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestAKilledRemoteWorkerIsRescuedByServeAlone(t *testing.T) {
	t.Parallel()
	onServedStores(t, func(t *testing.T, store string) {
		address, ledger := freeAddress(t), filepath.Join(t.TempDir(), "ledger")
		startServe(t, store, address, "--lease", "5s")
		c := &caller{urls: []string{"http://" + address + "/"}}
		if status, err := c.call("POST", "jobs", `{"id":"a","kind":"mail","unique":true}`, nil); err != nil ||
			status != http.StatusCreated {
			t.Fatalf("%d, %v", status, err)
		}
		env := []string{"URLS=" + c.urls[0], "LEDGER=" + ledger, "WORK=never"}
		worker := start(t, env, "remoteworker")
		eventually(t, "a run", func() bool { text, _ := os.ReadFile(ledger); return string(text) == "a 1\n" })
		if j := c.job(t, "a"); j.State != "running" {
			t.Errorf("%+v", j)
		}
		worker.end(syscall.SIGKILL)
		eventually(t, "its rescue", func() bool { return c.job(t, "a").State != "running" })
		if j := c.job(t, "a"); j.State != "retryable" || j.Attempt != 1 || len(j.Errors) != 1 ||
			!strings.Contains(j.Errors[0].Error, "lost") {
			t.Errorf("%+v", j)
		}
		env[2] = "WORK=1ms"
		start(t, env, "remoteworker")
		if status, err := c.call("POST", "jobs/a/run", "", nil); err != nil || status != http.StatusOK { // at once
			t.Errorf("%d, %v", status, err)
		}
		eventually(t, "its end", func() bool { return c.job(t, "a").State == "completed" })
		if j := c.job(t, "a"); j.Attempt != 2 {
			t.Errorf("%+v", j)
		}
	})
}

// TestRestartingServeLosesNoRun restarts two servers of one store by turns, one
// gently and one by kill -9, while workers run jobs through both.
func TestRestartingServeLosesNoRun(t *testing.T) {
	t.Parallel()
	onServedStores(t, func(t *testing.T, store string) {
		ledger := filepath.Join(t.TempDir(), "ledger")
		addresses := []string{freeAddress(t), freeAddress(t)}
		servers := []*started{startServe(t, store, addresses[0]), startServe(t, store, addresses[1])}
		c := &caller{urls: []string{"http://" + addresses[0] + "/", "http://" + addresses[1] + "/"}}
		var workers []*started
		for i := range 3 { // they begin with either server
			urls := c.urls[i%2] + "," + c.urls[(i+1)%2]
			workers = append(workers, start(t, []string{"URLS=" + urls, "LEDGER=" + ledger, "WORK=100ms"},
				"remoteworker"))
		}
		jobs := 0
		enqueue := func() {
			for range 10 { // a repeat, after an answer that was lost, finds the job
				status, err := c.call("POST", "jobs", fmt.Sprintf(`{"id":"%d","kind":"mail"}`, jobs), nil)
				if err != nil || status != http.StatusCreated && status != http.StatusOK {
					t.Fatalf("%d, %v", status, err)
				}
				jobs++
			}
		}
		ran := func() int { text, _ := os.ReadFile(ledger); return bytes.Count(text, []byte("\n")) }
		for range 3 {
			for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				enqueue()
				before := ran()
				eventually(t, "some runs", func() bool { return ran() > before+2 }) // some are under way
				servers[i].end(signal)
				if code := servers[i].cmd.ProcessState.ExitCode(); signal == syscall.SIGTERM && code != 0 {
					t.Errorf("exit code %d: %s", code, servers[i].out)
				}
				enqueue() // through the other
				servers[i] = startServe(t, store, addresses[i])
			}
		}
		eventually(t, "the end of all", func() bool {
			var all struct{ Jobs []servedJob }
			_, err := c.call("GET", "jobs?limit=200&state=completed", "", &all)
			return err == nil && len(all.Jobs) == jobs
		})
		text, err := os.ReadFile(ledger)
		if err != nil {
			t.Fatal(err)
		}
		times := map[string]int{}
		for line := range strings.Lines(string(text)) {
			id, attempt, _ := strings.Cut(strings.TrimSpace(line), " ")
			if times[id]++; attempt != "1" {
				t.Errorf("job %s ran as attempt %s", id, attempt)
			}
		}
		for i := range jobs {
			id := strconv.Itoa(i)
			if j := c.job(t, id); times[id] != 1 || j.Attempt != 1 || len(j.Errors) > 0 {
				t.Errorf("job %s ran %d times: %+v", id, times[id], j)
			}
		}
		for _, w := range workers {
			select {
			case <-w.done:
				t.Errorf("a worker ended: %s", w.out)
			default:
			}
		}
	})
}
