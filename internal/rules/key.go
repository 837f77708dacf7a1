package rules

import "github.com/onceq/onceq"

// Held reports whether the key is held at this instant. With a waiter it is
// never free.
func (k *Key) Held(now int64) bool { return k != nil && (now < k.FreesMS || k.Waiter != nil) }

// HeldBy reports whether the row names this job as the holder.
func (k *Key) HeldBy(j *Job) bool { return k != nil && k.Gone == nil && k.Holder == j && j != nil }

// Pending is the event that the key of a new job waits for; 0 = none.
func Pending(j *Job) onceq.Until {
	if j.Hold.Until == onceq.UntilWindowEnds {
		return 0
	}
	return j.Hold.Until
}

// put keeps the row of a key that is held, and removes it otherwise.
func (b *Book) put(k *Key) {
	if k.Held(b.Now) {
		k.Mark = Changed
	} else {
		k.Mark = Removed
	}
}

// take gives the key to a job, on the terms of that job. While the job
// stands behind another its clocks do not run.
func (b *Book) take(k *Key, j *Job) {
	k.Holder, k.Gone, k.Waiter = j, nil, nil
	k.Pending, k.SinceMS, k.FreesMS = Pending(j), b.Now, j.Hold.FreesAt(j.AnchorMS, j.RunMS)
	if j.Behind != "" {
		k.FreesMS = onceq.Never
	}
	b.put(k)
}

// pass gives the key to its waiter while that still stands behind a run.
func (b *Book) pass(k *Key, since int64) {
	k.Holder, k.Gone, k.Waiter, k.SinceMS = k.Waiter, nil, nil, since
	k.Pending, k.FreesMS = Pending(k.Holder), onceq.Never
	b.put(k)
}

// settle records that a clock took the key from its holder, and so gave it
// to the waiter.
func (b *Book) settle(k *Key) {
	if k.Waiter != nil && b.Now >= k.FreesMS {
		b.pass(k, k.FreesMS)
	}
}

// come is called when the event comes that the key waits for. What is left
// of Window remains.
func (b *Book) come(k *Key, j *Job) {
	k.Pending, k.FreesMS = 0, j.Hold.RestAt(j.AnchorMS)
	b.put(k)
}

// ended does to the key what the end of a job does. The job is deleted, or
// finished as its State says. The result is the queue in which a waiter
// became due, or "".
func (b *Book) ended(j *Job, k *Key, deleted bool) (wake string) {
	if j.Key == nil {
		return ""
	}
	j.change()
	b.settle(k)
	early := j.AnchorMS > b.Now
	if early {
		j.AnchorMS = b.Now
	}
	if j.Behind != "" { // it was a waiter
		j.Behind = ""
		if k.Waiter == j {
			k.Waiter = nil
			b.put(k)
			return ""
		}
	}
	if !k.HeldBy(j) {
		// A clock may have passed the key to the waiter before.
		if w := k.Holder; w != nil && w.Behind == j.ID {
			return b.letGo(k, w)
		}
		return ""
	}
	switch {
	case k.Waiter != nil:
		w := k.Waiter
		k.Holder, k.Waiter, k.SinceMS = w, nil, b.Now
		j.Keyless = true
		return b.letGo(k, w)
	case k.Pending != 0 && (deleted || k.Pending.EndsOn(j.State)):
		b.come(k, j)
	case early && k.Pending != 0:
		k.FreesMS = j.Hold.FreesAt(j.AnchorMS, j.RunMS)
	case early:
		k.FreesMS = j.Hold.RestAt(j.AnchorMS)
	}
	b.put(k)
	return ""
}

// letGo lets a holder go whose run in front has ended: its clocks start.
func (b *Book) letGo(k *Key, w *Job) (wake string) {
	w.change()
	w.Behind = ""
	w.RunMS = max(w.RunMS, b.Now)
	w.AnchorMS = w.Hold.AnchorAt(w.EnqueuedAt.UnixMilli(), w.RunMS)
	k.Pending, k.FreesMS = Pending(w), w.Hold.FreesAt(w.AnchorMS, w.RunMS)
	b.put(k)
	b.wake(w)
	if w.RunMS <= b.Now {
		return w.Queue
	}
	return ""
}

// remove deletes a row. If the job still holds its key, the key keeps what
// is known of its holder. pruned says that the retention is over; with a
// TTL that is no event for the key.
func (b *Book) remove(j *Job, k *Key, pruned bool) {
	j.drop()
	if j.Key == nil || !k.HeldBy(j) {
		return
	}
	if pruned && j.Hold.TTL == 0 && k.Pending != 0 {
		b.come(k, j)
	}
	k.Holder = nil
	k.Gone = &Gone{ID: j.ID, Kind: j.Kind, Queue: j.Queue, Text: j.KeyText, State: j.State, Digest: j.Digest}
	b.put(k)
}

// moveRun gives a waiting job another run time.
func (b *Book) moveRun(j *Job, k *Key, run int64) {
	b.setRun(j, k, run)
	b.wake(j)
}

// setRun changes the run time of a waiting job. Until the first fetch the
// anchor moves with it; a job that no longer holds its key does not get it
// back by that.
func (b *Book) setRun(j *Job, k *Key, run int64) {
	wasDue := j.RunMS <= b.Now
	j.change()
	j.RunMS = run
	if j.Run > 0 || j.Key == nil {
		return
	}
	if !k.HeldBy(j) || !k.Held(b.Now) {
		j.Keyless = true
		return
	}
	j.AnchorMS = j.Hold.AnchorAt(j.EnqueuedAt.UnixMilli(), run)
	if j.Behind != "" {
		return
	}
	if k.Pending == onceq.UntilDue && wasDue {
		k.Pending = 0
	}
	if k.Pending == 0 && j.Hold.Until != onceq.UntilWindowEnds {
		k.FreesMS = j.Hold.RestAt(j.AnchorMS)
	} else {
		k.FreesMS = j.Hold.FreesAt(j.AnchorMS, run)
	}
	b.put(k)
}

// Show returns the key as a store hands it out, and the effective holder:
// that is the waiter, if a clock gave it the key and no step has recorded
// that. The job is nil when its row is gone.
func (k *Key) Show(now int64) (*onceq.HeldKey, *Job) {
	shown := *k
	if k.Held(now) {
		(&Book{Now: now}).settle(&shown)
	}
	h := &onceq.HeldKey{Key: k.Name, Since: onceq.Instant(shown.SinceMS), FreesAt: onceq.Instant(shown.FreesMS),
		FreesWhen: shown.Pending.String(), Inert: !k.Held(now)}
	if shown.Waiter != nil {
		h.Waiter = shown.Waiter.ID
	}
	if g := shown.Gone; g != nil {
		h.Gone = true
		h.Holder, h.Kind, h.Queue, h.Text, h.State, h.Digest = g.ID, g.Kind, g.Queue, g.Text, g.State, g.Digest
		return h, nil
	}
	j := shown.Holder
	h.Holder, h.Kind, h.Queue, h.Text = j.ID, j.Kind, j.Queue, j.KeyText
	h.State, h.Digest = j.Shown(now), j.Digest
	if shown.Pending == onceq.UntilDue && j.Behind == "" && (j.Run > 0 || j.RunMS <= now) {
		h.FreesWhen = "" // the event has come by itself, and only Window holds
	}
	return h, j
}
