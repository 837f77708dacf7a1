package onceq

import (
	"slices"
	"time"
)

// A pool is slots that several queues share, by weight. A fetch asks for jobs
// for all free slots of it, so much of each queue as its weight says. A queue
// that gives fewer jobs than that has no more of them, and is left out of the
// next fetch, which asks the others for what is still free. So an idle pool
// costs no trip more than one queue, and a busy one no slot.

// poolLooks is how often queues of which all that was due has been fetched are
// asked again while others of the pool have more than there are slots. Wake-ups
// are heeded at once.
const poolLooks = 100 * time.Millisecond

type pool struct{ slots, busy int }

// free is how many more jobs of the queue may start.
func (q *queue) free() int {
	if q.limit != nil {
		return min(q.own(), q.limit.usable()-q.busy)
	}
	return q.own()
}

// take counts n more runs, or fewer.
func (q *queue) take(n int) {
	q.busy += n
	if q.pool != nil {
		q.pool.busy += n
	}
	if q.limit != nil {
		q.limit.most = max(q.limit.most, q.busy)
	}
}

// share divides slots among the queues of the pool that may have more. Over
// many fetches the shares are as the weights: each slot goes to the queue with
// the most credit, which pays for it with what all have got. A queue that the
// fleet's limit leaves less than that gets what it may have.
func (p *pacer) share(slots int) map[*queue]int {
	var among []*queue
	sum := 0
	for _, q := range p.queues {
		if q.pool != nil && q.more && q.free() > 0 {
			among = append(among, q)
			sum += q.weight
		}
	}
	shares := make(map[*queue]int, len(among))
	for i := 0; i < len(among); i++ {
		if q := among[i]; q.limit != nil && q.free()*sum <= slots*q.weight {
			shares[q] = q.free()
			slots, sum = slots-q.free(), sum-q.weight
			among, i = slices.Delete(among, i, i+1), -1 // the others have more to share
		}
	}
	if len(among) == 0 {
		return shares
	}
	for _, q := range among {
		shares[q] = slots / sum * q.weight
	}
	for range slots % sum {
		var first *queue
		for _, q := range among {
			q.credit += q.weight
			if shares[q] < q.free() && (first == nil || q.credit > first.credit) {
				first = q
			}
		}
		first.credit -= sum
		shares[first]++
	}
	return shares
}

// askPool is how many jobs to ask for of which queues of the pool: in all, as
// many as it has free slots. 0 asks only whether any is due: of a queue that may
// have more, and has no share this time; and, in a pool where nothing runs, of
// all, so that a worker that drains knows that nothing is left.
func (p *pacer) askPool(now time.Time) map[*queue]int {
	i := slices.IndexFunc(p.queues, func(q *queue) bool { return q.pool != nil })
	if i < 0 || p.queues[i].own() <= 0 {
		return nil
	}
	if !now.Before(p.look) {
		p.mark("")
	}
	shares := p.share(p.load.of(p.queues[i].own()))
	for _, q := range p.queues {
		if _, asked := shares[q]; q.pool != nil && q.pool.busy == 0 && !asked && q.free() > 0 {
			shares[q] = 0
		}
	}
	return shares
}

// poolAnswered takes in what the queues of the pool gave. more says that the
// store has more jobs of some of the queues. If one of them gave all that it
// was asked for, it is that one; else the answer was cut short.
func (p *pacer) poolAnswered(r FetchRequest, got map[string]int, more bool) {
	full := false
	for _, asked := range r.Queues {
		full = full || got[asked.Queue] >= asked.Slots
	}
	for _, asked := range r.Queues {
		q := p.queue(asked.Queue)
		switch short := got[asked.Queue] < asked.Slots; {
		case q.pool == nil:
		case q.limit != nil && !more: // the store has no more of any
		case !short && asked.Slots > 0, more && (!short || !full && len(got) > 0):
			q.more = true
		case short:
			q.credit = 0 // it has had its turn
		}
	}
}

// poolLook is when to look again without a wake-up, if wait is what the answer
// to the fetch says.
func (p *pacer) poolLook(r FetchRequest, now time.Time, wait time.Duration, more bool) time.Time {
	look := now.Add(wait)
	asked := map[string]bool{}
	for _, q := range r.Queues {
		asked[q.Queue] = true
	}
	for _, q := range p.queues {
		if q.pool == nil || q.more {
			continue
		}
		if more { // of others: when this one has a job is not told
			look = earlier(look, now.Add(poolLooks))
		}
		if !asked[q.name] && p.look.After(now) { // what was told of it before
			look = earlier(look, p.look)
		}
	}
	return look
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
