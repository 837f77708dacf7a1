package onceq

import (
	"context"
	"time"

	"github.com/onceq/onceq/internal/sleep"
)

// beatGap is how far apart heartbeats are at least, however many wake-ups
// ask for one.
const beatGap = 10 * time.Millisecond

// listenLoop receives the wake-ups of a store that has them, until ctx
// ends: something may be due, or a run of ours is asked to stop. Without
// wake-ups there are polling and the heartbeat.
func (s *session) listenLoop(ctx context.Context) {
	defer close(s.listened)
	wake := s.w.store.Traits().Wake
	if wake == nil {
		return
	}
	r := WakeRequest{Worker: s.name, Kinds: s.kinds}
	for _, q := range s.pacer.queues {
		r.Queues = append(r.Queues, q.name)
		if q.limit != nil {
			r.Queues = append(r.Queues, q.limit.queue)
			if r.Kinds != nil {
				r.Kinds = append(r.Kinds[:len(r.Kinds):len(r.Kinds)], q.limit.kinds...)
			}
		}
	}
	for failures := 0; ctx.Err() == nil; sleep.For(ctx, min(time.Second<<min(failures, 10), time.Minute)) {
		wakes, err := wake(ctx, r)
		if err != nil {
			failures++
			if ctx.Err() == nil {
				s.logRarely(failures, "onceq: no wake-ups from the store", err)
			}
		} else {
			failures = 0
			s.hasMore("") // a job may have come before the listener
			signal(s.beatNow)
			for w := range wakes { // closed when ctx has ended
				if w.Stop {
					signal(s.beatNow)
				} else {
					s.hasMore(w.Queue)
				}
			}
		}
	}
}
