package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the store and every invariant on live data",
		Long: `Check the store, and of every job and every key that what is promised holds:
one holder a key, and at most one waiter; a key is held if and only if its
job's terms say so; nobody stands behind a run that has ended. It only reads,
and may run while the store is in use. A line for each violation, and exit
code 1, if there are any.

What only grows is named too: finished jobs that no worker prunes, free pages
of a file, a write-ahead log, dead rows, a memory that is nearly full. That is
no violation.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				done := 0
				p := newProgress(a, func() string { return thousands(done) + " rows checked" })
				report, err := client.Doctor(c.Context(), func(n int) { done = n; p.show() })
				p.end()
				if err != nil {
					return err
				}
				if a.json {
					err = a.printJSON(report)
				} else {
					a.printReport(report)
				}
				if err == nil && !report.OK() {
					err = fmt.Errorf("%s among %s and %s held", count(len(report.Violations), "violation"),
						count(report.Jobs, "job"), count(report.Keys, "key"))
				}
				return err
			})
		},
	}
}

func (a *app) printReport(r onceq.DoctorReport) {
	for _, v := range r.Violations {
		a.printf("%s\n", clean(v.String()))
	}
	if r.OK() {
		own := ""
		if r.Reserved > 0 {
			own = " and " + thousands(r.Reserved) + " of onceq's own (claims, schedules, slots)"
		}
		a.printf("%s: %s%s, %s held, %s; 0 violations\n", a.paint(green, "ok"), count(r.Jobs, "job"), own,
			count(r.Keys, "key"), thousands(r.Inert)+" freed and not yet swept")
	}
	for _, line := range r.Growth {
		a.printf("%s: %s\n", a.paint(yellow, "it grows"), clean(line))
	}
}
