package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// progress is a line on a terminal that is written again and again. It does
// nothing when standard error is not a terminal.
type progress struct {
	out   io.Writer // nil = off
	text  func() string
	shown time.Time
	dirty bool
}

func newProgress(a *app, text func() string) *progress {
	p := &progress{text: text}
	if isTerminal(a.errOut) {
		p.out = a.errOut
	}
	return p
}

// show writes the line again, ten times a second at most.
func (p *progress) show() {
	if p.out == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown, p.dirty = time.Now(), true
	fmt.Fprintf(p.out, "\r\x1b[K%s", p.text())
}

// clear makes room for other output.
func (p *progress) clear() {
	if p.dirty {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.dirty = false
	}
}

func (p *progress) end() { p.clear() }

// meter counts the bytes that are read.
type meter struct {
	r io.Reader
	n atomic.Int64
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.n.Add(int64(n))
	return n, err
}
