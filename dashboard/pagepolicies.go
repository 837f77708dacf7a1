package dashboard

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// policyRow is the terms of a kind, and what came of them.
type policyRow struct {
	onceq.KindTerms
	Words                          []string
	Enqueues, Inserted, Duplicates int64
	Share                          string
	Findings                       []finding
}

// keysToJudge is how many keys are looked at for the findings.
// Keys are in the order of their digests, so the first of them are
// as good as any.
const keysToJudge = 1000

// lookAtPolicies judges the terms that clients noted.
func (c *call) lookAtPolicies(r onceq.StatsRequest) (rows []policyRow, now time.Time, err error) {
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	r.Span, r.Terms = 24*time.Hour, true
	var s onceq.Stats
	var keys onceq.KeyPage
	var wait sync.WaitGroup
	var errs [2]error
	wait.Go(func() { s, errs[0] = c.client.Stats(ctx, r) })
	wait.Go(func() { keys, errs[1] = c.client.KeysPage(ctx, onceq.KeyFilter{Limit: keysToJudge}, "") })
	wait.Wait()
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return nil, now, err
	}
	type pair struct{ queue, kind string }
	held, counts := map[pair][]*onceq.HeldKey{}, map[pair]onceq.Count{}
	for _, k := range keys.Keys {
		held[pair{k.Queue, k.Kind}] = append(held[pair{k.Queue, k.Kind}], k)
	}
	for i := range s.Series {
		counts[pair{s.Series[i].Queue, s.Series[i].Kind}] = s.Series[i].Total()
	}
	for _, t := range s.Terms {
		of := pair{t.Queue, t.Kind}
		e := evidence{terms: t, all: s.Terms, count: counts[of], keys: held[of], now: s.Now}
		rows = append(rows, policyRow{KindTerms: t, Words: termWords(t.Terms), Duplicates: e.count.Duplicates(),
			Enqueues: added(e.count.Enqueued), Inserted: e.count.Enqueued[0], Findings: e.findings(),
			Share: percent(e.count.Duplicates(), added(e.count.Enqueued))})
	}
	return rows, s.Now, nil
}

// termWords are the terms for people: with lengths of time as
// pages write them.
func termWords(text string) []string {
	all := strings.Fields(text)
	for i, w := range all {
		name, value, _ := strings.Cut(w, "=")
		if contains([]string{"window", "ttl", "retention"}, name) && span(value) > 0 {
			all[i] = name + "=" + phrase.Span(span(value))
		}
	}
	return all
}

func (c *call) policiesPage() error {
	all, now, err := c.lookAtPolicies(onceq.StatsRequest{})
	if err != nil {
		return err
	}
	v := c.newView("Policies", "policies", all)
	v.Now = now
	v.tell("stats")
	return c.show(http.StatusOK, "policies", v)
}
