package batch_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/onceq/onceq/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a store whose trips wait to be let through.
type gate struct {
	mu    sync.Mutex
	trips [][]int
	enter chan struct{}
	leave chan struct{}
}

func newGate() *gate { return &gate{enter: make(chan struct{}, 100), leave: make(chan struct{})} }

func (g *gate) send(ctx context.Context, queries []int) ([]string, []error) {
	calls := slices.Clone(queries)
	g.mu.Lock()
	g.trips = append(g.trips, calls)
	g.mu.Unlock()
	g.enter <- struct{}{}
	select {
	case <-g.leave:
	case <-ctx.Done():
		errs := make([]error, len(calls))
		for i := range errs {
			errs[i] = ctx.Err()
		}
		return nil, errs
	}
	answers := make([]string, len(calls))
	for i, c := range calls {
		answers[i] = fmt.Sprint(c)
	}
	return answers, nil
}

func TestCallsThatArriveWhileOneIsInFlightTravelTogether(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100}, g.send)
	var all sync.WaitGroup
	ask := func(n int) {
		defer all.Done()
		if got, err := b.Do(context.Background(), n); err != nil || got != fmt.Sprint(n) {
			t.Errorf("%d: %q %v", n, got, err)
		}
	}
	all.Add(1)
	go ask(0)
	<-g.enter // it was sent at once
	all.Add(50)
	for n := 1; n <= 50; n++ {
		go ask(n)
	}
	for b.Waiting() < 50 {
		runtime.Gosched()
	}
	g.leave <- struct{}{}
	<-g.enter
	g.leave <- struct{}{}
	all.Wait()
	if len(g.trips) != 2 || len(g.trips[0]) != 1 || len(g.trips[1]) != 50 {
		t.Errorf("%d trips, want 1 and 50 calls", len(g.trips))
	}
	b.Close()
}

func TestABatchIsBoundedByCallsAndWeight(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 3, Weight: 10, Weigh: func(n int) int { return n }}, g.send)
	var all sync.WaitGroup
	for i, n := range []int{1, 4, 5, 6, 50, 1, 1, 1, 1} {
		all.Add(1)
		go func() { defer all.Done(); b.Do(context.Background(), n) }()
		if i == 0 {
			<-g.enter
		}
		for b.Waiting() < i {
			runtime.Gosched()
		}
	}
	for range 5 {
		g.leave <- struct{}{}
		<-g.enter
	}
	g.leave <- struct{}{}
	all.Wait()
	if got := fmt.Sprint(g.trips); got != "[[1] [4 5] [6] [50] [1 1 1] [1]]" {
		t.Errorf("trips %v", got)
	}
	b.Close()
}

func TestACallerThatGivesUpBeforeItWasSentIsNeverSent(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100}, g.send)
	first := make(chan error, 1)
	go func() { _, err := b.Do(context.Background(), 1); first <- err }()
	<-g.enter
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan error, 1)
	go func() { _, err := b.Do(ctx, 2); second <- err }()
	for b.Waiting() < 1 {
		runtime.Gosched()
	}
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, batch.ErrSent) {
		t.Errorf("want a definite error, got %v", err)
	}
	g.leave <- struct{}{}
	<-first
	b.Close()
	if len(g.trips) != 1 {
		t.Errorf("trips %v", g.trips)
	}
}

func TestACallerThatGivesUpAfterwardsIsToldSoAndTheOthersAreAnswered(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100}, g.send)
	go b.Do(context.Background(), 0)
	<-g.enter
	ctx, cancel := context.WithCancel(context.Background())
	quits, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := b.Do(ctx, 1); quits <- err }()
	go func() { _, err := b.Do(context.Background(), 2); stays <- err }()
	for b.Waiting() < 2 {
		runtime.Gosched()
	}
	g.leave <- struct{}{}
	<-g.enter // 1 and 2 are on their way
	cancel()
	if err := <-quits; !errors.Is(err, batch.ErrSent) || !errors.Is(err, context.Canceled) {
		t.Errorf("want an uncertain error, got %v", err)
	}
	g.leave <- struct{}{}
	if err := <-stays; err != nil {
		t.Errorf("the first caller's context cancelled the other's call: %v", err)
	}
	b.Close()
}

func TestATripThatNobodyWaitsForIsCancelled(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100}, g.send)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := b.Do(ctx, 1); done <- err }()
	<-g.enter
	cancel()
	<-done
	b.Close() // returns because the trip's context ended
}

func TestCloseRefusesNewCallsAndAnswersThoseThatWait(t *testing.T) {
	g := newGate()
	b := batch.New(batch.Config[int]{InFlight: 1, Calls: 100}, g.send)
	errs := make(chan error, 2)
	for n := range 2 {
		go func() { _, err := b.Do(context.Background(), n); errs <- err }()
		if n == 0 {
			<-g.enter
		}
	}
	for b.Waiting() < 1 {
		runtime.Gosched()
	}
	go func() { g.leave <- struct{}{}; <-g.enter; g.leave <- struct{}{} }()
	b.Close()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Do(context.Background(), 3); !errors.Is(err, batch.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
