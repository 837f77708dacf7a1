package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestServeRefusesAPublicAddressWithoutAToken(t *testing.T) {
	t.Setenv("ONCEQ_TOKEN", "")
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "example.com:0",
		"127.0.0.1.nip.io:0"} {
		var out, errs bytes.Buffer
		path := filepath.Join(t.TempDir(), "q.db")
		code := run([]string{"serve", "--store", "sqlite:" + path, "--listen", address}, nil, &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), "--token-file") {
			t.Errorf("%s: exit code %d: %s", address, code, &errs)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a store was made", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0", "127.1.2.3:0"} {
		if !isLocal(address) {
			t.Errorf("%s is not local", address)
		}
	}
	t.Setenv("ONCEQ_TOKEN", "short")
	var errs bytes.Buffer
	if code := run([]string{"serve", "--listen", ":0"}, nil, &errs, &errs); code != exitUsage ||
		!strings.Contains(errs.String(), "22 characters") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

func TestServeAnswersUntilItIsStopped(t *testing.T) {
	const token = "0123456789abcdefghijkl"
	t.Setenv("ONCEQ_TOKEN", token)
	var errs syncBuffer
	a := newApp(nil, &errs, &errs)
	a.store = "sqlite:" + filepath.Join(t.TempDir(), "q.db")
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan string, 1)
	ended := make(chan error, 1)
	s := &httpServer{listen: "127.0.0.1:0", lease: time.Minute, shutdown: 10 * time.Second, maxPolls: 10,
		streams: 10, most: 100,
		began: func(url string) { began <- url }}
	go func() { ended <- a.serve(ctx, s, func() {}) }()
	url := ""
	select {
	case url = <-began:
	case err := <-ended:
		t.Fatal(err)
	}
	call := func(method, path, body string) (status int, answer map[string]any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, answer
	}
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if status, answer := call("POST", "api/v1/jobs", `{"kind":"mail","unique":true}`); status != want {
			t.Errorf("%d %v", status, answer)
		}
	}
	if status, answer := call("GET", "readyz", ""); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(errs.String(), token) || !strings.Contains(errs.String(), url) {
		t.Error(errs.String())
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
