package main

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onceq/onceq"
)

// drained returns when no job of the queues (and kinds) is due or running, or with ctx.
func drained(ctx context.Context, client *onceq.Client, queues, kinds []string, running *atomic.Int64) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if running.Load() > 0 {
			pause = 10 * time.Millisecond
			continue
		}
		if busy, err := anyDue(ctx, client, queues, kinds); err == nil && !busy { // a store that fails for a while is the worker's to wait for
			return
		}
	}
}

func anyDue(ctx context.Context, client *onceq.Client, queues, kinds []string) (bool, error) {
	all, err := client.Queues(ctx)
	if err != nil {
		return false, err
	}
	for _, q := range all {
		for _, st := range []onceq.State{onceq.Available, onceq.Running} {
			if !slices.Contains(queues, q.Name) || q.Counts[st] == 0 || q.Paused && st == onceq.Available {
				continue
			}
			if len(kinds) == 0 {
				return true, nil
			}
			for _, kind := range kinds {
				for _, err := range client.Jobs(ctx, onceq.JobFilter{State: st, Queue: q.Name, Kind: kind, Limit: 1}) {
					return true, err
				}
			}
		}
	}
	return false, nil
}

// left says what a drain did not wait for: of what it served, and what is due elsewhere.
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
			if n := counts[onceq.Available]; n > 0 && !q.Paused {
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
			due += counts[onceq.Available] // since the drain ended
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

// countKinds counts the waiting jobs of some kinds in a queue, as far as Queues counts.
func countKinds(ctx context.Context, client *onceq.Client, q onceq.QueueInfo, kinds []string) (map[onceq.State]int, error) {
	counts := map[onceq.State]int{}
	for _, st := range []onceq.State{onceq.Available, onceq.Retryable, onceq.Scheduled} {
		for _, kind := range kinds {
			if counts[st] >= q.Counts[st] {
				break // there are no more
			}
			for _, err := range client.Jobs(ctx, onceq.JobFilter{State: st, Queue: q.Name, Kind: kind, Limit: q.Counts[st] - counts[st]}) {
				if err != nil {
					return nil, err
				}
				counts[st]++
			}
		}
	}
	return counts, nil
}
