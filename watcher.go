package onceq

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// These bounds keep the watcher cheap, and keep it from filling the log.
const (
	watchEvery  = 5 * time.Second  // between two looks; a look costs as much as an idle fetch
	watchQueues = 10               // queues in one look
	listAtMost  = 10 * time.Minute // between two lists of a queue in which something is always due
	nameAgain   = time.Hour        // between two warnings of a kind
	overdue     = 5 * time.Second  // a job that is due for less may be on its way to another worker
)

// watcher warns of due jobs that no handler here takes: perhaps no worker
// has one. They wait and spend no attempt. A worker whose Kinds were chosen
// is not watched, because its user knows of other workers.
type watcher struct {
	*session
	turn  int // the queue to look at first
	seen  map[string]*watched
	named map[string]time.Time // kinds, by when
}

// watched is what is known of a queue in which a job is due that is not for
// us.
type watched struct {
	after string        // where the list continues
	pause time.Duration // between lists
	list  time.Time     // when the next list may be made
}

func newWatcher(s *session) *watcher {
	return &watcher{session: s, seen: map[string]*watched{}, named: map[string]time.Time{}}
}

// watchLoop looks for such jobs until ctx ends.
func (s *session) watchLoop(ctx context.Context) {
	if s.kinds == nil || s.w.config.Kinds != nil {
		return
	}
	w := newWatcher(s)
	for sleep.For(ctx, watchEvery*4/5+rand.N(watchEvery*2/5)) {
		w.look(ctx, overdue, w.idle())
	}
}

// watchOnce warns of what a drain leaves behind.
func (s *session) watchOnce(ctx context.Context) {
	if s.kinds == nil || s.w.config.Kinds != nil {
		return
	}
	var all []string
	for _, q := range s.pacer.queues[:min(len(s.pacer.queues), watchQueues)] {
		all = append(all, q.name)
	}
	newWatcher(s).look(ctx, -time.Hour, all)
}

// idle returns some queues of which all that is due for us was fetched.
func (w *watcher) idle() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.pacer.queues
	for i := 0; i < len(all) && len(names) < watchQueues && w.leased; i++ {
		q := all[w.turn%len(all)]
		w.turn++
		if !q.more && q.own() > 0 {
			names = append(names, q.name)
		}
	}
	return names
}

// look looks for due jobs in queues of which all that is due for us was
// fetched. It ignores errors: the fetcher reports them.
func (w *watcher) look(ctx context.Context, age time.Duration, queues []string) {
	for _, queue := range queues {
		r := FetchRequest{Worker: w.name, Queues: []QueueSlots{{Queue: queue}}}
		var f Fetched
		if _, err := w.call(ctx, w.callLimit(), func(ctx context.Context) (err error) {
			f, err = w.w.store.Fetch(ctx, r)
			return err
		}); err != nil {
			return
		}
		if f.NextDue != 0 {
			delete(w.seen, queue)
			continue
		}
		q := w.seen[queue]
		if q == nil {
			q = &watched{pause: watchEvery}
			w.seen[queue] = q
		}
		now := time.Now()
		if now.Before(q.list) {
			continue
		}
		q.pause = min(2*q.pause, listAtMost)
		q.list = now.Add(q.pause)
		w.list(ctx, queue, q, now.Add(-age))
	}
}

// list goes through a page of the due jobs of a queue, and warns of those
// that were due by then.
func (w *watcher) list(ctx context.Context, queue string, q *watched, by time.Time) {
	r := ListRequest{States: []State{Available}, Queue: queue, Cursor: q.after, Limit: 100}
	var page JobPage
	if _, err := w.call(ctx, w.callLimit(), func(ctx context.Context) (err error) {
		page, err = w.w.store.List(ctx, r)
		return err
	}); err != nil {
		return
	}
	q.after = page.Next
	example := map[string]*JobRow{} // the oldest of each kind
	for _, job := range page.Jobs {
		if slices.Contains(w.kinds, job.Kind) || ReservedName(job.Kind) || job.RunAt.After(by) ||
			time.Since(w.named[job.Kind]) < nameAgain {
			continue
		}
		if e := example[job.Kind]; e == nil || job.RunAt.Before(e.RunAt) {
			example[job.Kind] = job
		}
	}
	for kind, job := range example {
		w.warned(kind, time.Now())
		w.log.Warn("onceq: no handler for a due job", "kind", kind, "queue", queue, "job", job.ID,
			"due_at", job.RunAt, "handlers", bound(fmt.Sprint(w.kinds), 200))
	}
}

// warned notes that a kind was named now, and forgets those that may be
// named again.
func (w *watcher) warned(kind string, now time.Time) {
	maps.DeleteFunc(w.named, func(_ string, at time.Time) bool { return now.Sub(at) >= nameAgain })
	w.named[kind] = now
}
