package pgstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceq/onceq"
)

// A lone row waits for the lock of the holder that it found. Once it has the
// lock, another job may have the key.
func TestALoneRowThatWaitedWritesToTheHolderOfNow(t *testing.T) {
	h := borrowHand(t)
	for range 10 { // in most of them it still waits when the other commits
		first := h.enqueue(onceq.Inserted, task(1), aKey)
		for range 8 { // until a duplicate is what mostly comes
			h.enqueue(onceq.Skipped, task(1), aKey)
		}
		tx, inTx := h.begin(pgx.TxOptions{})
		second, err := inTx.Enqueue(h.ctx, task(2), aKey, supersede)
		h.must(err)
		type answer struct {
			onceq.Receipt
			error
		}
		done := make(chan answer)
		go func() {
			r, err := h.client.Enqueue(h.ctx, task(3), aKey, coalesce)
			done <- answer{r, err}
		}()
		h.soon("the row waits", h.blocked)
		h.must(tx.Commit(h.ctx))
		third := <-done
		h.wants(onceq.Replaced, third.Receipt, third.error)
		if third.Job.ID != second.Job.ID || third.Conflict.Holder != second.Job.ID {
			t.Errorf("%s was written to and %s met, want %s, and not %s", third.Job.ID, third.Conflict.Holder,
				second.Job.ID, first.ID)
		}
		ran := h.start()
		if ran.ID != second.Job.ID || string(ran.Args) != "3" {
			t.Errorf("%s runs with %s, want %s with 3", ran.ID, ran.Args, second.Job.ID)
		}
		h.must(h.finish(h.ctx, ran))
		h.sound()
	}
}
