package guardhttp

import (
	"bufio"
	"bytes"
	"maps"
	"net"
	"net/http"
	"time"
)

// kept is an answer as it is kept.
type kept struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

func (k *kept) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.Header)
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(k.Status)
	_, _ = w.Write(k.Body) // nobody is there to hear of it
}

// recorder holds an answer back until it is recorded. One that is too long, is
// flushed or whose connection is taken goes through to the client as it comes.
type recorder struct {
	w       http.ResponseWriter
	most    int // bytes of the body
	status  int // 0 = not said yet
	header  http.Header
	body    bytes.Buffer
	through bool
}

func (r *recorder) Header() http.Header { return r.w.Header() }

func (r *recorder) WriteHeader(status int) {
	if r.status != 0 || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return // news on the way (1xx) are not passed on: the answer is not there yet
	}
	r.status, r.header = status, r.w.Header().Clone()
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if !r.through && r.body.Len()+len(b) > r.most {
		r.pass()
	}
	if r.through {
		return r.w.Write(b)
	}
	return r.body.Write(b)
}

// pass sends what was held back, and from now on all that comes.
func (r *recorder) pass() {
	if !r.through {
		r.through = true
		r.send()
	}
}

// send sends what was held back. What was said in the header later is none, or
// a trailer.
func (r *recorder) send() {
	if r.header == nil {
		return
	}
	late := r.w.Header().Clone()
	set(r.w.Header(), r.header)
	r.w.WriteHeader(r.status)
	_, _ = r.w.Write(r.body.Bytes()) // nobody is there to hear of it
	r.header = nil
	r.body.Reset()
	set(r.w.Header(), late)
}

func set(h, to http.Header) {
	clear(h)
	maps.Copy(h, to)
}

// kept is the answer as it is kept, with these headers.
func (r *recorder) kept(headers []string) kept {
	k := kept{Status: r.status, Body: r.body.Bytes(), Header: http.Header{}}
	for _, name := range headers {
		if v := r.header.Values(name); len(v) > 0 {
			k.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	return k
}

// Flush, Hijack and the deadlines are what handlers ask of a ResponseWriter,
// by themselves or through http.ResponseController.

func (r *recorder) Flush() { _ = r.FlushError() }

func (r *recorder) FlushError() error {
	r.WriteHeader(http.StatusOK)
	r.pass()
	return http.NewResponseController(r.w).Flush()
}

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(r.w).Hijack()
	if err == nil { // the handler answers by itself
		r.through, r.status, r.header = true, http.StatusSwitchingProtocols, nil
	}
	return conn, buffer, err
}

func (r *recorder) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(r.w).SetReadDeadline(t)
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(r.w).SetWriteDeadline(t)
}

func (r *recorder) EnableFullDuplex() error {
	return http.NewResponseController(r.w).EnableFullDuplex()
}
