package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

func newQueues(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "queues",
		Short: "List queues: jobs by state, paused or not, and how far behind they are",
		Long: `List queues. Counts are exact up to 10,000; where one means "at least", it says so
("≥"). The
queues of onceq's own jobs, whose names begin with "onceq.", are left out
unless --all is said.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				queues, err := client.Queues(c.Context())
				if err != nil {
					return err
				}
				if !all {
					queues = slices.DeleteFunc(queues, func(q onceq.QueueInfo) bool {
						return onceq.ReservedName(q.Name)
					})
				}
				if !a.json && len(queues) == 0 {
					a.printf("no queues: there are no jobs\n")
					return nil
				}
				now := time.Now()
				header := []string{"QUEUE"}
				for _, s := range onceq.States() {
					header = append(header, strings.ToUpper(string(s)))
				}
				header = append(header, "OLDEST DUE")
				var rows [][]cell
				for _, q := range queues {
					if a.json {
						if err := a.printJSON(q); err != nil {
							return err
						}
						continue
					}
					row := []cell{text(q.Name)}
					for _, s := range onceq.States() {
						n := number(int64(q.Counts[s]))
						if slices.Contains(q.AtLeast, s) {
							n.text = "≥" + n.text
						}
						if q.Counts[s] > 0 {
							n.style = stateStyle(s)
						}
						row = append(row, n)
					}
					last := ""
					if !q.OldestDue.IsZero() {
						last = away(q.OldestDue, now)
					}
					if q.Paused {
						last = strings.TrimSpace(pausedText(q, now) + " " + last)
					}
					rows = append(rows, append(row, text(last)))
				}
				if !a.json {
					a.table(header, rows)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also the queues of onceq's own jobs")
	return c
}

func pausedText(q onceq.QueueInfo, now time.Time) string {
	if q.PausedUntil.IsZero() {
		return "paused"
	}
	return "paused (ends " + away(q.PausedUntil, now) + ")"
}

func newQueue(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "queue",
		Short: "Pause or resume a queue",
	}, "pause|resume", "NAME")
	var create bool
	var length *time.Duration
	for _, s := range []struct {
		verb, short string
		change      func(ctx context.Context, client *onceq.Client, name string) (done string, err error)
	}{
		{"pause", "Start no more jobs of a queue, on any worker; jobs that run go on",
			func(ctx context.Context, client *onceq.Client, name string) (string, error) {
				return pauseQueue(ctx, client, name, create, length)
			}},
		{"resume", "Start jobs of a paused queue again", resumeQueue},
	} {
		sub := &cobra.Command{
			Use:   s.verb + " NAME",
			Short: s.short,
			Args:  nArgs(1, 1),
			RunE: func(c *cobra.Command, args []string) error {
				// The client would warn of a queue that nobody has used:
				// that is said here, or meant.
				quiet := &onceq.Config{Logger: slog.New(slog.DiscardHandler)}
				return a.withConnection(c.Context(), quiet, func(open *connection) error {
					done, err := s.change(c.Context(), open.client, args[0])
					switch {
					case err != nil:
						return usage(err)
					case a.json:
						return a.printQueue(c.Context(), open.client, args[0], s.verb == "pause")
					}
					a.printf("queue %s %s\n", clean(args[0]), done)
					return nil
				})
			},
		}
		if s.verb == "pause" {
			sub.Flags().BoolVar(&create, "create", false, "pause it although it has no jobs: those that come are not "+
				"started")
			sub.Flags().Var(
				terms.Optional("DURATION", &length, terms.ParseDuration),
				"for",
				"the pause ends by itself after "+
					"this long: 10m, 2h, 7d (default: not before onceq queue resume)",
			)
		}
		c.AddCommand(sub)
	}
	return c
}

// printQueue prints a queue that was paused or resumed.
func (a *app) printQueue(ctx context.Context, client *onceq.Client, name string, paused bool) error {
	all, err := client.Queues(ctx)
	if err != nil {
		return err
	}
	queue := onceq.QueueInfo{Name: name, Paused: paused} // it has no jobs
	if i := slices.IndexFunc(all, func(q onceq.QueueInfo) bool { return q.Name == name }); i >= 0 {
		queue = all[i]
	}
	return a.printJSON(queue)
}

// pauseQueue pauses a queue, for some time or (length nil) without end. It
// refuses a name that nobody has used, which is probably mistyped, unless
// create says that it is meant.
func pauseQueue(ctx context.Context, client *onceq.Client, name string, create bool,
	length *time.Duration) (done string, err error) {
	if !create && name != "" { // the client refuses that
		all, err := client.Queues(ctx)
		if err != nil {
			return "", err
		}
		if known := namesOf(all); !slices.Contains(known, name) {
			return "", unknownQueue(name, known, " (--create pauses it before its first job)")
		}
	}
	if length == nil {
		return "is paused: jobs that run go on, no other starts until onceq queue resume", client.Pause(ctx, name)
	}
	return fmt.Sprintf("is paused for %s: jobs that run go on, no other starts until then, or until onceq queue resume",
		short(*length)), client.PauseFor(ctx, name, *length)
}

func resumeQueue(ctx context.Context, client *onceq.Client, name string) (done string, err error) {
	all, err := client.Queues(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(q onceq.QueueInfo) bool { return q.Name == name })
	switch {
	case i < 0 && name != "":
		return "", unknownQueue(name, namesOf(all), "")
	case i >= 0 && !all[i].Paused:
		return "was not paused", nil
	}
	return "is resumed", client.Resume(ctx, name)
}
