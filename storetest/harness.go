// Package storetest is the conformance suite of onceq's stores: what a
// store must do, case by case. A behaviour is written down here and nowhere
// else. Every store passes all cases.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness { … })
//	}
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// Harness is one empty store, for one case, and what the suite needs
// besides. The function that makes it registers its cleanup with t.
type Harness struct {
	// Store is the store under test.
	Store onceq.Store

	// SetClock makes the store's clock stand still at t (whole
	// milliseconds), for every handle on this data, until the next call.
	// The zero time lets the real clock run again.
	SetClock func(t time.Time)

	// Open returns another handle on the same data, as another process
	// would have it; nil if the data is in this process only.
	Open func() onceq.Store

	// Begin opens a transaction of the caller's on the data; nil if the
	// store has no such transactions.
	Begin func(ctx context.Context) (Tx, error)

	// Bytes returns everything that the store keeps on its medium, as it is;
	// what a database shows in hexadecimal may be so. nil if there is no such
	// medium.
	Bytes func() []byte
}

// Tx is a transaction of the caller's: enqueue through it, then end it.
type Tx struct {
	onceq.Tx
	Commit   func() error // ends it and keeps what was written
	Rollback func() error // ends it and undoes what was written
}

// Decorated wraps the store of a harness in decorators, the last one
// outermost: one that only embeds the store, unless others are named. The
// result must be a correct store.
func Decorated(open func(*testing.T) Harness,
	decorators ...func(onceq.Store) onceq.Store) func(*testing.T) Harness {
	decorate := func(s onceq.Store) onceq.Store { return struct{ onceq.Store }{s} }
	if len(decorators) > 0 {
		decorate = func(s onceq.Store) onceq.Store {
			for _, d := range decorators {
				s = d(s)
			}
			return s
		}
	}
	return func(t *testing.T) Harness {
		h := open(t)
		h.Store = decorate(h.Store)
		if another := h.Open; another != nil {
			h.Open = func() onceq.Store { return decorate(another()) }
		}
		return h
	}
}
