package pgstore

import (
	"context"

	"github.com/onceq/onceq"
)

// read is a call that changes nothing: it is repeated as long as its
// context allows.
func (s *Store) read(ctx context.Context, what string, step func() error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return s.wrap(what, err)
	}
	defer leave()
	return s.wrap(what, s.retry(ctx, reading, step))
}

// Get returns jobs by ID.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	var rows []*onceq.JobRow
	err := s.read(ctx, "get", func() error {
		rows = make([]*onceq.JobRow, len(ids))
		found := make(map[string]*onceq.JobRow, len(ids))
		err := s.query(ctx, s.sql.get, func(r *record) {
			now := r.int64()
			r.next() // n
			if j := r.job(now); j != nil {
				found[j.ID] = j
			}
		}, ids)
		for i, id := range ids {
			rows[i] = found[id]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// bound is how many rows a page looks at, at most.
const bound = 10_000

// List returns a page of jobs, largest ID first.
func (s *Store) List(ctx context.Context, l onceq.ListRequest) (onceq.JobPage, error) {
	var state *int16
	few := false
	if l.Filter.State != "" {
		code := codeOf[l.Filter.State]
		state, few = &code, code == codeRetryable || l.Filter.State == onceq.Discarded ||
			l.Filter.State == onceq.Cancelled
	}
	look := l.Limit + 1
	if f := l.Filter; f.State != "" || f.Queue != "" || f.Kind != "" || f.Key != nil {
		look = bound
	}
	var key []byte
	if l.Filter.Key != nil {
		key = l.Filter.Key[:]
	}
	var bytes *int
	if l.Filter.Args {
		most := onceq.MaxPageBytes
		bytes = &most
	}
	var page onceq.JobPage
	err := s.read(ctx, "list", func() error {
		page = onceq.JobPage{}
		looked, last := 0, ""
		err := s.query(ctx, s.sql.list, func(r *record) {
			now, n, id := r.int64(), r.int(), r.string()
			if j := r.job(now); j != nil {
				if !l.Filter.Args {
					j.Args = nil
				}
				page.Jobs = append(page.Jobs, j)
			} else {
				looked, last = n, id
			}
		}, l.After, look, few, state, l.Filter.Queue, l.Filter.Kind, key, l.Limit+1, bytes)
		switch {
		case len(page.Jobs) > l.Limit:
			page.Jobs = page.Jobs[:l.Limit]
			page.Next = page.Jobs[l.Limit-1].ID
		case looked == look:
			page.Next = last
		}
		return err
	})
	return page, err
}

// Keys returns a page of keys.
func (s *Store) Keys(ctx context.Context, k onceq.KeysRequest) (onceq.KeyPage, error) {
	after, look, name := []byte{}, k.Limit+1, []byte(nil)
	if k.Filter.Queue != "" || k.Filter.Kind != "" || !k.Filter.Inert {
		look = max(look, 1000)
	}
	switch {
	case k.Key != nil:
		look, name = 1, k.Key[:]
	case k.After != "":
		from, err := onceq.ParseKey(k.After)
		if err != nil {
			return onceq.KeyPage{}, s.wrap("keys", err)
		}
		after = from[:]
	}
	var page onceq.KeyPage
	err := s.read(ctx, "keys", func() error {
		page = onceq.KeyPage{}
		looked, last, full := 0, onceq.Key{}, false
		err := s.query(ctx, s.sql.keys, func(r *record) {
			if full {
				return
			}
			h := &onceq.HeldKey{}
			looked++
			copy(h.Key[:], r.bytes())
			h.Inert = r.bool()
			h.Holder, h.Waiter, h.Since, h.FreesAt, h.FreesWhen, h.Gone = r.string(), r.string(), r.instant(),
				r.instant(), onceq.Until(r.int()).String(), r.bool()
			h.Kind, h.Queue, h.Text, h.State = r.string(), r.string(), looseText(r.string()), r.state()
			copy(h.Digest[:], r.bytes())
			if h.Inert && !k.Filter.Inert || k.Filter.Queue != "" && k.Filter.Queue != h.Queue || k.Filter.Kind != "" &&
				k.Filter.Kind != h.Kind {
				last = h.Key
				return
			}
			if len(page.Keys) == k.Limit {
				full = true
				return
			}
			last = h.Key
			page.Keys = append(page.Keys, h)
		}, after, look, name)
		if k.Key == nil && (full || looked == look) {
			page.Next = last.String()
		}
		return err
	})
	return page, err
}

// Queues counts the jobs of each queue.
func (s *Store) Queues(ctx context.Context) ([]onceq.QueueInfo, error) {
	var all []onceq.QueueInfo
	err := s.read(ctx, "queues", func() error {
		all = nil
		return s.query(ctx, s.sql.queues, func(r *record) {
			name, paused := r.string(), r.bool()
			if len(all) == 0 || all[len(all)-1].Name != name {
				all = append(all, onceq.QueueInfo{Name: name, Paused: paused, Counts: map[onceq.State]int{}})
			}
			info := &all[len(all)-1]
			state := r.state()
			n, oldest := r.int(), r.instant()
			if n == 0 {
				return
			}
			info.Counts[state] += n
			if state == onceq.Available {
				info.OldestDue = oldest
			}
		})
	})
	return all, err
}
