package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

// enqueue has the flags of enqueue and explain.
type enqueue struct {
	terms.Terms
	file      string
	kind      string
	skipLines int
	bytes     bool
	maxArgs   int
	wait      *time.Duration // nil = do not; 0 = for ever
}

func newEnqueue(a *app) *cobra.Command {
	var e enqueue
	c := &cobra.Command{
		Use:   "enqueue KIND [ARGS|-]",
		Short: "Make a job, or a job for each line of a file",
		Long: `Make a job of a kind, with ARGS (JSON; - reads them from standard input; {}
when there are none).

With --unique, or any flag that says how to be unique, the job holds a key
until it is finished. Enqueued again meanwhile, it is a duplicate: the answer
is the job that is there. That is not an error, except under --on-conflict
reject (exit code 3).

With --file each line is a job: bare args with --kind, or an object
{"kind","args"} with any of these flags as members, which override those of the
command line. A member is named as its flag, with _ for -, but for three:
--key is unique_key, --key-scope is unique_scope, --at is run_at.
{"kind":"mail","args":{"to":1},"queue":"mail","id":"welcome:1","on_conflict":"skip"}.
Refused lines are reported and left out (exit code 1); what is sent is sent in
the order of the lines. Lines are enqueued as they come, so a program in any
language can keep a pipe to onceq enqueue --file - open.`,
		Example: `  onceq enqueue mail '{"to":"ann@example.com"}'
  onceq enqueue reindex '{"repo":42,"reason":"push"}' --fields repo --on-conflict coalesce
  onceq enqueue report --key daily --window 24h --delay 10m
  onceq enqueue --file webhooks.jsonl.gz --kind webhook --unique --fields /delivery`,
		Args: func(c *cobra.Command, args []string) error {
			if e.file != "" {
				if len(args) > 0 {
					return usagef("--file reads args from the file: say the kind of its lines with --kind %s", args[0])
				}
				return nil
			}
			return nArgs(1, 2)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if e.file != "" && e.wait != nil {
				return usagef("--wait is for one job, not for --file")
			}
			if e.file != "" {
				return a.enqueueFile(c.Context(), &e)
			}
			if e.skipLines != 0 {
				return usagef("--skip-lines is for --file")
			}
			if e.kind != "" {
				return usagef("--kind is for --file: the kind of one job is the first argument")
			}
			return a.enqueueOne(c, &e, args)
		},
	}
	fs := c.Flags()
	e.register(fs)
	fs.StringVar(&e.file, "file", "", "make a job of each line of this `FILE`, which may be compressed with gzip; - "+
		"is standard input")
	fs.IntVar(&e.skipLines, "skip-lines", 0, "with --file: pass over the first `N` lines, which an earlier call fed")
	waitFlag(fs, "wait", "wait until the job has ended, that long at most, and print its result in place of the "+
		"answer (--wait=30s; exit code 1 if it failed, 124 if that takes too long)", &e.wait).NoOptDefVal = forever
	fs.StringVar(&e.kind, "kind", "", "with --file: the lines are bare args, of jobs of this `KIND`")
	return c
}

// register adds the flags that explain has too.
func (e *enqueue) register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	for _, s := range e.All() {
		flag := fs.VarPF(s.Value, s.Name, "", s.Help)
		if s.Value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
	fs.BoolVar(&e.bytes, "bytes", false, "args are opaque bytes, not JSON")
	fs.IntVar(&e.maxArgs, "max-args", onceq.DefaultMaxArgs, "refuse args of more than `N` bytes")
}

// args returns the args of one job, from the arguments of the command.
func (e *enqueue) args(a *app, args []string) (onceq.Args, error) {
	raw := []byte("{}")
	switch {
	case len(args) > 1 && args[1] == "-":
		var err error
		if raw, err = io.ReadAll(io.LimitReader(a.in, int64(e.maxArgs)+1)); err != nil {
			return nil, fmt.Errorf("read args from standard input: %w", err)
		}
	case len(args) > 1:
		raw = []byte(args[1])
	}
	if e.bytes {
		return onceq.Bytes(args[0], raw), nil
	}
	raw = bytes.TrimPrefix(raw, []byte(bom))
	if err := json.Unmarshal(raw, new(json.RawMessage)); err != nil && len(raw) <= e.maxArgs {
		return nil, usagef("args %s are not JSON (%v): quote them for the shell, as in '{\"to\":\"ann\"}', or say "+
			"--bytes", cut(strconv.Quote(string(raw)), 60), err)
	}
	return onceq.JSON(args[0], raw), nil
}

func (a *app) enqueueOne(c *cobra.Command, e *enqueue, args []string) (err error) {
	opts, err := e.Options(terms.AsFlag)
	if err != nil {
		return usage(err)
	}
	job, err := e.args(a, args)
	if err != nil {
		return err
	}
	config := &onceq.Config{MaxArgs: e.maxArgs, NoTally: true} // a note would be as much work as the job
	if err := judge(c.Context(), config, job, opts); err != nil {
		return usage(err) // before a file is made
	}
	s, err := a.open(c.Context(), config)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	receipt, err := s.client.Enqueue(inTrace(c.Context()), job, opts...)
	if receipt.Job == nil {
		return usage(err)
	}
	if e.wait != nil {
		return a.waited(c.Context(), *e.wait, receipt.Wait)
	}
	if a.json {
		if printed := a.printJSON(receipt); printed != nil {
			return printed
		}
	} else if err == nil {
		a.printReceipt(receipt)
	}
	return err
}

// judge says what is wrong with an enqueue, without a store.
func judge(ctx context.Context, config *onceq.Config, job onceq.Args, opts []onceq.Option) error {
	client, err := onceq.NewClient(nowhere{}, config)
	if err != nil {
		return err
	}
	_, err = client.Enqueue(ctx, job, opts...)
	return errors.Join(err, client.Close())
}

func (a *app) printReceipt(r onceq.Receipt) {
	j := r.Job
	a.printf("%s %s  %s in queue %s", a.paint(outcomeStyle(r.Outcome), string(r.Outcome)), clean(j.ID), clean(j.Kind),
		clean(j.Queue))
	switch {
	case r.Conflict == nil && j.State == onceq.Scheduled:
		a.printf(", due %s\n", moment(j.RunAt, time.Now()))
		return
	case r.Conflict == nil:
		a.printf(", due now\n")
		return
	case r.Outcome == onceq.Coalesced && j.Behind != "":
		a.printf(", behind the run of %s", clean(j.Behind))
	case r.Outcome == onceq.Superseded && j.Behind != "":
		a.printf(", as soon as %s, which is asked to stop, has ended", clean(j.Behind))
	case r.Outcome == onceq.Superseded:
		a.printf(", in place of %s", clean(r.Conflict.Holder))
	}
	a.printf("\n  %s\n", clean(r.Conflict.String()))
}

func outcomeStyle(o onceq.Outcome) style {
	switch o {
	case onceq.Inserted:
		return green
	case onceq.Rejected:
		return red
	}
	return yellow
}

// tally counts the outcomes of many enqueues.
type tally struct {
	outcomes map[onceq.Outcome]int
	refused  int
	lines    int // read
}

func newTally() *tally { return &tally{outcomes: map[onceq.Outcome]int{}} }

// String is "273 inserted, 546 duplicates (500 skipped, 46 replaced), 1
// refused".
func (t *tally) String() string {
	parts := []string{thousands(t.outcomes[onceq.Inserted]) + " inserted"}
	for _, o := range []onceq.Outcome{onceq.Coalesced, onceq.Superseded} {
		if n := t.outcomes[o]; n > 0 {
			parts = append(parts, thousands(n)+" "+string(o))
		}
	}
	var kinds []string
	sum := 0
	for _, o := range []onceq.Outcome{onceq.Skipped, onceq.Rejected, onceq.Replaced} {
		if n := t.outcomes[o]; n > 0 {
			kinds, sum = append(kinds, thousands(n)+" "+string(o)), sum+n
		}
	}
	duplicates := count(sum, "duplicate")
	if sum > 0 {
		duplicates += " (" + strings.Join(kinds, ", ") + ")"
	}
	return strings.Join(append(parts, duplicates, thousands(t.refused)+" refused"), ", ")
}
