package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/terms"
)

func newExplain(a *app) *cobra.Command {
	var e enqueue
	like := ""
	c := &cobra.Command{
		Use:   "explain KIND [ARGS|-]",
		Short: "Say what enqueue would do, and why, without doing it",
		Long: `Say what onceq enqueue with the same arguments and flags would do now: the key
and its readable parts, who holds it, since when, and when or on what it
frees. Nothing is written.

With --like ID it says what an enqueue would do that is unique as this job is:
the options of a program's own types are then those of the job.`,
		Example: `  onceq explain reindex '{"repo":42}' --fields repo
  onceq explain --like 01JD9Q7W3K0000000000000000`,
		Args: func(c *cobra.Command, args []string) error {
			if like != "" {
				return nArgs(0, 0)(c, args)
			}
			return nArgs(1, 2)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if like != "" {
				return a.explainLike(c.Context(), like)
			}
			opts, err := e.Options(terms.AsFlag)
			if err != nil {
				return usage(err)
			}
			job, err := e.args(a, args)
			if err != nil {
				return err
			}
			return a.withConnection(c.Context(), &onceq.Config{MaxArgs: e.maxArgs}, func(s *connection) error {
				x, err := s.client.Explain(c.Context(), job, opts...)
				if err != nil {
					return usage(err)
				}
				if a.json {
					return a.printJSON(x)
				}
				a.printExplanation(x)
				return nil
			})
		},
	}
	e.register(c.Flags())
	c.Flags().StringVar(&like, "like", "", "in place of KIND and ARGS: as unique as the job with this `ID`")
	return c
}

// explainLike explains an enqueue with the key of a job, under Skip.
func (a *app) explainLike(ctx context.Context, id string) error {
	return a.with(ctx, func(client *onceq.Client) error {
		job, err := client.Job(ctx, id)
		if err != nil {
			return err
		}
		x := onceq.Explanation{Key: job.Key, Text: job.KeyText, Outcome: onceq.Inserted}
		if job.Key != nil {
			held, err := client.Key(ctx, *job.Key)
			switch {
			case err == nil:
				x.Outcome, x.Conflict = onceq.Skipped, held.Conflict(job.Digest)
				if job.ClaimState() != "" {
					x.Outcome = onceq.Rejected
				}
				if x.Outcome == onceq.Rejected && held.State == onceq.Available { // it has lapsed
					x.Outcome = onceq.Superseded
				}
			case !errors.Is(err, onceq.ErrNotFound):
				return err
			}
		}
		if a.json {
			return a.printJSON(x)
		}
		if job.ClaimState() != "" {
			a.printClaimExplanation(x)
			return nil
		}
		a.printExplanation(x)
		return nil
	})
}

// printClaimExplanation says what would become of another message with the key of
// a claim.
func (a *app) printClaimExplanation(x onceq.Explanation) {
	facts := [][2]string{{"key", "none: a message like this one is never a duplicate"}}
	if x.Key != nil {
		facts = [][2]string{{"key", x.Key.String()}, {"parts", clean(x.Text)}}
	}
	outcome := "the message would be sent, and its claim hold the key"
	switch {
	case x.Conflict != nil && x.Conflict.State == onceq.Available:
		outcome = fmt.Sprintf("the message would be sent, and its claim take the key of %s, which has lapsed",
			clean(x.Conflict.Holder))
	case x.Conflict != nil:
		outcome = fmt.Sprintf("the message would be refused as a duplicate of %s", clean(x.Conflict.Holder))
	case x.Key == nil:
		outcome = "the message would be sent"
	}
	facts = append(facts, [2]string{"outcome", outcome})
	if x.Conflict != nil {
		facts = append(facts, [2]string{"conflict", clean(x.Conflict.String())})
	}
	a.facts(facts)
}

func (a *app) printExplanation(x onceq.Explanation) {
	var facts [][2]string
	fact := func(name, value string) { facts = append(facts, [2]string{name, value}) }
	if x.Key == nil {
		fact("key", "none: the job would not be unique (--unique makes it so)")
	} else {
		fact("key", x.Key.String())
		fact("parts", clean(x.Text))
	}
	fact("outcome", a.paint(outcomeStyle(x.Outcome), string(x.Outcome))+": "+wouldBe(x))
	if x.Conflict != nil {
		fact("conflict", clean(x.Conflict.String()))
	}
	if x.Hint != "" {
		fact("hint", clean(x.Hint))
	}
	a.facts(facts)
}

// wouldBe says in words what enqueue would do.
func wouldBe(x onceq.Explanation) string {
	holder := ""
	if x.Conflict != nil {
		holder = clean(x.Conflict.Holder)
	}
	switch x.Outcome {
	case onceq.Skipped:
		return fmt.Sprintf("nothing would be written, and the answer would be job %s", holder)
	case onceq.Rejected:
		return "it would be refused as a duplicate (exit code 3)"
	case onceq.Replaced:
		return "no new job: the one that waits would take values of this enqueue"
	case onceq.Coalesced:
		return fmt.Sprintf("a new job would stand behind the run of %s and start when that has ended", holder)
	case onceq.Superseded:
		if x.Conflict != nil && x.Conflict.State == onceq.Running {
			return fmt.Sprintf("%s would be asked to stop, and a new job start when it has ended", holder)
		}
		return fmt.Sprintf("%s would be cancelled, and a new job take its place", holder)
	}
	if x.Key == nil {
		return "a new job would be made"
	}
	return "a new job would be made, and hold the key"
}
