package batch_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceq/onceq/internal/batch"
)

// far is a store whose trips last so long, whatever they carry.
type far struct {
	lasts     time.Duration
	mu        sync.Mutex
	now, most int // trips under way
}

func (f *far) send(_ context.Context, calls []int) ([]int, []error) {
	f.mu.Lock()
	f.now++
	f.most = max(f.most, f.now)
	lasts := f.lasts
	f.mu.Unlock()
	time.Sleep(lasts)
	f.mu.Lock()
	f.now--
	f.mu.Unlock()
	return make([]int, len(calls)), nil
}

// arrivals has a call arrive every so often, and returns how long the later
// half of them took at most, and how many trips were under way.
func arrivals(t *testing.T, f *far, every time.Duration) (longest time.Duration, most int) {
	synctest.Test(t, func(t *testing.T) {
		b := batch.New(batch.Config[int]{InFlight: 8, Join: 16, Calls: 100}, f.send)
		var all sync.WaitGroup
		var mu sync.Mutex
		const n = 400
		for i := range n {
			if i == n/2 {
				f.mu.Lock()
				f.most = 0
				f.mu.Unlock()
			}
			all.Go(func() {
				began := time.Now()
				if _, err := b.Do(t.Context(), i); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if i >= n/2 {
					longest = max(longest, time.Since(began))
				}
			})
			time.Sleep(every)
		}
		all.Wait()
		b.Close()
	})
	return longest, f.most
}

// A call that arrives while another's commit waits for a slow disk does not
// wait for it first, and then for its own.
func TestNobodyWaitsForASlowTripBeforeTheirOwn(t *testing.T) {
	f := &far{lasts: 5 * time.Millisecond}
	if longest, most := arrivals(t, f, time.Millisecond); longest > f.lasts || most < 5 {
		t.Errorf("calls took up to %v where a trip takes %v; %d trips were under way", longest, f.lasts, most)
	}
}

// Where a trip is over soon, calls gather: one more trip costs more than it
// gains.
func TestQuickTripsGather(t *testing.T) {
	f := &far{lasts: 300 * time.Microsecond}
	if longest, most := arrivals(t, f, 100*time.Microsecond); most > 1 || longest > 2*f.lasts {
		t.Errorf("calls took up to %v where a trip takes %v; %d trips were under way", longest, f.lasts, most)
	}
}

// A server that has become quick again, or that was away, is taken for what it
// is now.
func TestAnOutageIsOverWhenItIsOver(t *testing.T) {
	f := &far{lasts: 300 * time.Microsecond}
	synctest.Test(t, func(t *testing.T) {
		b := batch.New(batch.Config[int]{InFlight: 8, Join: 16, Calls: 100},
			func(ctx context.Context, calls []int) ([]int, []error) {
				if calls[0] < 0 {
					time.Sleep(10 * time.Second)
					return make([]int, len(calls)), nil
				}
				return f.send(ctx, calls)
			})
		if _, err := b.Do(t.Context(), -1); err != nil {
			t.Error(err)
		}
		for i := range 40 {
			if _, err := b.Do(t.Context(), i); err != nil {
				t.Error(err)
			}
		}
		var all sync.WaitGroup
		for i := range 15 {
			all.Go(func() {
				if _, err := b.Do(t.Context(), i); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(10 * time.Microsecond)
		}
		all.Wait()
		b.Close()
	})
	if f.most > 1 {
		t.Errorf("%d trips under way", f.most)
	}
}
