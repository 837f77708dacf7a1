package storetest

import (
	"context"
	"errors"

	"github.com/onceq/onceq"
)

// closing: the end of a client, and of a store.
var closing = []scenario{
	{"a_closed_client_says_so_and_leaves_the_store_open", func(w *world) {
		j := w.insert(task(1), key)
		c := w.clientOf(w.Store, nil)
		w.must(c.Close())
		_, err := c.Enqueue(w.ctx, task(2))
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.EnqueueMany(w.ctx, []onceq.Item{onceq.NewItem(task(2))})
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.Job(w.ctx, j.ID)
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.Cancel(w.ctx, j.ID)
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.Retry(w.ctx, j.ID)
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.RunNow(w.ctx, j.ID)
		w.wantErr(err, onceq.ErrClosed)
		w.wantErr(c.Delete(w.ctx, j.ID), onceq.ErrClosed)
		_, err = c.CancelAll(w.ctx, onceq.JobFilter{All: true})
		w.wantErr(err, onceq.ErrClosed)
		_, err = c.Key(w.ctx, *j.Key)
		w.wantErr(err, onceq.ErrClosed)
		w.wantErr(c.ReleaseKey(w.ctx, *j.Key), onceq.ErrClosed)
		_, err = c.Queues(w.ctx)
		w.wantErr(err, onceq.ErrClosed)
		w.wantErr(c.Pause(w.ctx, "default"), onceq.ErrClosed)
		w.wantErr(c.Resume(w.ctx, "default"), onceq.ErrClosed)
		for _, err := range c.Jobs(w.ctx, onceq.JobFilter{}) {
			w.wantErr(err, onceq.ErrClosed)
		}
		for _, err := range c.Keys(w.ctx, onceq.KeyFilter{}) {
			w.wantErr(err, onceq.ErrClosed)
		}
		w.unchanged(j)
	}},
	{"a_closed_store_answers_every_method_with_closed", func(w *world) {
		w.insert(task(1), key)
		row := onceq.NewRow(w.row(task(2)))
		w.known("w")
		w.must(w.Store.Close())
		w.closed = true
		s := w.Store
		for name, call := range map[string]func() error{
			"Enqueue": func() error {
				_, err := s.Enqueue(w.ctx,
					onceq.EnqueueRequest{Rows: []onceq.NewRow{row}})
				return err
			},
			"Fetch": func() error {
				_, err := s.Fetch(w.ctx, onceq.FetchRequest{Worker: "w", No: 1,
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 1}}})
				return err
			},
			"Extend": func() error {
				_, err := s.Extend(w.ctx,
					onceq.ExtendRequest{Worker: "w", Lease: minute})
				return err
			},
			"Finish": func() error {
				_, err := s.Finish(w.ctx,
					onceq.FinishRequest{Runs: []onceq.Finish{{ID: "x", Run: 1, Worker: "w", State: onceq.Completed}}})
				return err
			},
			"Change": func() error {
				_, err := s.Change(w.ctx, onceq.Change{Op: onceq.OpPause, Queue: "default"})
				return err
			},
			"Get":     func() error { _, err := s.Get(w.ctx, []string{"x"}); return err },
			"List":    func() error { _, err := s.List(w.ctx, onceq.ListRequest{Limit: 1}); return err },
			"Keys":    func() error { _, err := s.Keys(w.ctx, onceq.KeysRequest{Limit: 1}); return err },
			"Note":    func() error { return s.Note(w.ctx, onceq.Notes{}) },
			"Stats":   func() error { _, err := s.Stats(w.ctx, onceq.StatsRequest{}); return err },
			"Workers": func() error { _, err := s.Workers(w.ctx); return err },
			"Queues":  func() error { _, err := s.Queues(w.ctx, onceq.QueuesRequest{}); return err },
			"Sweep":   func() error { _, err := s.Sweep(w.ctx, onceq.SweepRequest{Limit: 1}); return err },
			"Close":   s.Close,
		} {
			if err := call(); !errors.Is(err, onceq.ErrClosed) {
				w.Errorf("%s after Close: error %v, want ErrClosed", name, err)
			}
		}
		if _, err := w.client.Enqueue(w.ctx, task(3)); !errors.Is(err, onceq.ErrClosed) {
			w.Errorf("enqueue after the store was closed: error %v, want ErrClosed", err)
		}
	}},
	{"a_context_that_is_over_does_nothing_or_is_uncertain", func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.client.Enqueue(ctx, task(1), key)
		if err == nil {
			w.Fatal("an enqueue under a context that is over succeeded")
		}
		if !errors.Is(err, onceq.ErrUncertain) {
			equal(w, "jobs", len(w.jobs()), 0)
		}
		if _, err := w.client.EnqueueMany(ctx, []onceq.Item{onceq.NewItem(task(1))}); err == nil {
			w.Fatal("a batch under a context that is over succeeded")
		}
	}},
}
