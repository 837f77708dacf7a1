package dashboard

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
	"github.com/onceq/onceq/internal/terms"
)

// finding is what looks like a mistake in the terms of a kind.
type finding struct{ Code, Text string }

// policyRow is the terms of a kind, and what came of them.
type policyRow struct {
	onceq.KindTerms
	Words                []string
	Enqueues, Duplicates int64
	Share                string
	Findings             []finding
}

// The bounds of the findings.
const (
	enoughToJudge = 1000          // enqueues
	sameTime      = 2 * time.Hour // in which two terms of a kind are both in use: they are noted once an hour
)

// findings are rules about the terms of a kind and its counts of a day.
func findings(t onceq.KindTerms, all []onceq.KindTerms, c *onceq.Count) (found []finding) {
	add := func(code, text string) { found = append(found, finding{code, text}) }
	said := map[string]string{}
	for _, w := range strings.Fields(t.Terms) {
		name, value, _ := strings.Cut(w, "=")
		said[name] = value
	}
	var enqueues, runs int64
	for _, n := range c.Enqueued {
		enqueues += n
	}
	for _, n := range c.Ended {
		runs += n
	}
	duplicates := c.Duplicates() + c.Enqueued[4] + c.Enqueued[5]
	switch {
	case said["unique"] == "false":
	case enqueues >= enoughToJudge && duplicates == 0:
		add(
			"never-conflicts",
			fmt.Sprintf("%s enqueues and not one duplicate in a day: perhaps the key has a part that "+
				"is new each time, such as a time or a random ID.", phrase.Thousands(enqueues)),
		)
	case enqueues >= enoughToJudge && duplicates*100 >= enqueues*99:
		add(
			"always-conflicts",
			fmt.Sprintf("%s of %s enqueues met a held key: perhaps the key lacks a part that tells "+
				"them apart, or is held too long.", phrase.Thousands(duplicates), phrase.Thousands(enqueues)),
		)
	}
	for _, o := range all {
		if o.Kind == t.Kind && o.Queue == t.Queue && o.Terms != t.Terms && o.LastAt.Sub(t.LastAt).Abs() < sameTime {
			add(
				"two-policies",
				"The same kind is enqueued on other terms too: two programs, or two versions of one, do not "+
					"agree on what a duplicate is.",
			)
			break
		}
	}
	if said["until"] == "succeeded" && c.Ended[2] > 0 {
		add(
			"held-by-failed",
			fmt.Sprintf("%s failed for good: each keeps its key, and turns away enqueues, until it is "+
				"retried or deleted.", phrase.Count(c.Ended[2], "job")),
		)
	}
	if ttl, err := terms.ParseDuration(said["ttl"]); err == nil && runs > 0 {
		if mean := time.Duration(c.RunMS/runs) * time.Millisecond; ttl > 0 && ttl < mean {
			add(
				"ttl-below-run",
				fmt.Sprintf("The TTL of %s is over before a run is, which takes %s: a second job may run "+
					"at the same time.", phrase.Span(ttl), phrase.Span(mean)),
			)
		}
	}
	return found
}

func (c *call) policiesPage() error {
	s, err := c.client.Stats(c.r.Context(), onceq.StatsRequest{Span: 24 * time.Hour, Terms: true})
	if err != nil {
		return err
	}
	var all []policyRow
	for _, t := range s.Terms {
		var count onceq.Count
		for i := range s.Series {
			if s.Series[i].Queue == t.Queue && s.Series[i].Kind == t.Kind {
				count = s.Series[i].Total()
			}
		}
		row := policyRow{KindTerms: t, Words: strings.Fields(t.Terms), Duplicates: count.Duplicates(),
			Findings: findings(t, s.Terms, &count)}
		for _, n := range count.Enqueued {
			row.Enqueues += n
		}
		row.Share = percent(row.Duplicates, row.Enqueues)
		all = append(all, row)
	}
	v := c.newView("Policies", "policies", all)
	v.Now = s.Now
	return c.show(http.StatusOK, "policies", v)
}
