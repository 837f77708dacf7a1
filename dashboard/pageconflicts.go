package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// kindCount is the counts of one queue and kind.
type kindCount struct {
	Queue, Kind                                               string
	Enqueues, New, Skipped, Rejected, Replaced, Stood, Counts int64
	Share                                                     string
}

func kindCounts(s *onceq.Stats) (all []kindCount) {
	for i := range s.Series {
		t := s.Series[i].Total()
		k := kindCount{Queue: s.Series[i].Queue, Kind: s.Series[i].Kind, New: t.Enqueued[0],
			Skipped: t.Enqueued[1], Rejected: t.Enqueued[2], Replaced: t.Enqueued[3],
			Stood: t.Enqueued[4] + t.Enqueued[5], Counts: t.Duplicates()}
		for _, n := range t.Enqueued {
			k.Enqueues += n
		}
		if k.Share = percent(k.Counts, k.Enqueues); k.Enqueues > 0 {
			all = append(all, k)
		}
	}
	slices.SortStableFunc(all, func(a, b kindCount) int { return cmp.Compare(b.Counts, a.Counts) })
	return all
}

// spans are how far back the page can look.
var spans = map[string]time.Duration{"1h": time.Hour, "3h": 3 * time.Hour, "1d": 24 * time.Hour,
	"8d": 8 * 24 * time.Hour}

func (c *call) conflictsPage() error {
	values := c.r.URL.Query()
	said := cmp.Or(values.Get("span"), "1h")
	span, known := spans[said]
	if !known {
		return invalid("span", bound(said), "must be 1h, 3h, 1d or 8d")
	}
	s, err := c.client.Stats(c.r.Context(), onceq.StatsRequest{Span: span, Queue: values.Get("queue"),
		Kind: values.Get("kind"), Hot: 10, Seen: 20})
	if err != nil {
		return err
	}
	if !c.mayReadArgs() {
		hideHot(s.Hot)
		for i := range s.Seen {
			s.Seen[i].Conflict.Text = ""
		}
	}
	of := func(i int) []int64 { return sum(&s, func(c *onceq.Count) int64 { return c.Enqueued[i] }) }
	met := newChart(
		"Enqueues that met a held key, each "+unitOf(&s),
		s.From,
		s.Step,
		layer{
			Name:   "skipped",
			Class:  "c-dup",
			Values: of(1),
		},
		layer{Name: "rejected", Class: "c-rejected", Values: of(2)},
		layer{
			Name:   "replaced",
			Class:  "c-replaced",
			Values: of(3),
		},
		layer{Name: "coalesced or superseded", Class: "c-stood",
			Values: sum(&s, func(c *onceq.Count) int64 { return c.Enqueued[4] + c.Enqueued[5] })},
	)
	v := c.newView("Conflicts", "conflicts", struct {
		Span, Queue, Kind string
		Spans             []string
		Chart             *chart
		Saved             saving
		Kinds             []kindCount
		Hot               []onceq.HotKey
		Seen              []onceq.Sighting
	}{said, values.Get("queue"), values.Get("kind"), []string{"1h", "3h", "1d", "8d"}, met, savingOf(&s),
		kindCounts(&s), s.Hot, s.Seen})
	v.Now = s.Now
	v.tell("stats")
	return c.show(http.StatusOK, "conflicts", v)
}
