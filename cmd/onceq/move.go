package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

func newMove(a *app) *cobra.Command {
	var delay *time.Duration
	var at *time.Time
	c := &cobra.Command{
		Use:   "move ID (--delay DURATION | --at TIME)",
		Short: "Give a job that waits another run time",
		Long: `Give a job that waits another run time. A job that runs, has ended, or stands
behind another is refused.`,
		Example: `  onceq job move welcome-42 --delay 2h
  onceq job move welcome-42 --at "2026-12-24 18:00"`,
		Args: oneID,
		RunE: func(c *cobra.Command, args []string) error {
			var when onceq.Option
			switch {
			case (delay == nil) == (at == nil):
				return usagef("say when it is due: --delay or --at, one of them")
			case delay != nil:
				when = onceq.Delay(*delay)
			default:
				when = onceq.RunAt(*at)
			}
			return a.with(c.Context(), func(client *onceq.Client) error {
				j, err := client.Move(c.Context(), args[0], when)
				switch {
				case err != nil:
					return usage(err)
				case a.json:
					return a.printJSON(j)
				}
				a.printf("job %s is due %s\n", clean(j.ID), moment(j.RunAt, time.Now()))
				return nil
			})
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.Var(terms.Optional("DURATION", &delay, terms.ParseDuration), "delay", "due this much from now: 30s, 2h, 7d")
	fs.Var(terms.Optional("TIME", &at, terms.ParseTime), "at",
		`due at this time: 2026-12-24T18:00:00+01:00, or "2026-12-24 18:00" here`)
	return c
}
