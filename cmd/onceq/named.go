package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/nearest"
)

// greet checks the queues that a worker was told to serve. A queue without
// a job may be new, so it is served; but if other queues have jobs, a slip
// is likely, and it warns. A pattern is refused.
func (r *runner) greet(ctx context.Context, client *onceq.Client, queues map[string]onceq.QueueConfig) error {
	all, err := client.Queues(ctx)
	if err != nil {
		return err
	}
	known := namesOf(all)
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		switch {
		case slices.Contains(known, name):
		case isPattern(name):
			return usagef("--queues %q: names are taken literally, and no queue has this one: name those to serve "+
				"(onceq queues lists them)", name)
		case len(known) > 0:
			fmt.Fprintf(r.errOut, "onceq: queue %s has no jobs%s\n", clean(name), perhaps(name, known))
		}
	}
	return nil
}

// perhaps asks whether another name was meant; "" if none is similar.
func perhaps(name string, known []string) string {
	if near := nearest.Name(name, known); near != "" {
		return ": did you mean " + clean(near) + "?"
	}
	return ""
}

func isPattern(name string) bool { return strings.ContainsAny(name, "*?") }

// namesOf returns the names of queues, in their order.
func namesOf(all []onceq.QueueInfo) []string {
	names := make([]string, len(all))
	for i, q := range all {
		names[i] = q.Name
	}
	return names
}

// unknownQueue is the error about a queue that nobody has used.
func unknownQueue(name string, known []string, wayOut string) error {
	near := perhaps(name, known)
	switch {
	case near == "" && isPattern(name):
		near = ": names are taken literally (onceq queues lists them)"
	case near == "":
		near = ": onceq queues lists those that have"
	}
	return fmt.Errorf("queue %s has no jobs and is not paused%s%s", clean(name), near, wayOut)
}
