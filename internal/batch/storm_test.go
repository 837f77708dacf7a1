package batch_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/batch"
)

// rivalsByName are two kinds of callers that wait.
var rivalsByName = map[string]func(int) uint64{
	"waiting":        nil,
	"behind a rival": func(int) uint64 { return 1 },
}

// Who gives up costs the same however many others wait, for the lock is everybody's. How long
// the callers took to come is what their leaving is measured by.
func TestManyCallersWhoGiveUpAtOnceHoldNobodyUp(t *testing.T) {
	for name, rivals := range rivalsByName {
		t.Run(name, func(t *testing.T) {
			n := 60_000
			if raced {
				n = 5_000 // the detector takes no more than 8,128 goroutines
			}
			g := newGate()
			b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100, Rivals: rivals}, g.send)
			var first, all sync.WaitGroup
			first.Go(func() {
				if _, err := b.Do(context.Background(), 0); err != nil {
					t.Error(err)
				}
			})
			<-g.enter
			ctx, cancel := context.WithCancel(context.Background())
			began := time.Now()
			for i := range n {
				all.Go(func() {
					if _, err := b.Do(ctx, i); !errors.Is(err, context.Canceled) || errors.Is(err, batch.ErrSent) {
						t.Error(err)
					}
				})
			}
			for b.Waiting() != n {
				time.Sleep(time.Millisecond)
			}
			came := time.Since(began)
			began = time.Now()
			cancel()
			all.Wait()
			left := time.Since(began)
			if left > 6*came && !raced {
				t.Errorf("%d callers came in %v and left in %v", n, came, left)
			}
			if b.Waiting() != 0 {
				t.Errorf("%d calls wait", b.Waiting())
			}
			close(g.leave)
			first.Wait()
			b.Close()
		})
	}
}

// What is left when some have given up goes in the order in which it came.
func TestCallersWhoGiveUpLeaveTheOthersInOrder(t *testing.T) {
	for name, rivals := range rivalsByName {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100, Rivals: rivals}, g.send)
			var all sync.WaitGroup
			ask := func(ctx context.Context, n int) {
				waiting := b.Waiting()
				all.Go(func() { _, _ = b.Do(ctx, n) })
				for n > 0 && b.Waiting() == waiting {
					runtime.Gosched()
				}
			}
			ask(context.Background(), 0)
			<-g.enter
			var leave []context.CancelFunc
			for n := 1; n <= 9; n++ {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				ask(ctx, n)
				if n == 1 || n == 4 || n == 5 || n == 9 {
					leave = append(leave, cancel)
				}
			}
			for i, cancel := range leave {
				cancel()
				for b.Waiting() != 9-i-1 {
					runtime.Gosched()
				}
			}
			g.leave <- struct{}{}
			<-g.enter
			close(g.leave)
			all.Wait()
			b.Close()
			if got := g.trips[1]; !slices.Equal(got, []int{2, 3, 6, 7, 8}) {
				t.Errorf("the second trip has %v", got)
			}
		})
	}
}
