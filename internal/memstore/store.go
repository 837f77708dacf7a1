// Package memstore is the Store contract as a map and a mutex: the readable specification of what every store does, and the oracle of
// random tests. It keeps nothing beyond the process and looks at every job where a real store has an index.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// Store is a onceq.Store in memory.
type Store struct {
	clock func() time.Time

	mu        sync.Mutex
	jobs      map[string]*job
	keys      map[onceq.Key]*key
	workers   map[string]*worker
	paused    map[string]bool
	listeners map[*listener]bool
	closed    bool
}

// job is a row. Its State is the stored one: see state.
type job struct {
	onceq.JobRow
	nonce   [16]byte
	meta    []byte
	runAt   int64
	anchor  int64
	fetchNo int64
	pruneAt int64 // when finished
}

// key is who holds a key.
type key struct {
	holder  string
	pending onceq.Until // the event that has not come yet; 0 = none
	freesAt int64
	since   int64
	next    string         // the waiter
	gone    *onceq.HeldKey // what is known of a holder whose row is gone
}

type worker struct {
	leaseEnds int64
	beat      int64
}

// New makes an empty store on a clock; nil = time.Now.
func New(clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{clock: clock, jobs: map[string]*job{}, keys: map[onceq.Key]*key{}, workers: map[string]*worker{},
		paused: map[string]bool{}, listeners: map[*listener]bool{}}
}

// begin starts a step: nobody else's until the returned function is called.
func (s *Store) begin(ctx context.Context) (now int64, end func(), err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, nil, onceq.ErrClosed
	}
	return s.clock().UnixMilli(), s.mu.Unlock, nil
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

// state is the state that is shown: what waits and is due is available.
func (j *job) state(now int64) onceq.State {
	if j.State.Waiting() && j.Behind == "" && j.runAt <= now {
		return onceq.Available
	}
	return j.State
}

// view is the row as it is handed out.
func (j *job) view(now int64) *onceq.JobRow {
	row := j.JobRow
	row.State = j.state(now)
	row.RunAt = instant(j.runAt)
	if j.Key != nil {
		row.Anchor = instant(j.anchor)
	}
	row.Args, row.Tags, row.Errors = bytes.Clone(j.Args), slices.Clone(j.Tags), slices.Clone(j.Errors)
	row.Meta = nil
	if len(j.meta) > 0 {
		d := json.NewDecoder(bytes.NewReader(j.meta))
		d.UseNumber()
		if err := d.Decode(&row.Meta); err != nil {
			panic(err) // the client encoded it
		}
	}
	return &row
}

// instant is a time as it is handed out; Never and 0 are the zero time.
func instant(ms int64) time.Time {
	if ms == onceq.Never || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Get returns jobs by ID.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	rows := make([]*onceq.JobRow, len(ids))
	for i, id := range ids {
		if j := s.jobs[id]; j != nil {
			rows[i] = j.view(now)
		}
	}
	return rows, nil
}

// List returns a page of jobs, largest ID first.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	now, end, err := s.begin(ctx)
	if err != nil {
		return onceq.JobPage{}, err
	}
	defer end()
	f := r.Filter
	found := s.sorted(func(j *job) bool {
		return (r.After == "" || j.ID < r.After) && (f.State == "" || f.State == j.state(now)) && (f.Queue == "" || f.Queue == j.Queue) &&
			(f.Kind == "" || f.Kind == j.Kind) && (f.Key == nil || j.Key != nil && *f.Key == *j.Key)
	}, func(a, b *job) int { return cmp.Compare(b.ID, a.ID) })
	var page onceq.JobPage
	size := 0
	for _, j := range found {
		if len(page.Jobs) == r.Limit {
			page.Next = page.Jobs[r.Limit-1].ID
			break
		}
		row := j.view(now)
		if f.Args {
			size += len(row.Args) + len(j.meta)
		} else {
			row.Args = nil
		}
		if size > onceq.MaxPageBytes && len(page.Jobs) > 0 {
			page.Next = page.Jobs[len(page.Jobs)-1].ID
			break
		}
		page.Jobs = append(page.Jobs, row)
	}
	return page, nil
}

// sorted returns the jobs that match, in order.
func (s *Store) sorted(match func(*job) bool, order func(a, b *job) int) []*job {
	var found []*job
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
	now, end, err := s.begin(ctx)
	if err != nil {
		return onceq.KeyPage{}, err
	}
	defer end()
	var page onceq.KeyPage
	var names []onceq.Key
	for name := range s.keys {
		if (r.Key == nil || *r.Key == name) && (r.After == "" || name.String() > r.After) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b onceq.Key) int { return bytes.Compare(a[:], b[:]) })
	for _, name := range names {
		held := s.keys[name].view(s, name, now)
		if held.Inert && !r.Filter.Inert || r.Filter.Queue != "" && r.Filter.Queue != held.Queue || r.Filter.Kind != "" && r.Filter.Kind != held.Kind {
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
	now, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
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
		state := j.state(now)
		info.Counts[state]++
		if due := instant(j.runAt); state == onceq.Available && (info.OldestDue.IsZero() || due.Before(info.OldestDue)) {
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

// listener is somebody who waits for jobs of some queues.
type listener struct {
	queues []string
	worker string // of whose stopped runs to hear; "" = of nobody's
	wake   chan onceq.Wake
}

// Wake says what became due.
func (s *Store) Wake(ctx context.Context, r onceq.WakeRequest) (<-chan onceq.Wake, error) {
	_, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	l := &listener{queues: slices.Clone(r.Queues), worker: r.Worker, wake: make(chan onceq.Wake, 16)}
	s.listeners[l] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
		close(l.wake)
	})
	return l.wake, nil
}

func (s *Store) notify(queue string) {
	for l := range s.listeners {
		if slices.Contains(l.queues, queue) {
			select {
			case l.wake <- onceq.Wake{Queue: queue}:
			default:
			}
		}
	}
}

// notifyStop wakes a worker of whose runs one is to stop.
func (s *Store) notifyStop(worker string) {
	for l := range s.listeners {
		if worker != "" && l.worker == worker {
			select {
			case l.wake <- onceq.Wake{Stop: true}:
			default: // it has enough to wake up for
			}
		}
	}
}

// Traits says what the store can do besides.
func (s *Store) Traits() onceq.Traits { return onceq.Traits{Wake: s.Wake} }

var _ onceq.Store = (*Store)(nil)

// refuse is the answer to an operator's step that a job's state does not allow.
func refuse(value any, rule string) error {
	var text string
	switch v := value.(type) {
	case onceq.State:
		text = string(v)
	case string:
		text = v
	}
	return &onceq.InvalidError{Field: "state", Value: text, Rule: rule}
}
