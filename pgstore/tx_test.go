package pgstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
)

var (
	aKey      = onceq.UniqueKey("k")
	coalesce  = onceq.OnConflict(onceq.Coalesce)
	supersede = onceq.OnConflict(onceq.Supersede)
)

// code is the SQLSTATE of an error, or "".
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func TestAnEnqueueWaitsForTheTransactionThatHasItsKeyAndThenTellsTheTruth(t *testing.T) {
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprintf("commits=%v", commits), func(t *testing.T) {
			h := borrowHand(t)
			tx, inTx := h.begin(pgx.TxOptions{})
			first, err := inTx.Enqueue(h.ctx, task(1), aKey)
			h.wants(onceq.Inserted, first, err)

			answer := make(chan onceq.Receipt)
			go func() {
				r, err := h.client.Enqueue(h.ctx, task(2), aKey)
				if err != nil {
					t.Error(err)
				}
				answer <- r
			}()
			select {
			case r := <-answer:
				t.Fatalf("%s while the outcome is not known", r.Outcome)
			case <-time.After(200 * time.Millisecond):
			}
			if commits {
				h.must(tx.Commit(h.ctx))
			} else {
				h.must(tx.Rollback(h.ctx))
			}
			ended := time.Now()
			r := <-answer
			if commits && (r.Outcome != onceq.Skipped || r.Job.ID != first.Job.ID) {
				t.Errorf("%s, job %s: want skipped, with the job of the transaction", r.Outcome, r.Job.ID)
			}
			if !commits && (r.Outcome != onceq.Inserted || r.Job.ID == first.Job.ID) {
				t.Errorf("%s, job %s: want inserted", r.Outcome, r.Job.ID)
			}
			if took := time.Since(ended); took > time.Second {
				t.Errorf("the answer came %v after the transaction had ended", took)
			}
			if n := h.jobs(); n != 1 {
				t.Errorf("%d jobs, want 1: of two rivals of which one rolls back, one job is there", n)
			}
			h.sound()
		})
	}
}

func TestAWaitIsBoundedByItsContextAndThenNothingHasHappened(t *testing.T) {
	h := borrowHand(t)
	_, inTx := h.begin(pgx.TxOptions{})
	r, err := inTx.Enqueue(h.ctx, task(1), aKey)
	h.wants(onceq.Inserted, r, err)

	calls := map[string]func(ctx context.Context) error{
		"alone": func(ctx context.Context) error { _, err := h.client.Enqueue(ctx, task(2), aKey); return err },
		"in a batch": func(ctx context.Context) error {
			_, err := h.client.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(task(3)), onceq.NewItem(task(4), aKey),
				onceq.NewItem(task(5))})
			return err
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(h.ctx, 300*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, onceq.ErrUncertain) {
			t.Errorf("%s: %v, want a definite end by the deadline", name, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: it took %v of 300ms", name, took)
		}
	}
	if n := h.jobs(); n != 0 {
		t.Errorf("%d jobs, want none", n)
	}
}

func TestADuplicateLeavesTheTransactionUsable(t *testing.T) {
	h := borrowHand(t)
	holder := h.enqueue(onceq.Inserted, task(1), aKey)
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		tx, inTx := h.begin(pgx.TxOptions{IsoLevel: level})
		for _, policy := range []onceq.Option{onceq.OnConflict(onceq.Skip), onceq.OnConflict(onceq.Reject)} {
			r, err := inTx.Enqueue(h.ctx, task(2), aKey, policy)
			if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
				t.Fatal(err)
			}
			if r.Job == nil || r.Job.ID != holder.ID {
				t.Fatalf("%s: %+v", level, r)
			}
		}
		r, err := inTx.Enqueue(h.ctx, task(3), aKey, onceq.OnConflict(onceq.Replace{Args: true}))
		h.wants(onceq.Replaced, r, err)
		r, err = inTx.Enqueue(h.ctx, task(4), onceq.UniqueKey("another in "+string(level)))
		h.wants(onceq.Inserted, r, err)
		h.must(tx.Commit(h.ctx))
	}
	if n := h.jobs(); n != 4 {
		t.Errorf("%d jobs, want 4", n)
	}
	h.sound()
}

func TestATransactionOfDatabaseSQLIsAsGoodAsOneOfPgx(t *testing.T) {
	h := borrowHand(t)
	db, err := sql.Open("pgx", h.url)
	h.must(err)
	defer db.Close()

	hostile := onceq.JSON("task", []byte(`{"to":"\"q\\uote\" {brace} , ' \\ \u0001 ü 漢","n":1e2}`))
	opts := []onceq.Option{onceq.UniqueKey(`k "1" {,} \ '`), onceq.Meta(map[string]any{"a": `x"y\z`, "n": 12}),
		onceq.Tags(`t"1`, `t,2`, `t\3`), onceq.ID(`id "7" \{}`)}
	tx, err := db.BeginTx(h.ctx, nil)
	h.must(err)
	inTx := h.client.WithTx(h.store.SQLTx(tx))
	r, err := inTx.Enqueue(h.ctx, hostile, opts...)
	h.wants(onceq.Inserted, r, err)
	raw, err := inTx.Enqueue(h.ctx, onceq.Bytes("raw", []byte{0, 1, 2, 255, '\\', '"'}))
	h.wants(onceq.Inserted, raw, err)
	again, err := inTx.Enqueue(h.ctx, task(1), onceq.UniqueKey(`k "1" {,} \ '`))
	h.wants(onceq.Skipped, again, err)
	h.must(tx.Commit())

	for _, want := range []onceq.Receipt{r, raw} {
		got, err := h.client.Job(h.ctx, want.Job.ID)
		h.must(err)
		if a, b := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want.Job); got.Key == nil && a != b {
			t.Errorf("stored: %s\nanswered: %s", a, b)
		}
		if string(got.Args) != string(want.Job.Args) || got.KeyText != want.Job.KeyText ||
			fmt.Sprint(got.Meta, got.Tags) != fmt.Sprint(want.Job.Meta, want.Job.Tags) {
			t.Errorf("stored: %+v\nanswered: %+v", got, want.Job)
		}
	}

	tx, err = db.BeginTx(h.ctx, nil)
	h.must(err)
	r, err = h.client.WithTx(h.store.SQLTx(tx)).Enqueue(h.ctx, task(2), aKey)
	h.wants(onceq.Inserted, r, err)
	h.must(tx.Rollback())
	if _, err := h.client.Job(h.ctx, r.Job.ID); !errors.Is(err, onceq.ErrNotFound) {
		t.Errorf("a job that was rolled back: %v", err)
	}
	h.enqueue(onceq.Inserted, task(3), aKey)
	h.sound()
}

func TestASavepointTakesItsJobsBack(t *testing.T) {
	h := borrowHand(t)
	tx, inTx := h.begin(pgx.TxOptions{})
	r, err := inTx.Enqueue(h.ctx, task(1), onceq.UniqueKey("kept"))
	h.wants(onceq.Inserted, r, err)
	inner, err := tx.Begin(h.ctx)
	h.must(err)
	r, err = h.client.WithTx(h.store.Tx(inner)).Enqueue(h.ctx, task(2), aKey)
	h.wants(onceq.Inserted, r, err)
	h.must(inner.Rollback(h.ctx))
	r, err = inTx.Enqueue(h.ctx, task(3), aKey)
	h.wants(onceq.Inserted, r, err)
	h.must(tx.Commit(h.ctx))
	if n := h.jobs(); n != 2 {
		t.Errorf("%d jobs, want 2", n)
	}
	h.sound()
}

// A plain look-up in an old snapshot shows a released holder as held.
func TestAboveReadCommittedAKeyThatChangedSinceTheSnapshotIsASerializationFailure(t *testing.T) {
	changes := map[string]func(h *hand){
		"was freed": func(h *hand) { h.must(h.finish(h.ctx, h.start())) },
		"was taken": func(h *hand) { h.enqueue(onceq.Inserted, task(9), onceq.UniqueKey("free")) },
		"changed its hands": func(h *hand) {
			h.must(h.finish(h.ctx, h.start()))
			h.enqueue(onceq.Inserted,
				task(9), aKey)
		},
		"has been started": func(h *hand) { h.start() },
	}
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		for name, change := range changes {
			for policy, opt := range map[string]onceq.Option{"skip": onceq.OnConflict(onceq.Skip), "coalesce": coalesce,
				"supersede": supersede} {
				t.Run(fmt.Sprintf("%s/%s/%s", level, name, policy), func(t *testing.T) {
					h := borrowHand(t)
					h.enqueue(onceq.Inserted, task(1), aKey)
					tx, inTx := h.begin(pgx.TxOptions{IsoLevel: level})
					_, err := tx.Exec(h.ctx, "select count(*) from "+h.quoted()+".jobs") // the snapshot
					h.must(err)
					change(h)
					key := aKey
					if name == "was taken" {
						key = onceq.UniqueKey("free")
					}
					r, err := inTx.Enqueue(h.ctx, task(2), key, opt)
					switch {
					case err == nil && name == "has been started":
						// The key did not change. Skip may say so.
						if r.Outcome != onceq.Skipped {
							t.Errorf("%s of a holder that runs by now", r.Outcome)
						}
					case err == nil:
						t.Errorf("%s with %s: an answer from the past", r.Outcome, r.Job.ID)
					case code(err) != "40001" || errors.Is(err, onceq.ErrUncertain):
						t.Errorf("%v, want 40001", err)
					}
					h.must(tx.Rollback(h.ctx))
					h.sound()
				})
			}
		}
	}
}

func TestTwoTransactionsInOppositeOrdersFailOneOfThemDefinitely(t *testing.T) {
	h := borrowHand(t)
	_, one := h.begin(pgx.TxOptions{})
	txTwo, two := h.begin(pgx.TxOptions{})
	r, err := one.Enqueue(h.ctx, task(1), onceq.UniqueKey("a"))
	h.wants(onceq.Inserted, r, err)
	r, err = two.Enqueue(h.ctx, task(2), onceq.UniqueKey("b"))
	h.wants(onceq.Inserted, r, err)
	failed := make(chan error, 1)
	go func() {
		_, err := one.Enqueue(h.ctx, task(3), onceq.UniqueKey("b"))
		failed <- err
	}()
	h.soon("the first one waits", h.blocked)
	_, err = two.Enqueue(h.ctx, task(4), onceq.UniqueKey("a"))
	h.must(txTwo.Rollback(h.ctx))
	for _, err := range []error{err, <-failed} {
		if err != nil && (code(err) != "40P01" || errors.Is(err, onceq.ErrUncertain)) {
			t.Errorf("%v, want 40P01", err)
		}
	}
}

func TestAJobIsCompletedInATransactionOfDatabaseSQL(t *testing.T) {
	h := borrowHand(t)
	db, err := sql.Open("pgx", h.url)
	h.must(err)
	defer db.Close()
	_, err = h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w \"1\"", Lease: time.Minute})
	h.must(err)
	for no, commit := range []bool{false, true} {
		h.enqueue(onceq.Inserted, task(no), aKey)
		f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w \"1\"", No: int64(no + 1),
			Queues: []onceq.QueueSlots{{Queue: "default", Slots: 9}}})
		h.must(err)
		tx, err := db.BeginTx(h.ctx, nil)
		h.must(err)
		in := h.client.WithTx(h.store.SQLTx(tx))
		for _, j := range f.Jobs {
			h.must(in.Complete(h.ctx, j))
		}
		other := h.enqueue(onceq.Inserted, task(9))
		moved, err := in.Move(h.ctx, other.ID, onceq.RunAt(time.Now().Add(time.Hour)))
		h.must(err)
		_, err = in.Cancel(h.ctx, "none")
		if !errors.Is(err, onceq.ErrNotFound) {
			t.Error(err)
		}
		if moved.State != onceq.Scheduled {
			t.Errorf("a job that was moved is %s", moved.State)
		}
		_, err = in.Cancel(h.ctx, other.ID)
		h.must(err)
		want := map[bool]onceq.State{true: onceq.Completed, false: onceq.Running}[commit]
		if commit {
			h.must(tx.Commit())
		} else {
			h.must(tx.Rollback())
		}
		for _, j := range f.Jobs {
			if got, err := h.client.Job(h.ctx, j.ID); err != nil || got.State != want {
				t.Errorf("commit %v: %+v, %v", commit, got, err)
			}
			if !commit {
				h.must(h.finish(h.ctx, j))
			}
		}
		got, err := h.client.Job(h.ctx, other.ID)
		h.must(err)
		if (got.State == onceq.Cancelled) != commit {
			t.Errorf("commit %v: the other is %s", commit, got.State)
		}
		if !commit {
			h.must(h.client.Delete(h.ctx, other.ID))
		}
	}
	h.sound()
}

func TestARunThatEndsAboveReadCommittedIsToldWhichIsolationToBeginWith(t *testing.T) {
	h := newHand(t, pgtest.URL(t))
	h.enqueue(onceq.Inserted, task(1))
	j := h.start()
	tx, err := h.admin.BeginTx(h.ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	h.must(err)
	defer tx.Rollback(h.ctx)
	in := h.store.Tx(tx).(interface {
		Finish(context.Context, onceq.FinishRequest) ([]onceq.FinishResult, error)
	})
	_, err = in.Finish(h.ctx, onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: j.Worker,
		State: onceq.Completed}}})
	if err == nil || !strings.Contains(err.Error(), "begin it with that isolation level") ||
		strings.Contains(err.Error(), "alter role") {
		t.Error(err)
	}
}
