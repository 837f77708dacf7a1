package onceq

import "time"

// fetchBytes is how many bytes of args and meta one fetch brings at most,
// unless a single job has more.
const fetchBytes = 16 << 20

// pacer decides when to fetch and how much to ask for. It fetches when some
// queue may have more jobs and has a free slot. A queue may have more after
// a wake-up, after a fetch that got all it asked for, at the time that the
// store named, and once every poll interval.
//
// The lock of the session guards it.
type pacer struct {
	queues []*queue
	look   time.Time // when to look without a wake-up
	barren int       // fetches in a row that brought nothing, although there might have been more
	looks  *queue    // the fetch under way only looks into this one; nil = it brings jobs
	load   load
}

// queue is what a session knows of a queue.
type queue struct {
	name   string
	slots  int    // of its own
	pool   *pool  // whose slots it takes in place of its own; nil = none
	weight int    // its part of the pool
	credit int    // see pacer.share
	limit  *limit // the slots of the whole fleet; nil = it needs none
	busy   int    // handlers that have not returned
	more   bool   // there may be due jobs that were not fetched
}

// hasMore notes that a queue ("" = any of them) may have due jobs.
func (p *pacer) hasMore(name string) {
	p.barren = 0
	p.mark(name)
}

func (p *pacer) mark(name string) {
	for _, q := range p.queues {
		ofSlots := q.limit != nil && (name == "" || q.limit.queue == name)
		if ofSlots {
			q.limit.wait = false
		}
		if ofSlots || name == "" || q.name == name {
			q.more = true
		}
	}
}

// lookNow marks the queues to be asked again, because it is time. The next
// time is after poll.
func (p *pacer) lookNow(now time.Time, poll time.Duration) {
	for _, q := range p.queues {
		q.more = q.more || q.limit == nil || q.free() > 0 // of others limit.look says when
	}
	p.look = now.Add(poll)
}

// lookBy makes sure that every queue is asked again at that time, or
// earlier.
func (p *pacer) lookBy(t time.Time) {
	if t.Before(p.look) {
		p.look = t
	}
}

// wantsMore reports whether there may be jobs for a free slot.
func (p *pacer) wantsMore() bool {
	for _, q := range p.queues {
		if q.more && q.free() > 0 || q.looks() {
			return true
		}
	}
	return false
}

// ask asks for jobs for the free slots, at that time. Queues that are marked from now on
// count for the next fetch.
//
// Each fetch begins with another queue, so that no queue is always last:
// one with large jobs may use up MaxBytes each time.
func (p *pacer) ask(r *FetchRequest, now time.Time) {
	r.MaxBytes = p.load.of(fetchBytes)
	if p.looks = p.toLook(); p.looks != nil {
		r.Queues = []QueueSlots{{Queue: p.looks.name}}
		p.looks.more = false
		return
	}
	shares := p.askPool(now)
	for i := range p.queues {
		q := p.queues[(int(r.No)+i)%len(p.queues)]
		n, asks := shares[q]
		if free := q.free(); q.pool == nil && free > 0 {
			n, asks = p.load.of(free), true
		}
		if asks {
			r.Queues = append(r.Queues, QueueSlots{Queue: q.name, Slots: n})
			q.more = false
			if q.limit != nil {
				q.limit.asked = n
			}
		}
	}
}

// failed notes that a request was not answered, or that its jobs were not
// taken.
func (p *pacer) failed(r FetchRequest) {
	for _, asked := range r.Queues {
		p.queue(asked.Queue).more = true
	}
	p.over()
}

// over notes that no fetch is under way.
func (p *pacer) over() {
	for _, q := range p.queues {
		if q.limit != nil {
			q.limit.asked = 0
		}
	}
}

// answered takes in the answer to a request. Its jobs have their slots
// already.
func (p *pacer) answered(r FetchRequest, f Fetched, now time.Time, poll time.Duration) {
	p.over()
	if p.looks != nil {
		p.looks.limit.looked(f, now, poll)
		return
	}
	got := map[string]int{}
	for _, job := range f.Jobs {
		got[job.Queue]++
	}
	cut := f.NextDue == 0 && len(f.Jobs) > 0
	for _, asked := range r.Queues {
		q := p.queue(asked.Queue)
		if q.pool == nil && (cut || got[asked.Queue] >= asked.Slots) && !q.allTold(f) {
			q.more = true
		}
	}
	p.poolAnswered(r, got, f.NextDue == 0)
	wait := poll
	switch {
	case f.NextDue > 0:
		wait = min(wait, f.NextDue)
	case f.NextDue == 0 && len(f.Jobs) == 0:
		wait = min(wait, time.Millisecond<<min(p.barren, 30))
		p.barren++
	}
	if len(f.Jobs) > 0 {
		p.barren = 0
	}
	p.look = p.poolLook(r, now, wait, f.NextDue == 0)
	for _, asked := range r.Queues {
		if l := p.queue(asked.Queue).limit; l != nil && !l.wait && !l.rest {
			l.look = now.Add(wait)
		}
	}
}

// queue finds a queue. A job of a queue that was not asked for is counted
// with the first.
func (p *pacer) queue(name string) *queue {
	for _, q := range p.queues {
		if q.name == name {
			return q
		}
	}
	return p.queues[0]
}

// load is how much one call to the store carries. A call that is too large
// to get through in time never will, so after a call that ran out of time
// the next is half as large. After a quick call the next is twice as large,
// up to the full size.
type load struct{ halved int }

func (l *load) of(n int) int { return max(n>>l.halved, 1) }

// late notes a call whose answer did not come in time.
func (l *load) late() { l.halved = min(l.halved+1, 24) }

// answered notes how long a call took of the time that it had.
func (l *load) answered(took, limit time.Duration) {
	if took < limit/4 {
		l.halved = max(l.halved-1, 0)
	}
}
