package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// counts: how many jobs of a queue are in a state, and up to where a store
// counts.
var counts = []scenario{
	{"counts_are_exact_up_to_what_was_asked_for_and_lower_bounds_beyond", func(w *world) {
		populate(w)
		standing(w)
		for i := range 5 {
			w.insert(task(i), onceq.Queue("a"), onceq.Priority(i), onceq.Delay(time.Duration(i)*minute))
		}
		w.must(w.client.Pause(w.ctx, "b"))
		want := map[string]map[onceq.State]int{}
		oldest := map[string]time.Time{}
		for _, j := range w.jobs() {
			if want[j.Queue] == nil {
				want[j.Queue] = map[onceq.State]int{}
			}
			want[j.Queue][j.State]++
			if o := oldest[j.Queue]; j.State == onceq.Available && (o.IsZero() || j.RunAt.Before(o)) {
				oldest[j.Queue] = j.RunAt
			}
		}
		for _, most := range []int{1, 2, 3, 4, 1000, 0} {
			all, err := w.Store.Queues(w.ctx, onceq.QueuesRequest{Most: most})
			w.must(err)
			w.sameTime("now", all.Now, w.now)
			equal(w, "queues", len(all.Queues), len(want))
			for _, q := range all.Queues {
				w.sameTime("oldest due of "+q.Name, q.OldestDue, oldest[q.Name])
				equal(w, "paused", q.Paused, q.Name == "b")
				for _, s := range onceq.States() {
					got, want, bound := q.Counts[s], want[q.Name][s], slices.Contains(q.AtLeast, s)
					what := fmt.Sprintf("queue %s, state %s, counted to %d", q.Name, s, most)
					switch {
					case !bound && got != want:
						w.Errorf("%s: %d, want %d", what, got, want)
					case bound && (got > want || most == 0 || most == 1000):
						w.Errorf("%s: at least %d, there are %d", what, got, want)
					case bound && s != onceq.Scheduled && s != onceq.Retryable && got < min(most, want):
						w.Errorf("%s: at least %d, there are %d", what, got, want)
					}
				}
			}
		}
	}},
	{"a_count_of_thousands_says_that_it_is_a_bound_or_is_exact", func(w *world) {
		const n = 1200
		w.fill(n, task(0), onceq.Queue("due"))
		w.fill(n, task(0), onceq.Queue("later"), onceq.Delay(time.Hour))
		w.fill(n, task(0), onceq.Queue("done"))
		for got := 0; got < n; {
			jobs := w.fetch("w", "done", 200)
			w.completeAll(jobs)
			got += len(jobs)
		}
		all, err := w.client.QueuesUpTo(w.ctx, 1000)
		w.must(err)
		equal(w, "queues", len(all.Queues), 3)
		for i, s := range []onceq.State{onceq.Completed, onceq.Available, onceq.Scheduled} {
			q := all.Queues[i]
			if got := q.Counts[s]; got != n && !(slices.Contains(q.AtLeast, s) && got >= 1000 && got < n) {
				w.Errorf("queue %s: %d %s (bounds: %v), there are %d", q.Name, got, s, q.AtLeast, n)
			}
		}
		exact, err := w.client.Queues(w.ctx)
		w.must(err)
		for i, s := range []onceq.State{onceq.Completed, onceq.Available, onceq.Scheduled} {
			equal(w, "exact", line(exact[i].Counts[s], len(exact[i].AtLeast)), line(n, 0))
		}
		_, err = w.client.QueuesUpTo(w.ctx, 0)
		w.refused(err)
	}},
}
