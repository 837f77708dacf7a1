package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
)

func newWorkers(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "workers",
		Short: "List who works, on what, since when; the late ones first",
		Long: `List the workers that send heartbeats: which queues each serves and with how
many slots (and how many it has of those that the whole fleet shares), which
kinds it takes, how many jobs run for it, since when it is there, and when its
last heartbeat came. A late worker, whose lease is over, may be lost; another
worker then takes over its jobs.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				workers, err := client.Workers(c.Context())
				if err != nil {
					return err
				}
				if a.json {
					for _, w := range workers {
						if err := a.printJSON(w); err != nil {
							return err
						}
					}
					return nil
				}
				if len(workers) == 0 {
					a.printf("no workers\n")
					return nil
				}
				now := time.Now()
				var rows [][]cell
				for _, w := range workers {
					about := w.Details()
					beat := cell{text: away(w.BeatAt, now)}
					if w.Late {
						beat = cell{text: "late, " + beat.text, style: red}
					}
					rows = append(rows, []cell{text(w.Name), text(serves(about, w.Slots)), text(takes(about)),
						number(int64(w.Running)), text(away(w.Since, now)), beat})
				}
				a.table([]string{"WORKER", "SERVES", "KINDS", "RUNNING", "SINCE", "LAST HEARTBEAT"}, rows)
				return nil
			})
		},
	}
}

// serves is "default=10, mail=2", and for a queue that is limited in the whole
// fleet "reports=5 (has 1 of 2)".
func serves(about onceq.WorkerAbout, slots map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(about.Queues)) {
		part := fmt.Sprintf("%s=%d", name, about.Queues[name])
		if n := about.Global[name]; n > 0 {
			part += fmt.Sprintf(" (has %d of %d)", slots[name], n)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func takes(about onceq.WorkerAbout) string {
	if len(about.Kinds) > 5 {
		return strings.Join(about.Kinds[:5], ", ") + " and " + count(len(about.Kinds)-5, "more")
	}
	return strings.Join(about.Kinds, ", ")
}
