package redisstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/redistest"
)

// bare is a store with a clock that stands, driven row by row.
type bare struct {
	testing.TB
	s  *Store
	no int64 // of the last fetch
}

var noon = time.UnixMilli(1_800_000_000_000).UTC()

func (w *bare) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// at sets the clock.
func (w *bare) at(after time.Duration) { w.Helper(); setClock(w, w.s, noon.Add(after)) }

// newRow is a row without a key.
func newRow(id string, change ...func(*onceq.NewRow)) onceq.NewRow {
	r := onceq.NewRow{ID: id, Nonce: [16]byte{1}, Kind: "k", Queue: "q", Args: []byte(`{"id":"` + id + `"}`),
		Encoding: onceq.EncodingJSON, MaxAttempts: 3,
		Retention: time.Hour, RetentionFailed: time.Hour, Priority: 5}
	for _, c := range change {
		c(&r)
	}
	return r
}

// holding gives a row a key.
func holding(name string, until onceq.Until, change ...func(*onceq.NewRow)) func(*onceq.NewRow) {
	return func(r *onceq.NewRow) {
		r.Claim = &onceq.Claim{Key: sha256.Sum256([]byte(name)), Text: "key=" + name, Digest: [16]byte{2},
			Hold: onceq.Hold{Until: until}}
		for _, c := range change {
			c(r)
		}
	}
}

func window(d time.Duration) func(*onceq.NewRow) {
	return func(r *onceq.NewRow) { r.Claim.Hold.Window = d }
}
func ttl(d time.Duration) func(*onceq.NewRow) {
	return func(r *onceq.NewRow) { r.Claim.Hold.TTL = d }
}
func delay(d time.Duration) func(*onceq.NewRow)     { return func(r *onceq.NewRow) { r.Delay = d } }
func retention(d time.Duration) func(*onceq.NewRow) { return func(r *onceq.NewRow) { r.Retention = d } }
func kind(k string) func(*onceq.NewRow)             { return func(r *onceq.NewRow) { r.Kind = k } }

// reacting gives a row one action for all states of whom it meets.
func reacting(a onceq.Action) func(*onceq.NewRow) {
	return func(r *onceq.NewRow) {
		r.Reactions = onceq.Reactions{Scheduled: a, Available: a, Retryable: a, Running: a,
			Ended: min(a, onceq.ActionRefuse)}
		if a == onceq.ActionWrite {
			r.Reactions.Running, r.Write = onceq.ActionAnswer, onceq.FieldArgs|onceq.FieldPriority|onceq.FieldRunAt
		}
		if a == onceq.ActionPushBack {
			r.Reactions.Running = onceq.ActionAnswer
		}
		if a == onceq.ActionStand {
			r.Reactions.Scheduled, r.Reactions.Available, r.Reactions.Retryable = onceq.ActionMerge, onceq.ActionMerge,
				onceq.ActionMerge
		}
	}
}

// coalescing and superseding are what those policies say.
func coalescing(r *onceq.NewRow)  { reacting(onceq.ActionStand)(r) }
func superseding(r *onceq.NewRow) { reacting(onceq.ActionTake)(r) }

func (w *bare) enqueue(rows ...onceq.NewRow) error {
	_, err := w.s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rows})
	return err
}

func (w *bare) add(rows ...onceq.NewRow) { w.Helper(); w.must(w.enqueue(rows...)) }

func (w *bare) extend(r onceq.ExtendRequest) error {
	_, err := w.s.Extend(context.Background(), r)
	return err
}

// known makes workers known.
func (w *bare) known(workers ...string) {
	w.Helper()
	for _, name := range workers {
		w.must(w.extend(onceq.ExtendRequest{Worker: name, Lease: time.Minute}))
	}
}

func (w *bare) fetch(worker string, slots int, kinds ...string) (onceq.Fetched, error) {
	w.no++
	return w.s.Fetch(context.Background(), onceq.FetchRequest{Worker: worker, No: w.no, Kinds: kinds,
		Queues: []onceq.QueueSlots{{Queue: "q", Slots: slots}}})
}

// start fetches so many jobs, which must be there.
func (w *bare) start(worker string, n int) []*onceq.JobRow {
	w.Helper()
	f, err := w.fetch(worker, n)
	if err != nil || len(f.Jobs) != n {
		w.Fatalf("%d jobs started, want %d (%v)", len(f.Jobs), n, err)
	}
	return f.Jobs
}

func (w *bare) end(ends ...onceq.Finish) error {
	for i := range ends {
		ends[i].Worker, ends[i].Run = cmp.Or(ends[i].Worker, "w"), max(ends[i].Run, 1)
	}
	_, err := w.s.Finish(context.Background(), onceq.FinishRequest{Runs: ends})
	return err
}

// run adds rows and runs each to its end.
func (w *bare) run(state onceq.State, rows ...onceq.NewRow) {
	w.Helper()
	w.add(rows...)
	w.known("w")
	for _, j := range w.start("w", len(rows)) {
		w.must(w.end(onceq.Finish{ID: j.ID, Run: j.Run, State: state}))
	}
}

func (w *bare) change(op onceq.Op, id string) error {
	results, err := w.s.Change(context.Background(), onceq.Change{Op: op, IDs: []string{id}})
	if err == nil && len(results) > 0 {
		err = results[0].Err
	}
	return err
}

func (w *bare) sweep(lost ...onceq.Beat) error {
	_, err := w.s.Sweep(context.Background(), onceq.SweepRequest{Limit: 100, Lost: lost})
	return err
}

// kept is everything that the partitions of a store keep, a line each. What
// is random is left out.
func (w *bare) kept() []string {
	w.Helper()
	ctx := context.Background()
	var all []string
	for _, p := range w.s.parts {
		for i, key := range p.keys {
			if i == 2 {
				members, err := w.s.client.ZRange(ctx, key, 0, -1).Result()
				w.must(err)
				for _, m := range members {
					all = append(all, fmt.Sprintf("%s %q", key, m))
				}
				continue
			}
			fields, err := w.s.client.HGetAll(ctx, key).Result()
			w.must(err)
			for name, value := range fields {
				if i == 3 && strings.HasPrefix(name, "k") { // the token of a worker's last fetch
					value = value[:12] + value[20:]
				}
				all = append(all, fmt.Sprintf("%s %q: %q", key, name, value))
			}
		}
	}
	slices.Sort(all)
	return all
}

// fullCase is one step, in one state of the store.
type fullCase struct {
	name  string
	grows bool // a full server may refuse it: it brings something new
	setup func(w *bare)
	act   func(w *bare) error
}

// fullCases reach every branch of every script that writes.
var fullCases = []fullCase{
	// extend
	{"the first heartbeat of a worker", false, func(w *bare) {}, func(w *bare) error {
		return w.extend(onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
	}},
	{"another heartbeat", false, func(w *bare) { w.known("w") }, func(w *bare) error {
		return w.extend(onceq.ExtendRequest{Worker: "w", Lease: time.Minute})
	}},
	{"a heartbeat that hands back", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"), newRow("b"))
		w.start("w", 2)
	},
		func(w *bare) error {
			return w.extend(onceq.ExtendRequest{Worker: "w", Lease: time.Minute,
				Runs: []onceq.Run{{ID: "a", Run: 1}, {ID: "c", Run: 1}}, FetchesDone: 9})
		}},
	{"a worker that takes leave with runs", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", holding("a", onceq.UntilFinished)))
		w.start("w", 1)
	},
		func(w *bare) error { return w.extend(onceq.ExtendRequest{Worker: "w"}) }},
	{"a worker that takes leave", false, func(w *bare) { w.known("w") }, func(w *bare) error {
		return w.extend(onceq.ExtendRequest{Worker: "w"})
	}},
	{"a stranger that takes leave", false, func(w *bare) {}, func(w *bare) error {
		return w.extend(onceq.ExtendRequest{Worker: "w"})
	}},
	// fetch
	{"a fetch of nothing from an unknown queue", false, func(w *bare) { w.known("w") }, func(w *bare) error {
		_, err := w.fetch("w", 5)
		return err
	}},
	{"a fetch of nothing from a known queue", false, func(w *bare) {
		w.run(onceq.Completed, newRow("a"))
	}, func(w *bare) error { _, err := w.fetch("w", 5); return err }},
	{"a fetch of later jobs", false, func(w *bare) { w.known("w"); w.add(newRow("a", delay(time.Minute))) },
		func(w *bare) error { _, err := w.fetch("w", 5); return err }},
	{"a fetch of first runs", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"), newRow("b", holding("b", onceq.UntilFinished)),
			newRow("c", holding("c", onceq.UntilStarted)), newRow("d",
				holding("d", onceq.UntilStarted, window(time.Hour))))
	}, func(w *bare) error { _, err := w.fetch("w", 5); return err }},
	{"a fetch of first runs that leaves some", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"), newRow("b"), newRow("c"))
	}, func(w *bare) error { _, err := w.fetch("w", 2); return err }},
	{"a fetch of second runs", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", holding("a", onceq.UntilStarted)), newRow("b"))
		w.start("w", 2)
		w.must(w.end(onceq.Finish{ID: "a", State: onceq.Retryable, Error: "no"},
			onceq.Finish{ID: "b", State: onceq.Scheduled, GiveBack: true}))
	}, func(w *bare) error { _, err := w.fetch("w", 5); return err }},
	{"a fetch by kinds", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", kind("x")), newRow("b", kind("y")), newRow("c", kind("z")))
	},
		func(w *bare) error { _, err := w.fetch("w", 5, "y", "z", "v"); return err }},
	{"a fetch by kinds of nothing", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", kind("x")))
	}, func(w *bare) error { _, err := w.fetch("w", 5, "y"); return err }},
	{"a fetch from a paused queue", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"))
		w.must(w.pause())
	}, func(w *bare) error { _, err := w.fetch("w", 5); return err }},
	// finish
	{"a plain end", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"), newRow("b", holding("b", onceq.UntilFinished)))
		w.start("w", 2)
	},
		func(w *bare) error {
			return w.end(onceq.Finish{ID: "a", State: onceq.Completed},
				onceq.Finish{ID: "b", State: onceq.Discarded, Error: "no"})
		}},
	{"a plain end of what is not kept", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", retention(0)), newRow("b", holding("b", onceq.UntilFinished), retention(0)))
		w.start("w", 2)
	}, func(w *bare) error {
		return w.end(onceq.Finish{ID: "a", State: onceq.Completed}, onceq.Finish{ID: "b", State: onceq.Discarded})
	}},
	{"ends whose keys stay", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a", holding("a", onceq.UntilDeleted)),
			newRow("b", holding("b", onceq.UntilFinished, window(time.Hour)), retention(0)),
			newRow("c", holding("c", onceq.UntilSucceeded, ttl(time.Hour))))
		w.start("w", 3)
	}, func(w *bare) error {
		return w.end(onceq.Finish{ID: "a", State: onceq.Completed}, onceq.Finish{ID: "b", State: onceq.Completed},
			onceq.Finish{ID: "c", State: onceq.Completed})
	}},
	{"failures, a snooze, a hand-back", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"), newRow("b", holding("b", onceq.UntilFinished)), newRow("c"))
		w.start("w", 3)
	},
		func(w *bare) error {
			return w.end(onceq.Finish{ID: "a", State: onceq.Retryable, Error: "no", Stack: "s", Delay: time.Minute},
				onceq.Finish{ID: "b", State: onceq.Scheduled, Delay: time.Second},
				onceq.Finish{ID: "c", State: onceq.Scheduled, GiveBack: true})
		}},
	{"the end of a run that is to stop", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"))
		w.start("w", 1)
		w.must(w.change(onceq.OpCancel, "a"))
	},
		func(w *bare) error { return w.end(onceq.Finish{ID: "a", State: onceq.Retryable, Error: "no"}) }},
	{"an end that lets a waiter go", false, func(w *bare) { w.standing(coalescing) }, func(w *bare) error {
		return w.end(onceq.Finish{ID: "a", State: onceq.Completed})
	}},
	{"a rescue", false, func(w *bare) { w.known("lost"); w.add(newRow("a")); w.start("lost", 1) },
		func(w *bare) error {
			return w.end(onceq.Finish{ID: "a", Worker: "w", Rescue: true, State: onceq.Retryable, Error: "lost"})
		}},
	{"a repeated end", false, func(w *bare) { w.run(onceq.Completed, newRow("a")) }, func(w *bare) error {
		return w.end(onceq.Finish{ID: "a", State: onceq.Completed})
	}},
	{"an end of somebody else's run", false, func(w *bare) { w.known("w", "x"); w.add(newRow("a")); w.start("w", 1) },
		func(w *bare) error { return w.end(onceq.Finish{ID: "a", Worker: "x", State: onceq.Completed}) }},
	// change
	{"a cancel of a waiting job", false, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error { return w.change(onceq.OpCancel, "a") }},
	{"a cancel of a waiting job that is not kept", false, func(w *bare) {
		w.add(newRow("a", holding("a", onceq.UntilFinished, window(time.Hour)), retention(0)))
	},
		func(w *bare) error { return w.change(onceq.OpCancel, "a") }},
	{"a cancel of a running job", false, func(w *bare) { w.known("w"); w.add(newRow("a")); w.start("w", 1) },
		func(w *bare) error { return w.change(onceq.OpCancel, "a") }},
	{"a cancel of a cancelled job", false, func(w *bare) {
		w.add(newRow("a"))
		w.must(w.change(onceq.OpCancel, "a"))
	}, func(w *bare) error { return w.change(onceq.OpCancel, "a") }},
	{"a cancel of a waiter", false, func(w *bare) { w.standing(coalescing) }, func(w *bare) error {
		return w.change(onceq.OpCancel, "b")
	}},
	{"a retry of a finished job", false, func(w *bare) {
		w.run(onceq.Discarded, newRow("a", holding("a", onceq.UntilFinished)))
	}, func(w *bare) error { return w.change(onceq.OpRetry, "a") }},
	{"a retry of a job that never ran", false, func(w *bare) {
		w.add(newRow("a"))
		w.must(w.change(onceq.OpCancel, "a"))
	}, func(w *bare) error { return w.change(onceq.OpRetry, "a") }},
	{"a retry of a retryable job", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"))
		w.start("w", 1)
		w.must(w.end(onceq.Finish{ID: "a", State: onceq.Retryable, Delay: time.Hour}))
	}, func(w *bare) error { return w.change(onceq.OpRetry, "a") }},
	{"a retry whose key is another's", false, func(w *bare) {
		w.run(onceq.Discarded, newRow("a", holding("a", onceq.UntilFinished)))
		w.add(newRow("b", holding("a", onceq.UntilFinished)))
	}, func(w *bare) error {
		if err := w.change(onceq.OpRetry, "a"); !errors.Is(err, onceq.ErrDuplicate) {
			return fmt.Errorf("%v, want a duplicate", err)
		}
		_, err := w.s.Change(context.Background(), onceq.Change{Op: onceq.OpRetry, IDs: []string{"a"},
			WithoutKey: true})
		return err
	}},
	{"a run now", false, func(w *bare) {
		w.add(newRow("a", holding("a", onceq.UntilDue), delay(time.Hour)), newRow("b"))
	}, func(w *bare) error { return w.change(onceq.OpRunNow, "a") }},
	{"a delete of a waiting job", false, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error { return w.change(onceq.OpDelete, "a") }},
	{"a delete that leaves the key", false, func(w *bare) {
		w.run(onceq.Completed, newRow("a", holding("a", onceq.UntilFinished, window(time.Hour))))
	},
		func(w *bare) error { return w.change(onceq.OpDelete, "a") }},
	{"a pause", false, func(w *bare) { w.add(newRow("a")) }, func(w *bare) error { return w.pause() }},
	{"a pause of a queue that nobody used", false, func(w *bare) {}, func(w *bare) error { return w.pause() }},
	{"a resume", false, func(w *bare) { w.add(newRow("a")); w.must(w.pause()) }, func(w *bare) error {
		_, err := w.s.Change(context.Background(), onceq.Change{Op: onceq.OpResume, Queue: "q"})
		return err
	}},
	{"a release", false, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) }, func(w *bare) error {
		return w.release("a")
	}},
	{"a release to a waiter", false, func(w *bare) { w.standing(coalescing) }, func(w *bare) error {
		return w.release("a")
	}},
	// sweep, lost, await
	{"a sweep of finished jobs", false, func(w *bare) {
		w.run(onceq.Completed, newRow("a"), newRow("b", holding("b", onceq.UntilDeleted, ttl(3*time.Hour))),
			newRow("c", holding("c", onceq.UntilDeleted)))
		w.at(2 * time.Hour)
	}, func(w *bare) error { return w.sweep() }},
	{"a sweep of keys", false, func(w *bare) {
		w.add(newRow("a", holding("a", onceq.UntilFinished, ttl(time.Minute)), delay(0)))
		w.at(2 * time.Minute)
	}, func(w *bare) error { return w.sweep() }},
	{"a sweep of nothing", false, func(w *bare) { w.add(newRow("a")) }, func(w *bare) error { return w.sweep() }},
	{"a sweep that prunes early", false, func(w *bare) {
		w.s.config.RetentionMax = 2
		for i := range 5 {
			w.run(onceq.Completed, newRow(fmt.Sprint("a", i)))
		}
	}, func(w *bare) error { return w.sweep() }},
	{"the runs of a lost worker", false, func(w *bare) {
		w.known("w")
		w.add(newRow("a"))
		w.start("w", 1)
		w.at(time.Hour)
	},
		func(w *bare) error { return w.sweep(onceq.Beat{Worker: "w", No: 1}) }},
	{"a lost worker without runs", false, func(w *bare) { w.known("w"); w.at(time.Hour) }, func(w *bare) error {
		return w.sweep(onceq.Beat{Worker: "w", No: 1})
	}},
	{"somebody who waits", false, func(w *bare) { w.add(newRow("a")) }, func(w *bare) error {
		return w.s.wakes.await(context.Background(), onceq.WakeRequest{Queues: []string{"q", "r"}})
	}},
	// enqueue
	{"a new job", true, func(w *bare) {}, func(w *bare) error { return w.enqueue(newRow("a")) }},
	{"new jobs of a known queue", true, func(w *bare) { w.add(newRow("a")) },
		func(w *bare) error {
			return w.enqueue(newRow("b"), newRow("c", holding("c", onceq.UntilFinished)),
				newRow("d", holding("d", onceq.UntilDue), delay(time.Minute)))
		}},
	{"new jobs beside duplicates", true, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished)), newRow("c")) }},
	{"duplicates", false, func(w *bare) {
		w.add(newRow("a", holding("a", onceq.UntilFinished)),
			newRow("b", holding("b", onceq.UntilFinished, ttl(time.Hour))))
	},
		func(w *bare) error {
			return w.enqueue(newRow("c", holding("a", onceq.UntilFinished)),
				newRow("d", holding("b", onceq.UntilFinished), reacting(onceq.ActionRefuse)), newRow("a"))
		}},
	{"an echo", false, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) }, func(w *bare) error {
		return w.enqueue(newRow("a", holding("a", onceq.UntilFinished)))
	}},
	{"a replace", true, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error {
			return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), reacting(onceq.ActionWrite),
				delay(time.Minute)))
		}},
	{"a debounce", true, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilStarted), delay(time.Minute))) },
		func(w *bare) error {
			return w.enqueue(newRow("b", holding("a", onceq.UntilStarted), reacting(onceq.ActionPushBack),
				delay(2*time.Minute), func(r *onceq.NewRow) { r.MaxWait = time.Hour }))
		}},
	{"a coalesce into a waiting job", true, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), coalescing)) }},
	{"a coalesce behind a running job", true, func(w *bare) {
		w.known("w")
		w.add(newRow("a", holding("a", onceq.UntilFinished)))
		w.start("w", 1)
	}, func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), coalescing)) }},
	{"a coalesce into a waiter", true, func(w *bare) { w.standing(coalescing) }, func(w *bare) error {
		return w.enqueue(newRow("c", holding("a", onceq.UntilFinished), coalescing))
	}},
	{"a supersede of a waiting job", true, func(w *bare) { w.add(newRow("a", holding("a", onceq.UntilFinished))) },
		func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), superseding)) }},
	{"a supersede of a running job", true, func(w *bare) {
		w.known("w")
		w.add(newRow("a", holding("a", onceq.UntilFinished)))
		w.start("w", 1)
	}, func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), superseding)) }},
	{"a supersede of a waiter", true, func(w *bare) { w.standing(superseding) }, func(w *bare) error {
		return w.enqueue(newRow("c", holding("a", onceq.UntilFinished), superseding))
	}},
	{"a supersede that leaves nothing", true, func(w *bare) {
		w.add(newRow("a", holding("a", onceq.UntilFinished), retention(0)))
	},
		func(w *bare) error { return w.enqueue(newRow("b", holding("a", onceq.UntilFinished), superseding)) }},
}

// standing has job b stand behind job a, which runs.
func (w *bare) standing(policy func(*onceq.NewRow)) {
	w.Helper()
	w.known("w")
	w.add(newRow("a", holding("a", onceq.UntilFinished)))
	w.start("w", 1)
	w.add(newRow("b", holding("a", onceq.UntilFinished), policy))
}

func (w *bare) pause() error {
	_, err := w.s.Change(context.Background(), onceq.Change{Op: onceq.OpPause, Queue: "q"})
	return err
}

func (w *bare) release(name string) error {
	_, err := w.s.Change(context.Background(), onceq.Change{Op: onceq.OpRelease, Key: sha256.Sum256([]byte(name))})
	return err
}

// TestAFullServerRefusesWhatGrowsAndNothingElse: whatever the step and the
// state of the store, a step is done as a whole or refused as a whole, and
// only one that brings something new is refused.
func TestAFullServerRefusesWhatGrowsAndNothingElse(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, c := range fullCases {
		w := &bare{TB: t}
		begin := func() []string {
			server.Do("flushall")
			w.s, w.no = open(t, server.URL(), Config{Patience: 50 * time.Millisecond}), 0
			w.at(0)
			c.setup(w)
			return w.kept()
		}
		begin()
		if err := c.act(w); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := w.kept()
		before := begin()
		server.Do("config", "set", "maxmemory", 1)
		err := c.act(w)
		after := w.kept()
		server.Do("config", "set", "maxmemory", 0)
		switch {
		case err == nil && !slices.Equal(after, want):
			t.Errorf("%s: a full server did it by half:\n%s", c.name, differ(after, want))
		case err != nil && !c.grows:
			t.Errorf("%s: a full server refused it: %v", c.name, err)
		case err != nil && (errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "memory is full")):
			t.Errorf("%s: %v, want a definite error that says that the memory is full", c.name, err)
		case err != nil && !slices.Equal(after, before):
			t.Errorf("%s: a full server refused it and a part was done:\n%s", c.name, differ(after, before))
		}
		sound(t, w.s)
		_ = w.s.Close()
	}
}

// differ lists the lines that only one of two has.
func differ(got, want []string) string {
	var b strings.Builder
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintf(&b, "  is:     %s\n", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintf(&b, "  lacks:  %s\n", l)
		}
	}
	return b.String()
}

// TestAWorkerThatStartsOnAFullServerDrainsIt: whoever restarts workers
// because the memory is full gets out of it.
func TestAWorkerThatStartsOnAFullServerDrainsIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{Patience: 50 * time.Millisecond})
	c := clientOf(t, s)
	server.Do("config", "set", "maxmemory", "4mb")
	big := []byte(`"` + strings.Repeat("x", 5000) + `"`)
	n := int64(0)
	for ; ; n++ {
		if _, err := c.Enqueue(t.Context(), onceq.JSON("task", big), onceq.UniqueKey(fmt.Sprint(n))); err != nil {
			if errors.Is(err, onceq.ErrUncertain) || !strings.Contains(err.Error(), "memory is full") {
				t.Fatal(err)
			}
			break
		}
	}
	server.Do("config", "set", "maxmemory", 1)
	var ran atomic.Int64
	worker, err := onceq.NewWorker(s, &onceq.WorkerConfig{Logger: quiet, Drain: true,
		Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	worker.HandleKind("task", func(context.Context, *onceq.JobRow) error { ran.Add(1); return nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := worker.Run(ctx); err != nil || ran.Load() != n || n < 50 {
		t.Errorf("ran %d of %d jobs: %v", ran.Load(), n, err)
	}
	if deleted, err := c.DeleteAll(t.Context(), onceq.JobFilter{All: true}); err != nil || int64(deleted) != n {
		t.Errorf("deleted %d: %v", deleted, err)
	}
	server.Do("config", "set", "maxmemory", "4mb")
	if _, err := c.Enqueue(t.Context(), task{1}); err != nil {
		t.Errorf("after all is done: %v", err)
	}
	sound(t, s)
}
