package sqlitestore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/onceq/onceq"
)

var (
	sqlAnswer = load("answer")
	sqlAddJob = load("add_job")
	sqlAddKey = load("add_key")

	sqlAddJobs     = sqlAddJob.repeated(together)
	sqlAddKeys     = sqlAddKey.repeated(together)
	sqlTakeBackJob = load("take_back_jobs")
	sqlTakeBackKey = load("take_back_key")
)

// together is how many new jobs go into one statement where nothing is in their way: a statement costs as much to begin and to end as a row.
const together = 16

// Enqueue accepts rows one after another, all or none. What can be answered without writing (duplicates under Skip and Reject) is
// answered from a snapshot, without waiting for anybody.
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

// checkNames refuses the one character that stands between names in jobColumns. A client has refused it before.
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

// answers answers rows from a snapshot. It stops, and reports false, at the first that is to be inserted: on a stream of new jobs that
// costs one look-up a batch.
func (st *step) answers(results *[]onceq.EnqueueResult, rows []onceq.NewRow, c *clock) (bool, error) {
	for i := range rows {
		r := &rows[i]
		var known bool
		var k *heldKey
		var holder *job
		if r.Claim == nil {
			known = true // or it is to be inserted
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
		// Read after the snapshot: what holds at this instant by what the snapshot says did hold when it was taken.
		*st = step{session: st.session, now: c.now(), readOnly: true, holder: holder}
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
		if !k.held(st.now) || k.next != 0 { // free, or with a waiter: more rows have a say
			return false, nil
		}
		result, err := st.meet(k, r)
		if err != nil {
			return false, err
		}
		*results = append(*results, result)
	}
	return true, nil
}

// enqueue judges rows one after another, and writes.
func (st *step) enqueue(results *[]onceq.EnqueueResult, rows []onceq.NewRow) error {
	careful := 0 // of so many rows to come it is better asked first whom they meet
	single := 0  // so many are better inserted one by one
	for i := 0; i < len(rows); {
		if careful == 0 && single == 0 && i+together <= len(rows) {
			ok, err := st.insertTogether(results, rows[i:i+together])
			if err != nil {
				return err
			}
			if ok {
				i += together
				continue
			}
			single = 4 * together
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
			careful, single = together, 4*together
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

// candidate is a row as the job that it is if it meets nobody, and its key, if it has one. ok is false where it may meet somebody of whom the
// unique indexes do not know.
func (st *step) candidate(r *onceq.NewRow) (j *job, k *heldKey, ok bool, err error) {
	if _, seen := st.byID[r.ID]; seen {
		return nil, nil, false, nil
	}
	j = st.newJob(r, onceq.Inserted, "", "")
	if r.Claim != nil {
		if _, seen := st.keys[*j.Key]; seen {
			return nil, nil, false, nil
		}
		k = &heldKey{freesAt: j.Hold.FreesAt(j.anchor, j.runAt)}
		if !k.held(st.now) { // it holds for no time, and may meet somebody all the same
			return nil, nil, false, nil
		}
	}
	return j, k, true, st.nextSeq(&j.seq)
}

// insertFree inserts a row that meets nobody, without asking first: the unique indexes say whether it does. ok is false, and nothing is
// written, when it may.
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
	if n == 0 { // the ID is there
		if k != nil {
			err = st.exec(sqlDeleteKey, j.Key[:])
		}
		return result, false, err
	}
	return st.isIn(j, k), true, nil
}

// insertTogether is insertFree for rows that all have a key, or all have none: all of them, or ok is false and none.
func (st *step) insertTogether(results *[]onceq.EnqueueResult, rows []onceq.NewRow) (ok bool, err error) {
	var jobs [together]*job
	var held [together]*heldKey
	keys, values := make([]any, 0, together*5), make([]any, 0, together*13)
	size := 0
	for i := range rows {
		if size += len(rows[i].Args); size > 1<<20 { // SQLite copies them all
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
	n := int64(together)
	if len(keys) > 0 {
		n, err = st.affect(sqlAddKeys, keys...)
	}
	if err == nil && n == together {
		if n, err = st.affect(sqlAddJobs, values...); err == nil && n < together {
			err = st.exec(sqlTakeBackJob, jobs[0].seq, jobs[together-1].seq)
		}
	}
	if err != nil {
		return false, err
	}
	if n < together {
		for i, j := range jobs {
			if held[i] != nil {
				if err := st.exec(sqlTakeBackKey, j.Key[:], j.seq); err != nil {
					return false, err
				}
			}
		}
		return false, nil
	}
	for i, j := range jobs {
		*results = append(*results, st.isIn(j, held[i]))
	}
	return true, nil
}

// keyValues appends those of add_key.
func (st *step) keyValues(values []any, j *job, k *heldKey) []any {
	return append(values, j.Key[:], j.seq, int64(pending(j)), k.freesAt, st.now)
}

// jobValues appends those of add_job.
func (st *step) jobValues(values []any, j *job) ([]any, error) {
	more, err := j.packMore()
	return append(values, j.seq, j.ID, j.Kind, j.Queue, j.argsValue(), int64(j.Priority), j.runAt, j.keyValue(), j.KeyText,
		st.now, j.anchor, j.packTerms(), more), err
}

// isIn is the answer to a row that was inserted.
func (st *step) isIn(j *job, k *heldKey) onceq.EnqueueResult {
	st.counts[place{j.Queue, j.State}]++
	st.wake(j)
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j.view(st.now)}
	if k != nil {
		result.FreesAt = k.freesAt
	}
	return result
}

// judge says whom a row meets, and does what is to be done about it.
func (st *step) judge(r *onceq.NewRow) (result onceq.EnqueueResult, err error) {
	j, err := st.job(r.ID)
	if err != nil {
		return result, err
	}
	if j != nil {
		return st.met(j, r)
	}
	if r.Claim != nil {
		k, err := st.key(r.Claim.Key)
		if err != nil {
			return result, err
		}
		if k.held(st.now) {
			return st.meet(k, r)
		}
	}
	if j, err = st.insert(r, onceq.Inserted, "", ""); err != nil {
		return result, err
	}
	if j.Key != nil {
		if err := st.take(j); err != nil {
			return result, err
		}
	}
	return st.inserted(j)
}

// meet answers for a row whose key is held.
func (st *step) meet(k *heldKey, r *onceq.NewRow) (result onceq.EnqueueResult, err error) {
	held, holder, err := st.look(k)
	if err != nil {
		return result, err
	}
	conflict := held.Conflict(r.Claim.Digest)
	action := r.Reactions.Ended
	if holder != nil {
		action = r.Reactions.On(conflict.State)
	}
	if action > onceq.ActionRefuse {
		if st.readOnly {
			return result, errReadOnly
		}
		if err := st.settle(k); err != nil {
			return result, err
		}
	}
	result = onceq.EnqueueResult{Outcome: onceq.Replaced, Conflict: conflict}
	stands := holder
	switch action {
	case onceq.ActionAnswer:
		result.Outcome = onceq.Skipped
	case onceq.ActionRefuse:
		result.Outcome = onceq.Rejected
	case onceq.ActionWrite:
		st.writeFields(holder, r, r.Write)
		if r.Write&onceq.FieldRunAt != 0 {
			err = st.moveRun(holder, st.runAt(r))
		}
	case onceq.ActionPushBack:
		st.writeFields(holder, r, onceq.FieldArgs)
		err = st.moveRun(holder, max(st.now, min(st.runAt(r), millis(holder.EnqueuedAt)+r.MaxWait.Milliseconds())))
	case onceq.ActionMerge, onceq.ActionStand:
		stands, err = st.coalesce(holder, k, r, action, &result)
	case onceq.ActionTake:
		result.Outcome = onceq.Superseded
		stands, err = st.supersede(holder, k, r)
	}
	if err != nil {
		return result, err
	}
	if stands == nil {
		key := k.name
		result.Job = &onceq.JobRow{ID: conflict.Holder, Kind: held.Kind, Queue: held.Queue, Key: &key, KeyText: held.Text, State: held.State}
	} else {
		result.Job = stands.view(st.now)
	}
	return result, nil
}

// coalesce makes sure that a run starts later with the latest args: the waiter's, the holder's, or that of a new waiter.
func (st *step) coalesce(holder *job, k *heldKey, r *onceq.NewRow, action onceq.Action, result *onceq.EnqueueResult) (stands *job, err error) {
	switch {
	case k.next != 0:
		w, err := st.at(k.next)
		if err != nil {
			return nil, err
		}
		st.renew(w, r)
		return w, nil
	case holder.Behind != "": // the key has passed to the waiter already
		st.renew(holder, r)
	case action == onceq.ActionStand:
		w, err := st.insert(r, onceq.Coalesced, holder.ID, holder.ID)
		if err != nil {
			return nil, err
		}
		k.next = w.seq
		st.put(k)
		result.Outcome = onceq.Coalesced
		return w, nil
	default:
		st.writeFields(holder, r, onceq.FieldArgs)
		if at := st.runAt(r); at < holder.runAt && holder.State != onceq.Retryable {
			return holder, st.moveRun(holder, at)
		}
	}
	return holder, nil
}

// met answers for an ID that exists.
func (st *step) met(j *job, r *onceq.NewRow) (onceq.EnqueueResult, error) {
	result := onceq.EnqueueResult{Outcome: onceq.Skipped, Job: j.view(st.now)}
	if j.nonce == r.Nonce { // the call's own echo
		result.Outcome = j.Origin
		if j.Origin == onceq.Inserted {
			return st.inserted(j)
		}
		result.Conflict = &onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.Displaced, Since: j.EnqueuedAt}
		old, err := st.job(j.Displaced)
		if err != nil {
			return result, err
		}
		if old != nil {
			result.Conflict.State, result.Conflict.Since, result.Conflict.ArgsDiffer = old.shown(st.now), old.EnqueuedAt, old.Digest != j.Digest
		}
		return result, nil
	}
	if r.Reactions.Refuses() || j.Kind != r.Kind {
		result.Outcome = onceq.Rejected
	}
	result.Conflict = &onceq.Conflict{By: "id", Text: j.ID, Holder: j.ID, State: j.shown(st.now), Since: j.EnqueuedAt}
	return result, nil
}

func (st *step) inserted(j *job) (onceq.EnqueueResult, error) {
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j.view(st.now)}
	if j.Key != nil {
		k, err := st.key(*j.Key)
		if err != nil {
			return result, err
		}
		if k.heldBy(j) && st.now < k.freesAt {
			result.FreesAt = k.freesAt
		}
	}
	return result, nil
}

func (st *step) runAt(r *onceq.NewRow) int64 {
	if !r.RunAt.IsZero() {
		return max(st.now, r.RunAt.UnixMilli())
	}
	return st.now + r.Delay.Milliseconds()
}

// insert adds the row. Its key is the caller's business.
func (st *step) insert(r *onceq.NewRow, origin onceq.Outcome, behind, displaced string) (*job, error) {
	if st.readOnly {
		return nil, errReadOnly
	}
	j := st.newJob(r, origin, behind, displaced)
	st.wake(j)
	return j, st.add(j)
}

func (st *step) newJob(r *onceq.NewRow, origin onceq.Outcome, behind, displaced string) *job {
	j := &job{nonce: r.Nonce, runAt: st.runAt(r)}
	j.ID, j.State, j.Origin, j.Behind, j.Displaced, j.EnqueuedAt = r.ID, onceq.Scheduled, origin, behind, displaced, instant(st.now)
	j.options(r)
	if j.Key != nil {
		j.anchor = j.Hold.AnchorAt(st.now, j.runAt)
	}
	return j
}

// options gives a job everything the caller of an enqueue chose, but for ID and run time.
func (j *job) options(r *onceq.NewRow) {
	j.Kind, j.Queue, j.Args, j.Encoding = r.Kind, r.Queue, bytes.Clone(r.Args), r.Encoding
	j.meta, j.Tags = bytes.Clone(r.Meta), slices.Clone(r.Tags)
	j.Priority, j.MaxAttempts, j.Timeout, j.Retention = r.Priority, r.MaxAttempts, r.Timeout, r.Retention
	if r.Claim != nil {
		name := r.Claim.Key
		j.Key, j.KeyText, j.Hold, j.Digest = &name, r.Claim.Text, r.Claim.Hold, r.Claim.Digest
	}
}

// writeFields gives a waiting job new values of some fields.
func (st *step) writeFields(j *job, r *onceq.NewRow, f onceq.Fields) {
	st.change(j)
	if f&onceq.FieldArgs != 0 {
		j.Args, j.Encoding, j.Digest, j.newArgs = bytes.Clone(r.Args), r.Encoding, r.Claim.Digest, true
	}
	if f&onceq.FieldMeta != 0 {
		j.meta = bytes.Clone(r.Meta)
	}
	if f&onceq.FieldPriority != 0 {
		j.Priority = r.Priority
	}
	if f&onceq.FieldMaxAttempts != 0 {
		j.MaxAttempts = r.MaxAttempts
	}
	if f&onceq.FieldTags != 0 {
		j.Tags = slices.Clone(r.Tags)
	}
	st.wake(j)
}

// renew gives a waiter the args and options of the latest enqueue, and the earlier of the two run times.
func (st *step) renew(w *job, r *onceq.NewRow) {
	st.change(w)
	w.options(r)
	w.newArgs = true
	w.runAt = min(w.runAt, st.runAt(r))
	w.anchor = w.Hold.AnchorAt(millis(w.EnqueuedAt), w.runAt)
}

// supersede puts the new job in the holder's place.
func (st *step) supersede(holder *job, k *heldKey, r *onceq.NewRow) (*job, error) {
	if k.next != 0 {
		w, err := st.at(k.next)
		if err != nil {
			return nil, err
		}
		st.stop(w, r.ID)
		k.next = 0
		st.put(k)
	}
	if holder.State == onceq.Running {
		st.change(holder)
		holder.CancelRequested, holder.SupersededBy = true, r.ID
		j, err := st.insert(r, onceq.Superseded, holder.ID, holder.ID)
		if err != nil {
			return nil, err
		}
		k.next = j.seq
		st.put(k)
		return j, nil
	}
	behind := holder.Behind
	st.stop(holder, r.ID)
	j, err := st.insert(r, onceq.Superseded, behind, holder.ID)
	if err != nil {
		return nil, err
	}
	return j, st.take(j)
}

// stop cancels a waiting job whose key is another's from now on.
func (st *step) stop(j *job, by string) {
	st.change(j)
	j.Behind, j.SupersededBy, j.Keyless = "", by, true
	st.finish(j, onceq.Cancelled)
	j.anchor = min(j.anchor, st.now)
	if j.Retention == 0 {
		st.drop(j)
	}
}

// finish sets a final state.
func (st *step) finish(j *job, state onceq.State) {
	st.change(j)
	j.State, j.CancelRequested, j.FinishedAt = state, false, instant(st.now)
	j.pruneAt = st.now + j.Retention.Milliseconds()
}
