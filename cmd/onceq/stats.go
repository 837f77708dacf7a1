package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

func newStats(a *app) *cobra.Command {
	r := onceq.StatsRequest{Hot: 10, Seen: 5}
	span := "1h"
	c := &cobra.Command{
		Use:   "stats",
		Short: "How many enqueues, duplicates and runs there were, and which keys met the most",
		Long: `Show how many enqueues there were lately, how many of them were duplicates, how
many runs ended and how, the keys that met most duplicates in the last day, and
some duplicates of the last 100 minutes as examples.

Clients and workers count, and tell the store once a minute: the last minute may
be missing, and so is that of a process that was killed. Keys are counted at
least so often. A single onceq enqueue is not counted, because a second write for
each would cost as much as the first; --file and programs are.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.Span, err = terms.ParseDuration(span); err == nil && (r.Span <= 0 || r.Span > onceq.MaxSpan) {
				err = errors.New("must be more than 0, and 8d at most")
			}
			if err != nil {
				return usagef("--span %q: %v", span, err)
			}
			if r.Hot < 0 || r.Seen < 0 {
				return usagef("--hot and --seen must be 0 or more")
			}
			return a.with(c.Context(), func(client *onceq.Client) error { return a.stats(c.Context(), client, r) })
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&span, "span", span, "look back so `LONG`: 10m, 24h, 8d at most; beyond 3h in hours")
	fs.StringVar(&r.Queue, "queue", "", "only of this queue `NAME`")
	fs.StringVar(&r.Kind, "kind", "", "only of this `KIND`")
	fs.IntVar(&r.Hot, "hot", r.Hot, "show `N` keys")
	fs.IntVar(&r.Seen, "seen", r.Seen, "show `N` duplicates")
	fs.BoolVar(&r.Terms, "terms", false, "show on what terms the jobs of each kind were unique")
	return c
}

func (a *app) stats(ctx context.Context, client *onceq.Client, r onceq.StatsRequest) error {
	s, err := client.Stats(ctx, r)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(s)
	case len(s.Series) == 0:
		a.printf("nothing was counted since %s\n", away(s.From, s.Now))
		return nil
	}
	var rows [][]cell
	for _, series := range s.Series {
		n := series.Total()
		enqueued, ended := int64(0), int64(0)
		for i := range n.Enqueued {
			enqueued, ended = enqueued+n.Enqueued[i], ended+n.Ended[i]
		}
		rows = append(rows, []cell{text(series.Queue), text(series.Kind), number(enqueued), number(n.Duplicates()),
			share(n.Duplicates(), enqueued), number(ended), number(n.Ended[0]), number(n.Ended[1]), number(n.Ended[2]),
			mean(n.RunMS, ended), mean(n.WaitMS, ended)})
	}
	a.table([]string{"QUEUE", "KIND", "ENQUEUES", "DUPLICATES", "%", "RUNS", "COMPLETED", "RETRIED", "DISCARDED",
		"MEAN RUN", "MEAN WAIT"}, rows, "MEAN WAIT", "MEAN RUN")
	a.hotKeys(&s)
	a.sightings(&s)
	if len(s.Terms) > 0 {
		var rows [][]cell
		for _, k := range s.Terms {
			rows = append(rows, []cell{text(k.Queue), text(k.Kind), text(away(k.FirstAt, s.Now)),
				text(away(k.LastAt, s.Now)), text(k.Terms)})
		}
		a.printf("\n")
		a.table([]string{"QUEUE", "KIND", "FIRST", "LAST", "TERMS"}, rows)
	}
	return nil
}

// hotKeys prints the keys that met most duplicates.
func (a *app) hotKeys(s *onceq.Stats) {
	if len(s.Hot) == 0 {
		return
	}
	var rows [][]cell
	for _, k := range s.Hot {
		n := number(k.Count)
		n.text = "≥" + n.text
		rows = append(rows, []cell{{text: k.Key.String()[:keyDigits]}, n, text(k.Kind), text(k.Holder),
			text(away(k.LastAt, s.Now)), text(k.Text)})
	}
	a.printf("\n")
	a.table([]string{"KEY", "DUPLICATES", "KIND", "HOLDER", "LAST", "PARTS"}, rows, "LAST", "KIND")
}

// sightings prints some duplicates.
func (a *app) sightings(s *onceq.Stats) {
	if len(s.Seen) == 0 {
		return
	}
	var rows [][]cell
	for _, d := range s.Seen {
		differ := ""
		if d.Conflict.ArgsDiffer {
			differ = "differ"
		}
		rows = append(rows, []cell{text(away(d.At, s.Now)), text(string(d.Outcome)), text(d.Kind), text(d.From),
			{text: differ}, text(d.Conflict.Holder)})
	}
	a.printf("\n")
	a.table([]string{"DUPLICATE", "OUTCOME", "KIND", "FROM", "ARGS", "HOLDER"}, rows, "FROM", "ARGS")
}

// share is a percentage.
func share(part, of int64) cell {
	c := cell{right: true}
	if of > 0 {
		c.text = fmt.Sprint(100 * part / of)
	}
	return c
}

// mean is a sum of milliseconds, divided.
func mean(ms, n int64) cell {
	c := cell{right: true}
	if n > 0 {
		c.text = short(time.Duration(ms/n) * time.Millisecond)
	}
	return c
}
