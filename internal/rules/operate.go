package rules

import (
	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/refusal"
)

// Around is what OpStart asks besides the rows of the job and its key.
type Around struct {
	Known  bool // the worker
	Paused bool // the queue of the job
}

// Change does an operator's step on one job: OpCancel, OpRetry, OpRunNow,
// OpDelete, OpStart or OpMove. k is the row of its key.
func (b *Book) Change(c onceq.Change, j *Job, k *Key, a Around) onceq.ChangeResult {
	before := j.View(b.Now)
	var err error
	switch c.Op {
	case onceq.OpCancel:
		err = b.cancel(j, k)
	case onceq.OpRetry:
		err = b.retry(j, k, c.WithoutKey)
	case onceq.OpRunNow:
		err = b.runNow(j, k)
	case onceq.OpStart:
		err = b.startByID(c, j, k, a)
	case onceq.OpMove:
		err = b.move(c, j, k)
	case onceq.OpDelete:
		if err = b.delete(j, k); err == nil {
			return onceq.ChangeResult{Job: before}
		}
	}
	if err != nil {
		return onceq.ChangeResult{Job: before, Err: err}
	}
	return onceq.ChangeResult{Job: j.View(b.Now)}
}

func (b *Book) cancel(j *Job, k *Key) error {
	switch {
	case j.State == onceq.Running:
		if !j.CancelRequested {
			j.change()
			j.CancelRequested = true
		}
		b.Stops = append(b.Stops, j.Worker)
	case j.State == onceq.Cancelled:
	case j.State.Finished():
		return Refusal(j.State, refusal.Cancel)
	default:
		b.finish(j, onceq.Cancelled)
		b.ended(j, k, false)
		if j.unkept() {
			b.remove(j, k, true)
		}
	}
	return nil
}

func (b *Book) runNow(j *Job, k *Key) error {
	switch {
	case !j.State.Waiting():
		return Refusal(j.Shown(b.Now), refusal.RunNow)
	case j.Behind != "":
		return Refusal(j.Shown(b.Now), CannotBehind(onceq.OpRunNow, j.Behind))
	case j.RunMS > b.Now:
		b.moveRun(j, k, b.Now)
	}
	return nil
}

func (b *Book) startByID(c onceq.Change, j *Job, k *Key, a Around) error {
	switch {
	case !a.Known:
		return UnknownWorker(c.Worker)
	case j.State == onceq.Running && j.Worker == c.Worker && j.FetchNo == c.No: // a repeat
	case !j.State.Waiting():
		return Refusal(j.Shown(b.Now), refusal.Start)
	case j.Behind != "":
		return Refusal(j.Shown(b.Now), CannotBehind(c.Op, j.Behind))
	case a.Paused:
		return RefusedPaused(j.Queue)
	default:
		if j.RunMS > b.Now {
			b.setRun(j, k, b.Now)
		}
		b.Start(j, k, c.Worker, c.No)
	}
	return nil
}

func (b *Book) move(c onceq.Change, j *Job, k *Key) error {
	switch {
	case !j.State.Waiting():
		return Refusal(j.Shown(b.Now), refusal.Move)
	case j.Behind != "":
		return Refusal(j.Shown(b.Now), CannotBehind(c.Op, j.Behind))
	}
	b.moveRun(j, k, RunMS(&onceq.NewRow{Delay: c.Delay, RunAt: c.RunAt}, b.Now))
	return nil
}

func (b *Book) retry(j *Job, k *Key, withoutKey bool) error {
	if j.State == onceq.Retryable {
		return b.runNow(j, k)
	}
	if !j.State.Finished() {
		return Refusal(j.Shown(b.Now), refusal.Retry)
	}
	if j.Key != nil {
		held := k.Held(b.Now)
		own := held && k.HeldBy(j) && k.Waiter == nil
		switch {
		case held && !own && !withoutKey:
			h, _ := k.Show(b.Now)
			return &onceq.DuplicateError{Kind: j.Kind, Queue: j.Queue, Conflict: *h.Conflict(j.Digest)}
		case held && !own:
			j.Keyless = true
		default:
			since := b.Now
			if own {
				since = k.SinceMS
			}
			j.Keyless, j.AnchorMS, j.RunMS = false, b.Now, b.Now
			b.take(k, j)
			k.SinceMS = since
		}
	}
	j.change()
	j.State, j.RunMS, j.MaxAttempts = onceq.Scheduled, b.Now, max(j.MaxAttempts, j.Attempt+1)
	j.Result, j.NewResult = nil, true
	j.FinishedAt, j.PruneMS, j.Worker, j.SupersededBy, j.CancelRequested = onceq.Instant(0), 0, "", "", false
	b.wake(j)
	return nil
}

func (b *Book) delete(j *Job, k *Key) error {
	if j.State == onceq.Running {
		return Refusal(j.State, refusal.Delete)
	}
	b.ended(j, k, true)
	b.remove(j, k, false)
	return nil
}

// Release frees a key by hand, and its holder goes on without it. If a
// waiter stands behind the holder, the key passes to the waiter. With a
// holder it is only released if that job holds it.
func (b *Book) Release(k *Key, holder string) error {
	if !k.Held(b.Now) {
		return onceq.ErrNotFound
	}
	if h, _ := k.Show(b.Now); holder != "" && h.Holder != holder {
		return onceq.ErrNotFound
	}
	b.settle(k)
	if j := k.Holder; j != nil {
		if j.Behind != "" {
			return RefusedRelease(j.ID, j.Behind)
		}
		j.change()
		j.Keyless = true
	}
	if k.Waiter != nil {
		b.pass(k, b.Now)
		return nil
	}
	k.FreesMS = b.Now // free from this instant
	b.put(k)
	return nil
}
