package onceq

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/onceq/onceq/internal/fingerprint"
)

// A queue of which only n jobs may run at once in the whole fleet
// (QueueConfig.Global) has n slots. A slot is a job of onceq's own that never
// ends: it waits in a reserved queue while it is free, and runs for the worker
// that has it. It holds a key with its number, so there is one of each.
//
// A worker fetches slots as it fetches jobs, and starts no more jobs of the
// queue than it has slots. The rest follows from that: its heartbeat keeps
// them with its other runs, those of a worker that died are rescued, and one
// whose fetch was never answered is handed back. A worker gives a slot back by
// no longer naming it in its heartbeat. Others are woken then, as by any job
// that becomes due.

const (
	slotsPrefix = reservedPrefix + "slots/" // begins the queue of slots; the name of their queue follows
	slotPrefix  = reservedPrefix + "slot/"  // begins the kind of a slot; its number follows, from 0

	maxGlobal = 100 // slots of a queue

	// slotIdle is for how long a worker keeps slots that it does not need, give
	// or take as long again, and for how long it takes none after it gave one to
	// a worker that asked for it.
	slotIdle = time.Second
	// slotPatience is after how long a worker asks for a slot, if it got none.
	slotPatience = 10 * time.Second
)

// limit is what a session knows of the slots of a queue. The lock of the
// session guards it.
type limit struct {
	n     int      // how many there are, as this worker was told
	queue string   // in which they are
	kinds []string // which they are: the first n

	held  []*slot
	asked int       // of the fetch under way: how many jobs it may bring
	most  int       // jobs that ran at once since the last round
	round time.Time // when the next ends; then slots that no job needed are given back

	look  time.Time // when to look without a wake-up
	due   bool      // a job is due, and there is no slot for it
	wait  bool      // no slot was free: until one is, or it is time to look
	rest  bool      // a slot was given to another worker: until it is time to look
	since time.Time // jobs have been due since, and no slot was got; zero = no
	putAt time.Time // when to make sure next that the slots exist
}

// slot is a slot that this worker has.
type slot struct {
	Run
	lost   bool // it may be another's by now: no job starts on it
	wanted bool // another worker asks for it: no job starts on it
}

func newLimit(queue string, n int) *limit {
	l := &limit{n: n, queue: slotsPrefix + queue}
	for i := range n {
		l.kinds = append(l.kinds, slotPrefix+strconv.Itoa(i))
	}
	return l
}

// isSlot reports whether a job is a slot.
func isSlot(queue string) bool {
	return len(queue) > len(slotsPrefix) && queue[:len(slotsPrefix)] == slotsPrefix
}

// usable is how many slots there are to run jobs on.
func (l *limit) usable() (n int) {
	for _, s := range l.held {
		if !s.lost && !s.wanted {
			n++
		}
	}
	return n
}

// more is how many slots to fetch for a queue that can start so many jobs: as
// many as there are already, so that a few fetches are enough for many.
func (l *limit) more(own int) int {
	usable := l.usable()
	return min(max(usable, 1), l.n-usable, own)
}

// drop takes slots out of hand that no job runs on, nor may soon: those that
// are lost or wanted, and so many of the others. It returns how many.
func (l *limit) drop(busy, idle int) (n int) {
	for spare := len(l.held) - busy - l.asked; spare > 0; spare-- {
		i := slices.IndexFunc(l.held, func(s *slot) bool { return s.lost || s.wanted })
		if i < 0 {
			if idle <= 0 {
				break
			}
			i = len(l.held) - 1
			idle--
		}
		if l.held[i].wanted {
			l.rest, l.look = true, time.Now().Add(slotIdle)
		}
		l.held = slices.Delete(l.held, i, i+1)
		n++
	}
	return n
}

// own is how many more jobs of the queue may start, if there are slots for
// them.
func (q *queue) own() int {
	if q.pool != nil {
		return q.pool.slots - q.pool.busy
	}
	return q.slots - q.busy
}

// looks reports whether to find out if a job is due for which there is no slot
// yet.
func (q *queue) looks() bool {
	l := q.limit
	return l != nil && q.more && !l.due && !l.wait && !l.rest && q.own() > 0 && q.free() <= 0 && l.usable() < l.n
}

// allTold reports whether the answer to a fetch says that nothing else is due.
// A queue that got all it asked for has to look for more, which costs one of
// few slots a call of its own.
func (q *queue) allTold(f Fetched) bool { return q.limit != nil && f.NextDue != 0 }

// toLook is a queue to look into, before a slot is taken for it; nil = none.
func (p *pacer) toLook() *queue {
	for _, q := range p.queues {
		if q.looks() {
			return q
		}
	}
	return nil
}

// looked takes in what a look found.
func (l *limit) looked(f Fetched, now time.Time, poll time.Duration) {
	l.look = now.Add(poll)
	switch {
	case f.NextDue == 0:
		l.due = true
		return
	case f.NextDue > 0:
		l.look = now.Add(min(poll, f.NextDue))
	}
	l.since = time.Time{}
}

// quiet reports whether a fetch that found nothing leaves nothing to look for.
func (p *pacer) quiet(looked *queue) bool {
	for _, q := range p.queues {
		if (q.limit != nil || looked != nil) && q.more || q.limit != nil && q.limit.due {
			return false
		}
	}
	return true
}

// nextRound is when something is to be done about slots; zero = never.
func (p *pacer) nextRound() (next time.Time) {
	for _, q := range p.queues {
		if l := q.limit; l != nil {
			if next.IsZero() || l.look.Before(next) {
				next = l.look
			}
			if len(l.held) > 0 && l.round.Before(next) {
				next = l.round
			}
		}
	}
	return next
}

// roundLocked looks again where it is time, and gives back the slots that were
// not needed for a while.
func (s *session) roundLocked(now time.Time) {
	for _, q := range s.pacer.queues {
		l := q.limit
		if l == nil {
			continue
		}
		if !now.Before(l.look) {
			q.more, l.wait, l.rest = true, false, false
			l.look = now.Add(s.pollInterval())
		}
		if !now.Before(l.round) {
			s.giveBackLocked(q, l.usable()-l.most)
			l.most, l.round = q.busy+l.asked, now.Add(slotIdle)
		}
	}
}

// giveBackLocked gives back slots that no job runs on: those that are lost or
// wanted, and so many of the others. The next heartbeat does it.
func (s *session) giveBackLocked(q *queue, idle int) {
	if q.limit == nil {
		return
	}
	if s.ending {
		idle = len(q.limit.held)
	}
	n := q.limit.drop(q.busy, idle)
	if n == 0 {
		return
	}
	s.returned += n
	signal(s.beatNow)
	if q.free() <= 0 { // what is due next was told to a fetch of jobs
		q.more = true
		signal(s.lookNow)
	}
}

// endSlots gives back all slots as soon as no job runs on them.
func (s *session) endSlots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, q := range s.pacer.queues {
		s.giveBackLocked(q, 0)
	}
}

// loseSlotsLocked notes that all slots may be another's by now. They stay in
// hand while jobs run on them, as these do.
func (s *session) loseSlotsLocked() {
	for _, q := range s.pacer.queues {
		if q.limit != nil {
			for _, slot := range q.limit.held {
				slot.lost = true
			}
			s.giveBackLocked(q, 0)
		}
	}
}

// slotsLocked are the slots that this worker has.
func (s *session) slotsLocked() (runs []Run) {
	for _, q := range s.pacer.queues {
		if q.limit != nil {
			for _, slot := range q.limit.held {
				runs = append(runs, slot.Run)
			}
		}
	}
	return runs
}

// markSlotsLocked takes in what a heartbeat says of slots.
func (s *session) markSlotsLocked(x *Extended) {
	for _, q := range s.pacer.queues {
		if q.limit == nil {
			continue
		}
		for _, slot := range q.limit.held {
			slot.lost = slot.lost || slices.Contains(x.Lost, slot.Run)
			slot.wanted = slot.wanted || slices.Contains(x.Stop, slot.Run)
		}
		s.giveBackLocked(q, 0)
	}
}

// takeSlots takes slots for the queues in which jobs are due.
func (s *session) takeSlots(ctx context.Context) error {
	for _, q := range s.pacer.queues {
		l := q.limit
		if l == nil {
			continue
		}
		s.mu.Lock()
		n := 0
		if l.due && s.leased {
			n = l.more(q.own())
		}
		l.due = false
		s.mu.Unlock()
		if n <= 0 {
			continue
		}
		got, err := s.fetchSlots(ctx, l, n)
		if err == nil && got == 0 && !time.Now().Before(l.putAt) {
			if err = s.putSlots(ctx, l, l.kinds, Reactions{}); err == nil {
				l.putAt = time.Now().Add(s.w.config.Lease)
				got, err = s.fetchSlots(ctx, l, n)
			}
		}
		if err == nil && s.noteSlots(q, got) {
			// Of one of them: its holder is asked to stop, and this row stands behind it.
			kind := l.kinds[rand.IntN(l.n)]
			err = s.putSlots(ctx, l, []string{kind}, Reactions{Running: ActionTake})
		}
		if err != nil {
			s.hasMore(q.name)
			return err
		}
	}
	return nil
}

// noteSlots takes in how many slots were got. It reports whether to ask for
// one, because the worker has had none for long.
func (s *session) noteSlots(q *queue, got int) (ask bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, now := q.limit, time.Now()
	q.more = true
	switch {
	case got > 0 || len(l.held) > 0:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = now
	case now.Sub(l.since) >= slotPatience:
		l.since, ask = now, true
	}
	if got == 0 {
		l.wait, l.look = true, now.Add(s.pollInterval())
	}
	return ask
}

// fetchSlots takes up to n free slots.
func (s *session) fetchSlots(ctx context.Context, l *limit, n int) (got int, err error) {
	s.mu.Lock()
	s.fetchNo++
	r := FetchRequest{Worker: s.name, No: s.fetchNo, Queues: []QueueSlots{{l.queue, n}}, Kinds: l.kinds}
	s.mu.Unlock()
	var f Fetched
	if _, err = s.call(ctx, s.callLimit(), func(ctx context.Context) (err error) {
		f, err = s.w.store.Fetch(ctx, r)
		return err
	}); err != nil {
		f = Fetched{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched = r.No // see session.fetch
	if !s.leased || ctx.Err() != nil {
		return 0, err // the next heartbeat hands them back
	}
	for _, job := range f.Jobs {
		l.held = append(l.held, &slot{Run: Run{job.ID, job.Run}})
	}
	if len(f.Jobs) > 0 {
		l.most, l.round = len(l.held), time.Now().Add(slotIdle)
	}
	return len(f.Jobs), err
}

// putSlots makes the slots of these kinds, where they do not exist.
func (s *session) putSlots(ctx context.Context, l *limit, kinds []string, reactions Reactions) error {
	rows := make([]NewRow, len(kinds))
	for i, kind := range kinds {
		var err error
		if rows[i], err = s.w.client.slotRow(l.queue, kind, reactions); err != nil {
			return err
		}
	}
	_, err := s.call(ctx, s.callLimit(), func(ctx context.Context) error {
		_, err := s.w.store.Enqueue(ctx, EnqueueRequest{Rows: rows})
		return err
	})
	if err != nil {
		return fmt.Errorf("put the slots of queue %s: %w", l.queue[len(slotsPrefix):], err)
	}
	return nil
}

// slotRow makes a slot for the store.
func (c *Client) slotRow(queue, kind string, reactions Reactions) (NewRow, error) {
	args := []byte("null")
	sum, err := fingerprint.Sum(fingerprint.Input{Kind: kind, Args: args, JSON: true, By: fingerprint.ByKind,
		Custom: true, Key: queue[len(slotsPrefix):]})
	if err != nil {
		return NewRow{}, invalidFrom(err, false)
	}
	r := NewRow{Kind: kind, Queue: queue, Args: args, Encoding: EncodingJSON, Priority: 5, MaxAttempts: maxAttempts,
		Reactions: reactions, Nonce: newNonce(), made: true,
		Claim: &Claim{Key: sum.Key, Text: sum.Text, Digest: sum.Digest, Hold: Hold{Until: UntilFinished}}}
	if r.ID = c.ids.next(time.Now()); c.place != nil {
		r.ID = c.place(r.ID, r.key())
	}
	return r, nil
}
