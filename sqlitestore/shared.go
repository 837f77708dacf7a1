package sqlitestore

import (
	"context"
	"sync"
	"time"
)

// shared is what the stores of this process that have the same file open have
// in common.
type shared struct {
	path   string
	stores int
	// reading has a token for each read that may be under way: whoever has all
	// of them knows that nobody here reads.
	reading chan struct{}
}

// mostReading is more than the readers of a store, and few enough to be taken
// one after the other.
const mostReading = 4 * maxReaders

var files struct {
	sync.Mutex
	open map[string]*shared
}

// share joins the stores of this process that have the file open; leave is its end.
func share(path string) *shared {
	files.Lock()
	defer files.Unlock()
	if files.open == nil {
		files.open = map[string]*shared{}
	}
	f := files.open[path]
	if f == nil {
		f = &shared{path: path, reading: make(chan struct{}, mostReading)}
		for range mostReading {
			f.reading <- struct{}{}
		}
		files.open[path] = f
	}
	f.stores++
	return f
}

func (f *shared) leave() {
	files.Lock()
	defer files.Unlock()
	if f.stores--; f.stores == 0 {
		delete(files.open, f.path)
	}
}

// quiet runs do while nobody here reads. It reports false, and does nothing,
// where reads that have begun do not end in time.
func (f *shared) quiet(wait time.Duration, do func() error) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	taken := 0
	defer func() {
		for range taken {
			f.reading <- struct{}{}
		}
	}()
	for ; taken < mostReading; taken++ {
		select {
		case <-f.reading:
		case <-ctx.Done():
			return false, nil
		}
	}
	return true, do()
}
