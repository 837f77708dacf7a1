package sqlitestore

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

var (
	sqlJobByID       = load("job_by_id")
	sqlJobBySeq      = load("job_by_seq")
	sqlJobsByID      = load("jobs_by_id")
	sqlKey           = load("key")
	sqlKeysByName    = load("keys_by_name")
	sqlLastSeq       = load("last_seq")
	sqlInsertJob     = load("insert_job")
	sqlUpdateJob     = load("update_job")
	sqlUpdateJobArgs = load("update_job_args")
	sqlDeleteJob     = load("delete_job")
	sqlPutKey        = load("put_key")
	sqlDeleteKey     = load("delete_key")
	sqlDeleteKeys    = load("delete_keys")
	sqlEnd           = loadForJobs("end")
	sqlCount         = load("count")
	sqlStop          = load("stop")
	sqlArgs          = load("args")
	sqlPutArgs       = load("put_args")
	sqlDeleteArgs    = load("delete_args")
	sqlPutResult     = load("put_result")
	sqlResults       = load("results")
)

// step is one atomic step: the rows that it has read, as it has changed
// them, and what is to be written at its end. Package rules knows what a
// key does; a step reads the rows that a rule needs, and writes the rows
// that it has marked.
type step struct {
	*conn
	rules.Book
	readOnly bool // it runs on a snapshot, without the write lock
	holder   *job // on a snapshot: the job that was read with the key

	byID   map[string]*job
	bySeq  map[int64]*job
	jobs   []*job // all jobs, in the order in which they were read
	keys   map[onceq.Key]*heldKey
	seq    int64           // the number of the last job; 0 = not read yet
	counts map[place]int64 // changes of the counts of the queues
	news   news
}

func newStep(c *conn, now int64) *step {
	st := &step{conn: c, Book: rules.Book{Now: now}}
	st.remember()
	return st
}

// remember makes room for rows. The answer to a duplicate does not need it.
func (st *step) remember() {
	if st.byID == nil {
		st.byID, st.bySeq, st.keys = map[string]*job{}, map[int64]*job{}, map[onceq.Key]*heldKey{}
		st.counts, st.news.due = map[place]int64{}, map[work]bool{}
	}
}

// job returns the job with this ID; nil if there is none.
func (st *step) job(id string) (*job, error) {
	if j, ok := st.byID[id]; ok {
		return there(j), nil
	}
	var found *job
	err := st.each(sqlJobByID, jobWidth, func(v []any) (err error) {
		found, err = scanJob(v)
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	if found == nil {
		st.remember()
		st.byID[id] = nil
		return nil, nil
	}
	return st.know(found), nil
}

// at returns the job with this number; nil if there is none.
func (st *step) at(seq int64) (*job, error) {
	if seq == 0 {
		return nil, nil
	}
	if j, ok := st.bySeq[seq]; ok {
		return there(j), nil
	}
	if st.holder != nil && st.holder.Seq == seq {
		return st.holder, nil
	}
	var found *job
	err := st.each(sqlJobBySeq, jobWidth, func(v []any) (err error) {
		found, err = scanJob(v)
		return err
	}, seq)
	if err != nil || found == nil {
		return nil, err
	}
	return st.know(found), nil
}

// there returns the job, or nil if this step has removed its row.
func there(j *job) *job {
	if j == nil || j.IsGone() {
		return nil
	}
	return j
}

// know takes a row that was read into the step. If the step has the row
// already, it stays as the step has changed it.
func (st *step) know(j *job) *job {
	if known, ok := st.bySeq[j.Seq]; ok {
		return there(known)
	}
	st.remember()
	st.bySeq[j.Seq], st.byID[j.ID] = j, j
	st.jobs = append(st.jobs, j)
	return j
}

// key returns the row of a key, with its holder and waiter. If there is no
// row, it is one that is not held.
func (st *step) key(name onceq.Key) (*heldKey, error) {
	k := st.keys[name]
	if k == nil {
		if err := st.each(sqlKey, keyWidth, func(v []any) (err error) {
			k, err = scanKey(v)
			return err
		}, name[:]); err != nil {
			return nil, err
		}
		if k == nil {
			k = &heldKey{Key: rules.Key{Name: name}}
		}
		st.remember()
		st.keys[name] = k
	}
	return k, st.resolve(k)
}

// keyOf returns the row of the key of a job; nil if the job has none.
func (st *step) keyOf(j *job) (*rules.Key, error) {
	if j == nil || j.Key == nil {
		return nil, nil
	}
	k, err := st.key(*j.Key)
	if err != nil {
		return nil, err
	}
	return &k.Key, nil
}

// resolve finds the holder and the waiter of a key that was read.
func (st *step) resolve(k *heldKey) error {
	holder, waiter := k.holder, k.waiter
	k.holder, k.waiter = 0, 0
	for _, r := range [...]struct {
		seq int64
		job **rules.Job
	}{{holder, &k.Holder}, {waiter, &k.Waiter}} {
		j, err := st.at(r.seq)
		if err != nil {
			return err
		}
		if j != nil {
			*r.job = j.Job
		}
	}
	if waiter != 0 && k.Waiter == nil {
		return errOrphan(k)
	}
	return nil
}

// readJobs reads many jobs at once, so that job finds them.
func (st *step) readJobs(ids []string) error {
	if len(ids) < 2 {
		return nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	return st.each(sqlJobsByID, jobWidth, func(v []any) error {
		j, err := scanJob(v)
		if err == nil {
			st.know(j)
		}
		return err
	}, string(list))
}

// readKeys reads the keys of all jobs of the step at once.
func (st *step) readKeys() error {
	if len(st.jobs) < 2 {
		return nil
	}
	st.remember()
	var list []string
	for _, j := range st.jobs {
		if j.Key == nil {
			continue
		}
		if st.keys[*j.Key] == nil {
			st.keys[*j.Key] = &heldKey{Key: rules.Key{Name: *j.Key}} // stays like this if there is no row
			list = append(list, j.Key.String())
		}
	}
	if len(list) == 0 {
		return nil
	}
	names, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return st.each(sqlKeysByName, keyWidth, func(v []any) error {
		k, err := scanKey(v)
		if err == nil {
			st.keys[k.Name] = k
		}
		return err
	}, string(names))
}

// absorb takes over what a rule has done besides changing rows: new jobs,
// and jobs that may be due.
func (st *step) absorb() error {
	for _, r := range st.Added {
		if st.readOnly {
			return errReadOnly
		}
		j := &job{Job: r}
		j.placeArgs()
		if err := st.nextSeq(&j.Seq); err != nil {
			return err
		}
		st.bySeq[j.Seq], st.byID[j.ID] = j, j
		st.jobs = append(st.jobs, j)
	}
	for _, j := range st.Woken {
		st.wake(j)
	}
	for _, worker := range st.Stops {
		st.news.stops = union(st.news.stops, map[string]bool{worker: true})
	}
	st.Added, st.Woken, st.Stops = nil, nil, nil
	return nil
}

// putArgs writes the args of a new job that are stored apart from the row.
func (st *step) putArgs(j *job) error {
	if !j.apart {
		return nil
	}
	return st.exec(sqlPutArgs, j.Seq, j.argsValue())
}

// readArgs reads the args of jobs whose args were not read yet.
func (st *step) readArgs(jobs ...*job) error {
	bySeq := map[int64]*job{}
	var list []*job
	for _, j := range jobs {
		if j != nil && j.bare && bySeq[j.Seq] == nil {
			bySeq[j.Seq] = j
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return st.each(sqlArgs, 2, func(v []any) error {
		j := bySeq[integer(v[0])]
		j.Args, j.size, j.bare = blob(v[1]), 0, false
		return nil
	}, seqs(list))
}

// readResults fills in the results of jobs that have ended.
func (st *step) readResults(jobs []*job, rows []*onceq.JobRow) error {
	var ended []*job
	bySeq := map[int64][]*onceq.JobRow{} // an ID may have been asked for twice
	for i, j := range jobs {
		if j != nil && j.State.Finished() {
			ended, bySeq[j.Seq] = append(ended, j), append(bySeq[j.Seq], rows[i])
		}
	}
	if len(ended) == 0 {
		return nil
	}
	return st.each(sqlResults, 2, func(v []any) error {
		for _, row := range bySeq[integer(v[0])] {
			row.Result = bytes.Clone(blob(v[1]))
		}
		return nil
	}, seqs(ended))
}

// full fills in the args of a job that is handed out.
func (st *step) full(row *onceq.JobRow, j *job) error {
	if row == nil || j == nil || row.Args != nil {
		return nil
	}
	err := st.readArgs(j)
	row.Args = j.Args
	return err
}

// nextSeq is the number of a new row.
func (st *step) nextSeq(seq *int64) error {
	if st.seq == 0 {
		last, err := st.number(sqlLastSeq)
		if err != nil {
			return err
		}
		st.seq = last
	}
	st.seq++
	*seq = st.seq
	return nil
}

var errReadOnly = errors.New("a snapshot cannot be written")
