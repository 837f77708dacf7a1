package sqlitestore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/onceq/onceq"
)

var (
	sqlList              = load("list")
	sqlLookAll           = load("look_all")
	sqlLookFew           = load("look_few")
	sqlWaitingAndRunning = load("waiting_and_running")
)

// List returns a page of jobs, the largest ID first.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (page onceq.JobPage, err error) {
	err = s.readAll(ctx, "list jobs", func(st *step) (err error) {
		page, err = st.list(r)
		return err
	})
	return page, err
}

// lookAtJobs is how many jobs are looked at at once.
const lookAtJobs = 500

// list looks at jobs, a stretch at a time, until the page is full or enough
// was looked at.
func (st *step) list(r onceq.ListRequest) (page onceq.JobPage, err error) {
	page.Now = onceq.Instant(st.Now)
	look, began := cmp.Or(r.Look, onceq.MaxLook), time.Now()
	indexes, err := st.lookAt(&r)
	if err != nil {
		return page, err
	}
	var jobs []*job
	n := lookAtJobs
	if !r.Filtered() {
		n = r.Limit
	}
	for cursor := r.Cursor; ; n = lookAtJobs {
		n = min(n, look-page.Looked)
		stretch, err := st.look(&r, indexes, cursor, n+1)
		if err != nil {
			return page, err
		}
		last := len(stretch) <= n
		if !last {
			stretch = stretch[:n]
		}
		found, full, err := st.among(&r, stretch, &jobs)
		if err != nil {
			return page, err
		}
		page.Looked += found
		if last && !full {
			break
		}
		if found > 0 {
			cursor = stretch[found-1].id
		}
		if full || page.Looked >= look || time.Since(began) > onceq.MaxLookTime {
			page.Next = cursor
			break
		}
	}
	if r.Args {
		if err := st.readArgs(jobs...); err != nil {
			return page, err
		}
	}
	for _, j := range jobs {
		row := j.View(st.Now)
		if !r.Args {
			row.Args = nil
		}
		page.Jobs = append(page.Jobs, row)
	}
	return page, nil
}

// seen is a job that is looked at: its ID and its number.
type seen struct {
	id  string
	seq int64
}

// The indexes that look_few.sql goes by.
const (
	waitingJobs = 1 << iota
	standingJobs
	runningJobs
	retryableJobs
	discardedJobs
	cancelledJobs
)

// fewJobs is up to how many waiting and running jobs are looked at for each
// page, in no order of their IDs.
const fewJobs = 5000

// lookAt chooses the indexes that have all that the states of a request need;
// 0 = it has to go through all jobs.
func (st *step) lookAt(r *onceq.ListRequest) (indexes int64, err error) {
	if len(r.States) == 0 || slices.Contains(r.States, onceq.Completed) {
		return 0, nil
	}
	for _, s := range r.States {
		indexes |= map[onceq.State]int64{onceq.Scheduled: waitingJobs | standingJobs, onceq.Available: waitingJobs,
			onceq.Retryable: retryableJobs, onceq.Running: runningJobs, onceq.Discarded: discardedJobs,
			onceq.Cancelled: cancelledJobs}[s]
	}
	if indexes&waitingJobs != 0 {
		indexes &^= retryableJobs // they are among them
	}
	count := 0
	if indexes&(waitingJobs|runningJobs) != 0 {
		from, to := bounds(r.Queue)
		if err := st.each(sqlWaitingAndRunning, 2, func(v []any) error {
			if indexes&waitingJobs != 0 {
				count += int(integer(v[0]))
			}
			if indexes&runningJobs != 0 && r.Worker == "" {
				count += int(integer(v[1]))
			}
			return nil
		}, from, to); err != nil {
			return 0, err
		}
	}
	if count > fewJobs {
		return 0, nil
	}
	return indexes, nil
}

// bounds are the first and the last name that a name stands for: "" stands
// for all.
func bounds(name string) (from, to any) {
	if name == "" {
		return "", []byte{} // in SQLite any blob is larger than every text
	}
	return name, name
}

// look returns the next jobs to look at, below a cursor.
func (st *step) look(r *onceq.ListRequest, indexes int64, cursor string, n int) (stretch []seen, err error) {
	below := any(cursor)
	if cursor == "" {
		_, below = bounds("")
	}
	take := func(v []any) error {
		stretch = append(stretch, seen{text(v[0]), integer(v[1])})
		return nil
	}
	if indexes == 0 {
		return stretch, st.each(sqlLookAll, 2, take, below, int64(n))
	}
	firstQueue, lastQueue := bounds(r.Queue)
	firstWorker, lastWorker := bounds(r.Worker)
	err = st.each(sqlLookFew, 2, take, below, int64(n), indexes, firstQueue, lastQueue, firstWorker, lastWorker)
	return stretch, err
}

// among adds the jobs of a stretch that match. It returns how many jobs it
// looked at; full: the next that matches has no room on the page.
func (st *step) among(r *onceq.ListRequest, stretch []seen, jobs *[]*job) (looked int, full bool, err error) {
	numbers := make([]int64, len(stretch))
	for i, j := range stretch {
		numbers[i] = j.seq
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		return 0, false, err
	}
	states := int64(1<<7 - 1)
	if len(r.States) > 0 {
		states = 0
		for _, s := range r.States {
			bit := int64(6)
			if s != onceq.Available {
				bit = stateNo(s)
			}
			states |= 1 << bit
		}
	}
	key := []byte{}
	if r.Key != nil {
		key = r.Key[:]
	}
	size := 0
	for _, j := range *jobs {
		size += j.argsSize() + len(j.MetaJSON)
	}
	from, to := r.Enqueued()
	err = st.each(sqlList, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		if err != nil {
			return err
		}
		size += j.argsSize() + len(j.MetaJSON)
		if full = len(*jobs) == r.Limit || len(*jobs) > 0 && r.Args && size > onceq.MaxPageBytes; full {
			looked = slices.IndexFunc(stretch, func(s seen) bool { return s.seq == j.Seq })
			return errEnough
		}
		*jobs = append(*jobs, j)
		return nil
	}, string(list), states, st.Now, r.Queue, r.Kind, key, r.Worker, r.Tag, from, to,
		int64(r.Limit-len(*jobs)+1))
	if !full {
		looked = len(stretch)
	}
	return looked, full, err
}
