package model

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// held are the keys that hold. When a row that holds no longer is dropped
// is up to each store.
func held(d snapshot.Snapshot) []*onceq.HeldKey {
	return slices.DeleteFunc(slices.Clone(d.Keys), func(k *onceq.HeldKey) bool { return k.Inert })
}

// same reports whether two stores show the same.
func same(d, e snapshot.Snapshot) bool {
	return slices.EqualFunc(d.Jobs, e.Jobs, sameJob) && slices.EqualFunc(held(d), held(e),
		func(a, b *onceq.HeldKey) bool { return showKey(a) == showKey(b) }) &&
		slices.EqualFunc(d.Queues, e.Queues, func(a, b onceq.QueueInfo) bool { return showQueue(a) == showQueue(b) })
}

func sameJob(a, b *onceq.JobRow) bool {
	x, y := *a, *b
	snapshot.Normal(&x)
	snapshot.Normal(&y)
	return reflect.DeepEqual(x, y)
}

// showSnapshot is everything about the store that all stores must show alike.
func showSnapshot(d snapshot.Snapshot) string {
	var lines []string
	for _, j := range d.Jobs {
		lines = append(lines, snapshot.Show(j))
	}
	for _, k := range held(d) {
		lines = append(lines, showKey(k))
	}
	for _, q := range d.Queues {
		lines = append(lines, showQueue(q))
	}
	return strings.Join(lines, "\n")
}

func showQueue(q onceq.QueueInfo) string {
	line := fmt.Sprintf("queue %s paused %v until %s due %s", q.Name, q.Paused,
		snapshot.Clock(q.PausedUntil), snapshot.Clock(q.OldestDue))
	for _, s := range onceq.States() {
		if q.Counts[s] > 0 {
			line += fmt.Sprintf(" %s %d", s, q.Counts[s])
		}
	}
	return line
}

func showKey(k *onceq.HeldKey) string {
	return fmt.Sprintf("key %s %s %s/%s held by %s (%s, gone %v) since %s frees at %s on %q, waiter %q, digest %x",
		k.Key, k.Text, k.Kind, k.Queue, k.Holder, k.State, k.Gone,
		snapshot.Clock(k.Since), snapshot.Clock(k.FreesAt), k.FreesWhen, k.Waiter, k.Digest)
}

func showConflict(c *onceq.Conflict) string {
	if c == nil {
		return "no conflict"
	}
	if c.By == "id" { // whether args differ is not the store's to say
		return fmt.Sprintf("by id, key %s %s, holder %s (%s) since %s", c.Key, c.Text, c.Holder, c.State,
			snapshot.Clock(c.Since))
	}
	return fmt.Sprintf("by %s %s %s, holder %s (%s) since %s frees at %s on %q, args differ %v", c.By, c.Key, c.Text,
		c.Holder, c.State, snapshot.Clock(c.Since), snapshot.Clock(c.FreesAt), c.FreesWhen, c.ArgsDiffer)
}

// showErr is an error as callers branch on it.
func showErr(err error) string {
	var dup *onceq.DuplicateError
	var invalid *onceq.InvalidError
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &dup):
		return fmt.Sprintf("duplicate %s/%s: %s", dup.Kind, dup.Queue, showConflict(&dup.Conflict))
	case errors.As(err, &invalid):
		return "invalid " + invalid.Field
	}
	for _, known := range []error{onceq.ErrNotFound, onceq.ErrLeaseLost, onceq.ErrClosed, onceq.ErrUncertain} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "error: " + err.Error()
}

// differ shows the lines in which two texts differ.
func differ(what, got, want string) error {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var lines []string
	for _, l := range g {
		if !slices.Contains(w, l) {
			lines = append(lines, "store: "+l)
		}
	}
	for _, l := range w {
		if !slices.Contains(g, l) {
			lines = append(lines, "model: "+l)
		}
	}
	return fmt.Errorf("%s differ:\n%s", what, strings.Join(lines, "\n"))
}

// showAnswer is an answer to an enqueue. What the conflict of an echo was
// is told in short: its holder may be long gone.
func showAnswer(r onceq.EnqueueResult, again bool) string {
	c := showConflict(r.Conflict)
	if again && r.Conflict != nil && (r.Outcome == onceq.Coalesced || r.Outcome == onceq.Superseded) {
		c = "with " + r.Conflict.Holder
	}
	return fmt.Sprintf("%s %s; %s; frees at %d", r.Outcome, snapshot.Show(r.Job), c, r.FreesAt)
}

func showAll(jobs []*onceq.JobRow) string {
	var lines []string
	for _, j := range jobs {
		lines = append(lines, snapshot.Show(j))
	}
	return strings.Join(lines, "\n")
}

func showChanges(results []onceq.ChangeResult, err error) string {
	lines := []string{showErr(err)}
	for _, r := range results {
		if r.Err != nil {
			lines = append(lines, showErr(r.Err))
		} else {
			lines = append(lines, snapshot.Show(r.Job))
		}
	}
	return strings.Join(lines, "\n")
}
