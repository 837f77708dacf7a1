package sqlitestore

import (
	"encoding/hex"

	"github.com/onceq/onceq"
)

// held reports whether somebody holds the key at this instant. With a waiter it is never free.
func (k *heldKey) held(now int64) bool { return k != nil && (now < k.freesAt || k.next != 0) }

// heldBy reports whether the row says that this job, whose row is there, is the holder.
func (k *heldKey) heldBy(j *job) bool { return k != nil && k.gone == nil && k.holder == j.seq }

// take gives a key to a job on the job's own terms.
func (st *step) take(j *job) error {
	if _, err := st.key(*j.Key); err != nil {
		return err
	}
	old := st.keys[*j.Key] // its row may be there and be given up in this step
	k := &heldKey{name: *j.Key, stored: old != nil && old.stored, holder: j.seq, pending: pending(j), since: st.now, freesAt: j.Hold.FreesAt(j.anchor, j.runAt)}
	if j.Behind != "" {
		k.freesAt = onceq.Never // its clocks do not run while it stands
	}
	st.put(k)
	return nil
}

func pending(j *job) onceq.Until {
	if j.Hold.Until == onceq.UntilWindowEnds {
		return 0
	}
	return j.Hold.Until
}

// settle sets down that a key has passed to the waiter because a clock freed it from the holder.
func (st *step) settle(k *heldKey) error {
	if k == nil || k.next == 0 || st.now < k.freesAt {
		return nil
	}
	return st.pass(k, k.freesAt)
}

// pass gives a key to its waiter, which still stands.
func (st *step) pass(k *heldKey, since int64) error {
	w, err := st.at(k.next)
	if err != nil {
		return err
	}
	k.holder, k.next, k.since, k.gone = k.next, 0, since, nil
	k.pending, k.freesAt = pending(w), onceq.Never
	st.put(k)
	return nil
}

// come brings the event the key waits for: what is left of Window remains.
func (st *step) come(k *heldKey, j *job) {
	k.pending, k.freesAt = 0, j.Hold.RestAt(j.anchor)
	st.put(k)
}

// ended does for the key what the end of a job does: finished (its State says so) or deleted. It returns the queue in which a waiter
// became due, or "".
func (st *step) ended(j *job, deleted bool) (wake string, err error) {
	if j.Key == nil {
		return "", nil
	}
	st.change(j)
	k, err := st.key(*j.Key)
	if err != nil {
		return "", err
	}
	if err := st.settle(k); err != nil {
		return "", err
	}
	early := j.anchor > st.now
	if early {
		j.anchor = st.now
	}
	if j.Behind != "" { // a waiter goes
		j.Behind = ""
		if k != nil && k.next == j.seq {
			k.next = 0
			st.put(k)
			return "", nil
		}
	}
	if k == nil {
		return "", nil
	}
	if !k.heldBy(j) {
		if w, err := st.at(k.holder); err != nil || w == nil || w.Behind != j.ID {
			return "", err
		} else { // the key had passed to the waiter before
			return st.letGo(k, w), nil
		}
	}
	switch {
	case k.next != 0:
		w, err := st.at(k.next)
		if err != nil {
			return "", err
		}
		k.holder, k.next, k.since = w.seq, 0, st.now
		j.Keyless = true
		return st.letGo(k, w), nil
	case k.pending != 0 && (deleted || k.pending.EndsOn(j.State)):
		st.come(k, j)
	case early && k.pending != 0:
		k.freesAt = j.Hold.FreesAt(j.anchor, j.runAt)
	case early:
		k.freesAt = j.Hold.RestAt(j.anchor)
	}
	st.put(k)
	return "", nil
}

// letGo starts the clocks of a holder that stood behind a run that has ended.
func (st *step) letGo(k *heldKey, w *job) (wake string) {
	w.Behind = ""
	w.runAt = max(w.runAt, st.now)
	w.anchor = w.Hold.AnchorAt(millis(w.EnqueuedAt), w.runAt)
	st.change(w)
	k.pending, k.freesAt = pending(w), w.Hold.FreesAt(w.anchor, w.runAt)
	st.put(k)
	st.wake(w)
	if w.runAt <= st.now {
		return w.Queue
	}
	return ""
}

// remove takes a row away. A key that it still holds describes its holder by itself from now on. pruned says that retention did it: no
// event where there is a TTL.
func (st *step) remove(j *job, pruned bool) error {
	st.drop(j)
	if j.Key == nil {
		return nil
	}
	k, err := st.key(*j.Key)
	if err != nil || !k.heldBy(j) {
		return err
	}
	if pruned && j.Hold.TTL == 0 && k.pending != 0 {
		st.come(k, j)
	}
	k.gone = &gone{ID: j.ID, Kind: j.Kind, Queue: j.Queue, Text: j.KeyText, State: j.State, Digest: hex.EncodeToString(j.Digest[:])}
	k.holder = 0
	st.put(k)
	return nil
}

// moveRun gives a waiting job another run time. Before the first fetch the anchor goes along.
func (st *step) moveRun(j *job, runAt int64) error {
	wasDue := j.runAt <= st.now
	j.runAt = runAt
	st.change(j)
	st.wake(j)
	if j.Run > 0 || j.Key == nil {
		return nil
	}
	j.anchor = j.Hold.AnchorAt(millis(j.EnqueuedAt), runAt)
	k, err := st.key(*j.Key)
	if err != nil || !k.heldBy(j) || j.Behind != "" {
		return err
	}
	if k.pending == onceq.UntilDue && wasDue {
		k.pending = 0
	}
	switch {
	case k.pending == 0 && j.Hold.Until != onceq.UntilWindowEnds:
		k.freesAt = j.Hold.RestAt(j.anchor)
	default:
		k.freesAt = j.Hold.FreesAt(j.anchor, runAt)
	}
	st.put(k)
	return nil
}

// look is the key as it is handed out: its effective holder. holder is that job; nil when its row is gone.
func (st *step) look(k *heldKey) (h *onceq.HeldKey, holder *job, err error) {
	holderNo, waiterNo := k.holder, k.next
	h = &onceq.HeldKey{Key: k.name, Since: instant(k.since), FreesAt: instant(k.freesAt), FreesWhen: k.pending.String()}
	gone := k.gone
	if k.next != 0 && st.now >= k.freesAt { // passed to the waiter by a clock, and not set down yet
		holderNo, waiterNo, gone = k.next, 0, nil
	}
	if waiterNo != 0 {
		w, err := st.at(waiterNo)
		if err != nil {
			return nil, nil, err
		}
		if w == nil {
			return nil, nil, errOrphan(k)
		}
		h.Waiter = w.ID
	}
	h.Inert = !k.held(st.now)
	if gone != nil {
		h.Gone = true
		h.Holder, h.Kind, h.Queue, h.Text, h.State, h.Digest = gone.ID, gone.Kind, gone.Queue, gone.Text, gone.State, gone.digest()
		return h, nil, nil
	}
	j, err := st.at(holderNo)
	if err != nil {
		return nil, nil, err
	}
	if j == nil {
		return nil, nil, errOrphan(k)
	}
	if holderNo == k.next {
		h.Since, h.FreesAt, h.FreesWhen = instant(k.freesAt), instant(onceq.Never), pending(j).String()
	}
	if h.FreesWhen == onceq.UntilDue.String() && j.Behind == "" && (j.Run > 0 || j.runAt <= st.now) { // by the clock, and not set down yet
		h.FreesWhen = ""
	}
	h.Holder, h.Kind, h.Queue, h.Text, h.State, h.Digest = j.ID, j.Kind, j.Queue, j.KeyText, j.shown(st.now), j.Digest
	return h, j, nil
}
