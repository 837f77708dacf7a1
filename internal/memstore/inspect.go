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
