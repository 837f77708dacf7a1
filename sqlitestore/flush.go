package sqlitestore

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// flush writes what the step has changed.
func (st *step) flush() error {
	if st.readOnly {
		return errReadOnly
	}
	for _, j := range st.jobs { // first, so that a released ID can be used again
		if j.Mark == rules.Removed {
			err := st.exec(sqlDeleteJob, j.Seq)
			if err == nil && j.apart {
				err = st.exec(sqlDeleteArgs, j.Seq)
			}
			if err != nil {
				return err
			}
			st.counts[j.was]--
			j.Mark = rules.Never
		}
	}
	if err := st.writeEnded(); err != nil {
		return err
	}
	for _, j := range st.jobs {
		if err := st.write(j); err != nil {
			return err
		}
	}
	if err := st.writeKeys(); err != nil {
		return err
	}
	if err := st.countStops(); err != nil {
		return err
	}
	return st.count()
}

// writeEnded writes the jobs that have only ended. Jobs that ended alike
// share a statement.
func (st *step) writeEnded() error {
	type end struct {
		state   onceq.State
		worker  string
		pruneAt int64
	}
	alike := map[end][]*job{}
	for _, j := range st.jobs {
		if j.ended && j.Mark == rules.Changed {
			e := end{j.State, j.Worker, j.PruneMS}
			alike[e] = append(alike[e], j)
		}
	}
	for e, jobs := range alike {
		for _, j := range jobs {
			st.counts[j.was]--
			j.was, j.Mark, j.ended = place{j.Queue, j.State}, rules.Clean, false
			st.counts[j.was]++
		}
		q, these := sqlEnd.of(jobs)
		if err := st.exec(q, stateNo(e.state), e.worker, millis(jobs[0].FinishedAt), e.pruneAt, these); err != nil {
			return err
		}
	}
	return nil
}

// seqs is a JSON array of the numbers of jobs.
func seqs(jobs []*job) string {
	list := []byte{'['}
	for i, j := range jobs {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, j.Seq, 10)
	}
	return string(append(list, ']'))
}

func (st *step) write(j *job) error {
	var values []any
	var err error
	q := sqlUpdateJob
	switch j.Mark {
	case rules.Added:
		q = sqlInsertJob
		if values, err = j.insertValues(); err == nil {
			err = st.putArgs(j)
		}
	case rules.Changed:
		if j.NewArgs {
			if err := st.replaceArgs(j); err != nil {
				return err
			}
		}
		if values, err = j.updateValues(); j.NewArgs {
			q, values = sqlUpdateJobArgs, append(values, j.rowArgs())
		}
		st.counts[j.was]--
	default:
		return nil
	}
	if err != nil {
		return err
	}
	j.was = place{j.Queue, j.State}
	st.counts[j.was]++
	result := j.NewResult
	j.Mark, j.NewArgs, j.NewResult, j.ended = rules.Clean, false, false, false
	if err := st.exec(q, values...); err != nil || !result {
		return err
	}
	return st.exec(sqlPutResult, j.Seq, j.resultValue())
}

// replaceArgs writes new args of a stored job, if they or the old ones are
// stored apart.
func (st *step) replaceArgs(j *job) error {
	was := j.apart
	if j.placeArgs(); was && !j.apart {
		return st.exec(sqlDeleteArgs, j.Seq)
	}
	return st.putArgs(j)
}

// writeKeys writes the rows of keys. All rows to delete go in one
// statement.
func (st *step) writeKeys() error {
	var gone []string
	for name, k := range st.keys {
		if k.Mark == rules.Clean {
			continue
		}
		drop := k.Mark == rules.Removed
		k.Mark = rules.Clean
		if drop {
			if delete(st.keys, name); k.stored {
				gone = append(gone, name.String())
			}
			continue
		}
		k.stored = true
		values, err := k.values()
		if err == nil {
			err = st.exec(sqlPutKey, values...)
		}
		if err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	slices.Sort(gone) // in the order of the index
	names, err := json.Marshal(gone)
	if err != nil {
		return err
	}
	return st.exec(sqlDeleteKeys, string(names))
}

// count brings the counts of the queues up to date.
func (st *step) count() error {
	perQueue := map[string]*[len(states)]int64{}
	of := func(queue string) *[len(states)]int64 {
		if perQueue[queue] == nil {
			perQueue[queue] = new([len(states)]int64)
		}
		return perQueue[queue]
	}
	for p, n := range st.counts {
		if n != 0 {
			of(p.queue)[stateNo(p.state)] += n
		}
	}
	due := map[string]int64{}
	for w := range st.news.due {
		of(w.queue)
		due[w.queue] = 1
	}
	for queue, n := range perQueue {
		if err := st.exec(sqlCount, queue, due[queue], n[0], n[1], n[2], n[3], n[4], n[5], st.Now); err != nil {
			return err
		}
	}
	clear(st.counts)
	return nil
}

// countStops tells other processes which workers have a run to stop.
func (st *step) countStops() error {
	for worker := range st.news.stops {
		if err := st.exec(sqlStop, worker); err != nil {
			return err
		}
	}
	return nil
}

// soon is how near the run time of a job must be, in milliseconds, so that
// workers of other processes hear of it.
const soon = 60_000

// wake notes that a job of a queue is due, or will be soon.
func (st *step) wake(j *rules.Job) {
	if j.Behind == "" && j.RunMS <= st.Now+soon {
		w := work{j.Queue, j.Kind}
		st.news.due[w] = st.news.due[w] || j.RunMS <= st.Now
	}
}
