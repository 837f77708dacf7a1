package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// Get returns the jobs with these IDs. A script stops at 4 MiB of them, and
// the rest is asked for again.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	rows := make([]*onceq.JobRow, len(ids))
	todo := s.byID(luaGet, len(ids), func(i int) string { return ids[i] })
	for len(todo) > 0 {
		trips := make([]*trip, len(todo))
		for i, sh := range todo {
			sh.args = []any{onceq.MaxPageBytes, len(sh.rows)}
			for _, i := range sh.rows {
				sh.args = append(sh.args, packID(ids[i]))
			}
			trips[i] = &sh.trip
		}
		if err := s.do(ctx, trips...); err != nil {
			return nil, err
		}
		var more []*share
		for _, sh := range todo {
			n := len(sh.reply)
			if n == 0 || n > len(sh.rows) {
				return nil, errors.New("redisstore: get: the answer is too short")
			}
			for k, i := range sh.rows[:n] {
				j, err := s.readTriple(ctx, &sh.trip, "", sh.reply[k])
				if err != nil {
					return nil, err
				}
				if j != nil {
					rows[i] = &j.JobRow
				}
			}
			if n < len(sh.rows) {
				more = append(more, &share{trip: trip{script: luaGet, part: sh.part}, rows: sh.rows[n:]})
			}
		}
		todo = more
	}
	return rows, nil
}

// List goes through the jobs by ID, on all partitions at once. With a
// filter it looks at a bounded number of jobs for a page, so a page may be
// short, or empty, with a cursor.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.JobPage{}, err
	}
	defer leave()
	after, filtered := r.After, r.Filter.State != "" || r.Filter.Queue != "" || r.Filter.Kind != "" ||
		r.Filter.Key != nil
	chunk := min(r.Limit, perScript)
	if n := len(s.parts); n > 1 {
		chunk = min(chunk, 2*r.Limit/n+10)
	}
	if filtered {
		chunk = perScript
	}
	var page onceq.JobPage
	bytes := 0
	for range 10 {
		all, frontier, err := s.listed(ctx, after, chunk, r.Filter.Args)
		if err != nil {
			return onceq.JobPage{}, err
		}
		for i, j := range all {
			if j.ID < frontier {
				break
			}
			if !matches(&r.Filter, j) {
				continue
			}
			if bytes += j.weight; r.Filter.Args && len(page.Jobs) > 0 && bytes > onceq.MaxPageBytes {
				page.Next = page.Jobs[len(page.Jobs)-1].ID
				return page, nil
			}
			if !r.Filter.Args {
				j.Args = nil
			}
			page.Jobs = append(page.Jobs, &j.JobRow)
			if len(page.Jobs) == r.Limit {
				if i < len(all)-1 || frontier != "" {
					page.Next = j.ID
				}
				return page, nil
			}
		}
		if frontier == "" {
			return page, nil
		}
		after = frontier
	}
	page.Next = after
	return page, nil
}

// listed returns the next jobs of all partitions below an ID, the largest
// first. Below the frontier not all jobs were looked at; "" = all were.
func (s *Store) listed(ctx context.Context, after string, chunk int, args bool) (all []*job,
	frontier string, err error) {
	bytes := max(onceq.MaxPageBytes/len(s.parts), 64<<10)
	var trips []*trip
	for p := range s.parts {
		trips = append(trips, &trip{script: luaList, part: p,
			args: []any{packBelow(after), after, chunk, flag(args), bytes}})
	}
	if err := s.do(ctx, trips...); err != nil {
		return nil, "", err
	}
	for _, t := range trips {
		for _, v := range t.reply {
			some := list(v)
			for _, v := range some[1:] {
				j, err := s.readTriple(ctx, t, "", v)
				if err != nil {
					return nil, "", err
				}
				if j != nil {
					all = append(all, j)
				}
			}
			if number(some[0]) == 1 {
				frontier = max(frontier, unpackID(text(list(some[len(some)-1])[0])))
			}
		}
	}
	slices.SortFunc(all, func(a, b *job) int { return strings.Compare(b.ID, a.ID) })
	return all, frontier, nil
}

func matches(f *onceq.JobFilter, j *job) bool {
	return (f.State == "" || f.State == j.State) && (f.Queue == "" || f.Queue == j.Queue) &&
		(f.Kind == "" || f.Kind == j.Kind) &&
		(f.Key == nil || j.Key != nil && *f.Key == *j.Key)
}

// keyListing is a stretch of all keys, in order. Keys are stored in no
// order (an index would cost every job 120 bytes). A listing reads all of
// them, in small steps, and remembers the next keysAhead of them for the
// pages that follow.
type keyListing struct {
	mu       sync.Mutex
	after    string // the stretch begins after this key
	keys     []string
	complete bool // no key comes after it
	at       time.Time
}

const (
	keysAhead = 20_000
	keysStale = time.Minute
)

// Keys returns held keys in their order. It may miss a key that is taken
// while a listing is under way.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.KeyPage{}, err
	}
	defer leave()
	var page onceq.KeyPage
	if r.Key != nil {
		held, err := s.readKeys(ctx, []string{string(r.Key[:])})
		if err == nil && (r.After == "" || r.Key.String() > r.After) && held[0] != nil && visible(&r.Filter, held[0]) {
			page.Keys = held
		}
		return page, err
	}
	after := ""
	if r.After != "" {
		k, err := onceq.ParseKey(r.After)
		if err != nil {
			return page, err
		}
		after = string(k[:])
	}
	for range 20 {
		names, more, err := s.keysAfter(ctx, after, perScript)
		if err != nil {
			return onceq.KeyPage{}, err
		}
		held, err := s.readKeys(ctx, names)
		if err != nil {
			return onceq.KeyPage{}, err
		}
		for i, h := range held {
			after = names[i]
			if h == nil || !visible(&r.Filter, h) {
				continue
			}
			page.Keys = append(page.Keys, h)
			if len(page.Keys) == r.Limit {
				if more || i < len(names)-1 {
					page.Next = h.Key.String()
				}
				return page, nil
			}
		}
		if !more {
			return page, nil
		}
	}
	page.Next = onceq.Key([]byte(after)).String()
	return page, nil
}

func visible(f *onceq.KeyFilter, h *onceq.HeldKey) bool {
	return (!h.Inert || f.Inert) && (f.Queue == "" || f.Queue == h.Queue) && (f.Kind == "" || f.Kind == h.Kind)
}

// readKeys reads the rows of keys; nil where there is none.
func (s *Store) readKeys(ctx context.Context, names []string) ([]*onceq.HeldKey, error) {
	byPart := make([][]int, len(s.parts))
	for i, name := range names {
		k := onceq.Key([]byte(name))
		p := s.ofKey(&k)
		byPart[p] = append(byPart[p], i)
	}
	var shares []*share
	for p, places := range byPart {
		if len(places) == 0 {
			continue
		}
		sh := &share{trip: trip{script: luaKeys, part: p, args: []any{len(places)}}, rows: places}
		for _, i := range places {
			sh.args = append(sh.args, names[i])
		}
		shares = append(shares, sh)
	}
	held := make([]*onceq.HeldKey, len(names))
	err := s.doShares(ctx, shares, func(sh *share, k, i int) error {
		v := list(sh.reply[k])
		if v == nil {
			return nil
		}
		if len(v) != 3 {
			return errors.New("redisstore: keys: the answer is too short")
		}
		id, _ := holds(text(v[1]))
		holder, err := s.readTriple(ctx, &sh.trip, id, v[2])
		if err != nil {
			return err
		}
		if held[i], err = heldKey(onceq.Key([]byte(names[i])), text(v[1]), holder); err != nil {
			return err
		}
		held[i].Inert = number(v[0]) == 0
		return nil
	})
	return held, err
}

// keysAfter returns up to n keys after the given one, in order, and whether
// there are more.
func (s *Store) keysAfter(ctx context.Context, after string, n int) (names []string, more bool, err error) {
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if after == "" || after < l.after || time.Since(l.at) > keysStale || !l.complete &&
		(len(l.keys) == 0 || after >= l.keys[len(l.keys)-1]) {
		keys, complete, err := s.scanKeys(ctx, after)
		if err != nil {
			return nil, false, err
		}
		l.after, l.keys, l.complete, l.at = after, keys, complete, time.Now()
	}
	i, found := slices.BinarySearch(l.keys, after)
	if found {
		i++
	}
	names = l.keys[i:min(i+n, len(l.keys))]
	return names, i+n < len(l.keys) || !l.complete, nil
}

// scanKeys reads all keys of all partitions, a thousand at a time, and
// keeps the first keysAhead after the given one.
func (s *Store) scanKeys(ctx context.Context, after string) (keys []string, complete bool, err error) {
	complete = true
	trim := func(n int) {
		slices.Sort(keys)
		keys = slices.Compact(keys)
		if len(keys) > n {
			keys, complete = keys[:n], false
		}
	}
	for p := range s.parts {
		for cursor := "0"; ; {
			t := &trip{script: luaScan, part: p, args: []any{cursor, 1000}}
			if err := s.do(ctx, t); err != nil {
				return nil, false, err
			}
			for _, name := range list(t.reply[1]) {
				if name := text(name); name > after {
					keys = append(keys, name)
				}
			}
			if len(keys) > 3*keysAhead {
				trim(keysAhead)
			}
			if cursor = text(t.reply[0]); cursor == "0" {
				break
			}
		}
	}
	trim(keysAhead)
	return keys, complete, nil
}

// Queues counts the jobs of each queue. Every partition keeps the numbers
// by state; due jobs are counted in an index.
func (s *Store) Queues(ctx context.Context) ([]onceq.QueueInfo, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	infos := map[string]*onceq.QueueInfo{}
	var todo []*trip
	for p := range s.parts {
		todo = append(todo, &trip{script: luaQueues, part: p, args: []any{"", 100}})
	}
	for len(todo) > 0 {
		if err := s.do(ctx, todo...); err != nil {
			return nil, err
		}
		var more []*trip
		for _, t := range todo {
			last := ""
			for _, v := range t.reply[1:] {
				q := list(v)
				if len(q) != 10 {
					return nil, errors.New("redisstore: queues: the answer is too short")
				}
				last = text(q[0])
				info := infos[last]
				if info == nil {
					info = &onceq.QueueInfo{Name: last, Counts: map[onceq.State]int{}}
					infos[last] = info
				}
				info.Paused = info.Paused || number(q[1]) == 1
				for i, state := range onceq.States() {
					if n := int(number(q[2+i])); n > 0 {
						info.Counts[state] += n
					}
				}
				if r := (reader{s: text(q[9])}); r.s != "" {
					if due := instant(r.instant()); !due.IsZero() &&
						(info.OldestDue.IsZero() || due.Before(info.OldestDue)) {
						info.OldestDue = due
					}
				}
			}
			if number(t.reply[0]) == 1 {
				more = append(more, &trip{script: luaQueues, part: t.part, args: []any{last, 100}})
			}
		}
		todo = more
	}
	var all []onceq.QueueInfo
	for _, info := range infos {
		if info.Paused || len(info.Counts) > 0 {
			all = append(all, *info)
		}
	}
	slices.SortFunc(all, func(a, b onceq.QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// readMeta reads meta that a client encoded; nil if it is not a JSON
// object.
func readMeta(s string) map[string]any {
	var meta map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	if d.Decode(&meta) != nil {
		return nil
	}
	return meta
}
