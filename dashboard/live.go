package dashboard

import (
	"net/http"
	"sync"
	"time"
)

// liveHeader marks the request of a page that loads itself again.
const liveHeader = "Onceq-Live"

// liveShare is how much longer than a load the time until the next
// one is: the pages that are open, however many, keep the store
// busy for a tenth of the time.
const liveShare = 9

// pace lets open pages load themselves again one after another,
// with time between them that grows with what a load takes.
type pace struct {
	mu   sync.Mutex
	busy bool
	from time.Time // the next may begin
}

// begin reports whether a page may load itself now. If so, end has
// to be called.
func (p *pace) begin() (end func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	began := time.Now()
	if p.busy || began.Before(p.from) {
		return nil, false
	}
	p.busy = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		now := time.Now()
		p.busy, p.from = false, now.Add(liveShare*now.Sub(began))
	}, true
}

// answerPage shows a page; one that asks by itself too soon is
// told to wait.
func (c *call) answerPage() error {
	if c.r.Header.Get(liveHeader) == "" {
		return c.route.do(c)
	}
	end, ok := c.live.begin()
	if !ok {
		c.w.Header().Set("Retry-After", "1")
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	defer end()
	return c.route.do(c)
}
