package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/onceq/onceq"
)

// Get returns the jobs with these IDs.
func (s *Store) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	jobs, _, err := s.readJobs(ctx, ids, true)
	if err != nil {
		return nil, err
	}
	rows := make([]*onceq.JobRow, len(ids))
	for i, j := range jobs {
		if j != nil {
			rows[i] = &j.JobRow
		}
	}
	return rows, nil
}

// readJobs reads jobs by ID; nil where there is none. A script stops at 4 MiB
// of them, and the rest is asked for again. now is when some were read.
func (s *Store) readJobs(ctx context.Context, ids []string, args bool) (jobs []*job, now int64, err error) {
	jobs = make([]*job, len(ids))
	todo := s.byID(luaGet, len(ids), func(i int) string { return ids[i] })
	for len(todo) > 0 {
		trips := make([]*trip, len(todo))
		for i, sh := range todo {
			sh.args = []any{flag(args), onceq.MaxPageBytes, len(sh.rows)}
			for _, i := range sh.rows {
				sh.args = append(sh.args, packID(ids[i]))
			}
			trips[i] = &sh.trip
		}
		if err := s.do(ctx, trips...); err != nil {
			return nil, 0, err
		}
		var more []*share
		for _, sh := range todo {
			n := len(sh.reply)
			if n == 0 || n > len(sh.rows) {
				return nil, 0, errors.New("redisstore: get: the answer is too short")
			}
			now = sh.now
			for k, i := range sh.rows[:n] {
				v := list(sh.reply[k])
				if jobs[i], err = s.readTriple(ctx, &sh.trip, "", v[:min(len(v), 4)]); err != nil {
					return nil, 0, err
				}
				if len(v) > 4 && v[4] != nil {
					jobs[i].Result = []byte(text(v[4]))
				}
			}
			if n < len(sh.rows) {
				more = append(more, &share{trip: trip{script: luaGet, part: sh.part}, rows: sh.rows[n:]})
			}
		}
		todo = more
	}
	return jobs, now, nil
}

// keyListing is a stretch of all keys, in order. Keys are stored in no order
// (an index would cost every job 120 bytes). A listing reads the names of all
// of them, in small steps, and remembers the next keysAhead of them for the
// pages that follow.
type keyListing struct {
	mu       sync.Mutex
	from     onceq.Key // the stretch begins at this key
	keys     []string
	complete bool // no key comes after it
	at       time.Time
}

const (
	keysAhead = 200_000          // names of 32 bytes
	keysStale = time.Minute      // for the pages that follow the first
	keysLate  = 10 * time.Second // for a first page that may be late
)

// Keys returns held keys in their order. It may miss a key that is taken while
// a listing is under way.
func (s *Store) Keys(ctx context.Context, r onceq.KeysRequest) (page onceq.KeyPage, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return page, err
	}
	defer leave()
	first, last, err := r.Range()
	if err != nil {
		return page, err
	}
	if r.Key != nil {
		held, now, err := s.readKeys(ctx, []string{string(r.Key[:])})
		page.Now, page.Looked = onceq.Instant(now), len(held)
		if err == nil && held[0] != nil && r.Matches(held[0]) {
			page.Keys = held
		}
		return page, err
	}
	stale := keysStale
	if r.Cursor == "" {
		stale = 0
	}
	if r.Late {
		stale = max(stale, keysLate)
	}
	look, began := cmp.Or(r.Look, onceq.MaxLook), time.Now()
	for {
		names, more, err := s.keysFrom(ctx, first, last, min(perScript, look-page.Looked), stale)
		if err != nil {
			return page, err
		}
		held, now, err := s.readKeys(ctx, names)
		if err != nil {
			return page, err
		}
		page.Now, stale = onceq.Instant(now), keysStale
		for i, h := range held {
			match := h != nil && r.Matches(h)
			if match && len(page.Keys) == r.Limit {
				page.Next = first.String()
				return page, nil
			}
			page.Looked++
			if first = onceq.Key([]byte(names[i])); match {
				page.Keys = append(page.Keys, h)
			}
		}
		switch {
		case !more:
			return page, nil
		case len(page.Keys) == r.Limit, page.Looked >= look, time.Since(began) > onceq.MaxLookTime:
			page.Next = first.String()
			return page, nil
		}
		r.Cursor = first.String()
		if first, _, err = r.Range(); err != nil {
			return page, err
		}
	}
}

// readKeys reads the rows of keys; nil where there is none. now is when some
// were read.
func (s *Store) readKeys(ctx context.Context, names []string) (held []*onceq.HeldKey, now int64, err error) {
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
	held = make([]*onceq.HeldKey, len(names))
	err = s.doShares(ctx, shares, func(sh *share, k, i int) error {
		now = sh.now
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
	return held, now, err
}

// keysFrom returns up to n names of keys of a range, in order, and whether there
// are more. They were read no longer than stale ago.
func (s *Store) keysFrom(ctx context.Context, first, last onceq.Key, n int, stale time.Duration) (names []string,
	more bool, err error) {
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	from := string(first[:])
	if from < string(l.from[:]) || time.Since(l.at) > stale || !l.complete &&
		(len(l.keys) == 0 || from > l.keys[len(l.keys)-1]) {
		at := time.Now()
		keys, complete, err := s.scanKeys(ctx, from)
		if err != nil {
			return nil, false, err
		}
		l.from, l.keys, l.complete, l.at = first, keys, complete, at
	}
	i, _ := slices.BinarySearch(l.keys, from)
	end, found := slices.BinarySearch(l.keys, string(last[:]))
	if found {
		end++
	}
	end = max(i, end)
	more = end == len(l.keys) && !l.complete || i+n < end
	return l.keys[i:min(i+n, end)], more, nil
}

// scanKeys reads the names of all keys of all partitions, a thousand at a time,
// and keeps the first keysAhead from the given one on.
func (s *Store) scanKeys(ctx context.Context, from string) (keys []string, complete bool, err error) {
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
				if name := text(name); name >= from {
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
func (s *Store) Queues(ctx context.Context, _ onceq.QueuesRequest) (all onceq.QueueList, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return all, err
	}
	defer leave()
	infos, paused := map[string]*onceq.QueueInfo{}, map[string]int64{} // when the pause ends
	var todo []*trip
	for p := range s.parts {
		todo = append(todo, &trip{script: luaQueues, part: p, args: []any{"", 100}})
	}
	for len(todo) > 0 {
		if err := s.do(ctx, todo...); err != nil {
			return all, err
		}
		var more []*trip
		for _, t := range todo {
			all.Now = onceq.Instant(t.now)
			last := ""
			for _, v := range t.reply[1:] {
				q := list(v)
				if len(q) != 10 {
					return all, errors.New("redisstore: queues: the answer is too short")
				}
				last = text(q[0])
				info := infos[last]
				if info == nil {
					info = &onceq.QueueInfo{Name: last, Counts: map[onceq.State]int{}}
					infos[last] = info
				}
				paused[last] = max(paused[last], number(q[1]))
				for i, state := range onceq.States() {
					if n := int(number(q[2+i])); n > 0 {
						info.Counts[state] += n
					}
				}
				if r := (reader{s: text(q[9])}); r.s != "" {
					if due := onceq.Instant(r.instant()); !due.IsZero() &&
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
	for _, info := range infos {
		if ends := paused[info.Name]; ends > 0 {
			info.Paused = true
			if ends < never {
				info.PausedUntil = onceq.Instant(ends)
			}
		}
		if info.Paused || len(info.Counts) > 0 {
			all.Queues = append(all.Queues, *info)
		}
	}
	slices.SortFunc(all.Queues, func(a, b onceq.QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
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
