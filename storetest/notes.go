package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// noted is a note of some enqueues and runs.
func noted(nonce byte, tallies ...onceq.Tally) onceq.Notes {
	return onceq.Notes{Nonce: [16]byte{nonce}, Tallies: tallies}
}

// tallied is a tally of so many inserted and skipped enqueues.
func tallied(queue, kind string, inserted, skipped int64) onceq.Tally {
	t := onceq.Tally{Queue: queue, Kind: kind}
	t.Enqueued[0], t.Enqueued[1] = inserted, skipped
	return t
}

func (w *world) note(n onceq.Notes) {
	w.Helper()
	w.must(w.Store.Note(w.ctx, n))
}

// stats are series as "queue/kind inserted+skipped …", a pair for each point
// that is not zero.
func (w *world) stats(r onceq.StatsRequest) (onceq.Stats, string) {
	w.Helper()
	s, err := w.client.Stats(w.ctx, r)
	w.must(err)
	var lines []string
	for _, series := range s.Series {
		line := series.Queue + "/" + series.Kind
		for i, p := range series.Points {
			if p != (onceq.Count{}) {
				line += fmt.Sprintf(" %d:%d+%d", i-len(series.Points)+1, p.Enqueued[0], p.Enqueued[1])
			}
		}
		lines = append(lines, line)
	}
	return s, strings.Join(lines, ", ")
}

// notes: what clients and workers tell of enqueues and runs.
var notes = []scenario{
	{"notes_of_processes_add_up_by_minute_and_hour", func(w *world) {
		w.at(start.Add(30 * time.Minute))
		w.note(noted(1, tallied("a", "x", 3, 1), tallied("a", "y", 1, 0)))
		for _, s := range w.handles(2) {
			w.must(s.Note(w.ctx, noted(byte(w.now.Minute())+2, tallied("a", "x", 0, 10))))
			w.after(time.Minute)
		}
		s, got := w.stats(onceq.StatsRequest{Span: 10 * time.Minute})
		equal(w, "series", got, "a/x -2:3+11 -1:0+10, a/y -2:1+0")
		equal(w, "step and points", line(s.Step, len(s.Series[0].Points)), "1m0s 10")
		w.sameTime("now", s.Now, w.now)
		w.sameTime("from", s.From, w.now.Add(-9*time.Minute))
		_, got = w.stats(onceq.StatsRequest{Span: 24 * time.Hour})
		equal(w, "by hour", got, "a/x 0:3+21, a/y 0:1+0")
		_, got = w.stats(onceq.StatsRequest{Kind: "y"})
		equal(w, "of a kind", got, "a/y -2:1+0")
		_, got = w.stats(onceq.StatsRequest{Queue: "none"})
		equal(w, "of no queue", got, "")
		w.after(4 * time.Hour)
		w.sweep()
		_, got = w.stats(onceq.StatsRequest{Span: 3 * time.Hour})
		equal(w, "after hours", got, "")
		_, got = w.stats(onceq.StatsRequest{Span: 24 * time.Hour})
		equal(w, "by hour", got, "a/x -4:3+21, a/y -4:1+0")
		w.after(9 * 24 * time.Hour)
		w.sweep()
		w.note(noted(9, tallied("b", "z", 1, 1)))
		_, got = w.stats(onceq.StatsRequest{Span: onceq.MaxSpan})
		equal(w, "after days", got, "b/z 0:1+1")
		_, err := w.client.Stats(w.ctx, onceq.StatsRequest{Span: onceq.MaxSpan + 1})
		w.refused(err)
	}},
	{"a_note_that_is_sent_again_counts_once", func(w *world) {
		for range 3 {
			w.note(noted(1, tallied("a", "x", 1, 1)))
			w.after(2 * time.Minute)
			w.note(noted(2, tallied("a", "x", 10, 0)))
		}
		_, got := w.stats(onceq.StatsRequest{})
		equal(w, "series", got, "a/x -6:1+1 -4:10+0")
	}},
	{"everything_that_is_counted_comes_back", func(w *world) {
		t := onceq.Tally{Queue: "a", Kind: "x"}
		for i := range t.Enqueued {
			t.Enqueued[i], t.Ended[i] = int64(i+1), int64(10*(i+1))
		}
		for i := range t.RunClass {
			t.RunClass[i] = int64(100 * (i + 1))
		}
		t.WaitMS, t.RunMS = 1<<40, 5
		w.note(noted(1, t))
		w.note(noted(2, t))
		s, _ := w.stats(onceq.StatsRequest{Span: time.Minute})
		want := t.Count
		want.Add(&t.Count)
		equal(w, "count", s.Series[0].Points[0], want)
		equal(w, "duplicates", want.Duplicates(), 18)
	}},
	{"a_flood_of_kinds_is_counted_together", func(w *world) {
		for i := range 6 {
			var tallies []onceq.Tally
			for k := range onceq.MaxTallies {
				tallies = append(tallies, tallied("q", fmt.Sprintf("kind %d %d", i, k), 1, 0))
			}
			w.note(noted(byte(i), tallies...))
		}
		w.note(noted(100, tallied("q", "kind 0 0", 1, 0)))
		for _, span := range []time.Duration{time.Hour, 24 * time.Hour} {
			s, _ := w.stats(onceq.StatsRequest{Span: span})
			equal(w, "series", len(s.Series), onceq.MaxTallies)
			sum, other := int64(0), int64(0)
			for _, series := range s.Series {
				for _, p := range series.Points {
					sum += p.Enqueued[0]
					if series.Kind == onceq.OtherPairs {
						other += p.Enqueued[0]
					}
				}
			}
			equal(w, "all and other", line(sum, other), line(6*onceq.MaxTallies+1, 5*onceq.MaxTallies+1))
		}
	}},
	{"hot_keys_sightings_and_terms_are_kept_in_bounds", func(w *world) {
		hot := func(i int, n int64) onceq.HotKey {
			return onceq.HotKey{Key: onceq.Key{byte(i)}, Kind: "x", Text: strings.Repeat("é", 300),
				Holder: fmt.Sprint("job ", i), Count: n}
		}
		seen := func(i int) onceq.Sighting {
			return onceq.Sighting{Ago: time.Duration(i) * time.Second, Queue: "a", Kind: "x", From: "host/1",
				Outcome: onceq.Skipped, Conflict: onceq.Conflict{By: "key", Key: onceq.Key{byte(i)}, Text: "k",
					Holder: fmt.Sprint("job ", i), State: onceq.Running, ArgsDiffer: true}}
		}
		for i := range 40 {
			n := onceq.Notes{Nonce: [16]byte{byte(i)}, Hot: []onceq.HotKey{hot(i, int64(i+1)), hot(0, 5)},
				Seen: []onceq.Sighting{seen(i)}}
			n.Tallies = []onceq.Tally{{Queue: "a", Kind: "x", Terms: fmt.Sprint("terms ", i%2)}}
			w.note(n)
			w.after(time.Second)
		}
		s, _ := w.stats(onceq.StatsRequest{Hot: 3, Seen: 100, Terms: true})
		equal(w, "hot keys", len(s.Hot), 3)
		equal(w, "the hottest", line(s.Hot[0].Key[0], s.Hot[0].Count, s.Hot[0].Holder, len(s.Hot[0].Text)),
			"0 201 job 0 200")
		w.sameTime("at", s.Hot[0].LastAt, w.now.Add(-time.Second))
		equal(w, "the next", line(s.Hot[1].Key[0], s.Hot[1].Count), "39 40")
		if n := len(s.Seen); n == 0 || n > onceq.MaxSeen {
			w.Fatalf("%d sightings are kept of a minute, want 1 to %d", n, onceq.MaxSeen)
		}
		if !slices.IsSortedFunc(s.Seen, func(a, b onceq.Sighting) int { return b.At.Compare(a.At) }) {
			w.Error("the sightings are not the latest first")
		}
		c := s.Seen[0].Conflict
		equal(w, "a sighting", line(s.Seen[0].Kind, s.Seen[0].From, s.Seen[0].Outcome, c.By, c.State, c.ArgsDiffer),
			"x host/1 skipped key running true")
		equal(w, "terms", len(s.Terms), 2)
		w.sameTime("first", s.Terms[0].FirstAt, start)
		bare, _ := w.stats(onceq.StatsRequest{})
		equal(w, "not asked for", line(len(bare.Hot), len(bare.Seen), len(bare.Terms)), "0 0 0")
	}},
	{"notes_at_the_same_time_all_count", func(w *world) {
		w.real()
		var all sync.WaitGroup
		handles := w.handles(4)
		for i, s := range handles {
			all.Go(func() {
				for n := range 5 {
					if err := s.Note(w.ctx, onceq.Notes{Nonce: [16]byte{byte(i), byte(n), 7},
						Tallies: []onceq.Tally{tallied("a", "x", 1, 2)}}); err != nil {
						w.Error(err)
					}
				}
			})
		}
		all.Wait()
		s, err := w.client.Stats(w.ctx, onceq.StatsRequest{Span: 24 * time.Hour})
		w.must(err)
		var sum onceq.Count
		for _, p := range s.Series[0].Points {
			sum.Add(&p)
		}
		equal(w, "sum", line(sum.Enqueued[0], sum.Enqueued[1]), line(20, 40))
	}},
	{"the_tally_of_two_processes_adds_up_and_is_bounded", func(w *world) {
		for _, s := range w.handles(2) {
			c, err := onceq.NewClient(s, nil)
			w.must(err)
			for i := range 3 {
				_, err := c.Enqueue(w.ctx, mail{To: "ann"}, onceq.Unique{})
				w.must(err)
				_, err = c.Enqueue(w.ctx, task(i), key, reject)
				if err != nil && !errors.Is(err, onceq.ErrDuplicate) {
					w.Fatal(err)
				}
			}
			var flood []onceq.Item
			for i := range onceq.MaxTallies {
				args := onceq.JSON(fmt.Sprint("kind ", i), []byte("{}"))
				flood = append(flood, onceq.NewItem(args, onceq.Queue("flood")))
			}
			_, err = c.EnqueueMany(w.ctx, flood)
			w.must(err)
			w.must(c.Close())
		}
		s, _ := w.stats(onceq.StatsRequest{Hot: 10, Seen: 10, Terms: true})
		equal(w, "series", len(s.Series) <= onceq.MaxTallies, true)
		sums := map[string]onceq.Count{}
		for _, series := range s.Series {
			n, kind := series.Total(), series.Kind
			if series.Queue == "flood" || kind == onceq.OtherPairs {
				kind = "flood"
			}
			sum := sums[kind]
			sum.Add(&n)
			sums[kind] = sum
		}
		equal(w, "mail", sums["mail"].Enqueued, [6]int64{1, 5})
		equal(w, "task", sums["task"].Enqueued, [6]int64{1, 0, 5})
		equal(w, "the flood", sums["flood"].Enqueued, [6]int64{2 * onceq.MaxTallies})
		hot := map[string]int64{}
		for _, k := range s.Hot {
			hot[k.Kind] = k.Count
		}
		equal(w, "hot keys", line(len(hot), hot["mail"], hot["task"]), "2 5 5")
		equal(w, "sightings", len(s.Seen), onceq.MaxSeen)
		for _, d := range s.Seen {
			if d.Conflict.Holder == "" || d.Conflict.By != "key" || d.From == "" {
				w.Errorf("a sighting: %+v", d)
			}
		}
		for _, k := range s.Terms {
			switch {
			case k.Kind == "mail":
				equal(w, "terms", k.Terms, "by=kind,queue,args until=finished on_conflict=skip")
			case k.Kind == "task":
				equal(w, "terms", k.Terms, "unique_key unique_scope=kind until=finished on_conflict=reject")
			case k.Terms != "unique=false":
				w.Errorf("the terms of %s: %s", k.Kind, k.Terms)
			}
		}
	}},
	{"a_worker_notes_its_runs_when_it_ends", func(w *world) {
		w.real()
		client, err := onceq.NewClient(w.Store, nil)
		w.must(err)
		for i := range 4 {
			w.insert(task(i), onceq.MaxAttempts(1), onceq.ID(fmt.Sprint(i)))
		}
		worker, err := onceq.NewWorker(w.Store, &onceq.WorkerConfig{Client: client,
			Logger: slog.New(slog.DiscardHandler), Queues: map[string]onceq.QueueConfig{"default": {Concurrency: 4}}})
		w.must(err)
		var ran sync.WaitGroup
		ran.Add(4)
		onceq.Handle(worker, func(_ context.Context, j *onceq.Job[task]) error {
			defer ran.Done()
			if j.Args == 0 {
				return errors.New("no")
			}
			return nil
		})
		ctx, stop := context.WithCancel(w.ctx)
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		ran.Wait()
		stop()
		w.must(<-ended)
		s, err := client.Stats(w.ctx, onceq.StatsRequest{Span: 24 * time.Hour})
		w.must(err)
		equal(w, "series", len(s.Series), 1)
		n := s.Series[0].Total()
		equal(w, "runs", n.Ended, [6]int64{3, 0, 1})
		classes := int64(0)
		for _, c := range n.RunClass {
			classes += c
		}
		equal(w, "runs by class", classes, 4)
		w.must(client.Close())
	}},
}
