package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// impossible are IDs that no job can have. Whoever asks for one is answered
// as for a job that is not there: it may come from a URL or a command line.
func impossible(id string) []string {
	return []string{"", "\x00", "\x00\x00", "\x00\x00\x00", "\x00" + id, "\x00\x00" + id, "\x00\x00\x00" + id,
		"\x00\x00\x00R" + id, id[:3] + "\x00" + strings.Repeat("x", 15), id + "\x00", "a\x00b", "\xff", "a\xc3(",
		strings.Repeat("x", 5000)}
}

// unknown: an ID that no job has is an answer, and no error of the store.
var unknown = []scenario{
	{"an_id_that_no_job_can_have_is_not_found", func(w *world) {
		failed := w.insert(task(1), onceq.MaxAttempts(9)) // with whatever a store keeps of a job
		w.ends(w.start(), onceq.Finish{State: onceq.Retryable, Error: "no luck"}, onceq.Retryable)
		w.ends(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")}, onceq.Completed)
		waits := w.insert(task(2), key)
		jobs, err := w.Store.Get(w.ctx, append(impossible(failed.ID), waits.ID))
		w.must(err)
		for i, id := range impossible(failed.ID) {
			if jobs[i] != nil {
				w.Errorf("the job %q is there: %+v", id, jobs[i])
			}
		}
		equal(w, "the job beside them", jobs[len(jobs)-1].ID, waits.ID)
	}},
	{"an_id_that_no_job_can_have_is_not_changed", func(w *world) {
		failed := w.insert(task(1), onceq.MaxAttempts(9))
		w.ends(w.start(), onceq.Finish{State: onceq.Retryable, Error: "no luck"}, onceq.Retryable)
		w.ends(w.start(), onceq.Finish{State: onceq.Completed, Result: []byte("1")}, onceq.Completed)
		waits := w.insert(task(2), key)
		w.known("w")
		for _, op := range []onceq.Op{onceq.OpCancel, onceq.OpRetry, onceq.OpRunNow, onceq.OpDelete, onceq.OpStart,
			onceq.OpMove} {
			w.fetches["w"]++
			for _, ids := range append([][]string{impossible(failed.ID)}, one(impossible(failed.ID))...) {
				for i, r := range w.change(onceq.Change{Op: op, IDs: ids, Worker: "w", No: w.fetches["w"]}) {
					if !errors.Is(r.Err, onceq.ErrNotFound) {
						w.Errorf("step %d of the job %q: %v, want not found", op, ids[i], r.Err)
					}
				}
			}
		}
		for _, id := range impossible(failed.ID)[1:] { // "" = whoever holds it
			r := w.change(onceq.Change{Op: onceq.OpRelease, Key: *waits.Key, Holder: id})[0]
			if !errors.Is(r.Err, onceq.ErrNotFound) {
				w.Errorf("the key is released from %q: %v, want not found", id, r.Err)
			}
		}
		w.holds(waits)
	}},
	{"a_run_of_an_id_that_no_job_can_have_is_lost", func(w *world) {
		w.insert(task(1))
		j := w.start()
		beat := onceq.ExtendRequest{Worker: "w", Lease: time.Minute, FetchesDone: w.fetches["w"],
			Runs: []onceq.Run{{ID: j.ID, Run: j.Run}}}
		var ends []onceq.Finish
		for _, id := range impossible(j.ID) {
			beat.Runs = append(beat.Runs, onceq.Run{ID: id, Run: 1})
			ends = append(ends, onceq.Finish{ID: id, Run: 1, Worker: "w", State: onceq.Completed})
		}
		equal(w, "lost", line(w.extend(beat).Lost), line(beat.Runs[1:]))
		results, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: append(ends,
			onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: onceq.Completed})})
		w.must(err)
		for i, end := range ends {
			if results[i].Status != onceq.FinishGone {
				w.Errorf("the run of %q: status %d, want gone", end.ID, results[i].Status)
			}
		}
		w.is(j.ID, onceq.Completed)
	}},
	{"a_name_that_no_job_can_have_matches_nothing", func(w *world) {
		w.discard(w.starts(w.insert(task(1), key, onceq.Tags("t")).ID))
		w.insert(task(2), key, onceq.Tags("t"))
		for _, name := range []string{"\x00", "a\x00b", "\x00default", "default\x00", "\xff", "task\xff", "a\xc3("} {
			for _, f := range []onceq.JobFilter{{Queue: name}, {Kind: name}, {Tag: name}, {Worker: name},
				{States: []onceq.State{onceq.Available}, Queue: name}, {Queue: "default", Kind: name}} {
				page, err := w.client.JobsPage(w.ctx, f, "")
				w.must(err)
				equal(w, fmt.Sprintf("jobs of %+v", f), len(page.Jobs), 0)
				n, err := w.client.DeleteAll(w.ctx, f)
				w.must(err)
				equal(w, fmt.Sprintf("deleted jobs of %+v", f), n, 0)
			}
			for _, f := range []onceq.KeyFilter{{Queue: name}, {Kind: name}} {
				page, err := w.client.KeysPage(w.ctx, f, "")
				w.must(err)
				equal(w, fmt.Sprintf("keys of %+v", f), len(page.Keys), 0)
			}
			for call, err := range map[string]error{"Pause": w.client.Pause(w.ctx, name),
				"Resume": w.client.Resume(w.ctx, name), "RemovePeriodic": w.client.RemovePeriodic(w.ctx, name),
				"PausePeriodic": w.client.PausePeriodic(w.ctx, name)} {
				var invalid *onceq.InvalidError
				if !errors.As(err, &invalid) && !errors.Is(err, onceq.ErrNotFound) {
					w.Errorf("%s of %q: %v, want it refused or not found", call, name, err)
				}
			}
		}
		equal(w, "jobs", len(w.jobs()), 2)
	}},
	{"a_client_is_told_that_an_impossible_id_is_not_found", func(w *world) {
		for _, id := range impossible(w.insert(task(1)).ID) {
			_, got := w.client.Job(w.ctx, id)
			_, waited := w.client.Wait(w.ctx, id)
			_, cancelled := w.client.Cancel(w.ctx, id)
			_, retried := w.client.Retry(w.ctx, id)
			_, ran := w.client.RunNow(w.ctx, id)
			_, moved := w.client.Move(w.ctx, id, onceq.Delay(time.Hour))
			for call, err := range map[string]error{"Job": got, "Wait": waited, "Cancel": cancelled, "Retry": retried,
				"RunNow": ran, "Move": moved, "Delete": w.client.Delete(w.ctx, id)} {
				if !errors.Is(err, onceq.ErrNotFound) {
					w.Errorf("%s of %q: %v, want not found", call, id, err)
				}
			}
		}
	}},
}

// one is a batch of each.
func one(ids []string) (batches [][]string) {
	for _, id := range ids {
		batches = append(batches, []string{id})
	}
	return batches
}
