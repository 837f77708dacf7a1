package test

import (
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// proxy stands between clients and a server, and loses what they say to
// each other: requests before they arrive, answers whole or from some byte
// on, and for a while every connection.
type proxy struct {
	t      *testing.T
	server string
	addr   string

	mu       sync.Mutex
	listener net.Listener // nil while the proxy refuses connections
	conns    map[net.Conn]bool
	loses    int // one of so many pieces that pass; 0 = none
	lost     map[string]int
	all      sync.WaitGroup
}

// newProxy stands before the server of a store's URL, and returns the URL
// that leads through it.
func newProxy(t *testing.T, store string) (*proxy, string) {
	t.Helper()
	at, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, server: at.Host, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}, lost: map[string]int{}}
	p.up()
	t.Cleanup(p.close)
	at.Host = p.addr
	return p, at.String()
}

// up accepts connections.
func (p *proxy) up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Errorf("proxy: %v", err)
		return
	}
	p.listener, p.addr = l, l.Addr().String()
	p.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.server)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns[in], p.conns[out] = true, true
			p.mu.Unlock()
			p.all.Go(func() { p.pass("a request", in, out) })
			p.all.Go(func() { p.pass("an answer", out, in) })
		}
	})
}

// down cuts all connections and refuses new ones.
func (p *proxy) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) close() {
	p.down()
	p.all.Wait()
}

// pass copies pieces until one is to be lost: both connections end there.
func (p *proxy) pass(what string, from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		delete(p.conns, to)
		p.mu.Unlock()
	}()
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			whole := p.whole(what)
			if !whole {
				n = rand.IntN(n) // a part of it arrives, or nothing
			}
			if _, err := to.Write(piece[:n]); err != nil || !whole {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// whole is whether the next piece arrives.
func (p *proxy) whole(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loses == 0 || rand.IntN(p.loses) > 0 {
		return true
	}
	p.lost[what]++
	return false
}

// lose makes the proxy lose one of n pieces.
func (p *proxy) lose(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = n
}

// haunt loses one of n pieces, and now and then refuses connections for a
// while, until stop is closed; then all is well.
func (p *proxy) haunt(n int, stop <-chan struct{}) {
	p.lose(n)
	defer func() { p.lose(0); p.up() }()
	for {
		for _, d := range []time.Duration{rand.N(500 * time.Millisecond), rand.N(300 * time.Millisecond)} {
			select {
			case <-time.After(d):
			case <-stop:
				return
			}
			p.mu.Lock()
			isUp := p.listener != nil
			p.mu.Unlock()
			if isUp {
				p.down()
			} else {
				p.up()
			}
		}
	}
}
