package batch_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq/internal/batch"
)

// crowd is a store in which calls of one number must not be in two trips at
// once.
type crowd struct {
	t     *testing.T
	lasts func() time.Duration
	mu    sync.Mutex
	away  map[uint64]bool
	trips int
}

// want is a call: its number, and what is to be answered.
type want struct {
	number uint64
	answer int
}

func rivals(w want) uint64 { return w.number }

func (c *crowd) send(_ context.Context, calls []want) ([]int, []error) {
	mine := map[uint64]bool{}
	answers := make([]int, len(calls))
	c.mu.Lock()
	c.trips++
	for i, w := range calls {
		if w.number != 0 && c.away[w.number] {
			c.t.Errorf("%d is under way twice", w.number)
		}
		mine[w.number], answers[i] = true, w.answer
	}
	for n := range mine {
		c.away[n] = true
	}
	c.mu.Unlock()
	time.Sleep(c.lasts())
	c.mu.Lock()
	for n := range mine {
		delete(c.away, n)
	}
	c.mu.Unlock()
	return answers, nil
}

func newCrowd(t *testing.T, lasts func() time.Duration, calls int) (*crowd, *batch.Batcher[want, int]) {
	c := &crowd{t: t, lasts: lasts, away: map[uint64]bool{}}
	return c, batch.New(batch.Config[want]{InFlight: 8, Join: 2, Calls: calls, Rivals: rivals}, c.send)
}

func TestRivalsAreNeverUnderWayAtOnceAndAllAreAnswered(t *testing.T) {
	for _, lasts := range []func() time.Duration{
		func() time.Duration { return 5 * time.Millisecond }, // slow: many trips at once
		func() time.Duration { return rand.N(time.Millisecond) },
		func() time.Duration { return 0 },
	} {
		for _, most := range []int{1, 3, 100} {
			synctest.Test(t, func(t *testing.T) {
				_, b := newCrowd(t, lasts, most)
				var all sync.WaitGroup
				for caller := range 20 {
					all.Go(func() {
						for i := range 50 {
							w := want{rand.Uint64N(6), caller*1000 + i}
							ctx, cancel := t.Context(), func() {}
							if rand.IntN(10) == 0 {
								ctx, cancel = context.WithTimeout(ctx, rand.N(10*time.Millisecond))
							}
							got, err := b.Do(ctx, w)
							if err == nil && got != w.answer || err != nil &&
								!errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("%v: %d %v", w, got, err)
							}
							cancel()
							if rand.IntN(4) == 0 {
								time.Sleep(rand.N(2 * time.Millisecond))
							}
						}
					})
				}
				all.Wait()
				b.Close()
				if n := b.Waiting(); n != 0 {
					t.Errorf("%d calls wait", n)
				}
			})
		}
	}
}

// A call with a rival under way waits, and one that comes after it and has none
// passes it by.
func TestWhoHasNoRivalPassesByWhoHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := newCrowd(t, func() time.Duration { return time.Second }, 100)
		began := time.Now()
		took := make([]time.Duration, 4)
		var all sync.WaitGroup
		for i, number := range []uint64{1, 1, 2, 3} {
			all.Go(func() {
				if _, err := b.Do(t.Context(), want{number, i}); err != nil {
					t.Error(err)
				}
				took[i] = time.Since(began)
			})
			synctest.Wait()
		}
		all.Wait()
		b.Close()
		for i, want := range []time.Duration{time.Second, 2 * time.Second, time.Second, time.Second} {
			if took[i] != want {
				t.Errorf("call %d took %v, want %v", i, took[i], want)
			}
		}
		if c.trips != 3 {
			t.Errorf("%d trips", c.trips)
		}
	})
}

func TestCloseAnswersWhoWaitsForARival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := newCrowd(t, func() time.Duration { return time.Second }, 100)
		answered := make(chan error, 3)
		for i := range 3 {
			go func() {
				_, err := b.Do(t.Context(), want{1, i})
				answered <- err
			}()
			synctest.Wait()
		}
		if n := b.Waiting(); n != 2 {
			t.Errorf("%d calls wait, want 2", n)
		}
		b.Close()
		for range 3 {
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
	})
}
