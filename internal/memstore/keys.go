package memstore

import "github.com/onceq/onceq"

// held reports whether somebody holds the key at this instant. With a waiter it is never free.
func (k *key) held(now int64) bool { return k != nil && (now < k.freesAt || k.next != "") }

// take gives a key to a job that is not behind anybody, on the job's own terms.
func (s *Store) take(j *job, now int64) {
	k := &key{holder: j.ID, pending: pending(j), since: now, freesAt: j.Hold.FreesAt(j.anchor, j.runAt)}
	if j.Behind != "" {
		k.freesAt = onceq.Never // its clocks do not run while it stands
	}
	s.put(*j.Key, k, now)
}

// put keeps a key row, unless it holds no longer.
func (s *Store) put(name onceq.Key, k *key, now int64) {
	if k.held(now) {
		s.keys[name] = k
	} else {
		delete(s.keys, name)
	}
}

func pending(j *job) onceq.Until {
	if j.Hold.Until == onceq.UntilWindowEnds {
		return 0
	}
	return j.Hold.Until
}

// settle sets down that a key has passed to the waiter because a clock freed it from the holder.
func (s *Store) settle(k *key, now int64) {
	if k.next == "" || now < k.freesAt {
		return
	}
	k.holder, k.next, k.since, k.gone = k.next, "", k.freesAt, nil
	k.pending, k.freesAt = pending(s.jobs[k.holder]), onceq.Never
}

// come brings the event the key waits for: what is left of Window remains.
func (s *Store) come(name onceq.Key, k *key, j *job, now int64) {
	k.pending, k.freesAt = 0, j.Hold.RestAt(j.anchor)
	s.put(name, k, now)
}

// ended does for the key what the end of a job does: finished (its State says so) or deleted. It returns the queue in which a waiter
// became due, or "".
func (s *Store) ended(j *job, deleted bool, now int64) (wake string) {
	if j.Key == nil {
		return ""
	}
	name := *j.Key
	k := s.keys[name]
	if k != nil {
		s.settle(k, now)
	}
	early := j.anchor > now
	if early {
		j.anchor = now
	}
	if j.Behind != "" { // a waiter goes
		j.Behind = ""
		if k != nil && k.next == j.ID {
			k.next = ""
			s.put(name, k, now)
			return ""
		}
	}
	if k == nil {
		return ""
	}
	if k.holder != j.ID || k.gone != nil {
		if w := s.jobs[k.holder]; w != nil && w.Behind == j.ID { // the key had passed to the waiter before
			return s.letGo(name, k, w, now)
		}
		return ""
	}
	switch {
	case k.next != "":
		w := s.jobs[k.next]
		k.holder, k.next, k.since = w.ID, "", now
		j.Keyless = true
		return s.letGo(name, k, w, now)
	case k.pending != 0 && (deleted || k.pending.EndsOn(j.State)):
		s.come(name, k, j, now)
	case early && k.pending != 0:
		k.freesAt = j.Hold.FreesAt(j.anchor, j.runAt)
	case early:
		k.freesAt = j.Hold.RestAt(j.anchor)
	}
	s.put(name, k, now)
	return ""
}

// letGo starts the clocks of a holder that stood behind a run that has ended.
func (s *Store) letGo(name onceq.Key, k *key, w *job, now int64) (wake string) {
	w.Behind = ""
	w.runAt = max(w.runAt, now)
	w.anchor = w.Hold.AnchorAt(w.EnqueuedAt.UnixMilli(), w.runAt)
	k.pending, k.freesAt = pending(w), w.Hold.FreesAt(w.anchor, w.runAt)
	s.put(name, k, now)
	if w.runAt <= now {
		return w.Queue
	}
	return ""
}

// remove takes a row away. A key that it still holds describes its holder by itself from now on. pruned says that retention did it: no
// event where there is a TTL.
func (s *Store) remove(j *job, pruned bool, now int64) {
	delete(s.jobs, j.ID)
	if j.Key == nil {
		return
	}
	k := s.keys[*j.Key]
	if k == nil || k.holder != j.ID || k.gone != nil {
		return
	}
	if pruned && j.Hold.TTL == 0 && k.pending != 0 {
		s.come(*j.Key, k, j, now)
	}
	k.gone = &onceq.HeldKey{Kind: j.Kind, Queue: j.Queue, Text: j.KeyText, State: j.State, Digest: j.Digest}
	s.put(*j.Key, k, now)
}

// moveRun gives a waiting job another run time. Before the first fetch the anchor goes along.
func (s *Store) moveRun(j *job, runAt, now int64) {
	wasDue := j.runAt <= now
	j.runAt = runAt
	if j.Behind == "" {
		s.notify(j.Queue)
	}
	if j.Run > 0 || j.Key == nil {
		return
	}
	j.anchor = j.Hold.AnchorAt(j.EnqueuedAt.UnixMilli(), runAt)
	k := s.keys[*j.Key]
	if k == nil || k.holder != j.ID || k.gone != nil || j.Behind != "" {
		return
	}
	if k.pending == onceq.UntilDue && wasDue {
		k.pending = 0
	}
	if k.pending == 0 {
		k.freesAt = j.Hold.RestAt(j.anchor)
		if j.Hold.Until == onceq.UntilWindowEnds {
			k.freesAt = j.Hold.FreesAt(j.anchor, runAt)
		}
	} else {
		k.freesAt = j.Hold.FreesAt(j.anchor, runAt)
	}
	s.put(*j.Key, k, now)
}

// view is the key as it is handed out: its effective holder.
func (k *key) view(s *Store, name onceq.Key, now int64) *onceq.HeldKey {
	shown := *k
	if !shown.held(now) {
		h := shown.describe(s, name, now)
		h.Inert = true
		return h
	}
	s.settle(&shown, now)
	return shown.describe(s, name, now)
}

func (k *key) describe(s *Store, name onceq.Key, now int64) *onceq.HeldKey {
	h := &onceq.HeldKey{}
	if k.gone != nil {
		*h = *k.gone
		h.Gone = true
	} else {
		j := s.jobs[k.holder]
		h.Kind, h.Queue, h.Text, h.State, h.Digest = j.Kind, j.Queue, j.KeyText, j.state(now), j.Digest
	}
	h.Key, h.Holder, h.Waiter = name, k.holder, k.next
	h.Since, h.FreesAt, h.FreesWhen = instant(k.since), instant(k.freesAt), k.pending.String()
	if j := s.jobs[k.holder]; k.pending == onceq.UntilDue && k.gone == nil && j.Behind == "" && (j.Run > 0 || j.runAt <= now) {
		h.FreesWhen = "" // due is a question: it has come, and only Window holds
	}
	return h
}
