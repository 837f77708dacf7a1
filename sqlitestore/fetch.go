package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlWorker       = load("worker")
	sqlPaused       = load("paused")
	sqlFetchHeads   = load("fetch_heads")
	sqlFetch        = load("fetch")
	sqlFetchKinds   = load("fetch_kinds")
	sqlDueKinds     = load("due_kinds")
	sqlNextKinds    = load("next_kinds")
	sqlStart        = load("start")
	sqlPutWorker    = load("put_worker")
	sqlDeleteWorker = load("delete_worker")
	sqlRunsFetched  = load("runs_fetched")
)

// Fetch starts due jobs. A fetch that finds nothing writes nothing, and waits for nobody.
func (s *Store) Fetch(ctx context.Context, r onceq.FetchRequest) (f onceq.Fetched, err error) {
	names := make([]string, len(r.Queues))
	for i, q := range r.Queues {
		names[i] = q.Queue
	}
	what := "fetch from " + strings.Join(names, ", ")
	var kinds []byte
	if r.Kinds != nil {
		if kinds, err = json.Marshal(r.Kinds); err != nil {
			return f, wrap(what, err)
		}
	}
	due := true
	if err = s.read(ctx, what, func(st *step) (err error) {
		f, due, err = st.idle(r, kinds)
		return err
	}); err != nil || !due {
		if err != nil {
			f = onceq.Fetched{}
		}
		return f, err
	}
	// A start that a power cut takes back has not happened: the job is due again, and who ran it was on the same machine.
	err = s.writeSoon(ctx, what, func(st *step) (err error) {
		f, err = st.fetch(r, kinds)
		return err
	})
	if err != nil {
		return onceq.Fetched{}, err
	}
	return f, nil
}

// idle finds out on a snapshot whether there is anything to fetch.
func (st *step) idle(r onceq.FetchRequest, kinds []byte) (f onceq.Fetched, due bool, err error) {
	f.NextDue = -1
	if err := st.known(r.Worker); err != nil {
		return f, false, err
	}
	for _, q := range r.Queues {
		heads, err := st.heads(q.Queue, kinds)
		if err != nil {
			return f, false, err
		}
		for _, h := range heads {
			if h.due {
				return f, true, nil
			}
			nextDue(&f, h.next-st.Now)
		}
	}
	return f, false, nil
}

// known answers ErrLeaseLost for a worker that was taken for lost.
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
	priority int64
	due      bool  // something is
	next     int64 // when the next is that is not due yet; Never = none
}

// heads is empty for a queue that is paused.
func (st *step) heads(queue string, kinds []byte) (heads []head, err error) {
	paused, err := st.number(sqlPaused, queue)
	if err != nil || paused != 0 {
		return nil, err
	}
	err = st.each(sqlFetchHeads, 3, func(v []any) error {
		h := head{integer(v[0]), integer(v[1]) <= st.Now, onceq.Never}
		if v[2] != nil {
			h.next = integer(v[2])
		}
		heads = append(heads, h)
		return nil
	}, queue, st.Now)
	if err != nil || kinds == nil {
		return heads, err
	}
	for i := range heads {
		h := &heads[i]
		if h.due {
			n, err := st.number(sqlDueKinds, queue, h.priority, st.Now, string(kinds))
			if err != nil {
				return nil, err
			}
			h.due = n != 0
		}
		if h.next, err = st.number(sqlNextKinds, queue, h.priority, st.Now, string(kinds), int64(lookAtKinds)); err != nil {
			return nil, err
		}
		if h.next == 0 {
			h.next = onceq.Never
		}
	}
	return heads, nil
}

// lookAtKinds is how many jobs that run later are searched for one of the kinds that a worker wants.
const lookAtKinds = 1000

// nextDue notes that something is due in so many milliseconds.
func nextDue(f *onceq.Fetched, in int64) {
	if d := time.Duration(in) * time.Millisecond; in < onceq.Never/2 && (f.NextDue < 0 || d < f.NextDue) {
		f.NextDue = max(d, 0)
	}
}

func (st *step) fetch(r onceq.FetchRequest, kinds []byte) (f onceq.Fetched, err error) {
	f.NextDue = -1
	if err := st.known(r.Worker); err != nil {
		return f, err
	}
	for _, q := range r.Queues {
		heads, err := st.heads(q.Queue, kinds)
		if err != nil {
			return f, err
		}
		slots := max(q.Slots, 0)
		for _, h := range heads {
			nextDue(&f, h.next-st.Now)
			if !h.due {
				continue
			}
			// One more than there is room for tells whether there is more.
			jobs, err := st.dueJobs(q.Queue, h.priority, kinds, slots+1)
			if err != nil {
				return f, err
			}
			if len(jobs) > slots {
				jobs = jobs[:slots]
				f.NextDue = 0
			}
			if err := st.start(jobs, r); err != nil {
				return f, err
			}
			for _, j := range jobs {
				f.Jobs = append(f.Jobs, j.View(st.Now))
			}
			slots -= len(jobs)
		}
	}
	return f, nil
}

// dueJobs reads the first due jobs of a queue and priority.
func (st *step) dueJobs(queue string, priority int64, kinds []byte, most int) (jobs []*job, err error) {
	q, args := sqlFetch, []any{queue, priority, st.Now, int64(most)}
	if kinds != nil {
		q, args = sqlFetchKinds, append(args, string(kinds))
	}
	err = st.each(q, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		jobs = append(jobs, j)
		return err
	}, args...)
	return jobs, err
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
	if err := st.exec(sqlStart, st.Now, r.Worker, r.No, seqs(jobs)); err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Key == nil || j.Hold.Until != onceq.UntilStarted {
			continue
		}
		st.know(j) // so that the key finds its holder
		k, err := st.key(*j.Key)
		if err != nil {
			return err
		}
		st.Started(j.Job, &k.Key)
	}
	return nil
}

// Extend is a worker's heartbeat.
func (s *Store) Extend(ctx context.Context, r onceq.ExtendRequest) (e onceq.Extended, err error) {
	err = s.write(ctx, "extend the lease of "+r.Worker, func(st *step) (err error) {
		e, err = st.extend(r)
		return err
	})
	return e, err
}

func (st *step) extend(r onceq.ExtendRequest) (e onceq.Extended, err error) {
	ids := make([]string, len(r.Runs))
	for i, run := range r.Runs {
		ids[i] = run.ID
	}
	if err := st.readJobs(ids); err != nil {
		return e, err
	}
	inHand := map[onceq.Run]bool{}
	for _, run := range r.Runs {
		j, err := st.job(run.ID)
		if err != nil {
			return e, err
		}
		switch {
		case j == nil || j.State != onceq.Running || j.Run != run.Run || j.Worker != r.Worker:
			e.Lost = append(e.Lost, run)
			continue
		case j.CancelRequested:
			e.Stop = append(e.Stop, run)
		}
		inHand[run] = true
	}
	fetched := r.FetchesDone
	if r.Lease == 0 {
		fetched = onceq.Never // takes leave: everything
	}
	var back []*job
	if err := st.each(sqlRunsFetched, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		if err != nil {
			return err
		}
		j = st.know(j)
		if r.Lease == 0 || !inHand[onceq.Run{ID: j.ID, Run: j.Run}] {
			back = append(back, j)
		}
		return nil
	}, r.Worker, fetched); err != nil {
		return e, err
	}
	for _, j := range back {
		k, err := st.keyOf(j)
		if err != nil {
			return e, err
		}
		st.HandBack(j.Job, k)
		e.Back++
	}
	if err := st.absorb(); err != nil {
		return e, err
	}
	if r.Lease == 0 {
		return e, st.exec(sqlDeleteWorker, r.Worker)
	}
	return e, st.exec(sqlPutWorker, r.Worker, st.Now+r.Lease.Milliseconds())
}
