package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
)

// A worker leaves while a fetch of it is still under way on the server.
// Nobody would run what that starts.
func TestAFetchThatIsUnderWayWhenItsWorkerLeavesLeavesNoJobRunning(t *testing.T) {
	for _, first := range []string{"fetch", "leave"} {
		t.Run(first+" first", func(t *testing.T) {
			h := newHand(t, pgtest.URL(t))
			job := h.enqueue(onceq.Inserted, task(1), onceq.MaxAttempts(1))
			_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
			h.must(err)
			// What comes first waits where it writes: the fetch to the job, the
			// leave to the worker.
			write := map[string]string{"fetch": "update on {ns}.jobs", "leave": "delete on {ns}.workers"}[first]
			h.exec(t, fmt.Sprintf(`create function {ns}.gate() returns trigger language plpgsql as $$ begin
					perform pg_advisory_xact_lock_shared(hashtext('%s')); return coalesce(new, old); end $$;
				create trigger gate before %s for each row execute function {ns}.gate()`, h.schema, write))
			gate, err := h.admin.Begin(h.ctx)
			h.must(err)
			_, err = gate.Exec(h.ctx, "select pg_advisory_xact_lock(hashtext($1))", h.schema)
			h.must(err)
			fetched, left := make(chan error, 1), make(chan error, 1)
			fetch := func() {
				_, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: 1,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
				fetched <- err
			}
			leave := func() {
				_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w"})
				left <- err
			}
			waiting := func(n int) func() bool {
				return func() bool {
					return one[int](t, h.database, `select count(*) from pg_stat_activity
						where wait_event_type = 'Lock' and query like '%' || $1 || '%'`, h.schema) == n
				}
			}
			steps := []func(){fetch, leave}
			if first == "leave" {
				steps = []func(){leave, fetch}
			}
			go steps[0]()
			h.soon("the first waits", waiting(1))
			go steps[1]()
			h.soon("the second waits for the first", func() bool { return waiting(2)() || len(fetched)+len(left) > 0 })
			h.must(gate.Rollback(h.ctx))
			h.must(<-left)
			if err := <-fetched; err != nil && err != onceq.ErrLeaseLost {
				t.Error(err)
			}
			j, err := h.client.Job(h.ctx, job.ID)
			h.must(err)
			if j.State != onceq.Available || j.Attempt != 0 {
				t.Errorf("the job is %s with attempt %d under %q, want as if nothing had been", j.State, j.Attempt,
					j.Worker)
			}
			h.sound()
		})
	}
}
