package batch

// queue is a list of calls in the order in which they came. A call is in one
// queue at most, and leaves it from anywhere at once: many callers may give up
// together.
type queue[Q, A any] struct {
	first, last *call[Q, A]
	n           int
}

func (q *queue[Q, A]) push(c *call[Q, A]) {
	c.in, c.before, c.after = q, q.last, nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.after = c
	}
	q.last = c
	q.n++
}

// remove takes a call out of the queue that it is in.
func (c *call[Q, A]) remove() {
	q := c.in
	if c.before == nil {
		q.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		q.last = c.before
	} else {
		c.after.before = c.before
	}
	q.n--
	c.in, c.before, c.after = nil, nil, nil
}

// take moves all calls of another queue to the end of this one.
func (q *queue[Q, A]) take(from *queue[Q, A]) {
	for c := from.first; c != nil; c = from.first {
		c.remove()
		q.push(c)
	}
}
