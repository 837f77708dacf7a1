package memstore

import (
	"bytes"
	"context"
	"slices"

	"github.com/onceq/onceq"
)

// Enqueue accepts rows one after another.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	now, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]onceq.EnqueueResult, len(rows))
	for i := range rows {
		results[i] = s.enqueue(&rows[i], now)
	}
	return results, nil
}

func (s *Store) enqueue(r *onceq.NewRow, now int64) onceq.EnqueueResult {
	if j := s.jobs[r.ID]; j != nil {
		return s.met(j, r, now)
	}
	if r.Claim == nil {
		return s.inserted(s.insert(r, onceq.Inserted, "", "", now), now)
	}
	k := s.keys[r.Claim.Key]
	if !k.held(now) {
		j := s.insert(r, onceq.Inserted, "", "", now)
		s.take(j, now)
		return s.inserted(j, now)
	}
	conflict := k.view(s, r.Claim.Key, now).Conflict(r.Claim.Digest)
	holder := s.jobs[conflict.Holder]
	action := r.Reactions.Ended
	if holder != nil && (k.gone == nil || k.next != "") {
		action = r.Reactions.On(conflict.State)
	} else {
		holder = nil
	}
	if action > onceq.ActionRefuse {
		s.settle(k, now)
	}
	result := onceq.EnqueueResult{Outcome: onceq.Replaced, Conflict: conflict}
	stands := holder
	switch action {
	case onceq.ActionAnswer:
		result.Outcome = onceq.Skipped
	case onceq.ActionRefuse:
		result.Outcome = onceq.Rejected
	case onceq.ActionWrite:
		s.write(holder, r, r.Write, now)
		if r.Write&onceq.FieldRunAt != 0 {
			s.moveRun(holder, runAt(r, now), now)
		}
	case onceq.ActionPushBack:
		s.write(holder, r, onceq.FieldArgs, now)
		s.moveRun(holder, max(now, min(runAt(r, now), holder.EnqueuedAt.UnixMilli()+r.MaxWait.Milliseconds())), now)
	case onceq.ActionMerge, onceq.ActionStand:
		switch {
		case k.next != "":
			stands = s.jobs[k.next]
			s.renew(stands, r, now)
		case holder.Behind != "": // the key has passed to the waiter already
			s.renew(holder, r, now)
		case action == onceq.ActionStand:
			stands = s.insert(r, onceq.Coalesced, holder.ID, holder.ID, now)
			k.next = stands.ID
			result.Outcome = onceq.Coalesced
		default:
			s.write(holder, r, onceq.FieldArgs, now)
			if at := runAt(r, now); at < holder.runAt && holder.State != onceq.Retryable {
				s.moveRun(holder, at, now)
			}
		}
	case onceq.ActionTake:
		result.Outcome = onceq.Superseded
		stands = s.supersede(holder, k, r, now)
	}
	if stands == nil {
		result.Job = &onceq.JobRow{ID: conflict.Holder, Kind: k.gone.Kind, Queue: k.gone.Queue, Key: &r.Claim.Key, KeyText: k.gone.Text, State: k.gone.State}
	} else {
		result.Job = stands.view(now)
	}
	return result
}

// met answers for an ID that exists.
func (s *Store) met(j *job, r *onceq.NewRow, now int64) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Skipped, Job: j.view(now)}
	if j.nonce == r.Nonce { // the call's own echo
		result.Outcome = j.Origin
		if j.Origin == onceq.Inserted {
			return s.inserted(j, now)
		}
		result.Conflict = &onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.Displaced, Since: j.EnqueuedAt}
		if old := s.jobs[j.Displaced]; old != nil {
			result.Conflict.State, result.Conflict.Since, result.Conflict.ArgsDiffer = old.state(now), old.EnqueuedAt, old.Digest != j.Digest
		}
		return result
	}
	if r.Reactions.Refuses() || j.Kind != r.Kind {
		result.Outcome = onceq.Rejected
	}
	result.Conflict = &onceq.Conflict{By: "id", Text: j.ID, Holder: j.ID, State: j.state(now), Since: j.EnqueuedAt}
	return result
}

func (s *Store) inserted(j *job, now int64) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j.view(now)}
	if j.Key != nil {
		if k := s.keys[*j.Key]; k != nil && k.holder == j.ID && now < k.freesAt {
			result.FreesAt = k.freesAt
		}
	}
	return result
}

func runAt(r *onceq.NewRow, now int64) int64 {
	if !r.RunAt.IsZero() {
		return max(now, r.RunAt.UnixMilli())
	}
	return now + r.Delay.Milliseconds()
}

// insert adds the row. Its key is the caller's business.
func (s *Store) insert(r *onceq.NewRow, origin onceq.Outcome, behind, displaced string, now int64) *job {
	j := &job{nonce: r.Nonce, runAt: runAt(r, now)}
	j.ID, j.State, j.Origin, j.Behind, j.Displaced, j.EnqueuedAt = r.ID, onceq.Scheduled, origin, behind, displaced, instant(now)
	j.options(r)
	if j.Key != nil {
		j.anchor = j.Hold.AnchorAt(now, j.runAt)
	}
	s.jobs[j.ID] = j
	if behind == "" {
		s.notify(j.Queue)
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

// write gives a waiting job new values of some fields.
func (s *Store) write(j *job, r *onceq.NewRow, f onceq.Fields, now int64) {
	if f&onceq.FieldArgs != 0 {
		j.Args, j.Encoding, j.Digest = bytes.Clone(r.Args), r.Encoding, r.Claim.Digest
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
	if j.Behind == "" && j.runAt <= now {
		s.notify(j.Queue)
	}
}

// renew gives a waiter the args and options of the latest enqueue, and the earlier of the two run times.
func (s *Store) renew(w *job, r *onceq.NewRow, now int64) {
	w.options(r)
	w.runAt = min(w.runAt, runAt(r, now))
	w.anchor = w.Hold.AnchorAt(w.EnqueuedAt.UnixMilli(), w.runAt)
}

// supersede puts the new job in the holder's place.
func (s *Store) supersede(holder *job, k *key, r *onceq.NewRow, now int64) *job {
	if w := s.jobs[k.next]; w != nil {
		s.stop(w, r.ID, now)
		k.next = ""
	}
	if holder.State == onceq.Running {
		holder.CancelRequested, holder.SupersededBy = true, r.ID
		s.notifyStop(holder.Worker)
		j := s.insert(r, onceq.Superseded, holder.ID, holder.ID, now)
		k.next = j.ID
		return j
	}
	behind := holder.Behind
	s.stop(holder, r.ID, now)
	j := s.insert(r, onceq.Superseded, behind, holder.ID, now)
	s.take(j, now)
	return j
}

// stop cancels a waiting job whose key is another's from now on.
func (s *Store) stop(j *job, by string, now int64) {
	j.Behind, j.SupersededBy, j.Keyless = "", by, true
	j.finish(onceq.Cancelled, now)
	j.anchor = min(j.anchor, now)
	if j.Retention == 0 {
		delete(s.jobs, j.ID)
	}
}

// finish sets a final state.
func (j *job) finish(state onceq.State, now int64) {
	j.State, j.CancelRequested, j.FinishedAt = state, false, instant(now)
	j.pruneAt = now + j.Retention.Milliseconds()
}
