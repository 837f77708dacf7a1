package pgstore_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// Args that a row cannot hold lie in a table beside it. Steps that do not
// hand args out do not read a block of that.
func TestStepsThatHandOutNoArgsReadNone(t *testing.T) {
	h := measuredHand(t)
	const n = 20
	large := make([]byte, 100_000)
	_, err := rand.Read(large) // so that it cannot be compressed
	h.must(err)
	put := func(prefix string, opts ...onceq.Option) (all []string) {
		var items []onceq.Item
		for i := range n {
			id := fmt.Sprint(prefix, " ", i)
			items, all = append(items, onceq.NewItem(onceq.Bytes("large", large),
				append(opts, onceq.ID(id), onceq.UniqueKey(id))...)), append(all, id)
		}
		_, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
		return all
	}
	later := put("later", onceq.Delay(time.Hour))
	put("due", onceq.Unique{Until: onceq.UntilDeleted, TTL: time.Hour})
	_, err = h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	h.must(err)
	fetch := func(want int) (jobs []*onceq.JobRow) {
		f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: h.fetch.Add(1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: n}}})
		h.must(err)
		if len(f.Jobs) != want || want > 0 && !bytes.Equal(f.Jobs[0].Args, large) {
			t.Fatalf("fetched %d jobs, want %d", len(f.Jobs), want)
		}
		return f.Jobs
	}
	before := h.toastReads()
	jobs := fetch(n)
	if read := h.toastReads() - before; read < n*10 {
		t.Fatalf("a fetch of %d jobs with their args read %d blocks of them: it is not counted", n, read)
	}
	runs := make([]onceq.Run, n)
	for i, j := range jobs {
		runs[i] = onceq.Run{ID: j.ID, Run: j.Run}
	}
	end := func(state onceq.State, of []*onceq.JobRow) {
		var ends []onceq.Finish
		for _, j := range of {
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: state, Error: "why",
				Delay: time.Minute})
		}
		_, err := h.store.Finish(h.ctx, onceq.FinishRequest{Runs: ends})
		h.must(err)
	}
	change := func(op onceq.Op, ids []string) {
		_, err := h.store.Change(h.ctx, onceq.Change{Op: op, IDs: ids, WithoutKey: true})
		h.must(err)
	}
	list := func(f onceq.JobFilter) {
		p, err := h.store.List(h.ctx, f.Request("", 2*n))
		h.must(err)
		if len(p.Jobs) == 0 {
			t.Fatalf("nothing is listed of %+v", f)
		}
	}
	sweep := func(lost ...onceq.Beat) onceq.Swept {
		s, err := h.store.Sweep(h.ctx, onceq.SweepRequest{Limit: 3 * n, Lost: lost})
		h.must(err)
		return s
	}
	for _, step := range []struct {
		name    string
		removes int // jobs: what lies beside them is removed block by block, and never read
		do      func()
	}{
		{"a heartbeat", 0, func() {
			_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour, Runs: runs})
			h.must(err)
		}},
		{"a list", 0, func() { list(onceq.JobFilter{}) }},
		{"a list of a state", 0, func() { list(onceq.JobFilter{States: []onceq.State{onceq.Running}}) }},
		{"keys", 0, func() { _, err := h.store.Keys(h.ctx, onceq.KeysRequest{Limit: 2 * n}); h.must(err) }},
		{"queues", 0, func() { _, err := h.store.Queues(h.ctx, onceq.QueuesRequest{}); h.must(err) }},
		{"a request to stop", 0, func() { change(onceq.OpCancel, ids(jobs[:4])) }},
		{"a failure", 0, func() { end(onceq.Retryable, jobs[4:8]) }},
		{"a discard", 0, func() { end(onceq.Discarded, jobs[8:12]) }},
		{"a completion", 0, func() { end(onceq.Completed, jobs[12:16]) }},
		{"run now", 0, func() { change(onceq.OpRunNow, later[:4]) }},
		{"a cancel", 0, func() { change(onceq.OpCancel, later[4:8]) }},
		{"a retry", 0, func() { change(onceq.OpRetry, later[4:8]) }},
		{"a delete", 4, func() { change(onceq.OpDelete, later[8:12]) }},
		{"a sweep of a lost worker", 0, func() {
			h.exec(t, "update {ns}.workers set lease_ends = 1")
			if swept := sweep(sweep().Expired...); len(swept.Runs) != 8 {
				t.Errorf("%d runs of a lost worker, want 8", len(swept.Runs))
			}
		}},
		{"pruning", 8, func() {
			h.exec(t, "update {ns}.jobs set retention = 1, finished_at = 1 where state >= 3")
			if swept := sweep(); swept.Jobs != 8 {
				t.Errorf("%d jobs were pruned, want 8", swept.Jobs)
			}
		}},
	} {
		before := h.toastReads()
		step.do()
		// Each job's args are 51 pieces, and an entry of an index for each.
		if n := h.toastReads() - before; n > 8+70*step.removes {
			t.Errorf("%s read %d blocks of args", step.name, n)
		}
	}
	h.sound()
}

func ids(jobs []*onceq.JobRow) (all []string) {
	for _, j := range jobs {
		all = append(all, j.ID)
	}
	return all
}

// toastReads is how many blocks have been read of what lies beside the rows
// of jobs.
func (h *hand) toastReads() int {
	h.Helper()
	h.tell()
	return one[int](h, h.database, "select (toast_blks_read + toast_blks_hit)::int from pg_statio_user_tables where "+
		"schemaname = $1 and relname = 'jobs'", h.schema)
}

// The plans of a fetch are made while the tables are empty. It reads some
// entries of jobs of other kinds, and then those of its own.
func TestAFetchByKindReadsFewEntriesOfOtherKinds(t *testing.T) {
	h := measuredHand(t)
	asked := []string{"mine", "also mine", "nobody's"}
	fetch := func(slots int, kinds ...string) onceq.Fetched {
		_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
		h.must(err)
		f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: h.fetch.Add(1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: slots}}, Kinds: kinds})
		h.must(err)
		return f
	}
	for range 12 {
		fetch(10, asked...) // a plan settles after some uses
	}
	const others = 20_000
	h.insert(t, "other", "00", 0, others)
	mine := func(kind string, n int, opts ...onceq.Option) {
		var items []onceq.Item
		for range n {
			items = append(items, onceq.NewItem(onceq.JSON(kind, []byte("{}")), opts...))
		}
		_, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
	}
	read := func(do func()) int {
		reads := func() int { return h.entriesRead("jobs_waiting", "jobs_kinds") }
		before := reads()
		do()
		return reads() - before
	}
	if n := read(func() {
		if f := fetch(10, asked...); len(f.Jobs) != 0 || f.NextDue >= 0 {
			t.Errorf("%d jobs, next %v, want none", len(f.Jobs), f.NextDue)
		}
	}); n > 600 {
		t.Errorf("a fetch that finds nothing reads %d entries", n)
	}
	for _, analyzed := range []bool{false, true} {
		if analyzed { // all that is known now is the other kind; and plans are made anew
			h.exec(t, "vacuum analyze {ns}.jobs")
			h.admin.Reset()
		}
		h.insert(t, "mine", fmt.Sprint("0 ", analyzed), 1, 1) // before all others
		mine("mine", 30)
		mine("also mine", 29)
		mine("mine", 5, onceq.Priority(1))
		mine("mine", 1, onceq.Priority(9), onceq.Delay(time.Hour))
		var got []string
		if n := read(func() {
			for range 7 {
				for _, j := range fetch(10, asked...).Jobs {
					got = append(got, fmt.Sprint(j.Priority, j.Kind))
				}
			}
		}); n > 7*600 {
			t.Errorf("analyzed %v: seven fetches read %d entries", analyzed, n)
		}
		if len(got) != 65 || got[0] != "1mine" || got[4] != "1mine" || got[5] != "5mine" || got[64] != "5also mine" {
			t.Errorf("analyzed %v: %d jobs: %q", analyzed, len(got), got)
		}
	}
	if f := fetch(10, asked...); len(f.Jobs) != 0 || f.NextDue < 50*time.Minute {
		t.Errorf("%d jobs, next in %v, want an hour", len(f.Jobs), f.NextDue)
	}
	h.sound()
}
