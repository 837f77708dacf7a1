package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

// jobFilter has the flags that choose jobs.
type jobFilter struct {
	state, queue, kind, key string
	all                     bool
	limit                   int
}

func (f *jobFilter) register(c *cobra.Command) {
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.state, "state", "", "only jobs in this `STATE`: scheduled, available, running, retryable, "+
		"completed, discarded or cancelled")
	fs.StringVar(&f.queue, "queue", "", "only of this queue `NAME`")
	fs.StringVar(&f.kind, "kind", "", "only of this `KIND`")
	fs.StringVar(&f.key, "key", "", "only with this `KEY`: 64 hexadecimal digits, or the first 8 or more of a held one")
}

func (f *jobFilter) filter(ctx context.Context, client *onceq.Client) (onceq.JobFilter, error) {
	if f.limit < 0 {
		return onceq.JobFilter{}, usagef("--limit %d: must be 0 (all) or more", f.limit)
	}
	if f.state != "" && !slices.Contains(onceq.States(), onceq.State(f.state)) {
		return onceq.JobFilter{}, usagef("--state %q: must be one of %s", f.state, joined(onceq.States()))
	}
	filter := onceq.JobFilter{State: onceq.State(f.state), Queue: f.queue, Kind: f.kind, All: f.all, Limit: f.limit}
	if f.key != "" {
		key, err := findKey(ctx, client, f.key)
		if err != nil {
			return filter, err
		}
		filter.Key = &key
	}
	return filter, nil
}

func joined(states []onceq.State) string {
	var names []string
	for _, s := range states {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// pageSize is how many rows a list shows on a terminal by default.
const pageSize = 50

func newJobs(a *app) *cobra.Command {
	var f jobFilter
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, the newest first; cancel, retry, run or delete many",
		Long: `List jobs, the newest first (by ID: IDs that were generated grow with time). A
list for people shows 50 unless --limit says otherwise; --json lists all.`,
		Example: `  onceq jobs --state discarded
  onceq jobs retry --state discarded --kind mail
  onceq jobs delete --all`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return a.with(c.Context(), func(client *onceq.Client) error { return a.listJobs(c, client, f) })
		},
	}
	f.register(c)
	c.Flags().IntVar(&f.limit, "limit", 0, "at most `N` jobs; 0 is all (default 50, with --json all)")
	for _, step := range bulkSteps {
		c.AddCommand(newBulk(a, step))
	}
	return c
}

func (a *app) listJobs(c *cobra.Command, client *onceq.Client, f jobFilter) error {
	paged := !a.json && !c.Flags().Changed("limit")
	if paged {
		f.limit = pageSize + 1
	}
	filter, err := f.filter(c.Context(), client)
	if err != nil {
		return err
	}
	filter.Args = a.json // the table does not show them
	now := time.Now()
	var rows [][]cell
	some := false
	for j, err := range client.Jobs(c.Context(), filter) {
		switch {
		case err != nil:
			return err
		case a.json:
			if err := a.printJSON(j); err != nil {
				return err
			}
			continue
		}
		if len(rows) == pageSize && paged {
			defer fmt.Fprintf(a.errOut, "the first %d; --limit 0 lists all\n", pageSize)
			break
		}
		rows = append(rows, []cell{text(j.ID), text(j.Kind), text(j.Queue), state(j.State), {text: attempts(j)},
			text(lately(j, now))})
		if len(rows) == 1000 { // a long list comes in pieces, so that memory stays small
			a.table(jobColumns, rows)
			rows, some = rows[:0], true
		}
	}
	switch {
	case a.json:
	case len(rows) > 0:
		a.table(jobColumns, rows)
	case !some:
		a.printf("no jobs%s\n", matching(filter != onceq.JobFilter{Limit: filter.Limit}))
	}
	return nil
}

var jobColumns = []string{"ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "LATELY"}

func matching(filtered bool) string {
	if filtered {
		return " match"
	}
	return ""
}

func attempts(j *onceq.JobRow) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }

// lately is what happened to a job last, or will happen next.
func lately(j *onceq.JobRow, now time.Time) string {
	switch {
	case j.Behind != "":
		return "stands behind " + j.Behind
	case j.State == onceq.Running && j.CancelRequested:
		return "asked to stop, started " + away(j.StartedAt, now)
	case j.State == onceq.Running:
		return "started " + away(j.StartedAt, now)
	case j.State == onceq.Cancelled && j.SupersededBy != "":
		return "superseded by " + j.SupersededBy + " " + away(j.FinishedAt, now)
	case j.State.Finished():
		return string(j.State) + " " + away(j.FinishedAt, now)
	case j.State == onceq.Available:
		return "due since " + moment(j.RunAt, now)
	}
	return "due " + moment(j.RunAt, now)
}
