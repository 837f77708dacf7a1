package sqlitestore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlWorker       = load("worker")
	sqlPaused       = load("paused")
	sqlWaitingKinds = load("waiting_kinds")
	sqlHeads        = load("heads")
	sqlFetch        = load("fetch")
	sqlDue          = load("due")
	sqlJobsBySeq    = load("jobs_by_seq")
	sqlStart        = loadForJobs("start")
	sqlPutWorker    = load("put_worker")
	sqlDeleteWorker = load("delete_worker")
	sqlWorkerRuns   = load("worker_runs")
)

// Fetch starts due jobs. A fetch that finds nothing writes nothing and
// never waits.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (f onceq.Fetched, err error) {
	names := make([]string, len(r.Queues))
	for i, q := range r.Queues {
		names[i] = q.Queue
	}
	what := "fetch from " + strings.Join(names, ", ")
	if !s.fresh.take(r.Queues) {
		due := true
		if err = s.read(ctx, what, func(st *step) (err error) {
			f, due, err = st.idle(r)
			return err
		}); err != nil || !due {
			if err != nil {
				f = onceq.Fetched{}
			}
			return f, err
		}
	}
	// A start that a power cut undoes has not happened: the job is due
	// again, and its worker was on the same machine.
	err = s.writeSoon(ctx, what, func(st *step) (err error) {
		f, err = st.fetch(r)
		return err
	})
	if err != nil {
		return onceq.Fetched{}, err
	}
	if f.NextDue == 0 { // something due was left
		for _, q := range r.Queues {
			s.fresh.add(q.Queue)
		}
	}
	return f, nil
}

// idle finds out from a snapshot whether there is anything to fetch.
func (st *step) idle(r onceq.FetchRequest) (f onceq.Fetched, due bool, err error) {
	f.NextDue = -1
	if err := st.known(r.Worker); err != nil {
		return f, false, err
	}
	for _, q := range r.Queues {
		heads, err := st.fetchable(q.Queue, r.Kinds)
		if err != nil {
			return f, false, err
		}
		for _, h := range heads {
			if h.due(st.Now) {
				return f, true, nil
			}
			nextDue(&f, h.next-st.Now)
		}
	}
	return f, false, nil
}

// known returns ErrLeaseLost for a worker that was taken for lost.
func (st *step) known(worker string) error {
	known := false
	err := st.each(sqlWorker, 2, func([]any) error { known = true; return nil }, worker)
	if err == nil && !known {
		err = fmt.Errorf("worker %s is not known: %w", worker, onceq.ErrLeaseLost)
	}
	return err
}

// head is what waits in a queue at one priority.
type head struct {
	kind     string
	priority int64
	first    int64 // the earliest run time
	next     int64 // the earliest that is not due yet; Never = none
}

func (h head) due(now int64) bool { return h.first <= now }

// fetchable are the heads that a worker may take from. Those of a paused
// queue are due at the end of the pause, if a clock ends it.
func (st *step) fetchable(queue string, kinds []string) ([]head, error) {
	paused, err := st.number(sqlPaused, queue)
	if until := pausedUntil(paused); err != nil || until > st.Now {
		return []head{{first: until, next: until}}, err
	}
	return st.heads(queue, kinds)
}

// pausedUntil says when the pause of a queue ends, by its row: 0 = it is not
// paused, 1 = when it is resumed, else the instant.
func pausedUntil(column int64) int64 {
	if column == 1 {
		return onceq.Never
	}
	return column
}

// heads are those of the kinds, or of all where kinds is nil, by priority.
func (st *step) heads(queue string, kinds []string) (heads []head, err error) {
	if kinds == nil {
		if err := st.each(sqlWaitingKinds, 1, func(v []any) error {
			kinds = append(kinds, text(v[0]))
			return nil
		}, queue); err != nil {
			return nil, err
		}
	}
	if len(kinds) == 0 {
		return nil, nil
	}
	list, err := json.Marshal(distinct(kinds))
	if err != nil {
		return nil, err
	}
	err = st.each(sqlHeads, 4, func(v []any) error {
		h := head{text(v[0]), integer(v[1]), integer(v[2]), onceq.Never}
		if v[3] != nil {
			h.next = integer(v[3])
		}
		heads = append(heads, h)
		return nil
	}, queue, st.Now, string(list))
	slices.SortFunc(heads, func(a, b head) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.kind, b.kind))
	})
	return heads, err
}

func distinct(kinds []string) []string {
	kinds = slices.Clone(kinds)
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// nextDue notes that a job is due in so many milliseconds.
func nextDue(f *onceq.Fetched, in int64) {
	if d := time.Duration(in) * time.Millisecond; in < onceq.Never/2 && (f.NextDue < 0 || d < f.NextDue) {
		f.NextDue = max(d, 0)
	}
}

// room is how much a fetch may still take.
type room struct {
	slots int  // of the queue at hand
	most  int  // bytes of args and meta of all jobs; 0 = no bound
	bytes int  // of those that were taken
	taken int  // jobs
	full  bool // something that is due in the queue at hand was left
}

// take reports whether a job of so many bytes is taken. What comes after
// one that was left does not overtake it.
func (r *room) take(bytes int) bool {
	if r.full || r.slots == 0 || r.most > 0 && r.taken > 0 && r.bytes+bytes > r.most {
		r.full = true
		return false
	}
	r.slots--
	r.taken++
	r.bytes += bytes
	return true
}

func (st *step) fetch(r onceq.FetchRequest) (f onceq.Fetched, err error) {
	f.NextDue = -1
	if err := st.known(r.Worker); err != nil {
		return f, err
	}
	room := room{most: r.MaxBytes}
	for _, q := range r.Queues {
		heads, err := st.fetchable(q.Queue, r.Kinds)
		if err != nil {
			return f, err
		}
		room.slots, room.full = max(q.Slots, 0), false
		var jobs []*job
		for due := range byPriority(heads, st.Now) {
			if jobs, err = st.take(jobs, q.Queue, due, &room); err != nil {
				return f, err
			}
		}
		for _, h := range heads {
			nextDue(&f, h.next-st.Now)
		}
		if room.full {
			f.NextDue = 0
		}
		if err := st.start(jobs, r); err != nil {
			return f, err
		}
		for _, j := range jobs {
			f.Jobs = append(f.Jobs, j.View(st.Now))
		}
	}
	return f, nil
}

// byPriority are the heads that are due, those of one priority after the other.
func byPriority(heads []head, now int64) iter.Seq[[]head] {
	return func(yield func([]head) bool) {
		var due []head
		for i, h := range heads {
			if h.due(now) {
				due = append(due, h)
			}
			if i+1 < len(heads) && heads[i+1].priority == h.priority || len(due) == 0 {
				continue
			}
			if !yield(due) {
				return
			}
			due = due[:0]
		}
	}
}

// take reads the first jobs that are due in these heads of a queue, as many
// as there is room for.
func (st *step) take(jobs []*job, queue string, due []head, room *room) ([]*job, error) {
	if room.full || room.slots == 0 {
		room.full = true
		return jobs, nil
	}
	read := func(v []any) error {
		j, err := scanJob(v)
		if err != nil {
			return err
		}
		if !room.take(j.argsSize() + len(j.MetaJSON)) {
			return errEnough
		}
		jobs = append(jobs, j)
		return nil
	}
	need := room.slots + 1 // one more than there is room for tells whether there is more
	if len(due) == 1 {
		err := st.each(sqlFetch, jobWidth, read, queue, due[0].kind, due[0].priority, st.Now, int64(need))
		return jobs, err
	}
	list, err := st.merge(queue, due, need)
	if err != nil {
		return jobs, err
	}
	return jobs, st.each(sqlJobsBySeq, jobWidth, read, list)
}

// start writes the start of many jobs in one statement.
func (st *step) start(jobs []*job, r onceq.FetchRequest) error {
	if len(jobs) == 0 {
		return nil
	}
	for _, j := range jobs {
		st.counts[j.was]--
		j.State, j.StartedAt, j.Worker, j.FetchNo = onceq.Running, onceq.Instant(st.Now), r.Worker, r.No
		j.Attempt++
		j.Run++
		j.was.state = onceq.Running
		st.counts[j.was]++
	}
	q, these := sqlStart.of(jobs)
	if err := st.exec(q, st.Now, r.Worker, r.No, these); err != nil {
		return err
	}
	if err := st.readArgs(jobs...); err != nil { // of those that lie apart
		return err
	}
	var until []*job // those whose start may be an event of their key
	for _, j := range jobs {
		if j.Key != nil && j.Hold.Until == onceq.UntilStarted {
			until = append(until, st.know(j)) // all, before a key looks for its holder among them
		}
	}
	for _, j := range until {
		k, err := st.key(*j.Key)
		if err != nil {
			return err
		}
		st.Started(j.Job, &k.Key)
	}
	return nil
}
