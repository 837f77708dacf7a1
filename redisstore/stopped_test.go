//go:build unix

package redisstore

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// TestAWorkerThatIsStoppedBeyondItsLease: its job runs again elsewhere, and
// what it says when it goes on changes nothing.
func TestAWorkerThatIsStoppedBeyondItsLease(t *testing.T) {
	t.Parallel()
	s := fresh(t, Config{})
	c := clientOf(t, s)
	r, err := c.Enqueue(t.Context(), task{1}, onceq.Unique{})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], redistest.URL(t))
	child.Env = append(os.Environ(), helperEnv+"="+s.config.Namespace)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	defer func() {
		_ = child.Process.Signal(syscall.SIGCONT)
		_ = child.Process.Kill()
		<-ended
	}()
	lines := make(chan string, 10)
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		_ = child.Wait()
	}()
	if line := <-lines; line != "started" {
		t.Fatalf("the worker says %q", line)
	}
	_ = child.Process.Signal(syscall.SIGSTOP)

	worker, err := onceq.NewWorker(s,
		&onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 1}},
			Lease: time.Second, Logger: quiet,
			ID: "other", Retry: func(*onceq.JobRow, error) time.Duration { return time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan *onceq.JobRow, 1)
	onceq.Handle(worker, func(_ context.Context, j *onceq.Job[task]) error {
		ran <- j.JobRow
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error)
	go func() { finished <- worker.Run(ctx) }()
	defer func() {
		cancel()
		<-finished
	}()
	select {
	case j := <-ran:
		if j.ID != r.Job.ID || j.Run != 2 || j.Attempt != 2 {
			t.Errorf("it runs again as run %d, attempt %d", j.Run, j.Attempt)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody takes the job over")
	}
	var done *onceq.JobRow
	for done == nil || done.State != onceq.Completed {
		if done, err = c.Job(t.Context(), r.Job.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = child.Process.Signal(syscall.SIGCONT)
	_, _ = in.Write([]byte("\n"))
	time.Sleep(300 * time.Millisecond)
	after, err := c.Job(t.Context(), r.Job.ID)
	if err != nil || after.State != onceq.Completed || after.Run != 2 || after.Worker != done.Worker ||
		!after.FinishedAt.Equal(done.FinishedAt) {
		t.Errorf("it is %+v (%v)\nand was %+v", after, err, done)
	}
	healthy(t, s)
}
