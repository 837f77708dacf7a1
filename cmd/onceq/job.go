package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
	"github.com/onceq/onceq/internal/wire"
)

func newJob(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "job",
		Short: "Show, wait for, cancel, retry, run, move or delete one job",
	}, "show|wait|cancel|retry|run|move|delete", "ID")
	c.AddCommand(newMove(a), newWait(a), &cobra.Command{
		Use:   "show ID",
		Short: "Show everything about a job, and the story of its key",
		Args:  oneID,
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *onceq.Client) error {
				return a.showJob(c.Context(), client, args[0])
			})
		},
	})
	var withoutKey bool
	for _, s := range []struct {
		verb, short string
		change      func(ctx context.Context, client *onceq.Client, id string) (*onceq.JobRow, error)
		done        func(*onceq.JobRow) string
	}{
		{"cancel", "Cancel a job; a running one is asked to stop",
			func(ctx context.Context, c *onceq.Client, id string) (*onceq.JobRow, error) { return c.Cancel(ctx, id) },
			func(j *onceq.JobRow) string {
				if j.State == onceq.Running {
					return "is asked to stop"
				}
				return "is cancelled"
			}},
		{"retry", "Make a job that has ended, or waits to be retried, due now, with its key",
			func(ctx context.Context, c *onceq.Client, id string) (*onceq.JobRow, error) {
				if withoutKey {
					return c.Retry(ctx, id, onceq.WithoutKey)
				}
				return c.Retry(ctx, id)
			},
			func(*onceq.JobRow) string { return "is due now" }},
		{"run", "Make a job that waits due now",
			func(ctx context.Context, c *onceq.Client, id string) (*onceq.JobRow, error) { return c.RunNow(ctx, id) },
			func(*onceq.JobRow) string { return "is due now" }},
		{"delete", "Delete a job that does not run",
			func(ctx context.Context, c *onceq.Client, id string) (*onceq.JobRow, error) {
				j, err := c.Job(ctx, id)
				if err == nil {
					err = c.Delete(ctx, id)
				}
				return j, err
			},
			func(*onceq.JobRow) string { return "is deleted" }},
	} {
		sub := &cobra.Command{
			Use:   s.verb + " ID",
			Short: s.short,
			Args:  oneID,
			RunE: func(c *cobra.Command, args []string) error {
				return a.with(c.Context(), func(client *onceq.Client) error {
					j, err := s.change(c.Context(), client, args[0])
					switch {
					case errors.Is(err, onceq.ErrDuplicate):
						return fmt.Errorf("%w (onceq job retry --without-key runs it all the same, without the "+
							"key)", err)
					case err != nil:
						return err
					case a.json:
						return a.printJSON(j)
					default:
						a.printf("job %s %s\n", clean(j.ID), s.done(j))
					}
					return nil
				})
			},
		}
		if s.verb == "retry" {
			sub.Flags().BoolVar(&withoutKey, "without-key", false,
				"where another job holds the key by now, run without it")
		}
		c.AddCommand(sub)
	}
	return c
}

// oneID wants one argument that may be the ID of a job.
func oneID(c *cobra.Command, args []string) error {
	if err := nArgs(1, 1)(c, args); err != nil {
		return err
	}
	if id := args[0]; len(id) > onceq.MaxIDSize {
		return usagef("job %q not found: an ID has at most %d bytes", cut(id, 60), onceq.MaxIDSize)
	}
	return nil
}

func (a *app) showJob(ctx context.Context, client *onceq.Client, id string) error {
	j, err := client.Job(ctx, id)
	if err != nil {
		return err
	}
	var held *onceq.HeldKey
	if j.Key != nil {
		if held, err = client.Key(ctx, *j.Key); err != nil && !errors.Is(err, onceq.ErrNotFound) {
			return err
		}
	}
	if a.json {
		return a.printJSON(wire.Job{Job: j, Held: held})
	}
	waits, err := client.NotRunning(ctx, j)
	if err != nil {
		return err
	}
	a.facts(a.jobFacts(j, held, waits, time.Now()))
	return nil
}

// jobFacts describes a job in words. held is who holds its key; nil when it
// is free. waits is why it does not run.
func (a *app) jobFacts(j *onceq.JobRow, held *onceq.HeldKey, waits []string, now time.Time) [][2]string {
	var facts [][2]string
	fact := func(name, format string, args ...any) {
		facts = append(facts, [2]string{name, fmt.Sprintf(format, args...)})
	}
	at := func(name string, t time.Time) {
		if !t.IsZero() {
			fact(name, "%s", moment(t, now))
		}
	}
	fact("job", "%s", a.paint(bold, clean(j.ID)))
	fact("kind", "%s", clean(j.Kind))
	fact("queue", "%s, priority %d", clean(j.Queue), j.Priority)
	fact("state", "%s%s", a.paint(stateStyle(j.State), string(j.State)), clean(circumstances(j)))
	for i, reason := range waits {
		fact([]string{"waits", ""}[min(i, 1)], "%s", clean(reason))
	}
	claim := j.ClaimState()
	if claim != "" {
		fact("claim", "%s", claim)
		fact("attempts", "%d%s; how often is for its broker to say", j.Attempt, runs(j))
	} else {
		fact("attempts", "%d of %d%s", j.Attempt, j.MaxAttempts, runs(j))
	}
	at("enqueued", j.EnqueuedAt)
	if j.State.Waiting() {
		at(map[bool]string{true: "due", false: "lapses"}[claim == ""], j.RunAt)
	}
	at("started", j.StartedAt)
	at("finished", j.FinishedAt)
	if j.Timeout > 0 {
		fact("timeout", "%s a run", short(j.Timeout))
	}
	if claim != "" {
		fact("digest", "%s of the args, of which nothing else is kept", clean(string(j.Args)))
	} else if by := j.EncodedBy(); by != "" {
		fact("args", "encoded by %s (%s)", clean(by), count(len(j.Args), "byte"))
	} else if j.Encoding == onceq.EncodingBytes {
		fact("args", "%q (%s)", j.Args, count(len(j.Args), "byte"))
	} else {
		fact("args", "%s", clean(strings.TrimSpace(string(j.Args))))
	}
	if len(j.Meta) > 0 {
		meta, _ := json.Marshal(j.Meta)
		fact("meta", "%s", clean(string(meta)))
	}
	if len(j.Tags) > 0 {
		fact("tags", "%s", clean(strings.Join(j.Tags, ", ")))
	}
	if id := j.Trace().TraceID(); id != "" {
		fact("trace", "%s", id)
	}
	fact("kept", "%s", kept(j, now))
	if j.Displaced != "" {
		fact("origin", "%s", clean(phrase.Origin(j)))
	}
	if j.Key == nil {
		fact("key", "none: it is not unique")
	} else {
		fact("key", "%s\n%s\n%s", j.Key, clean(j.KeyText), phrase.Hold(j.Hold))
		fact("", "%s", clean(keyStory(j, held, now)))
	}
	for _, e := range j.Errors {
		lines := strings.Split(strings.TrimSpace(e.Error), "\n")
		if e.Stack != "" {
			lines = append(lines, strings.Split(strings.TrimSpace(e.Stack), "\n")...)
		}
		for i := range lines {
			lines[i] = clean(strings.ReplaceAll(lines[i], "\t", "  "))
		}
		fact("error", "attempt %d, run %d, %s: %s", e.Attempt, e.Run, moment(e.At, now), strings.Join(lines, "\n"))
	}
	return facts
}

// circumstances says what the state alone does not.
func circumstances(j *onceq.JobRow) string {
	switch {
	case j.State == onceq.Running && j.CancelRequested && j.SupersededBy != "":
		return ": superseded by job " + j.SupersededBy + ", and asked to stop; worker " + j.Worker
	case j.State == onceq.Running && j.CancelRequested:
		return ": asked to stop; worker " + j.Worker
	case j.State == onceq.Running:
		return " by worker " + j.Worker
	case j.SupersededBy != "":
		return ": superseded by job " + j.SupersededBy
	case j.Behind != "":
		return ": stands behind job " + j.Behind + " and starts when that run has ended"
	}
	return ""
}

func runs(j *onceq.JobRow) string {
	switch {
	case j.Run == int64(j.Attempt):
		return ""
	default:
		return fmt.Sprintf(" (%s: snoozes and hand-backs spend no attempt)", count(j.Run, "run"))
	}
}

func kept(j *onceq.JobRow, now time.Time) string {
	span := func(d time.Duration) string {
		if d == 0 {
			return "not at all"
		}
		return short(d)
	}
	switch {
	case j.State.Finished():
		return "until " + moment(j.KeepUntil(), now)
	case j.RetentionFailed != j.Retention:
		return span(j.Retention) + " once it is completed, " +
			span(j.RetentionFailed) + " once it is discarded or cancelled"
	}
	return span(j.Retention) + " once it is finished"
}

// keyStory says who holds the key of a job, who waits behind, and when it
// becomes free.
func keyStory(j *onceq.JobRow, held *onceq.HeldKey, now time.Time) string {
	switch {
	case held == nil && j.Keyless:
		return "it is free: this job gave it up (released by hand, or retried without it)"
	case held == nil:
		return "it is free"
	case held.Waiter == j.ID:
		return "it is held by job " + held.Holder + " (" + holderState(held).text +
			"), and this job is the waiter: the key passes to it"
	case held.Holder != j.ID:
		return "it is held by job " + held.Holder + " (" + holderState(held).text + ") since " +
			moment(held.Since, now) + "; " + held.FreesText()
	}
	story := "this job holds it since " + moment(held.Since, now) + "; "
	if held.Waiter != "" {
		return story + "job " + held.Waiter + " stands behind it, and the key passes to that when this run has ended"
	}
	return story + held.FreesText()
}
