package onceq_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

var golden = time.Date(2026, 11, 22, 9, 30, 0, 5e6, time.UTC)

// The words of a conflict: the log, the errors, explain and the pages all
// use these.
func TestAConflictTellsItsStoryInOneLine(t *testing.T) {
	base := onceq.Conflict{By: "key", Text: `kind=reindex queue=default args={"repo":42}`, Holder: "01J",
		State: onceq.Running, Since: golden, FreesWhen: "finished"}
	with := func(change func(*onceq.Conflict)) onceq.Conflict { c := base; change(&c); return c }
	for want, c := range map[string]onceq.Conflict{
		`kind=reindex queue=default args={"repo":42} is held by job 01J (running) since ` +
			`2026-11-22T09:30:00.005Z; frees when it is finished; the args are the same`: base,
		`kind=reindex queue=default args={"repo":42} is held by job 01J (running) since ` +
			`2026-11-22T09:30:00.005Z; frees when it is finished, at the latest at ` +
			`2026-11-22T09:31:00.005Z; the args differ from that job's`: with(func(c *onceq.Conflict) {
			c.FreesAt, c.ArgsDiffer = golden.Add(time.Minute), true
		}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (completed) since ` +
			`2026-11-22T09:30:00.005Z; frees at 2026-11-22T09:31:00.005Z; the args are the ` +
			`same`: with(func(c *onceq.Conflict) {
			c.State, c.FreesAt, c.FreesWhen = onceq.Completed, golden.Add(time.Minute), ""
		}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (running) since 2026-11-22T09:30:00.005Z; ` +
			`frees when it has succeeded or is deleted; the args are the same`: with(func(c *onceq.Conflict) {
			c.FreesWhen = "succeeded"
		}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (completed) since 2026-11-22T09:30:00.005Z; ` +
			`frees when it is deleted or pruned, which a worker does from 2026-11-23T09:30:00.005Z on; the ` +
			`args are the same`: with(func(c *onceq.Conflict) {
			c.State, c.FreesWhen, c.KeptUntil = onceq.Completed, "deleted", golden.Add(24*time.Hour)
		}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (available) since 2026-11-22T09:30:00.005Z; ` +
			`frees when it is deleted or no longer kept; the args are the same`: with(func(c *onceq.Conflict) {
			c.State, c.FreesWhen = onceq.Available, "deleted"
		}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (available) since 2026-11-22T09:30:00.005Z; ` +
			`frees when it is deleted, at the latest at 2026-11-22T09:31:00.005Z; the args are the same`: with(
			func(c *onceq.Conflict) {
				c.State, c.FreesWhen, c.FreesAt = onceq.Available, "deleted", golden.Add(time.Minute)
			}),
		`kind=reindex queue=default args={"repo":42} is held by job 01J (gone) since 2026-11-22T09:30:00.005Z; ` +
			`frees at 2026-11-22T09:31:00.005Z; the args are the same`: with(func(c *onceq.Conflict) {
			c.State, c.Gone, c.FreesWhen, c.FreesAt = "", true, "", golden.Add(time.Minute)
		}),
		`the ID "01J" is taken by a job (completed) since 2026-11-22T09:30:00.005Z; it is free again when ` +
			`that job is deleted or no longer kept; the args are the same`: {
			By: "id", Text: "01J", Holder: "01J", State: onceq.Completed, Since: golden},
		`the ID "01J" is taken by a job (completed) since 2026-11-22T09:30:00.005Z, of kind "mail"; it is ` +
			`free again when that job ` +
			`is deleted or pruned, which a worker does from 2026-11-22T09:31:00.005Z on; the args are the same`: {
			By: "id", Text: "01J",
			Holder: "01J", HolderKind: "mail", State: onceq.Completed, Since: golden,
			KeptUntil: golden.Add(time.Minute)},
	} {
		if got := c.String(); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

func TestTheErrorTheLogLineExplainAndTheCounterSayTheSame(t *testing.T) {
	var log bytes.Buffer
	g := newGauge(t)
	client, err := onceq.NewClient(memstore.New(func() time.Time { return golden }), &onceq.Config{
		Logger: slog.New(slog.NewTextHandler(&log, nil)), DuplicateLevel: slog.LevelWarn,
		MeterProvider: g,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	opts := []onceq.Option{onceq.Unique{Fields: []string{"repo"}}, onceq.OnConflict(onceq.Reject)}
	first, err := client.Enqueue(t.Context(), push{42, "a"}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	receipt, dup := client.Enqueue(t.Context(), push{42, "b"}, opts...)
	explained, err := client.Explain(t.Context(), push{42, "b"}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	words := "kind=push queue=default fields /repo=42 is held by job " + first.Job.ID +
		" (available) since 2026-11-22T09:30:00.005Z; frees when it is finished; the args differ from that job's"
	if receipt.Conflict.String() != words {
		t.Errorf("the receipt says %s", receipt.Conflict)
	}
	if explained.Conflict.String() != words || explained.Outcome != onceq.Rejected {
		t.Errorf("explain says %s, %s", explained.Outcome, explained.Conflict)
	}
	if dup == nil || dup.Error() != "duplicate push in queue default: "+words {
		t.Errorf("the error says %v", dup)
	}
	if line := log.String(); !strings.Contains(line, `level=WARN msg="onceq: duplicate" `) ||
		!strings.Contains(line, " outcome=rejected ") || !strings.Contains(line, " holder="+first.Job.ID+" ") ||
		strings.Contains(line, "frees_at") {
		t.Errorf("the log says %s", &log)
	}
	g.wants("onceq.duplicates", map[string]float64{"kind=push,outcome=rejected,queue=default": 1})
}
