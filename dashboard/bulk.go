package dashboard

import (
	"net/http"
	"time"

	"github.com/onceq/onceq"
)

// mostRefused is how many of the jobs that could not change an answer names; it
// counts all.
const mostRefused = 100

// bulkFilter is the parameters of GET jobs, as members.
type bulkFilter struct {
	State  []onceq.State `json:"state"`
	Queue  string        `json:"queue"`
	Kind   string        `json:"kind"`
	Key    *onceq.Key    `json:"key"`
	Tag    string        `json:"tag"`
	Worker string        `json:"worker"`
	After  time.Time     `json:"after"`
	Before time.Time     `json:"before"`
}

type refusedJob struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// bulk changes the jobs that match a filter, for about ten seconds; the answer
// then has a cursor to go on. Nothing said is refused: it would mean every job.
func bulk(op onceq.Op) func(*call) error {
	return func(c *call) error {
		var b struct {
			Filter     bulkFilter `json:"filter"`
			All        bool       `json:"all"`
			Cursor     string     `json:"cursor"`
			Limit      int        `json:"limit"`
			WithoutKey bool       `json:"without_key"`
			DryRun     bool       `json:"dry_run"`
		}
		text, err := c.body(smallBody)
		if err != nil {
			return err
		}
		if err := decode(text, &b); err != nil {
			return err
		}
		if b.WithoutKey && op != onceq.OpRetry {
			return invalid("without_key", "true", "goes with retry alone")
		}
		if b.Limit < 0 {
			return invalid("limit", "", "must be 0 (no limit) or more")
		}
		f := b.Filter
		refused := []refusedJob{}
		done, err := c.client.ChangeSome(c.r.Context(), onceq.Bulk{Op: op, WithoutKey: b.WithoutKey, DryRun: b.DryRun,
			Filter: onceq.JobFilter{States: f.State, Queue: f.Queue, Kind: f.Kind, Key: f.Key, Tag: f.Tag,
				Worker: f.Worker, After: f.After, Before: f.Before, All: b.All, Limit: b.Limit},
			PassedOver: func(job *onceq.JobRow, why error) {
				if len(refused) < mostRefused {
					p := problemOf(why)
					c.hideMet(p)
					refused = append(refused, refusedJob{job.ID, "urn:onceq:" + p.kind, p.detail})
				}
			}}, b.Cursor)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, struct {
			Changed    int          `json:"changed"`
			PassedOver int          `json:"passed_over"`
			Refused    []refusedJob `json:"refused"`
			Cursor     *string      `json:"cursor"`
		}{done.Changed, done.PassedOver, refused, orNull(done.Next)})
	}
}
