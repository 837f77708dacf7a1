package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	// oneStop is how close together the signals of one stop may come:
	// timeout(1) sends its signal twice.
	oneStop = 20 * time.Millisecond
	// A service manager signals the worker and the processes of its jobs at
	// the same time, and a process may end before the worker has seen its
	// own signal. So a failed run waits this long for that signal, after a
	// process that a signal ended and after any other.
	stopAfterSignal = time.Second
	stopAfterExit   = 20 * time.Millisecond
)

// stopSignals are the signals that ask a command to end. If hang-ups were
// ignored when the command began (nohup), they stay ignored.
func stopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// stops is how far a worker was asked to end. Each step follows the one
// before.
type stops struct {
	signals chan os.Signal
	ending  chan struct{} // closed: start no more jobs; running ones may go on
	stopped chan struct{} // closed: stop running jobs, and hand them back
	killed  chan struct{} // closed: kill them at once
	kill    func()        // closes killed, once
}

func newStops() stops {
	s := stops{signals: make(chan os.Signal, 3), ending: make(chan struct{}), stopped: make(chan struct{}),
		killed: make(chan struct{})}
	s.kill = sync.OnceFunc(func() { close(s.killed) })
	return s
}

// hangUp is called when the terminal was closed: nobody can see any more
// what the jobs write.
func (s *stops) hangUp() {
	select {
	case s.signals <- syscall.SIGHUP:
	default:
	}
}

// stoppedToo reports whether a process that failed may have been stopped
// from outside, together with this worker.
func (s *stops) stoppedToo(p *os.ProcessState) bool {
	wait := stopAfterExit
	if byStopSignal(p) {
		wait = stopAfterSignal
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.ending:
		return true
	case <-t.C:
		return false
	}
}

// heedStops lets the first signal end the worker gently, the second stop
// its jobs, and the third kill them. A hang-up only counts as the first.
// The function that it returns ends that.
func (r *runner) heedStops(stop func()) (done func()) {
	signal.Notify(r.signals, stopSignals()...)
	// A write to a broken pipe is then an error, and does not end the
	// process: see output.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ended := make(chan struct{})
	go func() {
		for n := 0; ; {
			select {
			case <-ended:
				return
			case sig := <-r.signals:
				if n > 0 && sig == syscall.SIGHUP {
					continue
				}
			}
			n++
			r.heed(n, stop)
		}
	}()
	return func() { signal.Stop(r.signals); close(ended) }
}

// heed does step n.
func (r *runner) heed(n int, stop func()) {
	switch n {
	case 1:
		close(r.ending)
		stop()
		for t := time.After(oneStop); ; {
			select {
			case <-r.signals:
				continue
			case <-t:
			}
			break
		}
		if k := r.running.Load(); k > 0 {
			fmt.Fprintf(r.errOut, "onceq: ending; waiting for %s (Ctrl-C again stops and hands back)\n",
				count(k, "job"))
		}
	case 2:
		close(r.stopped)
		fmt.Fprintf(r.errOut, "onceq: stopping %s (Ctrl-C again kills)\n", count(r.running.Load(), "job"))
	case 3:
		r.kill()
	}
}

// killAll kills the processes that are left when the worker has ended:
// their jobs were handed back, and may run elsewhere by now.
func (r *runner) killAll() {
	r.kill()
	for deadline := time.Now().Add(time.Second); r.running.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}
