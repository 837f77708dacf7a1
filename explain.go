package onceq

import (
	"context"
	"fmt"
	"regexp"
)

// Explain is a dry run of Enqueue: the key and its readable parts, who
// holds it, and what Enqueue would answer now. It writes nothing. Under
// Reject a duplicate is reported by the Outcome, not by an error.
func (c *Client) Explain(ctx context.Context, args Args, opts ...Option) (Explanation, error) {
	if err := c.usable(ctx); err != nil {
		return Explanation{}, err
	}
	row, err := c.rowOf(args, opts, newNonce(), 0)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Outcome: Inserted, Hint: hint(&row)}
	if row.Claim != nil {
		e.Key, e.Text = &row.Claim.Key, row.Claim.Text
	}
	jobs, err := c.store.Get(ctx, []string{row.ID})
	if err != nil {
		return Explanation{}, fmt.Errorf("onceq: get job %s: %w", row.ID, err)
	}
	if j := jobs[0]; j != nil {
		e.Conflict = &Conflict{By: "id", Text: j.ID, Holder: j.ID, State: j.State, Since: j.EnqueuedAt,
			ArgsDiffer: argsDiffer(&row, j)}
		e.Outcome = Skipped
		if row.Reactions.Refuses() || j.Kind != row.Kind {
			e.Outcome = Rejected
		}
		return e, nil
	}
	if row.Claim == nil {
		return e, nil
	}
	held, err := lookUp(ctx, c.store, row.Claim.Key)
	if err != nil || held == nil {
		return e, err
	}
	e.Conflict = held.Conflict(row.Claim.Digest)
	action := row.Reactions.Ended
	if !held.Gone {
		action = row.Reactions.On(held.State)
	}
	e.Outcome = map[Action]Outcome{
		ActionAnswer: Skipped, ActionRefuse: Rejected, ActionWrite: Replaced, ActionPushBack: Replaced,
		ActionMerge: Replaced,
		ActionStand: Coalesced, ActionTake: Superseded,
	}[action]
	if action == ActionStand && held.Waiter != "" {
		e.Outcome = Replaced
	}
	return e, nil
}

var uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// hint names what looks like a mistake.
func hint(row *NewRow) string {
	switch {
	case row.Claim != nil && uuid.MatchString(row.Claim.Text):
		return "the key contains a random UUID (version 4): unless each repetition of this enqueue has the same one, " +
			"no two are ever duplicates"
	case uuid.MatchString(row.ID):
		return "the ID is a random UUID (version 4): unless each repetition of this enqueue has the same one, it " +
			"deduplicates nothing"
	}
	return ""
}
