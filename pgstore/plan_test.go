package pgstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// Plans are made once for a connection, maybe while the tables are empty,
// and are used when they are large: no operation may scan a table.
func TestNothingEverScansATable(t *testing.T) {
	h := measuredHand(t)
	h.exec(t, "vacuum analyze {ns}.jobs")
	h.exec(t, "vacuum analyze {ns}.keys")
	scans := func() int {
		h.tell()
		return one[int](t, h.database, "select coalesce(sum(seq_scan), 0)::int from pg_stat_user_tables where "+
			"schemaname = $1 and relname in ('jobs', 'keys')", h.schema)
	}
	before := scans()
	for round := range 12 { // a plan settles after some uses
		var items []onceq.Item
		for i := range 50 {
			items = append(items, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(round, i)), coalesce))
		}
		_, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
		_, err = h.client.EnqueueMany(h.ctx, items)
		h.must(err)
		h.enqueue(onceq.Inserted, task(1), onceq.Retention(0))
		h.enqueue(onceq.Replaced, task(2), onceq.UniqueKey(fmt.Sprint(round, 7)),
			onceq.OnConflict(onceq.Replace{Args: true}))
		h.enqueue(onceq.Superseded, task(2), onceq.UniqueKey(fmt.Sprint(round, 8)), supersede)
		h.enqueue(onceq.Inserted, task(1), onceq.UniqueKey(fmt.Sprint("ttl", round)),
			onceq.Unique{TTL: time.Millisecond}, onceq.Delay(time.Hour))
		h.enqueue(onceq.Inserted, task(1), onceq.UniqueKey(fmt.Sprint("started", round)),
			onceq.Unique{Until: onceq.UntilStarted})
		var ends []onceq.Finish
		for range 10 {
			j := h.start()
			ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed})
		}
		h.enqueue(onceq.Skipped, task(1), onceq.UniqueKey(fmt.Sprint(round, 40)))
		_, err = h.store.Finish(h.ctx, onceq.FinishRequest{Runs: ends})
		h.must(err)
		_, err = h.client.Cancel(h.ctx, h.enqueue(onceq.Inserted, task(1)).ID)
		h.must(err)
		_, err = h.store.Sweep(h.ctx, onceq.SweepRequest{Limit: 100, Lost: []onceq.Beat{{Worker: "nobody", No: 1}}})
		h.must(err)
		_, err = h.store.Get(h.ctx, []string{"a", "b"})
		h.must(err)
		_, err = h.store.List(h.ctx, onceq.ListRequest{Limit: 5, Queue: "default"})
		h.must(err)
		_, err = h.store.List(h.ctx, onceq.ListRequest{Limit: 5, States: []onceq.State{onceq.Cancelled}})
		h.must(err)
		_, err = h.store.Keys(h.ctx, onceq.KeysRequest{Limit: 5})
		h.must(err)
	}
	if n := scans() - before; n > 0 {
		t.Errorf("jobs and keys were scanned %d times", n)
	}
	before = scans()
	h.exec(t, "select count(state) from {ns}.jobs")
	if scans() == before {
		t.Error("a scan is not counted")
	}
}

// measuredHand is a hand whose store is on the connections of admin, so that
// tell reaches all of them.
func measuredHand(t testing.TB) *hand {
	t.Helper()
	d := newDatabase(t, pgtest.URL(t))
	if err := pgstore.Migrate(context.Background(), d.admin, &pgstore.Config{Namespace: d.schema}); err != nil {
		t.Fatal(err)
	}
	return handOf(t, d, d.store(t))
}

// tell makes each connection add what it has counted to the statistics of the
// server. By itself it does so when a statement ends a second or more after the
// last time.
func (h *hand) tell() {
	h.Helper()
	at := "select pg_stat_force_next_flush()"
	old := one[int](h, h.database, "select current_setting('server_version_num')::int") < 150_000
	if old {
		at = "select"
		time.Sleep(1100 * time.Millisecond)
	}
	for _, c := range h.admin.AcquireAllIdle(h.ctx) {
		defer c.Release()
		_, err := c.Exec(h.ctx, at)
		h.must(err)
	}
	if old {
		time.Sleep(600 * time.Millisecond) // a process of the server collects them, every half second
	}
}

// entriesRead is how many entries of indexes have been read, on all
// connections.
func (h *hand) entriesRead(indexes ...string) int {
	h.Helper()
	h.tell()
	return one[int](h, h.database, "select sum(idx_tup_read)::int from pg_stat_user_indexes where schemaname = $1 and "+
		"indexrelname = any($2)", h.schema, indexes)
}

// The index of what runs is small when a plan is made, and looks like a
// short way to a job; it is not while thousands run.
func TestAFinishAndAHeartbeatReadTheirOwnRunsAndNoOthers(t *testing.T) {
	h := measuredHand(t)
	const n, few = 2000, 20
	fill := func() {
		var items []onceq.Item
		for i := range n {
			items = append(items, onceq.NewItem(task(i)))
		}
		_, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
	}
	fill()
	h.exec(t, "update {ns}.jobs set state = 3, finished_at = run_at")
	h.exec(t, "vacuum analyze {ns}.jobs") // none runs
	fill()
	_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	h.must(err)
	f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: 1,
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: n}}})
	h.must(err)
	var runs []onceq.Run
	var ends []onceq.Finish
	for _, j := range f.Jobs[:few] {
		runs = append(runs, onceq.Run{ID: j.ID, Run: j.Run})
		ends = append(ends, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})
	}
	read := func() int { return h.entriesRead("jobs_running") }
	before := read()
	_, err = h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour, Runs: runs})
	h.must(err)
	heartbeat := read() - before
	_, err = h.store.Finish(h.ctx, onceq.FinishRequest{Runs: ends})
	h.must(err)
	finish := read() - before - heartbeat
	t.Logf("of %d entries a heartbeat with %d runs read %d, the finish of %d runs %d", n, few, heartbeat, few, finish)
	if heartbeat > few {
		t.Errorf("a heartbeat read %d entries, want at most %d", heartbeat, few)
	}
	if finish > few {
		t.Errorf("a finish read %d entries, want at most %d", finish, few)
	}
}

func TestRowsAreNarrow(t *testing.T) {
	h := newHand(t, pgtest.URL(t))
	const n = 20_000
	var items []onceq.Item
	for i := range n {
		items = append(items, onceq.NewItem(reindex{Repo: int64(1_000_000 + i), Reason: reason}, unique))
		if len(items) == 1000 {
			_, err := h.client.EnqueueMany(h.ctx, items)
			h.must(err)
			items = items[:0]
		}
	}
	size := func() int {
		h.exec(t, "vacuum {ns}.jobs")
		h.exec(t, "vacuum {ns}.keys")
		return one[int](t, h.database, "select pg_total_relation_size('{ns}.jobs') + "+
			"pg_total_relation_size('{ns}.keys')") / n
	}
	parts := func() (text string) {
		for _, name := range []string{"jobs", "jobs_pkey", "jobs_waiting", "jobs_finished", "jobs_running",
			"keys", "keys_pkey"} {
			text += fmt.Sprintf(" %s %d", name, one[int](t, h.database, "select pg_relation_size('{ns}."+name+"')")/n)
		}
		return text
	}
	waiting := size()
	t.Logf("%d bytes a waiting job:%s", waiting, parts())
	h.exec(t, "update {ns}.jobs set state = 3, run = 1, attempt = 1, started_at = enqueued_at, finished_at = "+
		"enqueued_at, fetch_no = 1, worker = 'host-12345-abcdef'")
	h.exec(t, "delete from {ns}.keys")
	h.exec(t, "vacuum full {ns}.jobs")
	h.exec(t, "vacuum full {ns}.keys")
	finished := size()
	t.Logf("%d bytes a finished job:%s", finished, parts())
	if waiting > 620 || finished > 480 {
		t.Errorf("%d bytes a waiting job, want at most 620; %d a finished one, want at most 480", waiting, finished)
	}
}

// Behind an old snapshot nothing of an index is forgotten: a fetch that
// begins at the start reads all that was ever fetched.
func TestAnOldSnapshotDoesNotMakeFetchReadWhatIsGone(t *testing.T) {
	h := measuredHand(t)
	const n, slots = 4000, 100
	for range n / 1000 {
		var items []onceq.Item
		for i := range 1000 {
			items = append(items, onceq.NewItem(task(i)))
		}
		_, err := h.client.EnqueueMany(h.ctx, items)
		h.must(err)
	}
	old, _ := h.begin(pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	_, err := old.Exec(h.ctx, "select 1 from "+h.quoted()+".jobs limit 1")
	h.must(err)
	read := func() int { return h.entriesRead("jobs_waiting") }
	before := read()
	_, err = h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	h.must(err)
	began := time.Now()
	for got := 0; got < n; {
		f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: h.fetch.Add(1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: slots}}})
		h.must(err)
		if len(f.Jobs) == 0 {
			t.Fatal("fetched none")
		}
		got += len(f.Jobs)
	}
	seconds := int(time.Since(began)/time.Second) + 1
	// Each fetch reads its own and the rows of its millisecond before them,
	// twice; once a second one reads all.
	if got, most := read()-before, 2*n*(2+1000/slots)+2*n*seconds; got > most {
		t.Errorf("%d index entries were read to fetch %d jobs, want at most %d", got, n, most)
	} else {
		t.Logf("%d index entries were read to fetch %d jobs", got, n)
	}
}
