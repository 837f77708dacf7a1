// Package memstore is the Store contract as maps and a mutex: the readable
// specification of every store, and the model for random tests. What a key
// does is in package rules. It keeps nothing beyond the process, and looks
// at every job where a real store has an index.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

// Store is a onceq.Store in memory.
type Store struct {
	clock func() time.Time

	mu        sync.Mutex
	jobs      map[string]*rules.Job
	keys      map[onceq.Key]*rules.Key // those that have a row
	workers   map[string]*worker
	paused    map[string]bool
	listeners map[*listener]bool
	closed    bool
}

type worker struct {
	leaseEnds int64
	beat      int64
}

// New makes an empty store with a clock; nil = time.Now.
func New(clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{clock: clock, jobs: map[string]*rules.Job{}, keys: map[onceq.Key]*rules.Key{},
		workers: map[string]*worker{},
		paused:  map[string]bool{}, listeners: map[*listener]bool{}}
}

// Traits says what the store can do besides.
func (s *Store) Traits() onceq.Traits { return onceq.Traits{Wake: s.Wake} }

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
		st.notify(j.Queue)
	}
	for _, w := range st.Stops {
		st.notifyStop(w)
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

// Close forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return onceq.ErrClosed
	}
	s.closed = true
	return nil
}

// view is a job as it is handed out: the caller may keep it and change it.
func (st *step) view(j *rules.Job) *onceq.JobRow { return own(j.View(st.Now)) }

// own gives a row memory of its own.
func own(row *onceq.JobRow) *onceq.JobRow {
	row.Args, row.Tags, row.Errors = bytes.Clone(row.Args), slices.Clone(row.Tags), slices.Clone(row.Errors)
	return row
}

// Get returns jobs by ID.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	rows := make([]*onceq.JobRow, len(ids))
	for i, id := range ids {
		if j := s.jobs[id]; j != nil {
			rows[i] = st.view(j)
		}
	}
	return rows, nil
}

// List returns a page of jobs, largest ID first.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.JobPage{}, err
	}
	defer st.end()
	f := r.Filter
	found := s.sorted(func(j *rules.Job) bool {
		return (r.After == "" || j.ID < r.After) && (f.State == "" || f.State == j.Shown(st.Now)) &&
			(f.Queue == "" || f.Queue == j.Queue) && (f.Kind == "" || f.Kind == j.Kind) &&
			(f.Key == nil || j.Key != nil && *f.Key == *j.Key)
	}, func(a, b *rules.Job) int { return cmp.Compare(b.ID, a.ID) })
	var page onceq.JobPage
	size := 0
	for _, j := range found {
		if f.Args {
			size += len(j.Args) + len(j.MetaJSON)
		}
		if n := len(page.Jobs); n == r.Limit || n > 0 && size > onceq.MaxPageBytes {
			page.Next = page.Jobs[n-1].ID
			break
		}
		row := j.View(st.Now)
		if !f.Args {
			row.Args = nil
		}
		page.Jobs = append(page.Jobs, own(row))
	}
	return page, nil
}

// sorted returns the jobs that match, in order.
func (s *Store) sorted(match func(*rules.Job) bool, order func(a, b *rules.Job) int) []*rules.Job {
	var found []*rules.Job
	for _, j := range s.jobs {
		if match(j) {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, order)
	return found
}

// Keys returns a page of keys.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.KeyPage{}, err
	}
	defer st.end()
	var page onceq.KeyPage
	var names []onceq.Key
	for name := range s.keys {
		if (r.Key == nil || *r.Key == name) && (r.After == "" || name.String() > r.After) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b onceq.Key) int { return bytes.Compare(a[:], b[:]) })
	f := r.Filter
	for _, name := range names {
		held, _ := s.keys[name].Show(st.Now)
		if held.Inert && !f.Inert || f.Queue != "" && f.Queue != held.Queue || f.Kind != "" && f.Kind != held.Kind {
			continue
		}
		if len(page.Keys) == r.Limit {
			page.Next = page.Keys[r.Limit-1].Key.String()
			break
		}
		page.Keys = append(page.Keys, held)
	}
	return page, nil
}

// Queues counts.
func (s *Store) Queues(ctx context.Context) ([]onceq.QueueInfo, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	infos := map[string]*onceq.QueueInfo{}
	at := func(name string) *onceq.QueueInfo {
		if infos[name] == nil {
			infos[name] = &onceq.QueueInfo{Name: name, Paused: s.paused[name], Counts: map[onceq.State]int{}}
		}
		return infos[name]
	}
	for name := range s.paused {
		at(name)
	}
	for _, j := range s.jobs {
		info := at(j.Queue)
		state := j.Shown(st.Now)
		info.Counts[state]++
		due := onceq.Instant(j.RunMS)
		if state == onceq.Available && (info.OldestDue.IsZero() || due.Before(info.OldestDue)) {
			info.OldestDue = due
		}
	}
	var all []onceq.QueueInfo
	for _, info := range infos {
		all = append(all, *info)
	}
	slices.SortFunc(all, func(a, b onceq.QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

var _ onceq.Store = (*Store)(nil)
