package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestLinesAreBoundedAndNumbered(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	in := "\ufeffone\r\n\n  \ntwo\n" + long + "\nthree"
	l := readLines(t.Context(), strings.NewReader(in), 0, 500, 4<<20, 1000)
	var got []string
	for {
		batch, err := l.take()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		for _, n := range batch {
			got = append(got, fmt.Sprintf("%d %v %.10s %d", n.no, n.long, n.text, len(n.text)))
		}
	}
	want := "1 false one 3\n4 false two 3\n5 true xxxxxxxxxx 1000\n6 false three 5"
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got:\n%s\nwant:\n%s", s, want)
	}
}

// A reader that is far ahead waits: memory does not grow with the input.
func TestTheReaderIsNeverMoreThanABatchAhead(t *testing.T) {
	in := &endless{}
	l := readLines(t.Context(), in, 0, 10, 1<<20, 1000)
	for range 100 {
		batch, err := l.take()
		if err != nil || len(batch) > 10 {
			t.Fatalf("%d lines, %v", len(batch), err)
		}
	}
	l = readLines(t.Context(), in, 0, 1000, 50, 1000)
	for range 100 {
		batch, err := l.take()
		if err != nil || len(batch) > 50 {
			t.Fatalf("%d lines, %v", len(batch), err)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, "1\n1\n1\n1\n"), nil }

// What is there is taken at once, though more may come.
func TestASlowPipeIsNotKeptWaiting(t *testing.T) {
	r, w := io.Pipe()
	l := readLines(t.Context(), r, 0, 500, 1<<20, 1000)
	for i := range 3 {
		go fmt.Fprintf(w, "line %d\n", i)
		if batch, err := l.take(); len(batch) != 1 || err != nil || string(batch[0].text) != fmt.Sprint("line ", i) {
			t.Fatalf("%v, %v", batch, err)
		}
	}
	w.CloseWithError(errors.New("broken"))
	if batch, err := l.take(); len(batch) != 0 || err == nil || !strings.Contains(err.Error(), "read line 4: broken") {
		t.Fatalf("%v, %v", batch, err)
	}
}

func TestACancelledFeedTakesNoMore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := io.Pipe()
	l := readLines(ctx, r, 0, 500, 1<<20, 1000)
	cancel()
	if batch, err := l.take(); len(batch) != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", batch, err)
	}
}
