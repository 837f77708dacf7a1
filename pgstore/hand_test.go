package pgstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/pgstore"
)

// hand is a store with a client and a worker whose steps a test makes by hand.
type hand struct {
	testing.TB
	*database
	ctx    context.Context
	store  *pgstore.Store // hides the database's
	client *onceq.Client
	fetch  atomic.Int64
}

// newHand is a hand on a schema of its own, made for the test.
func newHand(t testing.TB, url string, change ...func(*pgstore.Config)) *hand {
	t.Helper()
	d := newDatabase(t, url)
	return handOf(t, d, d.open(t, change...))
}

// borrowHand is a hand on a schema that other tests have used.
func borrowHand(t testing.TB) *hand {
	t.Helper()
	d := borrow(t)
	return handOf(t, d, d.store(t))
}

func handOf(t testing.TB, d *database, s *pgstore.Store) *hand {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	h := &hand{TB: t, database: d, ctx: ctx, store: s}
	h.client = h.clientOf(s)
	return h
}

func (h *hand) clientOf(s onceq.Store) *onceq.Client {
	h.Helper()
	c, err := onceq.NewClient(s, &onceq.Config{NoTally: true})
	h.must(err)
	h.Cleanup(func() { c.Close() })
	return c
}

func (h *hand) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// task is args without members.
type task int

func (task) Kind() string { return "task" }

func (h *hand) enqueue(want onceq.Outcome, args onceq.Args, opts ...onceq.Option) *onceq.JobRow {
	h.Helper()
	r, err := h.client.Enqueue(h.ctx, args, opts...)
	h.wants(want, r, err)
	return r.Job
}

func (h *hand) wants(want onceq.Outcome, r onceq.Receipt, err error) {
	h.Helper()
	if err != nil && (want != onceq.Rejected || !errors.Is(err, onceq.ErrDuplicate)) {
		h.Fatalf("%v, want %s", err, want)
	}
	if r.Outcome != want {
		h.Fatalf("%s (%v), want %s", r.Outcome, r.Conflict, want)
	}
	if r.Job == nil || r.Job.ID == "" {
		h.Fatalf("%s without a job", r.Outcome)
	}
}

// start fetches one job of the queue default.
func (h *hand) start() *onceq.JobRow {
	h.Helper()
	_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
	h.must(err)
	f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: h.fetch.Add(1),
		Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
	h.must(err)
	if len(f.Jobs) != 1 {
		h.Fatalf("fetched %d jobs, want 1", len(f.Jobs))
	}
	return f.Jobs[0]
}

func (h *hand) finish(ctx context.Context, j *onceq.JobRow) error {
	r, err := h.store.Finish(ctx,
		onceq.FinishRequest{Runs: []onceq.Finish{{ID: j.ID, Run: j.Run, Worker: j.Worker, State: onceq.Completed}}})
	if err == nil && r[0].Status != onceq.FinishDone {
		return errors.New("the finish did not count")
	}
	return err
}

// begin begins a transaction of the caller's.
func (h *hand) begin(o pgx.TxOptions) (pgx.Tx, *onceq.TxClient) {
	h.Helper()
	tx, err := h.admin.BeginTx(h.ctx, o)
	h.must(err)
	h.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // where it has not ended
	return tx, h.client.WithTx(h.store.Tx(tx))
}

// sound checks every invariant.
func (h *hand) sound() {
	h.Helper()
	report, err := h.client.Doctor(h.ctx, nil)
	h.must(err)
	for _, v := range report.Violations {
		h.Error(v)
	}
}

func (h *hand) jobs() (n int) {
	h.Helper()
	return one[int](h, h.database, "select count(*) from {ns}.jobs")
}

// soon waits until something is so.
func (h *hand) soon(what string, so func() bool) {
	h.Helper()
	for began := time.Now(); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			h.Fatalf("after 10s it is still not so that %s", what)
		}
	}
}

// blocked reports whether some backend waits for a lock on behalf of this
// schema.
func (h *hand) blocked() bool {
	h.Helper()
	return one[bool](h, h.database, "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and "+
		"query like '%' || $1 || '%')", h.schema)
}
