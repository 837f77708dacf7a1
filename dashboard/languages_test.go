package dashboard

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// cutter answers as a world does, but cuts the connection instead of giving the
// first fetch that brought a job, and the first finish, an answer.
type cutter struct {
	inner         http.Handler
	fetch, finish atomic.Bool // it was cut
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	c.inner.ServeHTTP(rec, r)
	fetched := strings.HasSuffix(r.URL.Path, "/fetch") && bytes.Contains(rec.Body.Bytes(), []byte(`"attempt"`))
	if fetched && !c.fetch.Swap(true) || strings.HasSuffix(r.URL.Path, "/finish") && !c.finish.Swap(true) {
		panic(http.ErrAbortHandler)
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// TestPythonAndNodeRunJobsWithTheirStandardLibrary runs examples/worker.py and
// examples/worker.mjs, each with a fetch and a finish whose answer is lost.
func TestPythonAndNodeRunJobsWithTheirStandardLibrary(t *testing.T) {
	for program, args := range map[string][]string{"python3": {"-I", "../examples/worker.py"},
		"node": {"../examples/worker.mjs"}} {
		t.Run(program, func(t *testing.T) {
			text, err := os.ReadFile(args[len(args)-1])
			if err != nil || bytes.Count(text, []byte("\n")) > 30 { // else it is no proof that little is needed
				t.Errorf("%v, %d lines", err, bytes.Count(text, []byte("\n")))
			}
			path, err := exec.LookPath(program)
			if err != nil {
				if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
					t.Fatal(err)
				}
				t.Skip(program + " is not installed")
			}
			onStores(t, func(t *testing.T, store onceq.Store) { runsJobs(t, store, exec.Command(path, args...)) })
		})
	}
}

func runsJobs(t *testing.T, store onceq.Store, cmd *exec.Cmd) {
	t.Parallel() // it waits for the next try of what was cut
	w := serveOn(t, store, nil)
	w.server(true)
	cut := &cutter{inner: w}
	s := httptest.NewServer(cut)
	t.Cleanup(s.Close)
	good := w.enqueue(`{"kind":"mail","id":"a/b ?","args":{"to":"ada"}}`)
	bad := w.enqueue(`{"kind":"fail","args":{},"max_attempts":1}`)
	cmd.Env = append(os.Environ(), "ONCEQ_URL="+s.URL, "ONCEQ_TOKEN="+workToken)
	var out lines
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // while it waits for the next
		_ = cmd.Wait()
	})
	ended := func(id string, want onceq.State) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := w.client.Wait(ctx, id)
		job, getErr := w.client.Job(t.Context(), id)
		if getErr != nil || job.State != want || job.Attempt != 1 {
			t.Errorf("%+v, %v, %v\n%s", job, err, getErr, &out)
		}
	}
	ended(good, onceq.Completed)
	ended(bad, onceq.Discarded)
	ended(w.enqueue(`{"kind":"mail","args":{"to":"bob"}}`), onceq.Completed) // it waits for the next by now
	if !cut.fetch.Load() || !cut.finish.Load() {
		t.Error(fmt.Sprint("nothing was cut: ", &out))
	}
	if said := out.String(); !strings.Contains(said, "fetch:") || !strings.Contains(said, "finish:") {
		t.Errorf("the worker saw no answer that was cut: %s", said)
	}
}
