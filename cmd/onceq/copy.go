package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/storecopy"
	"github.com/onceq/onceq/internal/wire"
	"github.com/onceq/onceq/storeurl"
)

func newCopy(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy jobs and keys into another store",
		Long: `Copy what one store keeps into another, of any kind: waiting jobs, finished
jobs that are still kept, held keys for as long as they have left, schedules,
and which queues are paused. FROM and TO are store URLs, and TO is made if it
does not exist. FROM stays as it is.

No worker may work in either store, and no job may run in FROM. It may be cut
at any time and begun again: what is in TO stays as it is there, and a second
copy adds nothing. At the end every job and key of FROM is looked up in TO, and
doctor checks both.

A copied job keeps its ID, args, key and run time. It has the attempts that
were left, and not the errors of those that failed; what finished is dated by
the copy.

Exit code 1 if something was not copied, with a line that says what and why:
TO has another job with that ID, or another holder of the key.`,
		Example: "  onceq copy sqlite:jobs.db postgres://localhost/app",
		Args:    nArgs(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), stopSignals()...)
			defer stop()
			return a.copy(ctx, args[0], args[1])
		},
	}
	c.ValidArgsFunction = func(_ *cobra.Command, said []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(said) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"sqlite:", "postgres://", "redis://"}, cobra.ShellCompDirectiveNoSpace
	}
	return c
}

func (a *app) copy(ctx context.Context, fromURL, toURL string) error {
	if fromURL == toURL {
		return usagef("FROM and TO are the same store")
	}
	from := *a
	from.store = fromURL
	to := *a
	to.store = toURL
	if _, err := storeurl.Creates(toURL); err != nil {
		return usagef("TO: %v", err)
	}
	return from.withConnection(ctx, nil, func(source *connection) (err error) {
		target, err := to.open(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, target.close()) }()
		return a.copyBetween(ctx, source, target)
	})
}

func (a *app) copyBetween(ctx context.Context, source, target *connection) error {
	done, what := 0, "jobs copied"
	p := newProgress(a, func() string { return thousands(done) + " " + what })
	show := func(n int) { done = n; p.show() }
	report, err := storecopy.Copy(ctx, source.store, target.store, show)
	p.end()
	r := wire.Copied{Waiting: report.Waiting, WaitingThere: report.WaitingThere, Finished: report.Finished,
		FinishedThere: report.FinishedThere, Keys: report.Keys, Paused: report.Paused, Refused: list(report.Refused),
		Violations: []string{}}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s: copy again, and it goes on",
				count(r.Waiting+r.Finished, "job"))
		}
		return err
	}
	what = "rows checked"
	var reports [2]onceq.DoctorReport
	for i, side := range []*connection{source, target} {
		if reports[i], err = side.client.Doctor(ctx, show); err != nil {
			p.end()
			return err
		}
		for _, v := range reports[i].Violations {
			r.Violations = append(r.Violations, []string{"FROM", "TO"}[i]+": "+v.String())
		}
	}
	p.end()
	return a.printCopy(r, reports)
}

// list is never null as JSON.
func list(lines []string) []string { return append([]string{}, lines...) }

func (a *app) printCopy(r wire.Copied, reports [2]onceq.DoctorReport) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, line := range append(list(r.Refused), r.Violations...) {
			a.printf("%s\n", clean(line))
		}
		a.printf("waiting   %s copied, %s there already\n", count(r.Waiting, "job"), thousands(r.WaitingThere))
		a.printf("finished  %s copied, %s there already\n", count(r.Finished, "job"), thousands(r.FinishedThere))
		a.printf("keys      %s held in both, by the same job\n", thousands(r.Keys))
		a.printf("paused    %s\n", count(r.Paused, "queue"))
		for i, name := range []string{"FROM", "TO"} {
			a.printf("%-8s  %s, %s held; %s\n", name, count(reports[i].Jobs+reports[i].Reserved, "job"),
				count(reports[i].Keys, "key"), count(len(reports[i].Violations), "violation"))
		}
	}
	switch {
	case len(r.Violations) > 0:
		return fmt.Errorf("%s: onceq doctor --store URL shows them", count(len(r.Violations), "violation"))
	case len(r.Refused) > 0:
		return fmt.Errorf("%s not copied: see the lines above", count(len(r.Refused), "job"))
	}
	return nil
}
