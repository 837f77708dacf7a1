package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// drain runs jobs until none of the queues (and kinds) has one that is due
// or running, here or on another worker, or until ctx ends. The drain of
// the worker itself waits for its own runs and prunes; a job that another
// worker runs may come back.
func drain(ctx context.Context, worker *onceq.Worker, client *onceq.Client, queues, kinds []string) error {
	for {
		if err := worker.Run(ctx); err != nil {
			return err
		}
		for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
			due, running, err := pending(ctx, client, queues, kinds)
			if err == nil && !due && !running || ctx.Err() != nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			if due || err != nil { // the worker waits for a store that fails for a while
				break
			}
		}
	}
}

// pending reports whether a job of the queues (and kinds) is due, and
// whether one runs.
func pending(ctx context.Context, client *onceq.Client, queues, kinds []string) (due, running bool, err error) {
	all, err := client.Queues(ctx)
	if err != nil {
		return false, false, err
	}
	for _, q := range all {
		if !slices.Contains(queues, q.Name) {
			continue
		}
		for st, found := range map[onceq.State]*bool{onceq.Available: &due, onceq.Running: &running} {
			if *found || q.Counts[st] == 0 || q.Paused && st == onceq.Available {
				continue
			}
			*found = len(kinds) == 0
			for _, kind := range kinds {
				for _, err := range client.Jobs(ctx, onceq.JobFilter{States: []onceq.State{st}, Queue: q.Name,
					Kind: kind, Limit: 1}) {
					if err != nil {
						return false, false, err
					}
					*found = true
				}
			}
		}
	}
	return due, running, nil
}

// left says what a drain did not wait for: later jobs of what it served,
// and due jobs elsewhere.
func left(ctx context.Context, client *onceq.Client, queues map[string]onceq.QueueConfig, kinds []string) string {
	all, err := client.Queues(ctx)
	if err != nil {
		return ""
	}
	due, retried, later, paused := 0, 0, 0, 0
	var elsewhere []string
	for _, q := range all {
		counts := q.Counts
		if _, served := queues[q.Name]; !served {
			if n := counts[onceq.Available]; n > 0 && !q.Paused && !onceq.ReservedName(q.Name) {
				elsewhere = append(elsewhere, clean(q.Name)+" ("+thousands(n)+")")
			}
			continue
		}
		if len(kinds) > 0 {
			if counts, err = countKinds(ctx, client, q, kinds); err != nil {
				return ""
			}
			if others := q.Counts[onceq.Available] - counts[onceq.Available]; others > 0 && !q.Paused {
				elsewhere = append(elsewhere, clean(q.Name)+" ("+thousands(others)+" of other kinds)")
			}
		}
		retried, later = retried+counts[onceq.Retryable], later+counts[onceq.Scheduled]
		if q.Paused {
			paused += counts[onceq.Available]
		} else {
			due += counts[onceq.Available] // due since the drain ended
		}
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{due, "due by now"}, {retried, "to be retried"}, {later, "due later"}, {paused, "in a paused queue"}} {
		if p.n > 0 {
			parts = append(parts, thousands(p.n)+" "+p.what)
		}
	}
	text := ""
	if len(parts) > 0 {
		text = "; left: " + strings.Join(parts, ", ")
	}
	if more := len(elsewhere) - 5; more > 0 {
		elsewhere = append(elsewhere[:5], "and "+count(more, "more queue"))
	}
	if len(elsewhere) > 0 {
		text += "; due, but not served here: " + strings.Join(elsewhere, ", ")
	}
	return text
}

// countKinds counts the waiting jobs of some kinds in a queue, up to the
// limit of Queues.
func countKinds(ctx context.Context, client *onceq.Client, q onceq.QueueInfo,
	kinds []string) (map[onceq.State]int, error) {
	counts := map[onceq.State]int{}
	for _, st := range []onceq.State{onceq.Available, onceq.Retryable, onceq.Scheduled} {
		for _, kind := range kinds {
			if counts[st] >= q.Counts[st] {
				break // there are no more
			}
			for _, err := range client.Jobs(ctx, onceq.JobFilter{States: []onceq.State{st}, Queue: q.Name, Kind: kind,
				Limit: q.Counts[st] - counts[st]}) {
				if err != nil {
					return nil, err
				}
				counts[st]++
			}
		}
	}
	return counts, nil
}
