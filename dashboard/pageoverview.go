package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/phrase"
)

// countTo is how many jobs of a queue and state pages count: then
// they say that there are more.
const countTo = 1000

// look is what most pages look at: the calls go out together.
type look struct {
	queues  onceq.QueueList
	workers []onceq.WorkerInfo
	stats   onceq.Stats
}

// lookAt looks at queues, workers and what was noted.
func (c *call) lookAt(r onceq.StatsRequest) (l look, err error) {
	var wait sync.WaitGroup
	var errs [3]error
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	wait.Go(func() { l.queues, errs[0] = c.client.QueuesUpTo(ctx, countTo) })
	wait.Go(func() { l.workers, errs[1] = c.client.Workers(ctx) })
	wait.Go(func() { l.stats, errs[2] = c.client.Stats(ctx, r) })
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return l, err
		}
	}
	c.glance.Store(&glance{time.Now(), l.count(onceq.Scheduled, onceq.Available), l.count(onceq.Running),
		l.count(onceq.Retryable), l.count(onceq.Discarded)})
	return l, nil
}

// glance is the numbers of the last look that the store answered.
type glance struct {
	at                                     time.Time
	waiting, running, retryable, discarded total
}

// text says them on a page that failed.
func (g *glance) text() string {
	return fmt.Sprintf("The store last told the number of jobs %s: %s waited, %s ran, %s were to be retried, %s had "+
		"failed for good.", phrase.Away(g.at, time.Now()), g.waiting, g.running, g.retryable, g.discarded)
}

// total is a number of jobs in all queues.
type total struct {
	N    int
	More bool // there may be more
}

func (t total) String() string {
	if t.More {
		return phrase.Thousands(t.N) + "+"
	}
	return phrase.Thousands(t.N)
}

func (l *look) count(states ...onceq.State) (t total) {
	for _, q := range l.queues.Queues {
		for _, s := range states {
			t.N += q.Counts[s]
			t.More = t.More || slices.Contains(q.AtLeast, s)
		}
	}
	return t
}

// oldestDue is the run time of the job that has been due longest;
// zero = none.
func (l *look) oldestDue() (oldest time.Time) {
	for _, q := range l.queues.Queues {
		if !q.OldestDue.IsZero() && !q.Paused && (oldest.IsZero() || q.OldestDue.Before(oldest)) {
			oldest = q.OldestDue
		}
	}
	return oldest
}

func (l *look) late() (n int) {
	for _, w := range l.workers {
		if w.Late {
			n++
		}
	}
	return n
}

// concern is something that somebody should look at.
type concern struct {
	Text, Link string // Link is what is behind it, for people
	Name       string // of the page
	Pairs      []any  // parameters of the page
}

// concerns are rules about what is there: what somebody should
// look at, the worst first.
func (l *look) concerns() (all []concern) {
	now := l.queues.Now
	for _, w := range l.workers {
		if w.Late {
			text := fmt.Sprintf("Worker %s is late: its lease ended %s.", w.Name, phrase.Away(w.LeaseUntil, now))
			if w.Running > 0 {
				text += fmt.Sprintf(" Another worker takes over %s.", phrase.Count(w.Running, "run"))
			}
			all = append(all, concern{Text: text, Link: "Its jobs", Name: "jobs", Pairs: []any{"worker", w.Name}})
		}
	}
	for _, q := range l.queues.Queues {
		waiting := q.Counts[onceq.Available]
		switch {
		case q.Paused:
			all = append(all, concern{Text: fmt.Sprintf("Queue %s is paused, and %s due in it.", q.Name,
				isOrAre(waiting)), Link: "Queues", Name: "queues"})
		case waiting > 0 && q.Name == ticksQueue && !l.served(q.Name):
			all = append(all, concern{Text: "No worker runs, and schedules make no jobs without one.",
				Link: "Schedules", Name: "periodic"})
		case waiting > 0 && !l.served(q.Name):
			all = append(all, concern{Text: fmt.Sprintf("No worker serves queue %s, and %s due in it.", q.Name,
				isOrAre(waiting)), Link: "Workers", Name: "workers"})
		case !q.OldestDue.IsZero() && now.Sub(q.OldestDue) > time.Minute:
			all = append(all, concern{Text: fmt.Sprintf("Queue %s is behind: its oldest job is due since %s.", q.Name,
				phrase.Span(now.Sub(q.OldestDue))), Link: "Its due jobs", Name: "jobs",
				Pairs: []any{"queue", q.Name, "state", "available"}})
		}
		if n := q.Counts[onceq.Discarded]; n > 0 {
			all = append(all, concern{Text: fmt.Sprintf("%s in queue %s failed for good.", phrase.Count(n, "job"),
				q.Name), Link: "These jobs", Name: "jobs", Pairs: []any{"queue", q.Name, "state", "discarded"}})
		}
	}
	return all
}

// ticksQueue has the next tick of each schedule as a job. Every
// worker serves it.
const ticksQueue = "onceq.periodic"

func isOrAre(n int) string {
	if n == 1 {
		return "1 job is"
	}
	return phrase.Thousands(n) + " jobs are"
}

// served reports whether a worker that is alive takes jobs of a
// queue.
func (l *look) served(queue string) bool {
	return slices.ContainsFunc(l.workers, func(w onceq.WorkerInfo) bool {
		about := w.Details()
		_, ok := about.Queues[queue]
		ticks := queue == ticksQueue && about.Lang == "go" // it does not say so
		return !w.Late && (ok || ticks || about.Queues == nil)
	})
}

// saving is what uniqueness has saved in the span of the stats.
type saving struct {
	Enqueues, Duplicates, Stood int64
	Percent                     string
	Time                        time.Duration // about: duplicates times the mean run of their kind
}

func savingOf(s *onceq.Stats) (v saving) {
	for i := range s.Series {
		t := s.Series[i].Total()
		var runs int64
		for _, n := range t.Ended {
			runs += n
		}
		for _, n := range t.Enqueued {
			v.Enqueues += n
		}
		v.Duplicates += t.Duplicates()
		v.Stood += t.Enqueued[4] + t.Enqueued[5]
		if runs > 0 {
			v.Time += time.Duration(t.Duplicates()) * time.Duration(t.RunMS) * time.Millisecond / time.Duration(runs)
		}
	}
	v.Percent = percent(v.Duplicates, v.Enqueues)
	return v
}

// percent writes a share.
func percent(part, of int64) string {
	switch {
	case of == 0 || part == 0:
		return "0 %"
	case part*100 < of:
		return "< 1 %"
	}
	return fmt.Sprintf("%d %%", part*100/of)
}

// sum adds up a number of all series, for each step.
func sum(s *onceq.Stats, of func(*onceq.Count) int64) []int64 {
	var n int
	for i := range s.Series {
		n = max(n, len(s.Series[i].Points))
	}
	if n == 0 {
		n = 60
	}
	all := make([]int64, n)
	for i := range s.Series {
		for k := range s.Series[i].Points {
			all[k] += of(&s.Series[i].Points[k])
		}
	}
	return all
}

func enqueueChart(s *onceq.Stats) *chart {
	return newChart("Enqueues a "+unitOf(s), s.From, s.Step,
		layer{Name: "new jobs", Class: "c-new", Values: sum(s, func(c *onceq.Count) int64 { return c.Enqueued[0] })},
		layer{Name: "coalesced or superseded", Class: "c-stood",
			Values: sum(s, func(c *onceq.Count) int64 { return c.Enqueued[4] + c.Enqueued[5] })},
		layer{Name: "duplicates", Class: "c-dup", Values: sum(s, (*onceq.Count).Duplicates)})
}

func runChart(s *onceq.Stats) *chart {
	return newChart("Runs a "+unitOf(s), s.From, s.Step,
		layer{Name: "completed", Class: "c-done", Values: sum(s, func(c *onceq.Count) int64 { return c.Ended[0] })},
		layer{Name: "failed", Class: "c-failed",
			Values: sum(s, func(c *onceq.Count) int64 { return c.Ended[1] + c.Ended[2] + c.Ended[5] })})
}

func unitOf(s *onceq.Stats) string {
	if s.Step >= time.Hour {
		return "hour"
	}
	return "minute"
}

func (c *call) overviewPage() error {
	l, err := c.lookAt(onceq.StatsRequest{Hot: 5})
	if err != nil {
		return err
	}
	if !c.mayReadArgs() {
		hideHot(l.stats.Hot)
	}
	v := c.newView("Overview", "overview", struct {
		Waiting, Running, Retryable, Discarded total
		Oldest                                 time.Time
		Workers, Late                          int
		Concerns                               []concern
		Enqueues, Runs                         *chart
		Saved                                  saving
		Hot                                    []onceq.HotKey
		Empty                                  bool
	}{l.count(onceq.Scheduled, onceq.Available), l.count(onceq.Running), l.count(onceq.Retryable),
		l.count(onceq.Discarded), l.oldestDue(), len(l.workers), l.late(), l.concerns(), enqueueChart(&l.stats),
		runChart(&l.stats), savingOf(&l.stats), l.stats.Hot, len(l.queues.Queues) == 0 && len(l.stats.Series) == 0})
	v.Now = l.queues.Now
	v.tell("queues", "workers", "stats")
	return c.show(http.StatusOK, "overview", v)
}

// hideHot leaves out what keys are made of.
func hideHot(all []onceq.HotKey) {
	for i := range all {
		all[i].Text = ""
	}
}

// words joins what is not empty.
func words(all ...string) string {
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), " ")
}
