// Package memstore is the Store contract as maps and a mutex: the readable
// specification of every store, and the model for random tests. What a key
// does is in package rules. It keeps nothing beyond the process, and looks
// at every job where a real store has an index.
package memstore

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/listen"
	"github.com/onceq/onceq/internal/rules"
)

// Store is a onceq.Store in memory.
type Store struct {
	clock func() time.Time

	mu      sync.Mutex
	jobs    map[string]*rules.Job
	keys    map[onceq.Key]*rules.Key // those that have a row
	workers map[string]*worker
	paused  map[string]int64  // when the pause of a queue ends; Never = when it is resumed
	notes   map[string]string // see package tally
	closed  bool

	listeners *listen.Registry
}

type worker struct {
	leaseEnds     int64
	beat          int64
	since, beatAt int64
	about         []byte
}

// New makes an empty store with a clock; nil = time.Now.
func New(clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{clock: clock, jobs: map[string]*rules.Job{}, keys: map[onceq.Key]*rules.Key{},
		workers: map[string]*worker{},
		notes:   map[string]string{},
		paused:  map[string]int64{}, listeners: listen.New(nil)}
}

// Traits says what the store can do besides.
func (s *Store) Traits() onceq.Traits {
	return onceq.Traits{Wake: s.Wake, Info: func(context.Context) (onceq.StoreInfo, error) {
		return onceq.StoreInfo{Server: "memory"}, nil
	}}
}

// step is one atomic step.
type step struct {
	*Store
	rules.Book
}

// begin starts a step. No other step runs until end.
func (s *Store) begin(ctx context.Context) (*step, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, onceq.ErrClosed
	}
	return &step{s, rules.Book{Now: s.clock().UnixMilli()}}, nil
}

// end ends a step and wakes the listeners.
func (st *step) end() {
	for _, j := range st.Woken {
		st.listeners.Due(j.Queue, j.Kind)
	}
	for _, w := range st.Stops {
		st.listeners.Stop(w)
	}
	st.mu.Unlock()
}

// key is the row of a key, or one that is not held.
func (st *step) key(name *onceq.Key) *rules.Key {
	if name == nil {
		return nil
	}
	if k := st.keys[*name]; k != nil {
		return k
	}
	return &rules.Key{Name: *name}
}

// save keeps what a rule changed: new jobs, the row of the key, and rows
// that were removed.
func (st *step) save(k *rules.Key, jobs ...*rules.Job) {
	if k != nil {
		switch k.Mark {
		case rules.Changed:
			st.keys[k.Name] = k
		case rules.Removed:
			delete(st.keys, k.Name)
		}
		k.Mark = rules.Clean
	}
	for _, j := range jobs {
		if j != nil && j.IsGone() && st.jobs[j.ID] == j {
			delete(st.jobs, j.ID)
		}
	}
	for _, j := range st.Added {
		if !j.IsGone() {
			st.jobs[j.ID] = j
		}
		j.Mark = rules.Clean
	}
	st.Added = nil
}

// The holder and the waiter before the step, so that save sees whether they
// were removed.
func holderAndWaiter(k *rules.Key) (holder, waiter *rules.Job) {
	if k == nil {
		return nil, nil
	}
	return k.Holder, k.Waiter
}

// Close ends all wake-ups.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return onceq.ErrClosed
	}
	s.listeners.Close()
	return nil
}

// view is a job as it is handed out: the caller may keep it and change it.
func (st *step) view(j *rules.Job) *onceq.JobRow { return own(j.View(st.Now)) }

// own gives a row memory of its own.
func own(row *onceq.JobRow) *onceq.JobRow {
	row.Args, row.Tags, row.Errors = bytes.Clone(row.Args), slices.Clone(row.Tags), slices.Clone(row.Errors)
	return row
}

var _ onceq.Store = (*Store)(nil)
