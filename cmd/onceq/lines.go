package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// line is one line of input, without its end.
type line struct {
	no   int // from 1
	text []byte
	long bool // it was longer than allowed, and text is cut
}

// lines reads ahead, up to one batch. A take gets all lines that are there,
// so a slow pipe does not wait for a batch to fill, and memory does not
// depend on the length of the input.
type lines struct {
	skip  int // lines at the beginning that are not handed out
	most  int // lines of a batch
	bytes int // bytes of a batch without its last line

	mu    sync.Mutex
	moved sync.Cond
	ready []line
	size  int
	done  bool
	err   error
}

// bom is at the beginning of texts that some editors and shells write. It
// does not belong to the text.
const bom = "\ufeff"

// compressions are the first bytes of compressed files, and the programs
// that unpack them.
var compressions = []struct{ magic, program string }{{"\x28\xb5\x2f\xfd", "zstdcat"}, {"BZh", "bzcat"},
	{"\xfd7zXZ", "xzcat"}, {"PK\x03\x04", "unzip -p"}}

// unpacked unpacks input that is compressed with gzip, and refuses other
// compressed input, because every line would be refused. It looks at the
// first read, because a pipe may have nothing yet.
type unpacked struct {
	from io.Reader
	once sync.Once
	in   io.Reader
	err  error
}

func (u *unpacked) Read(b []byte) (n int, err error) {
	u.once.Do(func() { u.in, u.err = unpack(bufio.NewReader(u.from)) })
	if u.err != nil {
		return 0, u.err
	}
	return u.in.Read(b)
}

func unpack(in *bufio.Reader) (io.Reader, error) {
	starts := func(magic string) bool {
		for n := range len(magic) { // byte by byte, so that a short first line is not delayed
			if first, _ := in.Peek(n + 1); string(first) != magic[:n+1] {
				return false
			}
		}
		return true
	}
	if starts("\x1f\x8b") {
		return gzip.NewReader(in)
	}
	for _, c := range compressions {
		if starts(c.magic) {
			return nil, fmt.Errorf("the input is compressed: %s FILE | onceq enqueue --file - reads it (gzip is read "+
				"as it is)", c.program)
		}
	}
	return in, nil
}

// readLines starts to read, behind the first skip lines. It ends with the input, or
// with ctx.
func readLines(ctx context.Context, r io.Reader, skip, most, bytes, longest int) *lines {
	l := &lines{skip: skip, most: most, bytes: bytes}
	l.moved.L = &l.mu
	context.AfterFunc(ctx, func() { l.end(ctx.Err()) })
	go func() { l.end(l.read(r, longest)) }()
	return l
}

func (l *lines) read(r io.Reader, longest int) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if first, _ := in.Peek(len(bom)); string(first) == bom {
		_, _ = in.Discard(len(bom))
	}
	for no := 1; ; no++ {
		text, long, err := readLine(in, longest)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read line %d: %w", no, err) // only a piece of the line was read
		}
		if no > l.skip && len(bytes.TrimSpace(text)) > 0 && !l.put(line{no, text, long}) || err != nil {
			return nil
		}
	}
}

// readLine reads a line to its end, and keeps at most longest bytes of it.
func readLine(in *bufio.Reader, longest int) (text []byte, long bool, err error) {
	for {
		var part []byte
		part, err = in.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if !full {
			part = bytes.TrimSuffix(bytes.TrimSuffix(part, []byte("\n")), []byte("\r"))
		}
		if room := longest - len(text); len(part) > room {
			part, long = part[:room], true
		}
		text = append(text, part...)
		if !full {
			return text, long, err
		}
	}
}

func (l *lines) put(n line) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.done && (len(l.ready) >= l.most || l.size >= l.bytes) {
		l.moved.Wait()
	}
	if l.done {
		return false
	}
	l.ready, l.size = append(l.ready, n), l.size+len(n.text)
	l.moved.Broadcast()
	return true
}

func (l *lines) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		l.done, l.err = true, err
	}
	l.moved.Broadcast()
}

// take waits for lines and returns those that are there. At the end of the
// input it returns none, and the error that ended it.
func (l *lines) take() ([]line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) == 0 && !l.done {
		l.moved.Wait()
	}
	if errors.Is(l.err, context.Canceled) {
		return nil, l.err // what was read ahead is dropped
	}
	ready := l.ready
	l.ready, l.size = nil, 0
	l.moved.Broadcast()
	if len(ready) > 0 {
		return ready, nil
	}
	return nil, l.err
}
