package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

func TestAWorkerRunsJobsThoughAnswersAreCut(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		for _, call := range []string{"workers", "fetch", "extend", "finish"} {
			s.cut(call, 2)
		}
		want := map[string]onceq.State{
			s.enqueue("add", []int{1, 2}):                                                       onceq.Completed,
			s.enqueue("add", []int{3}, onceq.Queue("other")):                                    onceq.Completed,
			s.enqueue("add", []int{4}, onceq.ID("a/b ?")):                                       onceq.Completed,
			s.enqueue("fail", nil, onceq.MaxAttempts(1)):                                        onceq.Discarded,
			s.enqueue("discard", nil):                                                           onceq.Discarded,
			s.enqueue("cancel", nil):                                                            onceq.Cancelled,
			s.enqueue("snooze", nil):                                                            onceq.Completed,
			s.enqueue("large", nil, onceq.MaxAttempts(1)):                                       onceq.Discarded,
			s.enqueue("patient", nil, onceq.Timeout(50*time.Millisecond), onceq.MaxAttempts(1)): onceq.Discarded,
		}
		unknown := s.enqueue("other", nil)
		p := s.start(command("worker"))
		for id, state := range want {
			job := s.is(id, state)
			if job.Attempt != 1 { // what was cut has spent no attempt
				t.Errorf("%+v", job)
			}
			if len(job.Errors) > 0 {
				said := map[string]string{"fail": "as it was asked to", "discard": "no such user",
					"cancel": "not needed", "large": "the result was refused", "patient": "ended early"}[job.Kind]
				if !strings.Contains(job.Errors[0].Error, said) {
					t.Errorf("%+v", job.Errors)
				}
			}
		}
		job, err := s.client.Job(t.Context(), unknown)
		if err != nil || job.State != onceq.Available { // it takes what it has handlers for
			t.Errorf("%+v %v", job, err)
		}
		for _, call := range []string{"workers", "fetch", "finish"} {
			s.wasCut(call)
		}
		// A job that somebody cancels is told so at the next heartbeat, of which
		// two are cut.
		long := s.enqueue("patient", nil)
		for p.line() != "began "+long { // that which ran into its time limit said so too
		}
		if _, err := s.client.Cancel(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		p.says("stop " + long)
		s.is(long, onceq.Cancelled)
		s.wasCut("extend")
	})
}

func TestAWorkerEndsOnSIGTERMWhenItsJobsAreDone(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		idle := s.start(command("worker"))
		s.is(s.enqueue("add", []int{1}), onceq.Completed)
		term(t, idle) // while it waits for a job
		idle.finished("stopping", "ended")
		p := s.start(command("worker"))
		file := filepath.Join(t.TempDir(), "go")
		slow := s.enqueue("slow", file)
		p.says("began " + slow)
		term(t, p)
		p.says("stopping")
		after := s.enqueue("add", []int{1}) // nothing more is fetched, though there is a slot
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.finished("ended")
		if job := s.is(slow, onceq.Completed); job.Attempt != 1 {
			t.Errorf("%+v", job)
		}
		s.is(after, onceq.Available)
		workers, err := s.client.Workers(t.Context())
		if err != nil || len(workers) != 0 {
			t.Errorf("workers that have left are known: %+v %v", workers, err)
		}
	})
}

func TestAWorkerHandsBackWhatDoesNotEndInTime(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		p := s.start(command("worker"), "GRACE=0.05")
		patient := s.enqueue("patient", nil)
		p.says("began " + patient)
		term(t, p)
		p.says("stopping")
		p.says("shutdown " + patient)
		p.finished("ended")
		s.until(patient, "failed, as it said", func(j *onceq.JobRow) bool { return len(j.Errors) == 1 })
		if _, err := s.client.Cancel(t.Context(), patient); err != nil {
			t.Fatal(err)
		}
		p = s.start(command("worker"), "GRACE=0.05")
		deaf := s.enqueue("deaf", nil)
		for p.line() != "began "+deaf {
		}
		term(t, p)
		for range p.lines { // until it has ended
		}
		job := s.is(deaf, onceq.Available)
		if job.Attempt != 0 { // handed back, which spends none
			t.Errorf("%+v", job)
		}
	})
}

func TestAJobOfAWorkerThatWasKilledRunsAgain(t *testing.T) {
	each(t, func(t *testing.T, s *server, command func(string) *exec.Cmd) {
		p := s.start(command("worker"))
		deaf := s.enqueue("deaf", nil)
		p.says("began " + deaf)
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		s.until(deaf, "rescued", func(j *onceq.JobRow) bool { return j.State != onceq.Running })
		p = s.start(command("worker"))
		p.says("began " + deaf)
		job := s.is(deaf, onceq.Running)
		if job.Attempt != 2 { // the run that was lost has spent one
			t.Errorf("%+v", job)
		}
	})
}

func term(t *testing.T, p *program) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
