package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// bulkSteps takes each bulk step twice: as a dry run, which must foretell
// the other.
func bulkSteps(w *world) {
	one := w.insert(mail{To: "one"}, key, onceq.ID("a one"))
	w.discard(w.starts(one.ID))
	two := w.insert(mail{To: "two"}, key, onceq.ID("b two")) // the same key, free in between
	w.discard(w.starts(two.ID))
	held := w.insert(mail{To: "held"}, onceq.UniqueKey("other"), onceq.ID("c held"))
	w.discard(w.starts(held.ID))
	w.insert(mail{To: "holder"}, onceq.UniqueKey("other"), onceq.ID("d holder"), onceq.Delay(time.Hour))
	w.insert(mail{To: "due"}, onceq.ID("e due"))
	w.starts("e due")
	w.insert(mail{To: "cancelled"}, onceq.ID("f cancelled"))
	w.cancel("f cancelled")
	step := func(op onceq.Op, f onceq.JobFilter, changed int, want ...string) {
		w.Helper()
		for _, dry := range []bool{true, false} {
			before := w.jobs()
			var got []string
			r, err := w.client.Bulk(w.ctx, onceq.Bulk{Op: op, Filter: f, DryRun: dry,
				PassedOver: func(j *onceq.JobRow, why error) {
					var dup *onceq.DuplicateError
					var inv *onceq.InvalidError
					switch {
					case errors.As(why, &dup):
						got = append(got, line(j.ID, "held by", dup.Holder))
					case errors.As(why, &inv):
						got = append(got, line(j.ID, inv.Field, inv.Value))
					default:
						got = append(got, line(j.ID, why))
					}
				}})
			w.must(err)
			equal(w, fmt.Sprint("goes on, dry run ", dry), r.Next != "", f.Limit > 0)
			r.Next = ""
			equal(w, fmt.Sprint("changed, dry run ", dry), r, onceq.BulkResult{Changed: changed, PassedOver: len(want)})
			equal(w, fmt.Sprint("passed over, dry run ", dry), fmt.Sprint(got), fmt.Sprint(want))
			if dry {
				equal(w, "jobs after a dry run", len(w.jobs()), len(before))
				for i, j := range w.jobs() {
					equal(w, "job after a dry run", show(j), show(before[i]))
				}
			}
		}
	}
	step(onceq.OpRunNow, onceq.JobFilter{States: []onceq.State{onceq.Scheduled}}, 1)
	step(onceq.OpRetry, onceq.JobFilter{Kind: "mail", Limit: 1}, 1)
	step(onceq.OpRetry, onceq.JobFilter{All: true}, 1, "f cancelled state available", "e due state running",
		"d holder state available",
		"c held held by d holder", "a one held by b two")
	step(onceq.OpDelete, onceq.JobFilter{All: true}, 5, "e due state running")
	step(onceq.OpCancel, onceq.JobFilter{All: true}, 1)
}

// changeSome takes a step in shares, with jobs that cannot change in between.
func changeSome(w *world) {
	for i := range 12 {
		queue := onceq.Queue([]string{"a", "b"}[i%2])
		w.insert(task(i), onceq.ID(fmt.Sprintf("%02d", i)), onceq.Delay(time.Hour), queue)
	}
	w.cancel("04")
	w.cancel("08")
	b := onceq.Bulk{Op: onceq.OpCancel, Filter: onceq.JobFilter{Queue: "a", Limit: 3}}
	var shares []string
	cursor := ""
	for range 10 {
		r, err := w.client.ChangeSome(w.ctx, b, cursor)
		w.must(err)
		shares = append(shares, fmt.Sprintf("%d-%d", r.Changed, r.PassedOver))
		if cursor = r.Next; cursor == "" {
			break
		}
		if len(shares) == 1 { // it is of this step and filter alone
			w.insert(task(0), onceq.ID("11 later"), onceq.Delay(time.Hour), onceq.Queue("a"))
			for _, other := range []onceq.Bulk{{Op: onceq.OpDelete, Filter: b.Filter},
				{Op: b.Op, Filter: onceq.JobFilter{Queue: "b", Limit: 3}}} {
				_, err := w.client.ChangeSome(w.ctx, other, cursor)
				w.refused(err)
			}
		}
	}
	equal(w, "shares", fmt.Sprint(shares), "[3-2 1-0]")
	equal(w, "a job behind the cursor", w.job("11 later").State, onceq.Scheduled)
	equal(w, "a job of the other queue", w.job("05").State, onceq.Scheduled)

	b = onceq.Bulk{Op: onceq.OpDelete, Filter: onceq.JobFilter{All: true}, Budget: time.Nanosecond}
	r, err := w.client.ChangeSome(w.ctx, b, "")
	w.must(err)
	equal(w, "deleted in one page, however short the time", r.Changed, 13)
	_, err = w.client.ChangeSome(w.ctx, onceq.Bulk{Op: onceq.OpDelete}, "")
	w.refused(err)
	b.Budget = -1
	_, err = w.client.ChangeSome(w.ctx, b, "")
	w.refused(err)
}
