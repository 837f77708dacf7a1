package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

var (
	sqlAnswer = load("answer")
	sqlAddJob = load("add_job")
	sqlAddKey = load("add_key")

	sqlAddTogether = addTogether(mostTogether, 16, 8, 4)
	sqlTakeBackJob = load("take_back_jobs")
	sqlTakeBackKey = load("take_back_key")
)

// together are the statements that insert so many new jobs, and their keys,
// if nothing is in their way: beginning and ending a statement costs as much
// as a row.
type together struct {
	n          int
	jobs, keys *statement
}

func addTogether(sizes ...int) (all []together) {
	for _, n := range sizes {
		all = append(all, together{n, sqlAddJob.repeated(n), sqlAddKey.repeated(n)})
	}
	return all
}

// togetherOf inserts up to n rows, as many as it can; nil = n is too few.
func togetherOf(n int) *together {
	for i := range sqlAddTogether {
		if sqlAddTogether[i].n <= n {
			return &sqlAddTogether[i]
		}
	}
	return nil
}

const (
	mostTogether = 32
	// A row that meets a job is seldom alone: for so many rows after it, the
	// step looks first which job they meet, and inserts one by one.
	lookFirst = 16
	oneByOne  = 64
)

// Enqueue accepts rows one after another, all or none. Rows that can be
// answered without writing (duplicates under Skip and Reject) are answered
// from a snapshot, without waiting.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	what := "enqueue"
	if len(rows) == 1 {
		what = "enqueue " + rows[0].Kind
	} else if len(rows) > 1 {
		what = fmt.Sprintf("enqueue %d jobs", len(rows))
	}
	if err := checkNames(rows); err != nil {
		return nil, wrap(what, err)
	}
	results := make([]onceq.EnqueueResult, 0, len(rows))
	if len(rows) > 0 && !slices.ContainsFunc(rows, func(r onceq.NewRow) bool { return r.Reactions.Writes() }) {
		var answered bool
		err := s.read(ctx, what, func(st *step) (err error) {
			results = results[:0]
			answered, err = st.answers(&results, rows, s.clock)
			return err
		})
		if err != nil || answered {
			return results, err
		}
	}
	err := s.write(ctx, what, func(st *step) error {
		results = results[:0]
		return st.enqueue(&results, rows)
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// checkNames refuses the one character that separates names in jobColumns.
// The client has refused it before.
func checkNames(rows []onceq.NewRow) error {
	for i := range rows {
		r := &rows[i]
		for _, n := range [...]struct{ field, name string }{{"ID", r.ID}, {"kind", r.Kind}, {"queue", r.Queue}} {
			if strings.IndexByte(n.name, 0) >= 0 {
				return &onceq.InvalidError{Field: n.field, Value: n.name, Rule: "must not contain NUL"}
			}
		}
	}
	return nil
}

// answers answers rows from a snapshot. It stops and returns false at the
// first row that is to be inserted: for new jobs that costs one look-up a
// batch.
func (st *step) answers(results *[]onceq.EnqueueResult, rows []onceq.NewRow, c *clock) (bool, error) {
	for i := range rows {
		r := &rows[i]
		var known bool
		var k *heldKey
		var holder *job
		if r.Claim == nil {
			known = true // else the row is to be inserted
		} else {
			err := st.each(sqlAnswer, 2+jobWidth, func(v []any) (err error) {
				var n [6]int64
				if err := numbers(text(v[0]), n[:]); err != nil {
					return err
				}
				known = n[5] != 0
				if k, err = newKey(r.Claim.Key, [5]int64(n[:5]), blob(v[1])); err != nil || k.holder == 0 {
					return err
				}
				if noJob(v[2:]) {
					return errOrphan(k)
				}
				holder, err = scanJob(v[2:])
				return err
			}, r.ID, r.Claim.Key[:])
			if err != nil {
				return false, err
			}
		}
		// The clock is read after the snapshot: a key that holds at this
		// instant, by the snapshot, did hold when the snapshot was taken.
		*st = step{conn: st.conn, Book: rules.Book{Now: c.now()}, readOnly: true, holder: holder}
		if known {
			j, err := st.job(r.ID)
			if err != nil || j == nil {
				return false, err
			}
			result, err := st.met(j, r)
			if err != nil {
				return false, err
			}
			*results = append(*results, result)
			continue
		}
		if k == nil || k.waiter != 0 || !k.Held(st.Now) { // free, or with a waiter: other rows matter too
			return false, nil
		}
		if holder != nil {
			k.Holder = holder.Job
		}
		result := st.Book.Enqueue(r, &k.Key)
		if err := st.full(result.Job, holder); err != nil {
			return false, err
		}
		*results = append(*results, result)
	}
	return true, nil
}

// enqueue judges rows one after another, and writes.
func (st *step) enqueue(results *[]onceq.EnqueueResult, rows []onceq.NewRow) error {
	careful := 0 // for so many rows, look first which job they meet
	single := 0  // insert so many rows one by one
	most := mostTogether / 2
	for i := 0; i < len(rows); {
		if q := togetherOf(min(most, len(rows)-i)); q != nil && careful == 0 && single == 0 {
			ok, err := st.insertTogether(results, rows[i:i+q.n], q)
			if err != nil {
				return err
			}
			if ok {
				i += q.n
				most = mostTogether
				continue
			}
			single = oneByOne
		}
		r := &rows[i]
		i++
		single = max(0, single-1)
		if careful == 0 {
			result, ok, err := st.insertFree(r)
			if err != nil {
				return err
			}
			if ok {
				*results = append(*results, result)
				continue
			}
			careful, single = lookFirst, oneByOne
		}
		careful--
		result, err := st.judge(r)
		if err != nil {
			return err
		}
		*results = append(*results, result)
	}
	return nil
}

// candidate returns the job that a row becomes if it meets no other, and
// its key, if it has one. ok is false if it may meet a job that the unique
// indexes do not show.
func (st *step) candidate(r *onceq.NewRow) (j *job, k *rules.Key, ok bool, err error) {
	if _, seen := st.byID[r.ID]; seen {
		return nil, nil, false, nil
	}
	j = &job{Job: rules.NewJob(r, onceq.Inserted, "", "", st.Now)}
	j.placeArgs()
	if r.Claim != nil {
		if _, seen := st.keys[*j.Key]; seen {
			return nil, nil, false, nil
		}
		k = &rules.Key{FreesMS: j.Hold.FreesAt(j.AnchorMS, j.RunMS)}
		if !k.Held(st.Now) { // it holds for no time, but may still meet a holder
			return nil, nil, false, nil
		}
	}
	return j, k, true, st.nextSeq(&j.Seq)
}

// insertFree inserts a row without looking first: the unique indexes say
// whether it meets a job. If it may, ok is false, and nothing is written.
func (st *step) insertFree(r *onceq.NewRow) (result onceq.EnqueueResult, ok bool, err error) {
	j, k, ok, err := st.candidate(r)
	if err != nil || !ok {
		return result, false, err
	}
	if k != nil {
		n, err := st.affect(sqlAddKey, st.keyValues(nil, j, k)...)
		if err != nil || n == 0 {
			return result, false, err
		}
	}
	values, err := st.jobValues(nil, j)
	if err != nil {
		return result, false, err
	}
	n, err := st.affect(sqlAddJob, values...)
	if err != nil {
		return result, false, err
	}
	if n == 0 { // the ID exists
		if k != nil {
			err = st.exec(sqlDeleteKey, j.Key[:])
		}
		return result, false, err
	}
	return st.isIn(j, k), true, st.putArgs(j)
}

// insertTogether is insertFree for rows that all have a key, or all have
// none. It inserts all of them, or none, and ok is false.
func (st *step) insertTogether(results *[]onceq.EnqueueResult, rows []onceq.NewRow, q *together) (ok bool, err error) {
	var jobs [mostTogether]*job
	var held [mostTogether]*rules.Key
	keys, values := st.forKeys[:0], st.forJobs[:0]
	defer func() { // the memory serves again, what it refers to does not
		clear(keys)
		clear(values)
		st.forKeys, st.forJobs = keys, values
	}()
	size := 0
	for i := range rows {
		if size += len(rows[i].Args); size > 1<<20 { // SQLite copies all args
			return false, nil
		}
		j, k, ok, err := st.candidate(&rows[i])
		if err != nil || !ok || i > 0 && (k == nil) != (held[0] == nil) {
			return false, err
		}
		jobs[i], held[i] = j, k
		if k != nil {
			keys = st.keyValues(keys, j, k)
		}
		if values, err = st.jobValues(values, j); err != nil {
			return false, err
		}
	}
	all := int64(q.n)
	n := all
	if len(keys) > 0 {
		n, err = st.affect(q.keys, keys...)
	}
	if err == nil && n == all {
		if n, err = st.affect(q.jobs, values...); err == nil && n < all {
			err = st.exec(sqlTakeBackJob, jobs[0].Seq, jobs[q.n-1].Seq)
		}
	}
	if err != nil {
		return false, err
	}
	if n < all {
		for i, j := range jobs[:q.n] {
			if held[i] != nil {
				if err := st.exec(sqlTakeBackKey, j.Key[:], j.Seq); err != nil {
					return false, err
				}
			}
		}
		return false, nil
	}
	for i, j := range jobs[:q.n] {
		if err := st.putArgs(j); err != nil {
			return false, err
		}
		*results = append(*results, st.isIn(j, held[i]))
	}
	return true, nil
}

// keyValues appends the values for add_key.
func (st *step) keyValues(values []any, j *job, k *rules.Key) []any {
	return append(values, j.Key[:], j.Seq, int64(rules.Pending(j.Job)), k.FreesMS, st.Now)
}

// jobValues appends the values for add_job.
func (st *step) jobValues(values []any, j *job) ([]any, error) {
	more, err := j.packMore()
	return append(values, j.Seq, j.ID, j.Kind, j.Queue, j.rowArgs(), int64(j.Priority), j.RunMS,
		j.keyValue(), j.KeyText,
		st.Now, j.AnchorMS, j.packTerms(), more), err
}

// isIn is the answer to a row that was inserted.
func (st *step) isIn(j *job, k *rules.Key) onceq.EnqueueResult {
	st.counts[place{j.Queue, j.State}]++
	st.wake(j.Job)
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j.View(st.Now)}
	if k != nil {
		result.FreesAt = k.FreesMS
	}
	return result
}

// judge finds the job that a row meets, and does what is to be done.
func (st *step) judge(r *onceq.NewRow) (result onceq.EnqueueResult, err error) {
	j, err := st.job(r.ID)
	if err != nil {
		return result, err
	}
	if j != nil {
		return st.met(j, r)
	}
	var k *rules.Key
	if r.Claim != nil {
		held, err := st.key(r.Claim.Key)
		if err != nil {
			return result, err
		}
		if k = &held.Key; held.orphan() && k.Held(st.Now) {
			return result, errOrphan(held)
		}
	}
	result = st.Book.Enqueue(r, k)
	if err := st.absorb(); err != nil {
		return result, err
	}
	return result, st.full(result.Job, st.byID[result.Job.ID])
}

// met answers a row whose ID exists.
func (st *step) met(j *job, r *onceq.NewRow) (result onceq.EnqueueResult, err error) {
	var k *rules.Key
	var displaced *rules.Job
	if rules.IsEcho(j.Job, r) {
		if k, err = st.keyOf(j); err != nil {
			return result, err
		}
		d, err := st.job(j.Displaced)
		if err != nil {
			return result, err
		}
		if d != nil {
			displaced = d.Job
		}
	}
	result = st.Book.Known(j.Job, r, k, displaced)
	return result, st.full(result.Job, j)
}
