package onceq

import (
	"sync"
	"sync/atomic"
	"time"
)

// contested remembers the keys for which an enqueue has to wait, for
// somebody's open transaction has them. Who asks for one of them goes alone
// at once: a trip of the group commit with such a row would fail, and cost
// all who share it.
type contested struct {
	known atomic.Int64 // so that nobody locks for nothing
	mu    sync.Mutex
	keys  map[uint64]*waiters // by NewRow.rival
}

// waiters are those who wait for a key.
type waiters struct {
	now   int       // how many do
	until time.Time // the key stays contested so long after the last of them
}

const (
	// contestedAfter is how long an enqueue that went alone takes before
	// its key counts as contested.
	contestedAfter = 10 * time.Millisecond
	// contestedFor is how long it stays so after the last wait.
	contestedFor = 100 * time.Millisecond
)

// has reports whether a key is contested.
func (c *contested) has(key uint64) bool {
	if key == 0 || c.known.Load() == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.keys[key]
	if w != nil && w.now == 0 && time.Now().After(w.until) {
		c.forgetLocked(key)
		return false
	}
	return w != nil
}

// watch runs an enqueue that went alone, and notes that its key is
// contested if it has to wait.
func (c *contested) watch(key uint64, enqueue func()) {
	if key == 0 {
		enqueue()
		return
	}
	noted := make(chan struct{})
	timer := time.AfterFunc(contestedAfter, func() {
		c.wait(key)
		close(noted)
	})
	defer func() {
		if !timer.Stop() {
			<-noted
			c.waited(key)
		}
	}()
	enqueue()
}

func (c *contested) wait(key uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for k, w := range c.keys {
		if w.now == 0 && now.After(w.until) {
			c.forgetLocked(k)
		}
	}
	if c.keys == nil {
		c.keys = map[uint64]*waiters{}
	}
	if c.keys[key] == nil {
		c.keys[key] = &waiters{}
		c.known.Add(1)
	}
	c.keys[key].now++
}

func (c *contested) waited(key uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.keys[key]
	w.now--
	w.until = time.Now().Add(contestedFor)
}

func (c *contested) forgetLocked(key uint64) {
	delete(c.keys, key)
	c.known.Add(-1)
}
