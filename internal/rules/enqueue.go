package rules

import (
	"bytes"
	"slices"

	"github.com/onceq/onceq"
)

// Enqueue decides about a row whose ID is new. It inserts the job, or does
// to the holder what the reactions of the row say. k is the row of its key,
// held or not; nil for a row without a claim.
func (b *Book) Enqueue(r *onceq.NewRow, k *Key) onceq.EnqueueResult {
	if r.Claim != nil && k.Held(b.Now) {
		return b.meet(k, r)
	}
	j := b.insert(r, onceq.Inserted, "", "")
	if r.Claim != nil {
		b.take(k, j)
	}
	return b.inserted(j, k)
}

// inserted is the answer to a row that made a job.
func (b *Book) inserted(j *Job, k *Key) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j.View(b.Now)}
	if k.HeldBy(j) && b.Now < k.FreesMS {
		result.FreesAt = k.FreesMS
	}
	return result
}

// Known answers a row whose ID exists already. k is the row of the key of
// that job, and displaced the job that its field Displaced names (nil if
// there is none). Both are needed only if the call was sent twice.
func (b *Book) Known(j *Job, r *onceq.NewRow, k *Key, displaced *Job) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Skipped, Job: j.own(b.Now)}
	if IsEcho(j, r) {
		if result.Outcome = j.Origin; j.Origin == onceq.Inserted {
			return b.inserted(j, k)
		}
		c := &onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.Displaced, Since: j.EnqueuedAt}
		if d := displaced; d != nil {
			c.State, c.Since, c.ArgsDiffer = d.Shown(b.Now), d.EnqueuedAt, d.Digest != j.Digest
		} else {
			c.Gone = true
		}
		result.Conflict = c
		return result
	}
	if r.Reactions.Refuses() || j.Kind != r.Kind {
		result.Outcome = onceq.Rejected
	}
	result.Conflict = &onceq.Conflict{By: "id", Holder: j.ID, State: j.Shown(b.Now), Since: j.EnqueuedAt}
	return result
}

// IsEcho reports whether this call made the job, and was sent again.
func IsEcho(j *Job, r *onceq.NewRow) bool { return j.Nonce == r.Nonce }

// meet answers a row whose key is held.
func (b *Book) meet(k *Key, r *onceq.NewRow) onceq.EnqueueResult {
	held, holder := k.Show(b.Now)
	conflict := held.Conflict(r.Claim.Digest)
	action := r.Reactions.Ended
	if holder != nil {
		action = r.Reactions.On(conflict.State)
	}
	if action > onceq.ActionRefuse {
		b.settle(k)
	}
	result := onceq.EnqueueResult{Outcome: onceq.Replaced, Conflict: conflict}
	stands := holder
	switch action {
	case onceq.ActionAnswer:
		result.Outcome = onceq.Skipped
	case onceq.ActionRefuse:
		result.Outcome = onceq.Rejected
	case onceq.ActionWrite:
		b.write(holder, r, r.Write)
		if r.Write&onceq.FieldRunAt != 0 {
			b.moveRun(holder, k, RunMS(r, b.Now))
		}
	case onceq.ActionPushBack:
		b.write(holder, r, onceq.FieldArgs)
		latest := holder.EnqueuedAt.UnixMilli() + r.MaxWait.Milliseconds()
		b.moveRun(holder, k, max(b.Now, min(RunMS(r, b.Now), latest)))
	case onceq.ActionMerge, onceq.ActionStand:
		stands, result.Outcome = b.coalesce(k, holder, r, action)
	case onceq.ActionTake:
		stands, result.Outcome = b.supersede(k, holder, r), onceq.Superseded
	}
	if stands == nil {
		name := k.Name
		result.Job = &onceq.JobRow{ID: held.Holder, Kind: held.Kind, Queue: held.Queue, Key: &name, KeyText: held.Text,
			State: held.State}
	} else {
		result.Job = stands.own(b.Now)
	}
	return result
}

// coalesce makes sure that a run with the latest args starts later: that of
// the waiter, that of the holder, or that of a new waiter.
func (b *Book) coalesce(k *Key, holder *Job, r *onceq.NewRow, action onceq.Action) (*Job, onceq.Outcome) {
	switch {
	case k.Waiter != nil:
		b.renew(k.Waiter, r)
		return k.Waiter, onceq.Replaced
	case holder.Behind != "": // a clock has passed the key to the waiter
		b.renew(holder, r)
	case action == onceq.ActionStand:
		k.Waiter = b.insert(r, onceq.Coalesced, holder.ID, holder.ID)
		b.put(k)
		return k.Waiter, onceq.Coalesced
	default:
		b.write(holder, r, onceq.FieldArgs)
		if at := RunMS(r, b.Now); at < holder.RunMS && holder.State != onceq.Retryable {
			b.moveRun(holder, k, at)
		}
	}
	return holder, onceq.Replaced
}

// write gives a waiting job new values of some fields.
func (b *Book) write(j *Job, r *onceq.NewRow, f onceq.JobFields) {
	j.change()
	if f&onceq.FieldArgs != 0 {
		j.Args, j.Encoding, j.Digest, j.NewArgs = bytes.Clone(r.Args), r.Encoding, r.Claim.Digest, true
		j.Extra = bytes.Clone(r.Extra)
	}
	if f&onceq.FieldMeta != 0 {
		j.MetaJSON = bytes.Clone(r.Meta)
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
	b.wake(j)
}

// renew gives a waiter the args and options of the latest enqueue, and the
// earlier of the two run times.
func (b *Book) renew(w *Job, r *onceq.NewRow) {
	w.change()
	w.SetOptions(r)
	w.NewArgs = true
	w.RunMS = min(w.RunMS, RunMS(r, b.Now))
	w.AnchorMS = w.Hold.AnchorAt(w.EnqueuedAt.UnixMilli(), w.RunMS)
}

// supersede puts a new job in the place of the holder.
func (b *Book) supersede(k *Key, holder *Job, r *onceq.NewRow) *Job {
	if k.Waiter != nil {
		b.displace(k.Waiter, r.ID)
		k.Waiter = nil
		b.put(k)
	}
	if holder.State == onceq.Running {
		holder.change()
		holder.CancelRequested, holder.SupersededBy = true, r.ID
		b.Stops = append(b.Stops, holder.Worker)
		k.Waiter = b.insert(r, onceq.Superseded, holder.ID, holder.ID)
		b.put(k)
		return k.Waiter
	}
	behind := holder.Behind
	b.displace(holder, r.ID)
	j := b.insert(r, onceq.Superseded, behind, holder.ID)
	b.take(k, j)
	return j
}

// displace cancels a waiting job whose key another job takes.
func (b *Book) displace(j *Job, by string) {
	j.Behind, j.SupersededBy, j.Keyless = "", by, true
	b.finish(j, onceq.Cancelled)
	j.AnchorMS = min(j.AnchorMS, b.Now)
	if j.unkept() {
		j.drop()
	}
}
