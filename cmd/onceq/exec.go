package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
)

// The meaning of the exit codes of a job's process, besides 0.
const (
	codeDiscard = 100
	codeSnooze  = 75
)

// runner runs jobs as processes.
type runner struct {
	a       *app
	work    *work
	prefix  bool
	out     *output
	errOut  *output
	running atomic.Int64
	stops

	mu    sync.Mutex
	runs  int
	ended map[string]int
}

func newRunner(a *app, w *work, prefix bool) *runner {
	r := &runner{a: a, work: w, prefix: prefix, stops: newStops(), ended: map[string]int{}}
	r.out, r.errOut = &output{w: a.out, broken: r.hangUp}, &output{w: a.errOut, broken: r.hangUp}
	return r
}

// The ways in which a run ends, in the words of the summary.
var endings = []string{"completed", "failed", "discarded", "snoozed", "stopped"}

func (r *runner) handle(ctx context.Context, job *onceq.JobRow) error {
	r.running.Add(1)
	defer r.running.Add(-1)
	began := time.Now()
	ending, err := r.run(ctx, job)
	r.mu.Lock()
	r.runs++
	r.ended[ending]++
	r.mu.Unlock()
	if r.a.json {
		line := struct {
			ID      string `json:"id"`
			Kind    string `json:"kind"`
			Queue   string `json:"queue"`
			Attempt int    `json:"attempt"`
			Run     int64  `json:"run"`
			Ended   string `json:"ended"`
			Seconds json64 `json:"seconds"`
			Error   string `json:"error,omitempty"`
		}{job.ID, job.Kind, job.Queue, job.Attempt, job.Run, ending, json64(time.Since(began).Seconds()), ""}
		if err != nil {
			line.Error = err.Error()
		}
		_ = wire.WriteLine(r.out, line)
	}
	return err
}

// json64 is a number with three decimals.
type json64 float64

func (f json64) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(f), 'f', 3, 64), nil
}

func (r *runner) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, e := range endings {
		if n := r.ended[e]; n > 0 {
			parts = append(parts, thousands(n)+" "+e)
		}
	}
	if len(parts) == 0 {
		return "no job was run,"
	}
	return count(r.runs, "run") + ": " + strings.Join(parts, ", ")
}

// run runs the process of one job, and returns how it ended.
func (r *runner) run(ctx context.Context, job *onceq.JobRow) (ending string, err error) {
	if r.work.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.work.timeout,
			fmt.Errorf("timed out: the run took longer than --timeout %s", short(r.work.timeout)))
		defer cancel()
	}
	cmd := exec.Command("sh", "-c", r.work.exec)
	cmd.Stdin = bytes.NewReader(job.Args)
	cmd.Env = append(traced(ctx), "ONCEQ_STORE="+r.a.store, "ONCEQ_ID="+job.ID, "ONCEQ_KIND="+job.Kind,
		"ONCEQ_QUEUE="+job.Queue,
		"ONCEQ_ATTEMPT="+strconv.Itoa(job.Attempt), "ONCEQ_RUN="+strconv.FormatInt(job.Run, 10))
	last := &tail{most: 2 << 10}
	out, errOut := r.channel(r.out, job), r.channel(r.errOut, job)
	if r.a.json { // standard output is for JSON
		out = errOut
	}
	cmd.Stdout, cmd.Stderr = out, io.MultiWriter(errOut, last)
	cmd.WaitDelay = time.Second // for a process that it left behind with its output open
	p, err := begin(cmd, true)
	if err != nil {
		return "failed", fmt.Errorf("start %q: %w", r.work.exec, err)
	}
	handBack := false
	select {
	case err = <-p.ended:
	case <-ctx.Done():
		err = p.end(ctx, r.killed)
	case <-r.stopped:
		handBack = true
		err = p.end(ctx, r.killed)
	}
	out.flush()
	errOut.flush()

	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return "completed", nil
	}
	err = fmt.Errorf("%w%s", err, last)
	switch code := cmd.ProcessState.ExitCode(); {
	case code == codeDiscard:
		return "discarded", onceq.Discard(err)
	case code == codeSnooze:
		return "snoozed", onceq.Snooze(r.work.snooze)
	case errors.Is(ctx.Err(), context.Canceled):
		return "stopped", err // the worker knows the reason
	case ctx.Err() != nil:
		return "failed", fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case handBack || r.stoppedToo(cmd.ProcessState):
		return "stopped", onceq.Snooze(0) // spends no attempt
	}
	return "failed", err
}

// The environment carries a trace from process to process in these.
const (
	traceparent = "TRACEPARENT"
	tracestate  = "TRACESTATE"
)

// traced is this process's environment with the trace of a run in place of its own.
func traced(ctx context.Context) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == traceparent || name == tracestate
	})
	t := onceq.TraceFrom(ctx)
	if t.Traceparent != "" {
		env = append(env, traceparent+"="+t.Traceparent)
	}
	if t.Tracestate != "" {
		env = append(env, tracestate+"="+t.Tracestate)
	}
	return env
}

// inTrace is a context with the trace in the environment of this process.
func inTrace(ctx context.Context) context.Context {
	return onceq.TraceContext{Traceparent: os.Getenv(traceparent), Tracestate: os.Getenv(tracestate)}.Into(ctx)
}

func (r *runner) channel(o *output, job *onceq.JobRow) *channel {
	c := &channel{to: o}
	if r.prefix {
		c.prefix = clean(job.ID) + ": "
	}
	return c
}

// output takes the lines of many jobs. What cannot be written is dropped: a
// job does not fail for it.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	broken func() // called when nobody reads the output any more
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write(b); errors.Is(err, syscall.EPIPE) {
		o.broken()
	}
	return len(b), nil
}

// channel is the output of one job: whole lines, with a prefix if it has
// one, so that those of several jobs stay apart.
type channel struct {
	to     *output
	prefix string
	mu     sync.Mutex
	rest   []byte // a line that has not ended yet
}

// longLine is how many bytes of a line are kept until it ends.
const longLine = 64 << 10

func (c *channel) Write(b []byte) (int, error) {
	if c.prefix == "" {
		return c.to.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, b...)
	var all []byte
	for {
		n := bytes.IndexByte(c.rest, '\n') + 1
		if n == 0 && len(c.rest) < longLine {
			break
		}
		if n == 0 {
			n = len(c.rest)
		}
		all = append(append(all, c.prefix...), c.rest[:n]...)
		if all[len(all)-1] != '\n' {
			all = append(all, '\n')
		}
		c.rest = c.rest[n:]
	}
	if len(all) > 0 {
		if _, err := c.to.Write(all); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// flush ends the last line.
func (c *channel) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rest) > 0 {
		_, _ = c.to.Write(append(append([]byte(c.prefix), c.rest...), '\n'))
		c.rest = nil
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	most int
	mu   sync.Mutex
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.most; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(b), nil
}

// String is ": " and the end, or nothing when there is none.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "�"))
	switch {
	case s == "":
		return ""
	case t.cut:
		return ": …" + s
	}
	return ": " + s
}
