package sqlitestore

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/onceq/onceq"
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
	sqlEnd           = load("end")
	sqlCount         = load("count")
)

// step is one atomic step: the rows it has read, as it has changed them so far, and what is to be written at its end. The rules (keys.go,
// enqueue.go, finish.go …) are those of internal/memstore, word for word; here they find their rows through a step.
type step struct {
	*session
	now      int64
	readOnly bool // on a snapshot, without the write lock
	holder   *job // when answering from a snapshot: the job that was read with the key

	byID   map[string]*job
	bySeq  map[int64]*job
	jobs   []*job // all of them, in the order in which they came
	keys   map[onceq.Key]*heldKey
	seq    int64           // of the last job; 0 = not looked up yet
	counts map[place]int64 // by how much the counts of the queues change
	due    map[string]bool // queues in which something became due, or will soon
}

func newStep(s *session, now int64) *step {
	st := &step{session: s, now: now}
	st.remember()
	return st
}

// remember makes room for rows. The answer to a duplicate does without.
func (st *step) remember() {
	if st.byID == nil {
		st.byID, st.bySeq, st.keys = map[string]*job{}, map[int64]*job{}, map[onceq.Key]*heldKey{}
		st.counts, st.due = map[place]int64{}, map[string]bool{}
	}
}

// job is the job with this ID; nil when there is none.
func (st *step) job(id string) (*job, error) {
	if j, ok := st.byID[id]; ok {
		return j, nil
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

// at is the job with this number; nil when there is none.
func (st *step) at(seq int64) (*job, error) {
	if seq == 0 {
		return nil, nil
	}
	if j, ok := st.bySeq[seq]; ok {
		return j, nil
	}
	if st.holder != nil && st.holder.seq == seq {
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

// know takes a row that was read into the step. A row that the step has already stays as the step has changed it.
func (st *step) know(j *job) *job {
	if known, ok := st.bySeq[j.seq]; ok {
		if known == nil {
			return nil
		}
		return known
	}
	st.remember()
	st.bySeq[j.seq], st.byID[j.ID] = j, j
	st.jobs = append(st.jobs, j)
	return j
}

// key is the row of a key; nil when there is none.
func (st *step) key(name onceq.Key) (*heldKey, error) {
	if k, ok := st.keys[name]; ok {
		if k == nil || k.status == removed {
			return nil, nil
		}
		return k, nil
	}
	var found *heldKey
	err := st.each(sqlKey, keyWidth, func(v []any) (err error) {
		found, err = scanKey(v)
		return err
	}, name[:])
	if err != nil {
		return nil, err
	}
	st.remember()
	st.keys[name] = found
	return found, nil
}

// readJobs reads many jobs at once, so that each of them is there when it is asked for.
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
		if _, ok := st.keys[*j.Key]; !ok {
			st.keys[*j.Key] = nil // looked for; it stays so where it is not there
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
			st.keys[k.name] = k
		}
		return err
	}, string(names))
}

// change marks a job as one to be written.
func (st *step) change(j *job) {
	if j.status == clean || j.status == ended {
		j.status = changed
	}
}

// add makes a row of its own for a new job.
func (st *step) add(j *job) error {
	if err := st.nextSeq(&j.seq); err != nil {
		return err
	}
	j.status = added
	st.bySeq[j.seq], st.byID[j.ID] = j, j
	st.jobs = append(st.jobs, j)
	return nil
}

// nextSeq hands out the number of a new row.
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

// drop takes a job's row away.
func (st *step) drop(j *job) {
	if j.status == added {
		j.status = never
	} else {
		j.status = removed
	}
	st.byID[j.ID], st.bySeq[j.seq] = nil, nil
}

// put keeps the row of a key, unless it holds no longer.
func (st *step) put(k *heldKey) {
	if !k.held(st.now) {
		k.status = removed
	} else {
		k.status = changed
	}
	st.keys[k.name] = k
}

var errReadOnly = errors.New("a snapshot cannot be written")

// flush writes what the step has changed.
func (st *step) flush() error {
	if st.readOnly {
		return errReadOnly
	}
	for _, j := range st.jobs { // first, so that an ID that was given up can be taken again
		if j.status == removed {
			if err := st.exec(sqlDeleteJob, j.seq); err != nil {
				return err
			}
			st.counts[j.was]--
			j.status = never
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
	return st.count()
}

// writeEnded writes the jobs that have only ended, those that ended alike in one statement.
func (st *step) writeEnded() error {
	type end struct {
		state   onceq.State
		worker  string
		pruneAt int64
	}
	alike := map[end][]*job{}
	for _, j := range st.jobs {
		if j.status == ended {
			e := end{j.State, j.Worker, j.pruneAt}
			alike[e] = append(alike[e], j)
		}
	}
	for e, jobs := range alike {
		for _, j := range jobs {
			st.counts[j.was]--
			j.was, j.status = place{j.Queue, j.State}, clean
			st.counts[j.was]++
		}
		if err := st.exec(sqlEnd, stateNo(e.state), e.worker, millis(jobs[0].FinishedAt), e.pruneAt, seqs(jobs)); err != nil {
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
		list = strconv.AppendInt(list, j.seq, 10)
	}
	return string(append(list, ']'))
}

func (st *step) write(j *job) error {
	var values []any
	var err error
	q := sqlUpdateJob
	switch j.status {
	case added:
		q = sqlInsertJob
		values, err = j.insertValues()
	case changed:
		if values, err = j.updateValues(); j.newArgs {
			q, values = sqlUpdateJobArgs, append(values, j.argsValue())
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
	j.status, j.newArgs = clean, false
	return st.exec(q, values...)
}

// writeKeys writes the rows of keys; those that are given up go in one statement.
func (st *step) writeKeys() error {
	var gone []string
	for name, k := range st.keys {
		if k == nil || k.status == clean {
			continue
		}
		drop := k.status == removed
		k.status = clean
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
	slices.Sort(gone) // neighbours in the index one after another
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
	for queue := range st.due {
		of(queue)
	}
	for queue, n := range perQueue {
		due := int64(0)
		if st.due[queue] {
			due = 1
		}
		if err := st.exec(sqlCount, queue, due, n[0], n[1], n[2], n[3], n[4], n[5], st.now); err != nil {
			return err
		}
	}
	clear(st.counts)
	return nil
}

// soon is how near the run time of a job must be for workers elsewhere to be told of it.
const soon = 60_000

// wake notes that a job of a queue is due, or will be soon.
func (st *step) wake(j *job) {
	if j.Behind == "" && j.runAt <= st.now+soon {
		st.due[j.Queue] = true
	}
}
