package onceq

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Explain is a dry run of Enqueue: the key and its readable parts, who
// holds it, and what Enqueue would answer now. It writes nothing. Under
// Reject a duplicate is reported by the Outcome, not by an error.
func (c *Client) Explain(ctx context.Context, args Args, opts ...Option) (Explanation, error) {
	if err := c.usable(ctx); err != nil {
		return Explanation{}, err
	}
	opts = append([]Option{allowReserved{}}, opts...) // it may ask for a key of onceq's own
	var row NewRow
	if err := c.plainRow(&row, args, opts, newNonce(), 0); err != nil {
		return Explanation{}, err
	}
	terms, err := c.terms(args, opts)
	if err != nil {
		return Explanation{}, err
	}
	readable := row
	if row.isSecret() { // the hint says what kind of value it is, and not which
		if err = c.plainRow(&readable, args, append(slices.Clip(opts), ReadableKey), newNonce(), 0); err != nil {
			return Explanation{}, err
		}
	}
	e := Explanation{Outcome: Inserted, Terms: terms, Hint: hint(&readable)}
	if row.Claim != nil {
		e.Key, e.Text = &row.Claim.Key, row.Claim.Text
	}
	jobs, err := c.store.Get(ctx, []string{row.ID})
	if err != nil {
		return Explanation{}, fmt.Errorf("onceq: get job %s: %w", row.ID, err)
	}
	if j := jobs[0]; j != nil {
		e.Conflict = &Conflict{By: "id", Holder: j.ID, State: j.State, Since: j.EnqueuedAt,
			ArgsDiffer: c.argsDiffer(ctx, &row, j)}
		e.Conflict.adjust(j, row.RunAt)
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
	if jobs, err = c.store.Get(ctx, []string{held.Holder}); err != nil {
		return Explanation{}, fmt.Errorf("onceq: get job %s: %w", held.Holder, err)
	}
	e.Conflict = held.Conflict(row.Claim.Digest)
	row.hide(e.Conflict, nil)
	e.Conflict.adjust(jobs[0], row.RunAt)
	e.Outcome = outcomeOn(held, row.Reactions)
	return e, nil
}

// outcomeOn is the outcome of an enqueue that meets a held key.
func outcomeOn(held *HeldKey, r Reactions) Outcome {
	action := r.Ended
	if !held.Gone {
		action = r.On(held.State)
	}
	return action.outcome(held.Waiter != "")
}

// hint names what looks like a mistake.
func hint(row *NewRow) string {
	if row.Claim != nil {
		if what := madeUp(row.Claim.Text); what != "" {
			return "the key contains " + what + ": unless each repetition of this enqueue has the same one, " +
				"no two are ever duplicates"
		}
	}
	if what := madeUp(row.ID); what != "" && !row.made {
		return "the ID is " + what + ": unless each repetition of this enqueue has the same one, it " +
			"deduplicates nothing"
	}
	return ""
}

// Identifiers that are new each time: UUIDs with and without hyphens, and
// ULIDs.
var (
	uuidForm = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])` +
		`([0-9a-f]{8}-?[0-9a-f]{4}-?[1-8][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12})(?:$|[^0-9a-z])`)
	ulidForm = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])([0-7][0-9a-hjkmnp-tv-z]{25})(?:$|[^0-9a-z])`)
)

// madeUp finds an identifier in a text that is new each time; "" if there
// is none.
func madeUp(text string) string {
	for _, m := range uuidForm.FindAllStringSubmatch(text, -1) {
		hex := strings.ReplaceAll(m[1], "-", "")
		switch version := hex[12]; {
		case version == '3', version == '5': // computed from a name: the same each time
		case len(hex) == len(m[1]) && !timely(hex): // more likely a digest
		case version == '4':
			return "a random UUID (version 4)"
		default:
			return "a UUID that is made anew each time (version " + string(version) + ")"
		}
	}
	for _, m := range ulidForm.FindAllStringSubmatch(text, -1) {
		if likely(timeOfID(m[1])) {
			return "a ULID"
		}
	}
	return ""
}

// timely reports whether the time in a UUID is likely, if its version has
// one.
func timely(hex string) bool {
	n := func(from, to int) int64 {
		v, _ := strconv.ParseInt(hex[from:to], 16, 64)
		return v
	}
	const year1582 = 12_219_292_800_000 // in milliseconds before 1970
	switch hex[12] {
	case '1':
		return likely((n(13, 16)<<48|n(8, 12)<<32|n(0, 8))/10_000 - year1582)
	case '6':
		return likely((n(0, 8)<<28|n(8, 12)<<12|n(13, 16))/10_000 - year1582)
	case '7':
		return likely(n(0, 12))
	}
	return hex[12] == '4'
}

// likely reports whether an identifier may have been made at this time: in
// the years 2001 to 2096.
func likely(ms int64) bool { return ms > 1e12 && ms < 4e12 }
