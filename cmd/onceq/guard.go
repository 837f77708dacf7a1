package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

// guardPrefix begins the queues of claims.
const guardPrefix = "onceq.guard/"

// claimWords are what the states of a claim that holds its key mean for its
// message, where only the key is known.
var claimWords = map[onceq.State]string{onceq.Scheduled: "waits", onceq.Available: "lapsed",
	onceq.Retryable: "failed"}

func newGuard(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "guard",
		Short: "List the claims of guards: messages in somebody else's broker",
	}, "list", "")
	c.AddCommand(newGuardList(a))
	return c
}

// claimFilter has the flags that choose claims.
type claimFilter struct {
	name, is, kind string
	limit          int
}

var claimStates = []string{"in doubt", "sent", "running", "failed", "lapsed", "done", "given up", "cancelled", "held"}

func newGuardList(a *app) *cobra.Command {
	f := claimFilter{}
	c := &cobra.Command{
		Use:   "list",
		Short: "List claims, with what has become of their messages; the newest first",
		Long: `List the claims of guards (docs/guard.md). The state is that of the message:

  in doubt   nobody has said that it was sent
  sent       it waits in its broker
  running    it is being handled
  failed     its broker brings it again
  lapsed     silent for longer than its patience: the next of its key is accepted
  done, given up, cancelled   it has ended, and its key is free
  held       no message: a command of onceq once, guard.Do, or a slot of a limit

onceq job show TOKEN says more. A list for people shows 50 unless --limit says
otherwise; --json lists all, as onceq jobs does, with the state as "claim".`,
		Example: `  onceq guard list
  onceq guard list --name mail --is lapsed
  onceq job delete TOKEN   # the message is lost: its key is free`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error { return a.listClaims(c, client, f) })
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVar(&f.name, "name", "", "only of the guard with this `NAME`")
	c.Flags().StringVar(&f.is, "is", "", "only whose message is in this `STATE`: "+strings.Join(claimStates, ", "))
	c.Flags().StringVar(&f.kind, "kind", "", "only of this `KIND`")
	c.Flags().IntVar(&f.limit, "limit", 0, "at most `N` claims; 0 is all (default 50, with --json all)")
	return c
}

// printClaim prints a claim as JSON: a job, with one member more.
func (a *app) printClaim(j *onceq.JobRow) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return a.printJSON(json.RawMessage(fmt.Sprintf("%s,\"claim\":%q}", raw[:len(raw)-1], j.ClaimState())))
}

func (a *app) listClaims(c *cobra.Command, client *onceq.Client, f claimFilter) error {
	if f.is != "" && !slices.Contains(claimStates, f.is) {
		return usagef("--is %q: must be one of %s", f.is, strings.Join(claimStates, ", "))
	}
	if f.limit < 0 {
		return usagef("--limit %d: must be 0 (all) or more", f.limit)
	}
	limit := f.limit
	if !a.json && !c.Flags().Changed("limit") {
		limit = pageSize
	}
	filter := onceq.JobFilter{Kind: f.kind, Reserved: true}
	if f.name != "" {
		filter.Queue = guardPrefix + f.name
	}
	now := time.Now()
	var rows [][]cell
	shown := 0
	for j, err := range client.Jobs(c.Context(), filter) {
		if err != nil {
			return err
		}
		is := j.ClaimState()
		if is == "" || f.is != "" && is != f.is {
			continue
		}
		if shown++; limit > 0 && shown > limit {
			if !c.Flags().Changed("limit") {
				defer fmt.Fprintf(a.errOut, "the first %d; --limit 0 lists all\n", pageSize)
			}
			break
		}
		if a.json {
			if err := a.printClaim(j); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []cell{text(j.ID), text(strings.TrimPrefix(j.Queue, guardPrefix)), text(j.Kind),
			{text: is, style: stateStyle(j.State)}, text(attempts(j)), text(lately(j, now)), text(j.KeyText)})
	}
	switch {
	case a.json:
	case len(rows) > 0:
		a.table([]string{"TOKEN", "GUARD", "KIND", "MESSAGE", "ATTEMPT", "WHEN", "KEY"}, rows, "ATTEMPT", "GUARD",
			"KIND")
	default:
		a.printf("no claims%s\n", matching(f.name+f.is+f.kind != ""))
	}
	return nil
}
