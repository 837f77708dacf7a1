package guardhttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/guard/guardhttp"
	"github.com/onceq/onceq/storeurl"
)

// The test binary is also a server that can be killed: it has the store and a
// folder in its environment.
const storeOfServer, folderOfServer = "ONCEQ_GUARDHTTP_STORE", "ONCEQ_GUARDHTTP_FOLDER"

// serveForTest is that server. A run notes itself in the file runs, and goes on
// as soon as there is a file go.
func serveForTest() bool {
	if os.Getenv(storeOfServer) == "" {
		return false
	}
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	folder := os.Getenv(folderOfServer)
	store, err := storeurl.Open(context.Background(), os.Getenv(storeOfServer))
	check(err)
	g, err := guard.New(store, &guard.Config{Lease: time.Second})
	check(err)
	guarded, err := guardhttp.New(g, guardhttp.Config{Principal: func(*http.Request) string { return "ann" }})
	check(err)
	s := httptest.NewServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.OpenFile(filepath.Join(folder, "runs"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		check(err)
		fmt.Fprintln(f, "run")
		check(f.Close())
		for {
			if _, err := os.Stat(filepath.Join(folder, "go")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprint(w, "charged")
	})))
	fmt.Println(s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test has ended
	return true
}

// server begins one, and returns its address.
func server(t *testing.T, store, folder string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), storeOfServer+"="+store, folderOfServer+"="+folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = in.Close(), cmd.Process.Kill(), cmd.Wait() })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(url)
}

// A server that is killed while a handler runs has not answered: another one
// says 409 until the lease is over, and then runs it again, once.
func TestAKilledServersRequestIsRunAgainByAnother(t *testing.T) {
	t.Parallel()
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, folder := url(t), t.TempDir()
			a := &api{T: t}
			a.client.Transport = &http.Transport{DisableKeepAlives: true}
			runs := func() int {
				text, _ := os.ReadFile(filepath.Join(folder, "runs"))
				return strings.Count(string(text), "run\n")
			}
			until := func(what string, done func() bool) {
				t.Helper()
				for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("it never came that %s", what)
					}
				}
			}
			first, firstURL := server(t, store, folder)
			failed := make(chan error, 1)
			go func() { _, err := a.ask(firstURL, request{key: "k", body: "5"}); failed <- err }()
			until("the handler runs", func() bool { return runs() == 1 })
			_, a.url = server(t, store, folder)
			a.is(409, request{key: "k", body: "5"})
			_ = first.Process.Kill()
			if err := <-failed; err == nil {
				t.Error("a server that was killed has answered")
			}
			a.is(409, request{key: "k", body: "5"})
			if err := os.WriteFile(filepath.Join(folder, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			until("it is run again", func() bool {
				got, err := a.ask(a.url, request{key: "k", body: "5"})
				if err != nil || got.status != 409 && got.status != 200 {
					t.Fatalf("%v, %v", got, err)
				}
				return got.status == 200
			})
			if got := a.is(200, request{key: "k", body: "5"}); got.body != "charged" || !got.replayed {
				t.Errorf("%v", got)
			}
			if n := runs(); n != 2 {
				t.Errorf("the handler was called %d times", n)
			}
		})
	}
}
