package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/internal/sleep"
)

// onceKind is the kind of the claims of onceq once.
const onceKind = "once"

// The exit codes of a shell for a command that cannot be started.
const (
	exitNotRun   = 126
	exitNotFound = 127
)

// once runs a command that others may be about to run.
type once struct {
	a       *app
	command []string
	key     string
	guard   string
	window  time.Duration
	wait    *time.Duration // nil = do not; 0 = for ever
	timeout time.Duration
	lease   time.Duration
	held    int // the exit code when the key is held

	mu     sync.Mutex
	p      *process       // that of the command, while it runs
	caught syscall.Signal // came before the command ran
	code   int            // of the command
	ran    bool
}

func newOnce(a *app) *cobra.Command {
	o := once{a: a, guard: onceKind, lease: 30 * time.Second, held: exitDuplicate}
	c := &cobra.Command{
		Use:   "once --key KEY -- COMMAND...",
		Short: "Run a command, unless another machine runs it",
		Long: `Run a command while holding a key, and free the key when it ends: flock(1) for
all machines that use one store. Say which with --store or ONCEQ_STORE: the
default is a file in the current folder, for this machine alone. Where the key
is held the command is not run, and a line says by whom.

With --window the key stays held after a success until that long after the
start. So a command that cron starts at 03:00 on ten machines runs on one of
them, though their clocks differ and it takes a second. A failure (an exit code
other than 0) frees the key at once.

  the command's exit code   it was run; 128 + N where signal N ended it
  3                         the key is held, and it was not run (or --held-code)
  124                       it was stopped after --timeout
  126, 127                  it cannot be started, there is no such command
  1                         the store does not answer, and it was not run; or the key was lost
                            meanwhile and it ended well all the same

Signals are passed on to the command, with its standard input, output and
error, ONCEQ_STORE and ONCEQ_KEY. If onceq itself is killed, or its machine is
lost, the key is free after about two leases (--lease); an onceq once that asks
for it when one lease is over waits for that. The command of an onceq that was
killed with SIGKILL may still be running then. If the store does not answer for
a whole lease, or somebody cancels the claim (onceq job cancel), the command is
stopped: SIGTERM to its process group, SIGKILL 5s later. On a terminal the
command stays in the terminal's group, so that it can read the keyboard and
Ctrl-Z stops it; then only the command itself is stopped, not what it has
started.

onceq keys --queue onceq.guard/once shows who holds what. onceq key release KEY
frees a key by hand.`,
		Example: `  export ONCEQ_STORE=postgres://db.example.com/onceq
  onceq once --key backup --window 23h -- pg_dump -f /backup/today.sql shop
  onceq once --key migrate --wait -- ./migrate up
  onceq once --key report --held-code 0 -- sh -c 'report | mail ann@example.com'`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case c.ArgsLenAtDash() > 0:
				return usagef("%q stands before --, and the command behind it: onceq once --key KEY -- COMMAND "+
					"(a length of time for --wait follows a =: --wait=10m)", args[0])
			case c.ArgsLenAtDash() < 0 && len(args) > 0:
				return usagef("put the command behind --: onceq once --key KEY -- %s", clean(args[0]))
			case len(args) == 0:
				return usagef("say what to run: onceq once --key KEY -- COMMAND")
			case o.key == "":
				return usagef("say under which key: onceq once --key KEY -- COMMAND")
			case o.guard == "": // which would be the default
				return usagef("--guard \"\" must be the name of a guard")
			case o.held < 0 || o.held > 255:
				return usagef("--held-code \"%d\" must be 0 to 255", o.held)
			case o.lease == 0: // which would be the default
				return usagef("--lease \"0\" must be 10ms to 24h")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.command = args
			return o.start(c.Context())
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.key, "key", "", "commands of one `KEY` do not run at the same time")
	fs.Var(&span{&o.window}, "window", "after a success, hold the key until that long after the start (default 0)")
	waitFlag(fs, "wait", "wait until the key is free, that long at most (--wait=10m)", &o.wait).NoOptDefVal = forever
	fs.Var(&span{&o.timeout}, "timeout", "stop a command that takes longer (default none)")
	fs.Var(&span{&o.lease}, "lease", "without a sign of life for this long, others may run it")
	fs.IntVar(&o.held, "held-code", exitDuplicate, "exit with code `N` when the key is held; 0 is no failure, and "+
		"nothing is said")
	fs.StringVar(&o.guard, "guard", onceKind, "the guard that has the key: those of another `NAME` are apart")
	return c
}

// options say what the claim is.
func (o *once) options() []onceq.Option {
	host, _ := os.Hostname()
	opts := []onceq.Option{onceq.UniqueKey(o.key), onceq.Retention(max(24*time.Hour, o.window)),
		onceq.Meta(map[string]any{"host": host, "pid": os.Getpid()})}
	if o.window != 0 {
		opts = append(opts, onceq.Unique{Window: o.window})
	}
	if o.timeout != 0 {
		opts = append(opts, onceq.Timeout(o.timeout))
	}
	return opts
}

// args are the command, so that a duplicate can say that it is another one. Of
// them the claim keeps a digest.
func (o *once) args() onceq.Args {
	text, _ := json.Marshal(o.command)
	return onceq.JSON(onceKind, text)
}

// check refuses what has no meaning, before a store is made.
func (o *once) check(ctx context.Context, config *guard.Config) error {
	g, err := guard.New(nowhere{}, config)
	if err != nil {
		return usage(err)
	}
	_, err = g.Acquire(ctx, o.args(), o.options()...)
	return usage(errors.Join(err, g.Close()))
}

func (o *once) start(ctx context.Context) error {
	config := &guard.Config{Name: o.guard, Lease: o.lease, Logger: slog.New(&logLines{out: o.a.errOut})}
	if err := o.check(ctx, config); err != nil {
		return err
	}
	if _, err := exec.LookPath(o.command[0]); err != nil {
		fmt.Fprintf(o.a.errOut, "onceq: %s\n", oneLine(err.Error()))
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return exit{exitNotFound}
		}
		return exit{exitNotRun}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer o.heed(cancel)()
	s, err := o.a.open(ctx, &onceq.Config{NoTally: true})
	if err != nil {
		return o.ending(err)
	}
	g, err := guard.New(s.store, config)
	if err != nil {
		return errors.Join(err, s.close())
	}
	err = o.try(ctx, s.client, g)
	if o.ran { // what ended long ago goes, in a store that no worker tidies
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		_, _ = s.store.Sweep(tidy, onceq.SweepRequest{Limit: 100})
		cancel()
	}
	return o.ending(errors.Join(err, g.Close(), s.close()))
}

// heed passes signals on to the command. Those that come before it runs call
// stop. The function that it returns ends that.
func (o *once) heed(stop func()) (done func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append(stopSignals(), passedOn...)...)
	// A write to a broken pipe is then an error, and does not end the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		for s := range signals {
			sig, _ := s.(syscall.Signal)
			o.mu.Lock()
			switch {
			case o.p != nil:
				if key := sig == syscall.SIGINT || sig == syscall.SIGQUIT; !key || o.p.cmd.SysProcAttr != nil {
					signalProcess(o.p.cmd, sig) // the keys of a terminal have reached the command already
				}
			case !o.ran && o.caught == 0:
				o.caught = sig
				stop()
			}
			o.mu.Unlock()
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}

// try runs the command as soon as the key is free, if it waits for that.
func (o *once) try(ctx context.Context, client *onceq.Client, g *guard.Guard) error {
	wait := o.wait != nil
	var until time.Time // zero = for ever
	if wait && *o.wait > 0 {
		until = time.Now().Add(*o.wait)
	}
	for {
		err := g.Do(ctx, o.args(), o.run, o.options()...)
		var dup *onceq.DuplicateError
		if o.ran || !errors.As(err, &dup) {
			return err
		}
		h := holder{Conflict: dup.Conflict}
		if err := h.look(ctx, client); err != nil {
			return err
		}
		if !wait && h.late { // it may be lost, and our guard finds out
			wait, until = true, time.Now().Add(2*o.lease)
		}
		left := time.Until(until)
		if !wait || !until.IsZero() && left <= 0 {
			return o.refused(&h)
		}
		rest := o.lease / 4 // a holder that is lost says nothing when its key is free
		if !until.IsZero() {
			rest = min(rest, left)
		}
		h.await(ctx, client, rest)
	}
}

// run runs the command, and returns an error if that failed.
func (o *once) run(ctx context.Context) error {
	cmd := exec.Command(o.command[0], o.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.a.in, o.a.out, o.a.errOut
	cmd.Env = append(os.Environ(), "ONCEQ_STORE="+o.a.store, "ONCEQ_KEY="+o.key)
	o.mu.Lock()
	if o.caught != 0 {
		o.mu.Unlock()
		return context.Canceled
	}
	p, err := begin(cmd, !isTerminal(o.a.in))
	o.p, o.ran = p, true
	o.mu.Unlock()
	if err != nil {
		o.code = exitNotRun
		return err
	}
	select {
	case err = <-p.ended:
	case <-ctx.Done():
		err = p.end(ctx, nil)
	}
	o.mu.Lock()
	o.p = nil
	o.mu.Unlock()
	o.code = codeOf(cmd.ProcessState)
	var failed *exec.ExitError
	switch cause := context.Cause(ctx); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		o.code = exitTimeout
		return fmt.Errorf("stopped: the command took longer than --timeout %s", short(o.timeout))
	case cause != nil:
		return fmt.Errorf("the command was stopped: %w", cause)
	case errors.As(err, &failed):
		return &commandFailed{failed}
	}
	return err
}

// commandFailed is the error of a command that says by itself what is wrong.
type commandFailed struct{ error }

// ending is how the command ends when all was said.
func (o *once) ending(err error) error {
	if !o.ran {
		if o.caught != 0 {
			return exit{128 + int(o.caught)}
		}
		return err
	}
	var failed *commandFailed
	if err != nil && !errors.As(err, &failed) {
		fmt.Fprintf(o.a.errOut, "onceq: %s\n", errorLine(err))
		if o.code == 0 {
			o.code = exitFailed
		}
	}
	if o.code == 0 {
		return nil
	}
	return exit{o.code}
}

// refused says who holds the key.
func (o *once) refused(h *holder) error {
	if o.held != 0 {
		fmt.Fprintf(o.a.errOut, "onceq: not run: key %s is held by claim %s%s (%s) since %s; %s\n", clean(o.key),
			clean(h.Holder), h.where, h.State, moment(h.Since, time.Now()), h.FreesText())
		return exit{o.held}
	}
	return nil
}

// holder is who has the key.
type holder struct {
	onceq.Conflict
	where string // " on HOST, pid N", if that is known
	late  bool   // its process gives no sign of life
}

// look finds out where the holder runs.
func (h *holder) look(ctx context.Context, client *onceq.Client) error {
	job, err := client.Job(ctx, h.Holder)
	if errors.Is(err, onceq.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if host, ok := job.Meta["host"].(string); ok {
		h.where = fmt.Sprintf(" on %s, pid %v", clean(host), job.Meta["pid"])
	}
	if job.State != onceq.Running {
		return nil
	}
	workers, err := client.Workers(ctx)
	if err != nil {
		return err
	}
	h.late = true // a worker that is not known is lost
	for _, w := range workers {
		if w.Name == job.Worker {
			h.late = w.Late
		}
	}
	return nil
}

// await waits until the key may be free, that long at most.
func (h *holder) await(ctx context.Context, client *onceq.Client, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	switch {
	case h.State.Finished() && !h.FreesAt.IsZero(): // its window
		sleep.For(ctx, time.Until(h.FreesAt))
	case h.State.Finished():
		sleep.For(ctx, most)
	default:
		_, _ = client.Wait(ctx, h.Holder)
	}
	sleep.For(ctx, rand.N(10*time.Millisecond)) // those who wait do not all come at once
}
