package pgstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onceq/onceq"
)

// read is a call that changes nothing: it is repeated as long as its
// context allows.
func (s *Store) read(ctx context.Context, what string, step func(context.Context) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return s.wrap(what, err)
	}
	defer leave()
	return s.wrap(what, s.retry(ctx, reading, step))
}

// askable reports whether a text can be an ID. The server refuses any that is
// no UTF-8 or has a NUL, and callers may ask for them.
func askable(id string) bool { return utf8.ValidString(id) && !strings.Contains(id, "\x00") }

// asked are IDs as the server is asked for them: "", which no job has, stands
// for each that it would refuse.
func asked(ids []string) []string {
	if !slices.ContainsFunc(ids, func(id string) bool { return !askable(id) }) {
		return ids
	}
	ids = slices.Clone(ids)
	for i, id := range ids {
		if !askable(id) {
			ids[i] = ""
		}
	}
	return ids
}

// askedName is a name as the server is asked for it: a control character, which
// is in none, stands for each that it would refuse. "" asks for any.
func askedName(name string) string {
	if !askable(name) {
		return "\x01"
	}
	return name
}

// Get returns jobs by ID.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	var rows []*onceq.JobRow
	err := s.read(ctx, "get", func(ctx context.Context) error {
		rows = make([]*onceq.JobRow, len(ids))
		found := make(map[string]*onceq.JobRow, len(ids))
		err := s.query(ctx, s.sql.get, func(r *record) {
			now := r.int64()
			r.next() // n
			r.result = true
			if j := r.job(now); j != nil {
				found[j.ID] = j
			}
		}, asked(ids))
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

// Keys returns a page of keys.
func (s *Store) Keys(ctx context.Context, k onceq.KeysRequest) (page onceq.KeyPage, err error) {
	first, last, err := k.Range()
	if err != nil {
		return page, s.wrap("keys", err)
	}
	began, look, most := time.Now(), cmp.Or(k.Look, onceq.MaxLook), min(stretch, k.Limit+1)
	var name []byte
	if k.Key != nil {
		name, look, most = k.Key[:], 1, 1
	}
	for after := first; ; most = stretch {
		most = min(most, look-page.Looked)
		rows, now, err := s.keysFrom(ctx, first, last, most+1, name)
		if err != nil {
			return onceq.KeyPage{}, err
		}
		page.Now = now
		for i, h := range rows {
			if first = h.Key; i == most {
				break
			}
			match := k.Matches(h)
			if match && len(page.Keys) == k.Limit {
				page.Next = after.String()
				return page, nil
			}
			page.Looked++
			if after = h.Key; match {
				page.Keys = append(page.Keys, h)
			}
		}
		switch {
		case len(rows) <= most:
			return page, nil
		case page.Looked >= look, time.Since(began) > onceq.MaxLookTime:
			page.Next = after.String()
			return page, nil
		}
	}
}

// keysFrom reads up to look keys of a range, or the one with this name.
func (s *Store) keysFrom(ctx context.Context, first, last onceq.Key, look int, name []byte) (rows []*onceq.HeldKey,
	now time.Time, err error) {
	from, to := first[:], last[:]
	if name != nil {
		from, to = name, name
	}
	err = s.read(ctx, "keys", func(ctx context.Context) error {
		rows = nil
		return s.query(ctx, s.sql.keys, func(r *record) {
			h := &onceq.HeldKey{}
			now = r.instant()
			copy(h.Key[:], r.bytes())
			h.Inert = r.bool()
			h.Holder, h.Waiter, h.Since, h.FreesAt, h.FreesWhen, h.Gone = r.string(), r.string(), r.instant(),
				r.instant(), onceq.Until(r.int()).String(), r.bool()
			h.Kind, h.Queue, h.Text, h.State = r.string(), r.string(), looseText(r.string()), r.state()
			copy(h.Digest[:], r.bytes())
			rows = append(rows, h)
		}, from, to, look, name)
	})
	return rows, now, err
}

// Queues counts the jobs of each queue.
func (s *Store) Queues(ctx context.Context, q onceq.QueuesRequest) (all onceq.QueueList, err error) {
	err = s.read(ctx, "queues", func(ctx context.Context) error {
		infos := map[string]*onceq.QueueInfo{}
		var order []string
		err := s.query(ctx, s.sql.queues, func(r *record) {
			all.Now = r.instant()
			name, until := r.string(), r.int64()
			info := infos[name]
			switch {
			case name == "":
				return
			case info == nil:
				info = &onceq.QueueInfo{Name: name, Paused: until != 0, PausedUntil: onceq.Instant(until),
					Counts: map[onceq.State]int{}}
				infos[name], order = info, append(order, name)
			}
			state, n, atLeast, oldest := r.state(), r.int(), r.bool(), r.instant()
			if n > 0 {
				info.Counts[state] = n
			}
			if atLeast {
				info.AtLeast = append(info.AtLeast, state)
			}
			if state == onceq.Available {
				info.OldestDue = oldest
			}
		}, cmp.Or(q.Most, onceq.MaxCount))
		slices.Sort(order)
		all.Queues = nil
		for _, name := range order {
			all.Queues = append(all.Queues, *infos[name])
		}
		return err
	})
	return all, err
}

// Workers lists the workers that are known.
func (s *Store) Workers(ctx context.Context) (all []onceq.WorkerInfo, err error) {
	err = s.read(ctx, "workers", func(ctx context.Context) error {
		all = nil
		return s.query(ctx, s.sql.workers, func(r *record) {
			now := r.int64()
			w := onceq.WorkerInfo{Name: r.string(), Since: r.instant(), BeatAt: r.instant()}
			ends := r.int64()
			w.LeaseUntil, w.Late, w.About, w.Running = onceq.Instant(ends), ends <= now, r.bytes(), r.int()
			all = append(all, w)
		})
	})
	return all, err
}
