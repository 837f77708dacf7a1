package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

// Finish as one statement takes the key away from under a waiter that it
// does not see.
func TestAWaiterThatComesWhileFinishWaitsIsNotStranded(t *testing.T) {
	h := borrowHand(t)
	for _, policy := range []onceq.Option{coalesce, supersede} {
		h.enqueue(onceq.Inserted, task(1), aKey, coalesce)
		running := h.start()
		tx, inTx := h.begin(pgx.TxOptions{})
		r, err := inTx.Enqueue(h.ctx, task(2), aKey, policy)
		h.must(err)
		done := make(chan error)
		go func() { done <- h.finish(h.ctx, running) }()
		h.soon("finish waits", h.blocked)
		h.must(tx.Commit(h.ctx))
		h.must(<-done)

		w, err := h.client.Job(h.ctx, r.Job.ID)
		h.must(err)
		if w.State != onceq.Available || w.Behind != "" {
			t.Errorf("the waiter is %s behind %q", w.State, w.Behind)
		}
		h.sound()
		next := h.start()
		if next.ID != w.ID {
			t.Errorf("%s runs next, want the waiter %s", next.ID, w.ID)
		}
		h.must(h.finish(h.ctx, next))
		h.enqueue(onceq.Inserted, task(3), aKey)
		h.must(h.finish(h.ctx, h.start()))
	}
}

// The same between two statements that never wait: many times, with
// nobody's transaction open.
func TestAWaiterThatComesWhileItsHolderFinishesIsNotStranded(t *testing.T) {
	h := borrowHand(t)
	for range 100 {
		h.enqueue(onceq.Inserted, task(1), aKey, coalesce)
		running := h.start()
		var both sync.WaitGroup
		var r onceq.Receipt
		both.Go(func() {
			var err error
			if r, err = h.client.Enqueue(h.ctx, task(2), aKey, coalesce); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := h.finish(h.ctx, running); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if r.Outcome != onceq.Coalesced && r.Outcome != onceq.Inserted {
			t.Fatalf("%s", r.Outcome)
		}
		next := h.start()
		if next.ID != r.Job.ID {
			t.Fatalf("%s runs next, want %s", next.ID, r.Job.ID)
		}
		h.must(h.finish(h.ctx, next))
	}
	h.sound()
}

// INSERT ... ON CONFLICT cannot skip a row in flight: a batch that meets
// one stalls, and so does who meets the batch.
func TestABatchThatMeetsAnOpenTransactionHoldsNothingWhileItWaits(t *testing.T) {
	h := borrowHand(t)
	tx, inTx := h.begin(pgx.TxOptions{})
	for _, k := range []string{"busy 1", "busy 2"} {
		r, err := inTx.Enqueue(h.ctx, task(1), onceq.UniqueKey(k))
		h.wants(onceq.Inserted, r, err)
	}
	var items []onceq.Item
	for i := range 1000 {
		items = append(items, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i))))
	}
	items[300], items[700] = onceq.NewItem(task(1), onceq.UniqueKey("busy 1")),
		onceq.NewItem(task(1), onceq.UniqueKey("busy 2"))
	answered := make(chan []onceq.Receipt)
	go func() {
		receipts, err := h.client.EnqueueMany(h.ctx, items)
		if err != nil {
			t.Error(err)
		}
		answered <- receipts
	}()
	time.Sleep(100 * time.Millisecond)
	// A bystander takes a key of the batch. It finds out at once.
	var slowest time.Duration
	for i := range 50 {
		began := time.Now()
		h.enqueue(onceq.Inserted, task(i), onceq.UniqueKey(fmt.Sprint(i)))
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 500*time.Millisecond {
		t.Errorf("a bystander waited %v", slowest)
	}
	if n := h.jobs(); n != 50 {
		t.Errorf("%d jobs while the batch waits, want the 50 of the bystander", n)
	}
	h.must(tx.Commit(h.ctx))
	receipts := <-answered
	inserted := 0
	for _, r := range receipts {
		if r.Outcome == onceq.Inserted {
			inserted++
		}
	}
	if len(receipts) != 1000 || inserted != 948 {
		t.Errorf("%d of %d inserted, want 948 of 1000", inserted, len(receipts))
	}
	h.sound()
}

// inTheWay opens a transaction that has taken the key "held" and locked a
// job, which runs, under the key "running".
func (h *hand) inTheWay() (running *onceq.JobRow, tx pgx.Tx) {
	h.enqueue(onceq.Inserted, task(0), onceq.UniqueKey("running"), coalesce)
	running = h.start()
	tx, inTx := h.begin(pgx.TxOptions{})
	r, err := inTx.Enqueue(h.ctx, task(1), onceq.UniqueKey("held"))
	h.wants(onceq.Inserted, r, err)
	r, err = inTx.Enqueue(h.ctx, task(1), onceq.UniqueKey("running"), coalesce)
	h.wants(onceq.Coalesced, r, err)
	return running, tx
}

// A key that somebody's open transaction holds does not hold up callers who
// share a group commit with those who want it.
func TestAnOpenTransactionKeepsNoBystanderWaiting(t *testing.T) {
	h := borrowHand(t)
	free, _ := h.bystanders("before", time.Second)
	h.empty(t)
	running, tx := h.inTheWay()

	var open atomic.Bool
	open.Store(true)
	var late sync.WaitGroup
	for i := range 8 { // they want what is held
		late.Go(func() {
			opts := []onceq.Option{onceq.UniqueKey("held")}
			if i%2 == 1 {
				opts = []onceq.Option{onceq.UniqueKey("running"), coalesce}
			}
			r, err := h.client.Enqueue(h.ctx, task(2), opts...)
			if err != nil {
				t.Error(err)
			}
			if open.Load() {
				t.Errorf("%s while the transaction is open", r.Outcome)
			}
		})
	}
	late.Go(func() {
		if err := h.finish(h.ctx, running); err != nil {
			t.Error(err)
		}
	})
	took, ended := h.bystanders("meanwhile", 3*time.Second)
	open.Store(false)
	h.must(tx.Commit(h.ctx))
	late.Wait()
	if ended < 20 {
		t.Errorf("%d jobs of others have ended", ended)
	}
	p99 := func(all []time.Duration) time.Duration { return all[len(all)*99/100] }
	t.Logf("%d calls of others: p50 %v, p99 %v, longest %v; p99 before %v", len(took), took[len(took)/2], p99(took),
		took[len(took)-1], p99(free))
	if p99(took) > 200*time.Millisecond+4*p99(free) { // on a busy machine they take long without it too
		t.Errorf("p99 of others is %v, and %v where nothing is in the way", p99(took), p99(free))
	}
	if j, err := h.client.Job(h.ctx, running.ID); err != nil || j.State != onceq.Completed {
		t.Errorf("the job that ran meanwhile: %v %v", j, err)
	}
	h.sound()
}

// bystanders enqueue and work off jobs for a while. It returns how long each
// enqueue took, the shortest first, and how many jobs have ended.
func (h *hand) bystanders(worker string, span time.Duration) (took []time.Duration, jobs int64) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, span)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				r, err := h.client.Enqueue(h.ctx, task(3), onceq.UniqueKey(fmt.Sprint(rand.Uint64())))
				if err != nil || r.Outcome != onceq.Inserted {
					h.Errorf("%v %v", r.Outcome, err)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	var ended atomic.Int64
	all.Go(func() { complete(h, ctx, worker, &ended) }) // jobs of others start and end
	all.Wait()
	slices.Sort(took)
	return took, ended.Load()
}

// Where a lock is granted in the instant in which its timeout strikes, and
// another wait follows, PostgreSQL reports "canceling statement due to user
// request": one of some thousands of waits behind others. For the caller it
// is what any lost wait is.
func TestALockTimeoutThatTheServerTakesForACancelLosesNoCall(t *testing.T) {
	h := borrowHand(t)
	running, tx := h.inTheWay()
	var calls sync.WaitGroup
	calls.Go(func() {
		if r, err := h.client.Enqueue(h.ctx, task(2), onceq.UniqueKey("held")); err != nil ||
			r.Outcome != onceq.Skipped {
			t.Errorf("%s %v, want skipped", r.Outcome, err)
		}
	})
	calls.Go(func() {
		if err := h.finish(h.ctx, running); err != nil {
			t.Error(err)
		}
	})
	stopped := map[string]bool{}
	for _, call := range []string{"act_one", "finish"} {
		for !stopped[call] && h.ctx.Err() == nil {
			stopped[call] = one[int](t, h.database,
				`select count(*) filter (where pg_cancel_backend(pid)) from pg_stat_activity
				where wait_event_type = 'Lock' and strpos(query, $1) > 0 and strpos(query, $2) > 0`,
				h.schema, "."+call+"_v") > 0
		}
	}
	h.must(tx.Commit(h.ctx))
	calls.Wait()
	h.sound()
}

// A role may have a statement_timeout. A call that cannot be done within it
// says so, and is not tried for ever.
func TestAStatementTimeoutEndsACallWithItsName(t *testing.T) {
	h := borrowHand(t)
	tx, inTx := h.begin(pgx.TxOptions{})
	r, err := inTx.Enqueue(h.ctx, task(1), aKey)
	h.wants(onceq.Inserted, r, err)
	s, err := pgstore.Open(h.ctx, with(h, h.url, "statement_timeout", "10"),
		&pgstore.Config{Namespace: h.schema, NoMigrate: true})
	h.must(err)
	defer s.Close()
	short := h.clientOf(s)
	if _, err := short.Enqueue(h.ctx, task(2), aKey); err == nil ||
		!strings.Contains(err.Error(), "statement timeout") || errors.Is(err, onceq.ErrUncertain) {
		t.Errorf("enqueue: %v, want that of the statement timeout", err)
	}
	h.must(tx.Rollback(h.ctx))
	h.sound()
}

// A result that has to wait for somebody's transaction keeps no other
// waiting, of the same call or of the same worker.
func TestAResultThatHasToWaitKeepsNoOtherWaiting(t *testing.T) {
	h := borrowHand(t)
	h.enqueue(onceq.Inserted, task(0), aKey, coalesce)
	locked := h.start()
	h.enqueue(onceq.Inserted, task(1))
	free := h.start()
	tx, inTx := h.begin(pgx.TxOptions{})
	r, err := inTx.Enqueue(h.ctx, task(2), aKey, coalesce)
	h.wants(onceq.Coalesced, r, err)
	end := func(j *onceq.JobRow) onceq.Finish {
		return onceq.Finish{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed}
	}
	atOnce := func(want []onceq.FinishStatus, ends ...onceq.Finish) {
		t.Helper()
		began := time.Now()
		results, err := h.store.Finish(h.ctx, onceq.FinishRequest{Runs: ends, NoWait: true})
		h.must(err)
		for i := range want {
			if results[i].Status != want[i] {
				t.Errorf("status %d, want %d", results[i].Status, want[i])
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	atOnce([]onceq.FinishStatus{onceq.FinishBusy, onceq.FinishDone}, end(locked), end(free))
	atOnce([]onceq.FinishStatus{onceq.FinishBusy}, end(locked))
	short, cancel := context.WithTimeout(h.ctx, 300*time.Millisecond)
	defer cancel()
	if err := h.finish(short, locked); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("finish: %v, want its deadline", err)
	}
	h.must(tx.Commit(h.ctx))
	atOnce([]onceq.FinishStatus{onceq.FinishDone}, end(locked))
	h.sound()
}

// DO NOTHING followed by SELECT answers "neither inserted nor a holder"
// where the holder ends in between.
func TestTheAnswerNeitherDoesNotExist(t *testing.T) {
	h := borrowHand(t)
	other := h.open(t) // another process
	ctx, cancel := context.WithTimeout(h.ctx, duration(2*time.Second))
	defer cancel()
	var inserted, met, ended atomic.Int64
	var all sync.WaitGroup
	for g := range 6 {
		// of its own: a client has no two of its calls with one key under way
		client := h.clientOf([]*pgstore.Store{h.store, other}[g%2])
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := client.Enqueue(h.ctx, task(g), onceq.UniqueKey(fmt.Sprint(rand.IntN(50))))
				switch {
				case err != nil:
					t.Error(err)
				case r.Job == nil || r.Job.ID == "":
					t.Errorf("neither: %+v", r)
				case r.Outcome == onceq.Inserted:
					inserted.Add(1)
				case r.Outcome == onceq.Skipped && r.Conflict != nil && r.Conflict.Holder == r.Job.ID:
					met.Add(1)
				default:
					t.Errorf("neither: %+v", r)
				}
			}
		})
	}
	for g := range 2 {
		all.Go(func() { complete(h, ctx, fmt.Sprint("completer ", g), &ended) })
	}
	all.Wait()
	t.Logf("%d inserted, %d met a holder, %d ended", inserted.Load(), met.Load(), ended.Load())
	if n := int64(h.jobs()); n != inserted.Load() {
		t.Errorf("%d jobs, and %d were acknowledged", n, inserted.Load())
	}
	h.sound()
}

// complete is a worker that ends what it fetches, until ctx ends.
func complete(h *hand, ctx context.Context, name string, ended *atomic.Int64) {
	if _, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: name, Lease: time.Hour}); err != nil {
		h.Error(err)
	}
	for no := int64(1); ctx.Err() == nil; no++ {
		f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: name, No: no,
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 20}}})
		if err != nil {
			h.Error(err)
			continue
		}
		var ends []onceq.Finish
		for _, j := range f.Jobs {
			end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: name, State: onceq.Completed}
			switch rand.IntN(10) {
			case 0:
				end.State, end.Delay, end.Error = onceq.Retryable, time.Millisecond, "again"
			case 1:
				end.State, end.Error = onceq.Discarded, "no more"
			}
			ends = append(ends, end)
		}
		rand.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
		results, err := h.store.Finish(h.ctx, onceq.FinishRequest{Runs: ends})
		if err != nil {
			h.Error(err)
		}
		for i, r := range results {
			if r.Status != onceq.FinishDone {
				h.Errorf("finish of %s: status %d", ends[i].ID, r.Status)
			}
		}
		ended.Add(int64(len(ends)))
	}
}

// Key-then-job against job-then-key is a deadlock, however well the keys
// are sorted.
func TestHotKeysInBatchesOfRandomOrderNeverDeadlock(t *testing.T) {
	base := borrowHand(t)
	// A database of its own, for its count of deadlocks.
	name := "deadlock_" + base.schema
	base.exec(t, "create database "+name)
	t.Cleanup(func() { base.exec(t, "drop database "+name+" with (force)") })
	at, err := url.Parse(base.url)
	base.must(err)
	at.Path = name
	h := newHand(t, at.String())
	other := h.clientOf(h.open(t))

	policies := []onceq.Option{onceq.OnConflict(onceq.Skip), onceq.OnConflict(onceq.Reject),
		onceq.OnConflict(onceq.Replace{Args: true, RunAt: true}), coalesce, supersede}
	ctx, cancel := context.WithTimeout(h.ctx, duration(4*time.Second))
	defer cancel()
	var batches, ended atomic.Int64
	var all sync.WaitGroup
	for g := range 20 {
		client := h.client
		if g%2 == 1 {
			client = other
		}
		all.Go(func() {
			for ctx.Err() == nil {
				var items []onceq.Item
				for _, k := range rand.Perm(200)[:100] {
					items = append(items, onceq.NewItem(task(g), onceq.UniqueKey(fmt.Sprint(k)),
						policies[rand.IntN(len(policies))]))
				}
				if _, err := client.EnqueueMany(h.ctx, items); err != nil {
					t.Error(err)
				}
				batches.Add(1)
			}
		})
	}
	for g := range 2 {
		all.Go(func() { complete(h, ctx, fmt.Sprint("completer ", g), &ended) })
	}
	all.Go(func() { // an operator
		for ctx.Err() == nil {
			p, err := h.store.List(h.ctx, onceq.ListRequest{Limit: 20})
			if err != nil {
				t.Error(err)
			}
			var ids []string
			for _, j := range p.Jobs {
				ids = append(ids, j.ID)
			}
			op := []onceq.Op{onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow, onceq.OpDelete}[rand.IntN(4)]
			if _, err := h.store.Change(h.ctx, onceq.Change{Op: op, IDs: ids,
				WithoutKey: rand.IntN(2) == 0}); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	all.Wait()
	time.Sleep(100 * time.Millisecond) // the count is told late
	n := one[int](t, h.database, "select deadlocks from pg_stat_database where datname = current_database()")
	t.Logf("%d batches, %d runs ended, %d deadlocks", batches.Load(), ended.Load(), n)
	if n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	h.sound()
}

// A duplicate is an answer: no row version, no WAL, no transaction number. The
// client counts it, and notes that once a minute.
func TestADuplicateWritesNothing(t *testing.T) {
	h := newHand(t, pgtest.Start(t, "-c", "autovacuum=off").URL())
	var fresh []onceq.Item
	for i := range 500 {
		fresh = append(fresh, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.ID(fmt.Sprint("id ", i))))
	}
	_, err := h.client.EnqueueMany(h.ctx, fresh)
	h.must(err)
	h.must(h.finish(h.ctx, h.start()))
	h.enqueue(onceq.Inserted, task(1), onceq.UniqueKey("deleted"), onceq.Unique{Window: time.Hour})

	state := func() (xid, wal int64) {
		h.exec(t, "checkpoint")
		return one[int64](t, h.database, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
			one[int64](t, h.database, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
	}
	var byKey, byID []onceq.Item
	for i := 1; i < 500; i++ {
		byKey = append(byKey, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.OnConflict(onceq.Reject)))
		byID = append(byID, onceq.NewItem(task(i), onceq.UniqueKey(fmt.Sprint(i)), onceq.ID(fmt.Sprint("id ", i))))
	}
	many := func() {
		for range 20 {
			for _, items := range [][]onceq.Item{byKey, byID} {
				receipts, err := h.client.EnqueueMany(h.ctx, items)
				h.must(err)
				for _, r := range receipts {
					if !r.Duplicate() {
						t.Fatal(r.Outcome)
					}
				}
			}
		}
		for i := 1; i < 300; i++ {
			h.enqueue(onceq.Skipped, task(i), onceq.UniqueKey(fmt.Sprint(i)))
			h.enqueue(onceq.Skipped, task(i), onceq.ID(fmt.Sprint("id ", i)))
			h.enqueue(onceq.Skipped, task(i), onceq.UniqueKey("deleted"))
		}
	}
	many() // warm: whatever catalogs note
	xid, wal := state()
	many()
	xid2, wal2 := state()
	if xid2 != xid {
		t.Errorf("20,000 duplicates took %d transaction numbers", xid2-xid)
	}
	if wal2-wal > 4096 { // checkpoints write some themselves
		t.Errorf("20,000 duplicates wrote %d bytes of WAL", wal2-wal)
	}
	counts, err := onceq.NewClient(h.store, nil)
	h.must(err)
	_, err = counts.EnqueueMany(h.ctx, byKey)
	h.must(err)
	xid3, _ := state()
	h.must(counts.Close())
	xid4, wal4 := state()
	if xid3 != xid2 || xid4 != xid2+1 || wal4-wal2 > 64<<10 {
		t.Errorf("to count duplicates took %d transactions, to note them %d, and %d bytes of WAL", xid3-xid2, xid4-xid3,
			wal4-wal2)
	}
}

// duration is how long a test of chance lasts: a few seconds, or ten times
// that.
func duration(d time.Duration) time.Duration {
	if long {
		return 10 * d
	}
	return d
}

// A holder that is met and not locked may be deleted before the answer is
// given. The answer is what was read when it was met.
func TestAnAnswerComesFromTheLookThatMetTheHolder(t *testing.T) {
	h := newHand(t, pgtest.URL(t))
	// Each reaction is looked up between the two looks: there it waits for
	// the test.
	h.exec(t,
		fmt.Sprintf(
			`create or replace function {ns}.reaction_v1(reactions bigint, shown smallint) returns integer
			language plpgsql as $$ begin
		perform pg_advisory_xact_lock_shared(hashtext('%s')); return 0; end $$`, h.schema))
	for name, gone := range map[string]func(id string){
		"deleted": func(id string) { h.must(h.client.Delete(h.ctx, id)) },
		"finished and not kept": func(id string) {
			h.must(h.finish(h.ctx, h.start()))
		},
	} {
		holder := h.enqueue(onceq.Inserted, task(1), aKey, onceq.Retention(0))
		gate, _ := h.begin(pgx.TxOptions{})
		_, err := gate.Exec(h.ctx, "select pg_advisory_xact_lock(hashtext($1))", h.schema)
		h.must(err)
		tx, inTx := h.begin(pgx.TxOptions{})
		var r onceq.Receipt
		done := make(chan error, 1)
		go func() {
			var err error
			r, err = inTx.Enqueue(h.ctx, task(2), aKey)
			done <- err
		}()
		h.soon("the enqueue has met the holder", h.blocked)
		gone(holder.ID)
		h.must(gate.Rollback(h.ctx))
		h.must(<-done)
		if r.Outcome != onceq.Skipped || r.Job.ID != holder.ID || r.Job.Kind != "task" || string(r.Job.Args) != "1" ||
			r.Conflict.State != onceq.Available || r.Conflict.ArgsDiffer != true {
			t.Errorf("%s: %s %+v %+v", name, r.Outcome, r.Job, r.Conflict)
		}
		h.must(tx.Commit(h.ctx))
		h.sound()
	}
}

// Batches that take the careful path, without a policy that writes, while
// what they meet ends and is not kept.
func TestABatchThatCommittedIsNeverCalledUncertain(t *testing.T) {
	h := borrowHand(t)
	ctx, cancel := context.WithTimeout(h.ctx, duration(2*time.Second))
	defer cancel()
	var all sync.WaitGroup
	var calls, met, ended atomic.Int64
	for g := range 8 {
		client := h.clientOf(h.store)
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprint("id ", g, " ", n%3) // it may be there
				var items []onceq.Item
				for slot := range 5 { // an ID and a key more than once: the first free slot is taken
					items = append(items, onceq.NewItem(task(g), onceq.ID(id),
						onceq.UniqueKey(fmt.Sprint("slot ", slot)), onceq.OnConflict(onceq.Reject), onceq.Retention(0)))
				}
				receipts, err := client.EnqueueMany(h.ctx, items)
				if err != nil {
					t.Error(err)
				}
				for _, r := range receipts {
					if r.Job == nil || r.Job.ID == "" || r.Conflict != nil && r.Conflict.Holder == "" {
						t.Errorf("neither: %+v", r)
					}
					if r.Duplicate() {
						met.Add(1)
					}
				}
				calls.Add(1)
			}
		})
	}
	for g := range 2 {
		all.Go(func() { complete(h, ctx, fmt.Sprint("completer ", g), &ended) })
	}
	all.Wait()
	t.Logf("%d batches met %d jobs, %d ended", calls.Load(), met.Load(), ended.Load())
	h.sound()
}
