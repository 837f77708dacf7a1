package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

// term is one way to hold a key.
type term struct {
	until       onceq.Until
	window, ttl time.Duration
	fromEnqueue bool
}

func (h term) String() string {
	s := "until " + h.until.String()
	if h.window > 0 {
		s += fmt.Sprintf(", window %v", h.window)
	}
	if h.ttl > 0 {
		s += fmt.Sprintf(", TTL %v", h.ttl)
	}
	if h.fromEnqueue {
		s += ", from enqueue"
	}
	return s
}

const (
	aWindow = 20 * time.Minute
	aTTL    = 40 * time.Minute
)

// allTerms is every Until with and without Window and TTL, anchored at run
// time and at the enqueue.
func allTerms() (all []term) {
	for u := onceq.UntilDue; u <= onceq.UntilWindowEnds; u++ {
		for _, window := range []time.Duration{0, aWindow} {
			for _, ttl := range []time.Duration{0, aTTL} {
				switch {
				case u == onceq.UntilWindowEnds && (window == 0 || ttl > 0):
				case window+ttl == 0:
					all = append(all, term{until: u})
				default:
					all = append(all, term{u, window, ttl, false}, term{u, window, ttl, true})
				}
			}
		}
	}
	return all
}

// life is what becomes of a job, in time since its enqueue; negative is never.
type life struct {
	due, started, ended, removed time.Duration
	endsAs                       onceq.State
	pruned                       bool // removed by retention, not by hand
}

const never = time.Duration(-1)

// held is section 4 of uniqueness.md:
//
//	held(t) = ( the holder has not reached Until OR t < anchor + Window )
//	          AND ( no TTL OR t < anchor + TTL )
func (l life) held(h term, t time.Duration) bool {
	anchor := l.due
	if h.fromEnqueue {
		anchor = 0
	}
	for _, end := range []time.Duration{l.ended, l.removed} {
		if end != never && end <= t && end < anchor {
			anchor = end
		}
	}
	reached := func(event time.Duration) bool { return event != never && t >= event }
	removed := reached(l.removed) && !(l.pruned && h.ttl > 0)
	var come bool
	switch h.until {
	case onceq.UntilDue:
		come = reached(l.due) || reached(l.ended) || removed
	case onceq.UntilStarted:
		come = reached(l.started) || reached(l.ended) || removed
	case onceq.UntilFinished:
		come = reached(l.ended) || removed
	case onceq.UntilSucceeded:
		come = reached(l.ended) && l.endsAs == onceq.Completed || removed
	case onceq.UntilFailed:
		come = reached(l.ended) && l.endsAs != onceq.Completed || removed
	case onceq.UntilDeleted:
		come = removed
	case onceq.UntilWindowEnds:
		come = true
	}
	return (!come || t < anchor+h.window) && (h.ttl == 0 || t < anchor+h.ttl)
}

// instants is every instant at which something happens, or could.
func (l life) instants() (ts []time.Duration) {
	for _, t := range []time.Duration{0, l.due, l.started, l.ended, l.removed} {
		if t != never {
			ts = append(ts, t)
		}
	}
	for _, anchor := range []time.Duration{0, l.due, min(l.due, max(l.ended, 0)), min(l.due, max(l.removed, 0))} {
		ts = append(ts, anchor+aWindow, anchor+aTTL)
	}
	for _, t := range ts {
		if t > 0 {
			ts = append(ts, t-time.Millisecond)
		}
	}
	slices.Sort(ts)
	return slices.Compact(ts)
}

// play lives this life with three jobs for every term at once: the first of
// its kind, queue and terms that the store sees comes in a batch, the
// second in a batch with IDs that the client makes, the third by itself.
// Stores take other paths for what they have seen before. At each instant
// all keys are looked at and enqueued once more, until they are free.
func (l life) play(w *world, opts ...onceq.Option) {
	terms := slices.Repeat(allTerms(), 3)
	ids, taken := make([]string, len(terms)), make([]bool, len(terms))
	items := make([]onceq.Item, len(terms))
	batch := len(terms) / 3
	for i, h := range terms {
		ids[i] = fmt.Sprint(i)
		items[i] = onceq.NewItem(task(0), append(slices.Clone(opts), onceq.UniqueKey(ids[i]), onceq.Delay(l.due),
			onceq.Unique{Until: h.until, Window: h.window, TTL: h.ttl, FromEnqueue: h.fromEnqueue})...)
		if i < batch {
			items[i].Options = append(items[i].Options, onceq.ID(ids[i]))
		}
	}
	receipts := w.many(each(onceq.Inserted, batch), items[:batch]...)
	receipts = append(receipts, w.many(each(onceq.Inserted, batch), items[batch:2*batch]...)...)
	for _, it := range items[2*batch:] {
		receipts = append(receipts, w.enqueue(onceq.Inserted, it.Args, it.Options...))
	}
	keys := slices.Clone(ids)
	for i, r := range receipts {
		ids[i] = r.Job.ID
	}
	var running []*onceq.JobRow
	for _, t := range l.instants() {
		w.at(start.Add(t))
		if t == l.started {
			running = w.fetch("w", "default", len(ids))
			equal(w, "started jobs", len(running), len(ids))
		}
		if t == l.ended {
			l.end(w, ids, running)
		}
		if t == l.removed {
			l.remove(w, ids)
		}
		rows, err := allKeys(w.ctx, w.Store, onceq.KeyFilter{}, 1000)
		w.must(err)
		holder := map[string]string{}
		for _, k := range rows {
			holder[k.Text] = k.Holder
		}
		var again []onceq.Item
		var want []onceq.Outcome
		for i, h := range terms {
			if taken[i] {
				continue
			}
			held := l.held(h, t)
			if got := holder[fmt.Sprintf("kind=task key=%q", keys[i])]; (got == ids[i]) != held {
				w.Errorf("%v after the enqueue: held by %q, want held = %v (%s, job %d of 3)", t, got,
					held, h, 1+i/batch)
			}
			taken[i] = !held
			again = append(again, onceq.NewItem(task(1), onceq.UniqueKey(keys[i]), onceq.Queue("again")))
			want = append(want, map[bool]onceq.Outcome{true: onceq.Skipped, false: onceq.Inserted}[held])
		}
		w.many(want, again...)
	}
}

func (l life) end(w *world, ids []string, running []*onceq.JobRow) {
	if l.started == never {
		_, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpCancel, IDs: ids})
		w.must(err)
		return
	}
	var fs []onceq.Finish
	for _, j := range running {
		fs = append(fs, onceq.Finish{ID: j.ID, Run: j.Run, Worker: "w", State: l.endsAs})
	}
	_, err := w.Store.Finish(w.ctx, onceq.FinishRequest{Runs: fs})
	w.must(err)
}

func (l life) remove(w *world, ids []string) {
	switch {
	case !l.pruned:
		_, err := w.Store.Change(w.ctx, onceq.Change{Op: onceq.OpDelete, IDs: ids})
		w.must(err)
	case l.removed > l.ended: // else they went when they ended
		for pruned := 0; pruned < len(ids); {
			n := w.sweep().Jobs
			if n == 0 {
				w.Fatalf("sweeps pruned %d jobs, want %d", pruned, len(ids))
			}
			pruned += n
		}
	}
}

const minute = time.Minute

// lived makes a case of a life.
func lived(l life, opts ...onceq.Option) func(*world) {
	return func(w *world) { l.play(w, opts...) }
}
