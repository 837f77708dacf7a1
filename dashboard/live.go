package dashboard

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// liveHeader marks the request of a page that loads itself again.
const liveHeader = "Onceq-Live"

// liveShare is how much longer than a look at the store the time
// until the next one is: pages that are open and streams, however
// many, keep the store busy for a tenth of the time.
const liveShare = 9

// pace lets open pages load themselves again, and streams look, one
// after another, with time between them that grows with what each
// takes.
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

// turn waits until it may begin. ok is false if ctx ends before.
func (p *pace) turn(ctx context.Context) (end func(), ok bool) {
	for {
		if end, ok := p.begin(); ok {
			return end, true
		}
		p.mu.Lock()
		wait := max(time.Until(p.from), 50*time.Millisecond) // one that is under way ends when it ends
		p.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, false
		}
	}
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
		c.w.Header().Set("Content-Type", "text/html; charset=utf-8") // else a browser reads it as XML, and complains
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	defer end()
	return c.route.do(c)
}
