package storetest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/onceq/onceq/internal/memstore"
	"github.com/onceq/onceq/storetest"
	"github.com/onceq/onceq/storetest/model"
)

// standClock is a clock that stands still at an instant, or runs.
type standClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *standClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

func (c *standClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Now()
	}
	return c.at
}

func openMemory(*testing.T) storetest.Harness {
	c := &standClock{}
	return storetest.Harness{Store: memstore.New(c.now), SetClock: c.set}
}

func TestMemstore(t *testing.T) { storetest.Run(t, openMemory) }

func TestMemstoreBehindADecorator(t *testing.T) {
	storetest.Run(t, storetest.Decorated(openMemory))
}

func TestModelOfMemstore(t *testing.T) { model.Run(t, openMemory) }
