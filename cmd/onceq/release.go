package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
)

// newKeysRelease is the command that releases many keys.
func newKeysRelease(a *app) *cobra.Command {
	var f onceq.KeyFilter
	var dryRun, yes bool
	c := &cobra.Command{
		Use:   "release (--all | filter flags)",
		Short: "Release all matching keys by hand: their holders go on without them",
		Long: `Release all matching keys by hand, so that the next enqueue of each makes a job.
The jobs that hold them go on, without their keys. Where a waiter stands behind
such a job, the key is the waiter's then. A key whose holder stands behind the
run of another job stays. On a terminal it asks first.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s chooses by flags: for one key say onceq key release %s", c.CommandPath(), args[0])
			}
			if f == (onceq.KeyFilter{Limit: f.Limit}) {
				return usagef("say which keys: --queue, --kind, --prefix or --text, or --all for every one")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				return a.releaseKeys(c.Context(), client, f, dryRun, yes)
			})
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	keyFlags(fs, &f)
	fs.BoolVar(&f.All, "all", false, "every key")
	fs.IntVar(&f.Limit, "limit", 0, "release at most `N` keys; 0 is all")
	fs.BoolVar(&dryRun, "dry-run", false, "release nothing, and say how many match")
	fs.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) releaseKeys(ctx context.Context, client *onceq.Client, f onceq.KeyFilter, dryRun, yes bool) error {
	if err := checkKeyFilter(f); err != nil {
		return err
	}
	ask := !yes && isTerminal(a.in)
	if dryRun || ask {
		n := 0
		for _, err := range client.Keys(ctx, f) {
			if err != nil {
				return err
			}
			n++
		}
		if dryRun && a.json {
			return a.printJSON(wire.Bulk{Changed: n, DryRun: true, Refused: []wire.Refusal{}})
		}
		if dryRun {
			a.printf("%s would be released\n", count(n, "key"))
			return nil
		}
		if err := a.ask(fmt.Sprintf("release %s", count(n, "key"))); err != nil {
			return err
		}
	}
	n, err := client.ReleaseKeys(ctx, f)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(wire.Bulk{Changed: n, Refused: []wire.Refusal{}})
	}
	a.printf("%s released\n", count(n, "key"))
	return nil
}
