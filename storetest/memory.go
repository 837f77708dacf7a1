package storetest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onceq/onceq"
)

// passed is what a caller passed to an enqueue, in memory that it uses for
// something else afterwards.
type passed struct {
	raw  []byte
	tags []string
	meta map[string]any
}

func pass() *passed {
	return &passed{[]byte(`{"to":"ada"}`), []string{"a", "b"}, map[string]any{"n": "1"}}
}

func (p *passed) item(kind string, k onceq.Option) onceq.Item {
	return onceq.NewItem(onceq.JSON(kind, p.raw), k, onceq.Tags(p.tags...), onceq.Meta(p.meta))
}

func (p *passed) reuse() {
	copy(p.raw, `{"to":"eve"}`)
	p.tags[0], p.meta["n"] = "z", "2"
}

// wasPassed wants a job as it was enqueued.
func (w *world) wasPassed(what string, j *onceq.JobRow) {
	w.Helper()
	want := pass()
	if string(j.Args) != string(want.raw) || !slices.Equal(j.Tags, want.tags) || !maps.Equal(j.Meta, want.meta) {
		w.Fatalf("%s has what nobody enqueued: %s %v %v", what, j.Args, j.Tags, j.Meta)
	}
}

// memory: what was passed to a call is the caller's again when the call has
// returned, and what was returned is the caller's.
var memory = []scenario{
	{"what_was_enqueued_does_not_change_with_the_memory_it_came_from", func(w *world) {
		for i, enqueue := range []func(onceq.Item) (onceq.Receipt, error){
			func(it onceq.Item) (onceq.Receipt, error) { return w.client.Enqueue(w.ctx, it.Args, it.Options...) },
			func(it onceq.Item) (onceq.Receipt, error) {
				receipts, err := w.client.EnqueueMany(w.ctx, []onceq.Item{it})
				w.must(err)
				return receipts[0], nil
			},
			func(it onceq.Item) (r onceq.Receipt, err error) {
				tx := w.begin()
				r, err = w.client.WithTx(tx).Enqueue(w.ctx, it.Args, it.Options...)
				w.must(tx.Commit())
				return r, err
			},
		} {
			if i == 2 && w.Begin == nil {
				continue
			}
			kind := fmt.Sprint("kind", i)
			for round, policy := range []onceq.Option{onceq.OnConflict(onceq.Skip),
				replace(onceq.Replace{Args: true, Meta: true, Tags: true}), supersede} {
				p := pass()
				it := p.item(kind, key)
				it.Options = append(it.Options, policy)
				r, err := enqueue(it)
				w.must(err)
				p.reuse()
				w.wasPassed(fmt.Sprint("the receipt ", i, round), r.Job)
				j, err := w.client.Job(w.ctx, r.Job.ID)
				w.must(err)
				w.wasPassed(fmt.Sprint("the job ", i, round), j)
			}
		}
	}},
	{"a_receipt_can_be_written_to", func(w *world) {
		p := pass()
		it := p.item("mail", key)
		for range 2 { // inserted, then skipped
			r, err := w.client.Enqueue(w.ctx, it.Args, it.Options...)
			w.must(err)
			copy(r.Job.Args, `{"to":"eve"}`)
			r.Job.Tags[0], r.Job.Meta["n"] = "z", "2"
			j, err := w.client.Job(w.ctx, r.Job.ID)
			w.must(err)
			w.wasPassed("the job", j)
		}
	}}, {"receipts_of_one_job_share_no_memory", func(w *world) {
		p := pass()
		it := func(opts ...onceq.Option) onceq.Item {
			i := p.item("mail", key)
			i.Options = append(i.Options, opts...)
			return i
		}
		items := []onceq.Item{it(), it(), it(onceq.ID("x")), it(onceq.ID("y")), it(reject), it(onceq.ID("z"), reject)}
		for range 2 { // the first of them is inserted, then all meet it
			receipts, err := w.client.EnqueueMany(w.ctx, items)
			w.must(err)
			keyOf := *receipts[0].Job.Key
			for _, r := range receipts {
				w.wasPassed("a receipt", r.Job)
				equal(w, "key", *r.Job.Key, keyOf)
				if r.Conflict != nil {
					equal(w, "holder", r.Conflict.Holder, receipts[len(receipts)-1].Job.ID)
					r.Conflict.Holder = "another"
				}
				copy(r.Job.Args, `{"to":"eve"}`)
				r.Job.Tags[0], r.Job.Meta["n"], r.Job.Key[0] = "z", "2", ^keyOf[0]
			}
		}
	}},
}
