package storetest

import (
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// recipes: what docs/chains.md builds from IDs and snoozes.
var recipes = []scenario{
	{"a_chain_survives_a_kill_between_its_steps", func(w *world) {
		first := w.insert(task(1), onceq.ID("film"))
		run := w.starts(first.ID)
		w.insert(task(2), onceq.ID("film/2"))
		w.after(minute) // the worker is killed before its report
		w.ends(run, onceq.Finish{State: onceq.Retryable, Worker: "rescuer", Rescue: true, Error: "lost"},
			onceq.Retryable)
		next := w.starts("film/2") // meanwhile the next step runs, and ends
		w.complete(next)
		run = w.starts(first.ID)
		w.enqueue(onceq.Skipped, task(2), onceq.ID("film/2"))
		w.complete(run)
		w.idle()
		equal(w, "runs of the second step", w.job("film/2").Run, int64(1))
	}},
	{"a_batch_parent_runs_once_after_its_last_child", func(w *world) {
		parent := w.insert(task(0), onceq.ID("film"))
		run := w.starts(parent.ID)
		equal(w, "unfinished", w.children("film", onceq.Inserted), 2)
		w.snooze(run, time.Second)
		w.complete(w.starts("film/0"))
		w.after(time.Second)
		last := w.starts("film/1") // it was due before
		run = w.starts(parent.ID)
		equal(w, "unfinished", w.children("film", onceq.Skipped), 1)
		w.snooze(run, time.Second)
		w.complete(last)
		w.after(time.Second)
		run = w.starts(parent.ID)
		equal(w, "unfinished", w.children("film", onceq.Skipped), 0)
		w.complete(run)
		w.idle()
		equal(w, "attempts of the parent", w.job(parent.ID).Attempt, 1)
	}},
	{"a_failed_child_is_reported_to_the_parent", func(w *world) {
		parent := w.insert(task(0), onceq.ID("film"))
		run := w.starts(parent.ID)
		w.children("film", onceq.Inserted)
		w.snooze(run, time.Second)
		w.complete(w.starts("film/0"))
		w.discard(w.starts("film/1"))
		w.after(time.Second)
		w.starts(parent.ID)
		equal(w, "unfinished", w.children("film", onceq.Skipped), 0)
		child := w.job("film/1")
		equal(w, "child", line(child.State, child.Errors[0].Error), "discarded hopeless")
	}},
}

// children enqueues the two children of a batch, as its parent does in each of
// its runs, and returns how many of them have not ended.
func (w *world) children(parent string, want onceq.Outcome) (unfinished int) {
	w.Helper()
	for i := range 2 {
		id := fmt.Sprintf("%s/%d", parent, i)
		w.enqueue(want, task(i+1), onceq.ID(id))
		if !w.job(id).State.Finished() {
			unfinished++
		}
	}
	return unfinished
}
