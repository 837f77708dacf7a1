package main

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq/internal/redistest"
)

// every calls do with the words of each command there is.
func every(t *testing.T, do func(words []string)) {
	t.Helper()
	var visit func(c *cobra.Command, words []string)
	visit = func(c *cobra.Command, words []string) {
		do(words)
		for _, sub := range c.Commands() {
			visit(sub, append(words[:len(words):len(words)], sub.Name()))
		}
	}
	visit(newRoot(newApp(strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer))), nil)
}

func TestNoHelpHasThePasswordOfTheStore(t *testing.T) {
	t.Setenv("ONCEQ_STORE", "postgres://app:S3CRET@127.0.0.1:1/x")
	n := 0
	every(t, func(words []string) {
		for _, args := range [][]string{append(words, "--help"), append([]string{"help"}, words...),
			append(words, "--no-such-flag"), append(words, "a", "b", "c", "d")} {
			var out bytes.Buffer
			_ = run(args, strings.NewReader(""), &out, &out)
			if strings.Contains(out.String(), "S3CRET") {
				t.Errorf("onceq %q:\n%s", args, &out)
			}
			n++
		}
	})
	if n < 100 {
		t.Errorf("only %d help texts", n)
	}
}

// Whatever a command says of a store that cannot be reached, it has no
// password; and it says what to do. Each waits for the server as long as the
// store does, so that all wait at once.
func TestNoErrorOfACommandHasThePasswordOfTheStore(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	var all sync.WaitGroup
	for _, store := range []string{"postgres://app:S3CRET@" + at + "/x", "redis://:S3CRET@" + at + "/0"} {
		for _, args := range [][]string{
			{"enqueue", "k"}, {"explain", "k"}, {"work", "--exec", "true", "--drain"}, {"jobs"},
			{"jobs", "delete", "--all"}, {"job", "show", "x"}, {"keys"}, {"key", "show", strings.Repeat("0", 64)},
			{"queues"}, {"queue", "pause", "x"}, {"doctor"}, {"migrate"}, {"migrate", "status"}, {"compact"},
		} {
			if args[0] == "migrate" && store[0] != 'p' {
				continue // there is nothing to migrate
			}
			all.Go(func() {
				var out bytes.Buffer
				code := run(append(args, "--store", store), strings.NewReader(""), &out, &out)
				said := out.String()
				if code == exitDone || strings.Contains(said, "S3CRET") {
					t.Errorf("onceq %q: exit code %d\n%s", args, code, said)
				}
				if args[0] != "compact" && (strings.Count(said, "host and port") != 1 ||
					strings.Count(said, "connection refused") != 1 || strings.Count(said, at) > 2) {
					t.Errorf("onceq %q does not say once what is wrong and what to do:\n%s", args, said)
				}
			})
		}
	}
	all.Wait()
}

func TestBenchNamesTheStoreWithoutItsPassword(t *testing.T) {
	t.Parallel()
	url := strings.Replace(redistest.URL(t), "redis://", "redis://:S3CRET@", 1) // a server without a password takes any
	for _, json := range []string{"--json=false", "--json"} {
		out, err := exec.Command("onceq", "bench", "--seconds", "0.05", "--rounds", "1", "--store", url,
			json).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("S3CRET")) {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
