package onceq_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// global is a queue of which n jobs may run at once in the fleet.
func global(own, n int) onceq.WorkerConfig {
	return onceq.WorkerConfig{Queues: map[string]onceq.QueueConfig{"default": {Concurrency: own, Global: n}}}
}

// crowd counts the handlers that run.
type crowd struct{ now, most, all atomic.Int64 }

func (c *crowd) run(d time.Duration) func(context.Context, *onceq.Job[mail]) error {
	return func(context.Context, *onceq.Job[mail]) error {
		c.most.Store(max(c.most.Load(), c.now.Add(1)))
		time.Sleep(d)
		c.now.Add(-1)
		c.all.Add(1)
		return nil
	}
}

func TestNoMoreRunInTheFleetThanTheGlobalLimitSays(t *testing.T) {
	for _, n := range []int{1, 3, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, b *bubble) {
				var c crowd
				for range 4 {
					b.serve(global(5, n), c.run(100*time.Millisecond))
				}
				pass(time.Minute)
				fill(b, 100*n, "default")
				began := time.Now()
				for c.all.Load() < int64(100*n) {
					pass(10 * time.Millisecond)
				}
				took := time.Since(began)
				t.Log(took)
				if c.most.Load() != int64(n) {
					t.Errorf("%d ran at once, want %d", c.most.Load(), n)
				}
				if took > 13*time.Second { // 100 times a tenth of a second, one after another
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
