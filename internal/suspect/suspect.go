// Package suspect remembers workers that look lost until they count as lost.
package suspect

import "time"

// List has beats of workers whose lease is over by the clock of the store, each
// with the time, by our own monotonic clock, at which we first saw it. A beat
// is lost when it is still there a while later. A jump of the store's clock
// ends every lease at once, but a worker that lives sends another heartbeat
// within a third of a lease.
type List[B comparable] struct {
	Grace time.Duration // more than a third of a lease
	first map[B]time.Time
}

// Lost returns the suspects that were seen for long enough. The store then
// checks that each beat is still the latest: that is the second sight of
// it.
func (l *List[B]) Lost(now time.Time) (lost []B) {
	for beat, first := range l.first {
		if now.Sub(first) >= l.Grace {
			lost = append(lost, beat)
		}
	}
	return lost
}

// Note takes in what a sweep reported as expired. A worker that is not
// reported any more is no longer suspected, unless the report was cut. self is
// never suspected, because we are alive.
func (l *List[B]) Note(expired []B, cut bool, self func(B) bool, now time.Time) {
	first := make(map[B]time.Time, len(expired))
	if cut && l.first != nil {
		first = l.first
	}
	for _, beat := range expired {
		if self(beat) {
			continue
		}
		since, known := l.first[beat]
		if !known {
			since = now
		}
		first[beat] = since
	}
	l.first = first
}

// Next is how long until the next suspect counts as lost.
func (l *List[B]) Next(now time.Time) (wait time.Duration, ok bool) {
	for _, first := range l.first {
		if left := l.Grace - now.Sub(first); left > 0 && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return wait, ok
}
