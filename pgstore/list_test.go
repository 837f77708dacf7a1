package pgstore_test

import (
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// read is how many rows of the table of jobs a step reads, by whatever index,
// or without one.
func (h *hand) read(step func()) int {
	h.Helper()
	read := func() int {
		h.tell()
		return one[int](h, h.database, "select (select sum(idx_tup_read) from pg_stat_user_indexes where "+
			"schemaname = $1 and relname = 'jobs')::int + (select seq_tup_read from pg_stat_user_tables where "+
			"schemaname = $1 and relname = 'jobs')::int", h.schema)
	}
	before := read()
	step()
	return read() - before
}

// What a page and a count read does not grow with the jobs that are there.
func TestListsAndCountsReadFewRowsBesideMany(t *testing.T) {
	t.Parallel()
	h := measuredHand(t)
	many := func(opts ...onceq.Option) {
		for range 6 {
			var items []onceq.Item
			for i := range 1000 {
				items = append(items, onceq.NewItem(task(i), opts...))
			}
			_, err := h.client.EnqueueMany(h.ctx, items)
			h.must(err)
		}
	}
	many(onceq.Queue("done"))
	h.exec(t, "update {ns}.jobs set state = 3, finished_at = run_at, run = 1")
	many(onceq.Queue("later"), onceq.Delay(time.Hour))
	h.enqueue(onceq.Inserted, task(1))
	running := h.start()
	h.enqueue(onceq.Inserted, task(2), onceq.Queue("due"))
	h.exec(t, "vacuum analyze {ns}.jobs")
	for range 6 { // a plan settles after some uses
		_, err := h.client.QueuesUpTo(h.ctx, 100)
		h.must(err)
	}
	want := func(what string, most int, step func()) {
		t.Helper()
		if n := h.read(step); n > most {
			t.Errorf("%s read %d rows, want at most %d", what, n, most)
		} else {
			t.Logf("%s read %d rows", what, n)
		}
	}
	want("queues, counted to 100", 1000, func() {
		all, err := h.client.QueuesUpTo(h.ctx, 100)
		h.must(err)
		if len(all.Queues) != 4 {
			t.Errorf("%d queues", len(all.Queues))
		}
	})
	page := func(f onceq.JobFilter, n int) func() {
		return func() {
			p, err := h.client.JobsPage(h.ctx, f, "")
			h.must(err)
			if len(p.Jobs) != n {
				t.Errorf("%d jobs of %+v, want %d", len(p.Jobs), f, n)
			}
		}
	}
	want("a list of what runs", 100, page(onceq.JobFilter{States: []onceq.State{onceq.Running}}, 1))
	want("a list of a worker's runs", 100,
		page(onceq.JobFilter{States: []onceq.State{onceq.Running}, Worker: running.Worker}, 1))
	want("a list of what is due in a queue", 100,
		page(onceq.JobFilter{States: []onceq.State{onceq.Available}, Queue: "due"}, 1))
	want("a list of what failed", 100,
		page(onceq.JobFilter{States: []onceq.State{onceq.Discarded, onceq.Cancelled}}, 0))
	h.exec(t, "update {ns}.jobs set state = 1, run = 1 where queue = 'later'")
	want("a list of what waits in a queue, or is to be retried", 100, page(onceq.JobFilter{Queue: "due",
		States: []onceq.State{onceq.Scheduled, onceq.Available, onceq.Retryable}}, 1))
}
