package main

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/onceq/onceq"
)

const (
	// grace is how long a process may go on after it was asked to stop.
	grace = 5 * time.Second
	// lastGrace is the same at the end of the worker's ShutdownTimeout. The worker then waits three
	// seconds for its handlers.
	lastGrace = 2 * time.Second
)

// process is a command that runs.
type process struct {
	cmd   *exec.Cmd
	ended chan error // has what Wait returned
}

// begin starts a command. With own it is in a group of its own: a Ctrl-C on
// the terminal does not reach it, and signals reach all that it starts.
func begin(cmd *exec.Cmd, own bool) (*process, error) {
	if own {
		ownGroup(cmd)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// end stops a process and all that it started: gently, then by force.
func (p *process) end(ctx context.Context, killed <-chan struct{}) error {
	signalProcess(p.cmd, syscall.SIGTERM)
	soon := time.After(grace)
	var sooner <-chan time.Time
	for done := ctx.Done(); ; {
		select {
		case err := <-p.ended:
			return err
		case <-done:
			if done = nil; errors.Is(context.Cause(ctx), onceq.ErrShutdown) {
				sooner = time.After(lastGrace)
			}
			continue
		case <-soon:
		case <-sooner:
		case <-killed:
		}
		signalProcess(p.cmd, syscall.SIGKILL)
		return <-p.ended
	}
}
