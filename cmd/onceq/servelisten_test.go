package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAnAddressThatIsNoneIsExplained(t *testing.T) {
	t.Setenv("ONCEQ_TOKEN", "")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]string{
		"nope": "HOST:PORT", "8080": "HOST:PORT", "127.0.0.1": "HOST:PORT", "127.0.0.1:": "HOST:PORT", "": "HOST:PORT",
		"127.0.0.1:nope": "HOST:PORT", "127.0.0.1:99999": "HOST:PORT", "http://127.0.0.1:8080": "HOST:PORT",
		"::1:8080": "HOST:PORT", "unix:": "unix:/run/onceq.sock", "unix:/nowhere/at/all/s": "no such file",
		taken.Addr().String(): "choose another port",
	} {
		var errs bytes.Buffer
		path := filepath.Join(t.TempDir(), "q.db")
		code := run([]string{"serve", "--store", "sqlite:" + path, "--listen", address}, nil, &errs, &errs)
		if code == 0 || !strings.Contains(errs.String(), want) || strings.Contains(errs.String(), "token") ||
			strings.Contains(errs.String(), "chmod") {
			t.Errorf("%q: exit code %d: %s", address, code, &errs)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%q: a store was made", address)
		}
	}
}

// TestConnectionsAreBounded holds all that there may be, each after one request.
func TestConnectionsAreBounded(t *testing.T) {
	if s := newServe(newApp(nil, io.Discard, io.Discard)); s == nil || maxConnections != 2000 {
		t.Error(maxConnections)
	}
	url, _ := serving(t, func(s *httpServer) { s.most = 3 })
	address := strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	ask := func(conn net.Conn, wait time.Duration) error {
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		_, err := conn.Read(make([]byte, 1000))
		return err
	}
	var all []net.Conn
	for i := range 4 {
		conn, err := net.Dial("tcp", address) // the system takes it, perhaps for later
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		all = append(all, conn)
		if i < 3 {
			if err := ask(conn, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ask(all[3], 500*time.Millisecond); err == nil {
		t.Error("a fourth connection was served beside three")
	}
	all[0].Close()
	_ = all[3].SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := all[3].Read(make([]byte, 1000)); err != nil {
		t.Errorf("it was not served when there was room: %v", err)
	}
}

func TestServeTellsWhatOperatorsChange(t *testing.T) {
	url, log := serving(t, nil)
	post := func(path, body string) {
		t.Helper()
		res, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	post("api/v1/jobs", `{"kind":"mail","args":{"to":"ada"}}`)
	post("api/v1/queues/default/pause", "")
	post("api/v1/queues/a%1B%0Ab/pause", "") // it cannot begin a line of its own
	deadline := time.Now().Add(time.Minute)
	for strings.Count(log.String(), "\n") < 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // a line may come after its answer
	}
	text := log.String()
	for _, want := range []string{"operator changed something who=anyone method=POST " +
		"path=/api/v1/queues/default/pause status=200 request=", "status=422"} {
		if !strings.Contains(text, want) || strings.Contains(text, "ada") || strings.Contains(text, "\x1b") ||
			strings.Count(text, "\n") != 3 {
			t.Errorf("%q", text)
		}
	}
}
