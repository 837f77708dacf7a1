package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/wire"
	"github.com/onceq/onceq/storeurl"
)

// bulkStep is a command that takes the same step with many jobs.
type bulkStep struct {
	verb, done, short string
	op                onceq.Op
}

var bulkSteps = []bulkStep{
	{"cancel", "cancelled", "Cancel all matching jobs; running ones are asked to stop", onceq.OpCancel},
	{"retry", "retried", "Make all matching jobs that have ended, or wait to be retried, due now", onceq.OpRetry},
	{"run", "due now", "Make all matching jobs that wait due now", onceq.OpRunNow},
	{"delete", "deleted", "Delete all matching jobs but those that run", onceq.OpDelete},
}

// bulk has the flags of such a command.
type bulk struct {
	bulkStep
	jobFilter
	dryRun     bool
	yes        bool
	withoutKey bool
}

func newBulk(a *app, step bulkStep) *cobra.Command {
	b := bulk{bulkStep: step}
	c := &cobra.Command{
		Use:   b.verb + " (--all | filter flags)",
		Short: b.short,
		Long: b.short + `.

Each job changes in a step of its own. What matches and cannot change is passed
over, and counted by the reason; a job whose key another one holds by now is
named. With --all on a terminal it asks first.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s chooses by flags: for one job say onceq job %s %s", c.CommandPath(), b.verb, args[0])
			}
			if !b.all && b.empty() {
				return usagef("say which jobs: --state, --queue, --kind, --key, --tag, --worker or --older-than, or " +
					"--all for every one")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error { return a.bulk(c.Context(), client, &b) })
		},
	}
	b.register(c)
	c.Flags().BoolVar(&b.all, "all", false, "every job")
	c.Flags().IntVar(&b.limit, "limit", 0, "change at most `N` jobs; 0 is all")
	c.Flags().BoolVar(&b.dryRun, "dry-run", false, "change nothing, and say what would be changed")
	c.Flags().BoolVar(&b.yes, "yes", false, "do not ask")
	if b.op == onceq.OpRetry {
		c.Flags().BoolVar(&b.withoutKey, "without-key", false, "where another job holds the key by now, run without it")
	}
	return c
}

// How many jobs that could not change are named, at most.
const (
	shownConflicts = 10   // to people, where another job holds the key
	shownRefusals  = 1000 // in JSON, with the reason
)

func (a *app) bulk(ctx context.Context, client *onceq.Client, b *bulk) error {
	filter, err := b.filter(ctx, client)
	if err != nil {
		return err
	}
	if b.all && !b.dryRun && !b.yes && isTerminal(a.in) {
		if err := a.confirm(ctx, client, b.verb); err != nil {
			return err
		}
	}
	why, answer := map[string]int{}, wire.Bulk{DryRun: b.dryRun, Refused: []wire.Refusal{}}
	is := "is"
	if b.dryRun {
		is = "would be"
	}
	done, err := client.Bulk(ctx, onceq.Bulk{Op: b.op, Filter: filter, WithoutKey: b.withoutKey, DryRun: b.dryRun,
		PassedOver: func(j *onceq.JobRow, reason error) {
			if len(answer.Refused) < shownRefusals {
				answer.Refused = append(answer.Refused, wire.Refusal{ID: j.ID, Problem: wire.Problem{Err: reason}})
			}
			if !errors.Is(reason, onceq.ErrDuplicate) {
				why[string(j.State)]++
				return
			}
			if why[keyHeld]++; why[keyHeld] <= shownConflicts {
				fmt.Fprintf(a.errOut, "onceq: job %s %s passed over: %s\n", clean(j.ID), is, errorLine(reason))
			}
		}})
	if err != nil {
		return fmt.Errorf("after %s: %w", count(done.Changed, "job"), err)
	}
	if a.json {
		answer.Changed, answer.PassedOver, answer.More = done.Changed, done.PassedOver, done.Next != ""
		return a.printJSON(answer)
	}
	a.printf("%s\n", b.summary(done.Changed, why))
	return nil
}

// keyHeld is why a job is not retried.
const keyHeld = "key held"

// summary is "2 jobs retried; passed over: 1 whose key another job holds, 3
// running".
func (b *bulk) summary(n int, why map[string]int) string {
	text := count(n, "job") + " "
	switch {
	case b.dryRun:
		text += "would be " + b.done
	case b.op == onceq.OpCancel && b.states == string(onceq.Running):
		text += "cancelled or asked to stop"
	default:
		text += b.done
	}
	var over []string
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		said := reason
		if reason == keyHeld {
			said = "whose key another job holds"
		}
		over = append(over, thousands(why[reason])+" "+said)
	}
	if len(over) > 0 {
		text += "; passed over: " + strings.Join(over, ", ")
	}
	return text
}

// confirm asks whether all jobs are meant.
func (a *app) confirm(ctx context.Context, client *onceq.Client, verb string) error {
	queues, err := client.Queues(ctx)
	if err != nil {
		return err
	}
	n, least := 0, ""
	for _, q := range queues {
		if onceq.ReservedName(q.Name) {
			continue
		}
		for _, c := range q.Counts {
			n += c
		}
		if len(q.AtLeast) > 0 {
			least = "at least "
		}
	}
	return a.ask(fmt.Sprintf("%s all %s%s", verb, least, count(n, "job")))
}

// ask asks whether a step on the store is meant. The error says that it is
// not.
func (a *app) ask(step string) error {
	screen := a.errOut
	// the answer comes from the terminal, wherever the output goes
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		defer tty.Close()
		screen = tty
	}
	fmt.Fprintf(screen, "%s of %s? [y/N] ", step, storeurl.Redacted(a.store))
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing is changed: it was not confirmed (--yes does not ask, --dry-run only looks)")
}
