// Package onceqtest helps to test code that enqueues and handles jobs:
//
//   - [NewStore] is a store in memory whose clock the test moves. All other
//     helpers work with every store, and inside testing/synctest.
//   - [NewWorker] and [Drain] run what is due, and return. Drain fails the
//     test if a job is discarded.
//   - [Run] runs one handler on one job. [NewJob] and [Context] are for a test
//     that calls its handler itself.
//   - [RequireEnqueued], [RequireNotEnqueued] and [RequireDuplicate] look at
//     what the code under test has enqueued.
//
// Code that works in transactions of its own is tested on its own database, or
// on SQLite in memory, whose clock the test moves too:
//
//	var clock onceqtest.Clock
//	store, err := sqlitestore.Open(":memory:", &sqlitestore.Config{Clock: clock.Now})
package onceqtest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// Clock is a clock that a test moves forward. The zero value goes with the
// host's clock.
type Clock struct{ ahead atomic.Int64 }

// Now is the time by the clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Advance moves the clock forward: for a store with this clock delayed jobs
// become due, windows end. It wakes no worker: call [Drain] afterwards.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// Store is a store in memory. It keeps every promise of the other stores but
// durability, and has no transactions. [Clock.Advance] moves its clock.
type Store struct {
	onceq.Store
	*Clock
}

// NewStore makes an empty store, which is closed when the test ends.
func NewStore(t testing.TB) *Store {
	clock := &Clock{}
	s := &Store{memstore.New(clock.Now), clock}
	t.Cleanup(func() { s.Close() })
	return s
}

// NewClient makes a client with the default configuration, which is closed when
// the test ends.
func NewClient(t testing.TB, store onceq.Store) *onceq.Client {
	t.Helper()
	client, err := onceq.NewClient(store, nil)
	if err != nil {
		t.Fatalf("onceqtest: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
