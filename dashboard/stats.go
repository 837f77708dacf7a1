package dashboard

import (
	"context"
	"net/http"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/jsontext"
)

// outcomes and ends are the names of Count.Enqueued and Count.Ended, in their
// order.
var (
	outcomes = [6]string{"inserted", "skipped", "rejected", "replaced", "coalesced", "superseded"}
	ends     = [6]string{"completed", "retried", "discarded", "cancelled", "put_back", "lost"}
)

// series is the counts of one queue and kind, a list for each.
type series struct{ onceq.Series }

// MarshalJSON writes a list for each count, with a number for each step.
func (s series) MarshalJSON() ([]byte, error) {
	lists := map[string][]int64{}
	column := func(name string, of func(*onceq.Count) int64) {
		all := make([]int64, len(s.Points))
		for i := range s.Points {
			all[i] = of(&s.Points[i])
		}
		lists[name] = all
	}
	for i, name := range outcomes {
		column(name, func(c *onceq.Count) int64 { return c.Enqueued[i] })
	}
	for i, name := range ends {
		column(name, func(c *onceq.Count) int64 { return c.Ended[i] })
	}
	column("run_ms", func(c *onceq.Count) int64 { return c.RunMS })
	column("wait_ms", func(c *onceq.Count) int64 { return c.WaitMS })
	return jsontext.Join(struct {
		Queue string `json:"queue"`
		Kind  string `json:"kind"`
	}{s.Queue, s.Kind}, lists)
}

func (c *call) stats() error {
	q := query{c: c}
	r := onceq.StatsRequest{Span: q.span("span"), Queue: q.text("queue"), Kind: q.text("kind")}
	if q.err != nil {
		return q.err
	}
	s, err := c.statsOf(c.r.Context(), r)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s)
}

// statsAnswer is the answer to GET stats. An event of a stream has no Now.
type statsAnswer struct {
	Now    *jsontext.Time `json:"now,omitempty"`
	From   jsontext.Time  `json:"from"`
	StepMS int64          `json:"step_ms"`
	Series []series       `json:"series"`
}

func (d *Dashboard) statsOf(ctx context.Context, r onceq.StatsRequest) (statsAnswer, error) {
	s, err := d.client.Stats(ctx, r)
	all := []series{}
	for _, one := range s.Series {
		all = append(all, series{one})
	}
	return statsAnswer{(*jsontext.Time)(&s.Now), jsontext.Time(s.From), s.Step.Milliseconds(), all}, err
}

type hotKey struct {
	Key     onceq.Key     `json:"key"`
	KeyText string        `json:"key_text,omitempty"`
	Kind    string        `json:"kind"`
	Holder  string        `json:"holder"`
	AtLeast int64         `json:"at_least"`
	LastAt  jsontext.Time `json:"last_at,omitzero"`
}

type sighting struct {
	At       jsontext.Time   `json:"at,omitzero"`
	Queue    string          `json:"queue"`
	Kind     string          `json:"kind"`
	From     string          `json:"from,omitempty"`
	Outcome  onceq.Outcome   `json:"outcome"`
	Conflict *onceq.Conflict `json:"conflict"`
}

func (c *call) conflicts() error {
	q := query{c: c}
	s, err := c.client.Stats(c.r.Context(), onceq.StatsRequest{Queue: q.text("queue"), Kind: q.text("kind"), Hot: 50,
		Seen: 200})
	if err != nil {
		return err
	}
	text := c.mayReadArgs()
	hot, seen := []hotKey{}, []sighting{}
	for _, k := range s.Hot {
		if !text {
			k.Text = ""
		}
		hot = append(hot, hotKey{k.Key, k.Text, k.Kind, k.Holder, k.Count, jsontext.Time(k.LastAt)})
	}
	for i := range s.Seen {
		v := &s.Seen[i]
		if !text {
			v.Conflict.Text = ""
		}
		seen = append(seen, sighting{jsontext.Time(v.At), v.Queue, v.Kind, v.From, v.Outcome, &v.Conflict})
	}
	return c.answer(http.StatusOK, struct {
		Hot     []hotKey      `json:"hot"`
		Seen    []sighting    `json:"seen"`
		Sampled bool          `json:"sampled"`
		Now     jsontext.Time `json:"now"`
	}{hot, seen, true, jsontext.Time(s.Now)})
}

type policy struct {
	Queue      string        `json:"queue"`
	Kind       string        `json:"kind"`
	Terms      string        `json:"terms"`
	FirstAt    jsontext.Time `json:"first_at,omitzero"`
	LastAt     jsontext.Time `json:"last_at,omitzero"`
	Inserted   int64         `json:"inserted"`
	Duplicates int64         `json:"duplicates"`
	Findings   []finding     `json:"findings"`
}

func (c *call) policies() error {
	q := query{c: c}
	r := onceq.StatsRequest{Queue: q.text("queue"), Kind: q.text("kind")}
	if q.err != nil {
		return q.err
	}
	rows, now, err := c.lookAtPolicies(r)
	if err != nil {
		return err
	}
	all := []policy{}
	for _, t := range rows {
		all = append(all, policy{t.Queue, t.Kind, strings.TrimSpace(t.Terms), jsontext.Time(t.FirstAt),
			jsontext.Time(t.LastAt), t.Inserted, t.Duplicates, append([]finding{}, t.Findings...)})
	}
	return c.answer(http.StatusOK, struct {
		Policies []policy      `json:"policies"`
		Now      jsontext.Time `json:"now"`
	}{all, jsontext.Time(now)})
}
