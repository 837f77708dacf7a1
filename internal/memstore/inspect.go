package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/rules"
)

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
			rows[i].Result = bytes.Clone(j.Result)
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
	indexed := len(r.States) > 0 && !slices.Contains(r.States, onceq.Completed) // as a real store has them
	below := s.sorted(func(j *rules.Job) bool {
		return (r.Cursor == "" || j.ID < r.Cursor) && (!indexed || slices.Contains(r.States, j.Shown(st.Now)) &&
			(r.Queue == "" || r.Queue == j.Queue))
	}, func(a, b *rules.Job) int { return cmp.Compare(b.ID, a.ID) })
	page := onceq.JobPage{Now: onceq.Instant(st.Now)}
	size, last := 0, ""
	for _, j := range below {
		row := j.View(st.Now)
		match := r.Matches(row)
		if match && r.Args {
			size += len(j.Args) + len(j.MetaJSON)
		}
		if page.Looked == cmp.Or(r.Look, onceq.MaxLook) || match && (len(page.Jobs) == r.Limit ||
			len(page.Jobs) > 0 && size > onceq.MaxPageBytes) {
			page.Next = last
			break
		}
		page.Looked++
		if last = j.ID; !match {
			continue
		}
		if !r.Args {
			row.Args = nil
		}
		page.Jobs = append(page.Jobs, own(row))
	}
	return page, nil
}

// Keys returns a page of keys.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.KeyPage{}, err
	}
	defer st.end()
	first, last, err := r.Range()
	if err != nil {
		return onceq.KeyPage{}, err
	}
	page := onceq.KeyPage{Now: onceq.Instant(st.Now)}
	var names []onceq.Key
	for name := range s.keys {
		if r.Key != nil && *r.Key == name || r.Key == nil && bytes.Compare(name[:], first[:]) >= 0 &&
			bytes.Compare(name[:], last[:]) <= 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b onceq.Key) int { return bytes.Compare(a[:], b[:]) })
	for i, name := range names {
		held, _ := s.keys[name].Show(st.Now)
		match := r.Matches(held)
		if page.Looked == cmp.Or(r.Look, onceq.MaxLook) || match && len(page.Keys) == r.Limit {
			page.Next = names[i-1].String()
			break
		}
		page.Looked++
		if match {
			page.Keys = append(page.Keys, held)
		}
	}
	return page, nil
}

// Queues counts.
func (s *Store) Queues(ctx context.Context, _ onceq.QueuesRequest) (onceq.QueueList, error) {
	st, err := s.begin(ctx)
	if err != nil {
		return onceq.QueueList{}, err
	}
	defer st.end()
	infos := map[string]*onceq.QueueInfo{}
	at := func(name string) *onceq.QueueInfo {
		if infos[name] == nil {
			infos[name] = &onceq.QueueInfo{Name: name, Counts: map[onceq.State]int{}}
		}
		return infos[name]
	}
	for name, until := range s.paused {
		if until > st.Now {
			at(name).Paused, at(name).PausedUntil = true, onceq.Instant(until)
		}
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
	all := onceq.QueueList{Now: onceq.Instant(st.Now)}
	for _, info := range infos {
		all.Queues = append(all.Queues, *info)
	}
	slices.SortFunc(all.Queues, func(a, b onceq.QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
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

// Workers lists the workers that are known.
func (s *Store) Workers(ctx context.Context) (all []onceq.WorkerInfo, err error) {
	st, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer st.end()
	for name, w := range s.workers {
		all = append(all, onceq.WorkerInfo{Name: name, Since: onceq.Instant(w.since), BeatAt: onceq.Instant(w.beatAt),
			LeaseUntil: onceq.Instant(w.leaseEnds), Late: w.leaseEnds <= st.Now, Running: len(s.runs(name)),
			About: bytes.Clone(w.about)})
	}
	slices.SortFunc(all, func(a, b onceq.WorkerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}
