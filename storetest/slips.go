package storetest

import (
	"github.com/onceq/onceq"
)

// elsewhere is a store that says that its data are others.
type elsewhere struct{ onceq.Store }

func (s elsewhere) Traits() onceq.Traits {
	t := s.Store.Traits()
	t.Data += " elsewhere"
	return t
}

// slips: what is probably a mistake of the caller's is refused.
var slips = []scenario{
	{"a_transaction_of_another_store_is_refused", inTx(func(w *world, tx Tx, in *onceq.TxClient) {
		if data := w.Store.Traits().Data; data == "" || data != tx.Data() {
			w.Fatalf("the transaction is on %q, the store on %q", tx.Data(), data)
		}
		c := w.clientOf(elsewhere{w.Store}, nil)
		defer c.Close()
		_, err := c.WithTx(tx).Enqueue(w.ctx, task(1))
		equal(w, "field", w.refused(err).Field, "Tx")
		_, err = c.WithTx(tx).EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1))})
		equal(w, "field", w.refused(err).Field, "Tx")
		j := w.within(in, onceq.Inserted, task(1)) // the transaction can be used
		w.must(tx.Commit())
		w.has(j.ID, 1)
		equal(w, "jobs", len(w.jobs()), 1)
	})},
	{"a_transaction_of_another_handle_on_the_data_is_taken", func(w *world) {
		if w.Begin == nil || w.Open == nil {
			w.Skip("this store has no transactions of the caller's, or no other handles")
		}
		c := w.clientOf(w.Open(), nil)
		defer c.Close()
		tx := w.begin()
		r, err := c.WithTx(tx).Enqueue(w.ctx, task(1))
		w.must(err)
		w.must(tx.Commit())
		w.has(r.Job.ID, 1)
	}},
	{"a_transaction_that_is_nil_is_refused", func(w *world) {
		_, err := w.client.WithTx(nil).Enqueue(w.ctx, task(1))
		equal(w, "field", w.refused(err).Field, "Tx")
		_, err = w.client.WithTx(nil).EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(1))})
		equal(w, "field", w.refused(err).Field, "Tx")
	}},
}
