package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

// jobFilter has the flags that choose jobs.
type jobFilter struct {
	states, queue, kind, key, tag, worker string
	olderThan, newerThan                  string
	all                                   bool
	limit                                 int
}

func (f *jobFilter) register(c *cobra.Command) {
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.states, "state", "", "only jobs in one of these `STATES`, separated by commas: scheduled, "+
		"available, running, retryable, completed, discarded, cancelled")
	fs.StringVar(&f.queue, "queue", "", "only of this queue `NAME`")
	fs.StringVar(&f.kind, "kind", "", "only of this `KIND`")
	fs.StringVar(&f.key, "key", "", "only with this `KEY`: 64 hexadecimal digits, or the first 8 or more of a held one")
	fs.StringVar(&f.tag, "tag", "", "only with this `TAG`")
	fs.StringVar(&f.worker, "worker", "", "only those that this worker `NAME` runs, or ran last")
	fs.StringVar(&f.olderThan, "older-than", "", "only those enqueued at least this `LONG` ago: 90s, 12h, 7d")
	fs.StringVar(&f.newerThan, "newer-than", "", "only those enqueued less than this `LONG` ago")
}

// empty reports whether no flag chooses.
func (f *jobFilter) empty() bool {
	return f.states+f.queue+f.kind+f.key+f.tag+f.worker+f.olderThan+f.newerThan == ""
}

func (f *jobFilter) filter(ctx context.Context, client *onceq.Client) (onceq.JobFilter, error) {
	if f.limit < 0 {
		return onceq.JobFilter{}, usagef("--limit %d: must be 0 (all) or more", f.limit)
	}
	filter := onceq.JobFilter{Queue: f.queue, Kind: f.kind, Tag: f.tag, Worker: f.worker, All: f.all, Limit: f.limit}
	for name := range strings.SplitSeq(f.states, ",") {
		s := onceq.State(strings.TrimSpace(name))
		if f.states != "" && !slices.Contains(onceq.States(), s) {
			return filter, usagef("--state %q: must be one of %s", s, joined(onceq.States()))
		}
		if f.states != "" {
			filter.States = append(filter.States, s)
		}
	}
	now := time.Now()
	for flag, to := range map[string]*time.Time{"older-than": &filter.Before, "newer-than": &filter.After} {
		long := map[string]string{"older-than": f.olderThan, "newer-than": f.newerThan}[flag]
		if long == "" {
			continue
		}
		d, err := terms.ParseDuration(long)
		if err != nil {
			return filter, usagef("--%s %q: %v", flag, long, err)
		}
		*to = now.Add(-d)
	}
	if !filter.After.IsZero() && !filter.Before.IsZero() && !filter.After.Before(filter.Before) {
		return filter, usagef("--older-than %s and --newer-than %s: no job is both", f.olderThan, f.newerThan)
	}
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
		Long: `List jobs by ID, the largest first. IDs that onceq made grow with time, so the
newest of them come first; IDs of your own stand where their text puts them. A
list for people shows 50 unless --limit says otherwise; --json lists all.`,
		Example: `  onceq jobs --state discarded
  onceq jobs --state running,available --tag nightly
  onceq jobs retry --state discarded --kind mail
  onceq jobs delete --state completed --older-than 7d
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
			a.table(jobColumns, rows, "ATTEMPT", "QUEUE", "KIND")
			rows, some = rows[:0], true
		}
	}
	switch {
	case a.json:
	case len(rows) > 0:
		a.table(jobColumns, rows, "ATTEMPT", "QUEUE", "KIND")
	case !some:
		a.printf("no jobs%s\n", matching(!f.empty()))
	}
	return nil
}

var jobColumns = []string{"ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "WHEN"}

func matching(filtered bool) string {
	if filtered {
		return " match"
	}
	return ""
}

func attempts(j *onceq.JobRow) string {
	if j.ClaimState() != "" { // how often it is tried is for its broker to say
		return strconv.Itoa(j.Attempt)
	}
	return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts)
}

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
	}
	if claim := j.ClaimState(); claim == "lapsed" {
		return "lapsed " + away(j.RunAt, now)
	} else if claim != "" {
		return "lapses " + away(j.RunAt, now)
	}
	return "due " + away(j.RunAt, now)
}
