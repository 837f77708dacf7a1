package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

// exitTimeout is the exit code of a wait that took too long, as that of
// timeout(1).
const exitTimeout = 124

// forever is what --wait means without a length of time.
const forever = "forever"

func parseWait(s string) (time.Duration, error) {
	if s == forever {
		return 0, nil
	}
	d, err := terms.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("must be longer than 0")
	}
	return d, err
}

// waitFlag adds a flag that bounds a wait; *to is nil unless it is said, and 0
// = no bound.
func waitFlag(fs *pflag.FlagSet, name, help string, to **time.Duration) *pflag.Flag {
	return fs.VarPF(terms.Optional("DURATION", to, parseWait), name, "", help)
}

// waited prints the result of a job that was waited for. most is how long the
// wait was allowed to take; 0 = for ever.
func (a *app) waited(ctx context.Context, most time.Duration,
	wait func(ctx context.Context) (*onceq.JobRow, error)) error {
	if most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	job, err := wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		state := ""
		if job != nil {
			state = fmt.Sprintf(": job %s is %s", clean(job.ID), job.State)
		}
		fmt.Fprintf(a.errOut, "onceq: not within %s%s\n", short(most), state)
		return exit{exitTimeout}
	}
	if job != nil && job.State.Finished() {
		switch {
		case a.json:
			err = errors.Join(a.printJSON(job), err)
		case job.Result != nil:
			a.printf("%s\n", job.Result)
		}
	}
	return err
}

func newWait(a *app) *cobra.Command {
	var most *time.Duration
	c := &cobra.Command{
		Use:   "wait ID...",
		Short: "Wait until jobs have ended, and print their results",
		Long: `Wait until jobs have ended, and print the result of each as JSON, in the order
of the IDs; nothing for a job without a result. With --json it prints the jobs.
A job that another one superseded is followed to that one. Exit code 1 if a job
was discarded or cancelled, is not there, or is deleted meanwhile; 124 if it
took too long.`,
		Args: nArgs(1, 100),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				ctx, limit := c.Context(), time.Duration(0)
				if most != nil {
					limit = *most
				}
				began := time.Now()
				for _, id := range args {
					left := limit
					if limit > 0 { // the bound is one for all
						left = max(limit-time.Since(began), time.Millisecond)
					}
					err := a.waited(ctx, left, func(ctx context.Context) (*onceq.JobRow, error) {
						return client.Wait(ctx, id)
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	waitFlag(c.Flags(), "timeout", "how long to wait at most (default for ever)", &most)
	return c
}
