// Package storetest is the conformance suite of onceq's stores: what a store must do, case by case. A behaviour is written down here
// and nowhere else; every store passes all of it, none excused.
//
//	func TestStore(t *testing.T) { storetest.Run(t, func(t *testing.T) storetest.Harness { … }) }
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// Harness is one empty store, for one case, and what the suite needs around it. The function that makes it registers its cleanup with t.
type Harness struct {
	// Store is the store under test.
	Store onceq.Store

	// SetClock makes the store's clock stand still at t (whole milliseconds) for every handle on this data, until the next call.
	// The zero time lets the real clock run again.
	SetClock func(t time.Time)

	// Open returns another handle on the same data, as another process would have it. nil where the data is in this process only.
	Open func() onceq.Store

	// Begin opens a caller's own transaction on the data. nil where the store has no transactions of the caller's.
	Begin func(ctx context.Context) (Tx, error)
}

// Tx is a caller's transaction: enqueue through it, then end it.
type Tx struct {
	onceq.Tx
	Commit   func() error // ends it and keeps what was written
	Rollback func() error // ends it and undoes what was written
}

// Decorated is open behind a decorator that only embeds the store, as one for metrics or traces does: it must stay a correct store.
func Decorated(open func(*testing.T) Harness) func(*testing.T) Harness {
	decorate := func(s onceq.Store) onceq.Store { return struct{ onceq.Store }{s} }
	return func(t *testing.T) Harness {
		h := open(t)
		h.Store = decorate(h.Store)
		if another := h.Open; another != nil {
			h.Open = func() onceq.Store { return decorate(another()) }
		}
		return h
	}
}
