package redisstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/onceq/onceq"
)

// List goes through the jobs by ID; or, where an index has all jobs in the
// states that are wanted and they are few, through these.
func (s *Store) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return onceq.JobPage{}, err
	}
	defer leave()
	l := &listing{r: &r, look: cmp.Or(r.Look, onceq.MaxLook), began: time.Now(), last: r.Cursor}
	ids, rows, few, err := s.fewJobs(ctx, l)
	switch {
	case err != nil:
	case rows != nil:
		for _, j := range rows {
			if !l.take(j) {
				break
			}
		}
	case few:
		err = s.listFew(ctx, l, ids)
	default:
		err = s.listAll(ctx, l)
	}
	if err != nil {
		return onceq.JobPage{}, err
	}
	return l.page, nil
}

// listing is a page that comes to be.
type listing struct {
	r     *onceq.ListRequest
	page  onceq.JobPage
	look  int
	began time.Time
	last  string // the ID of the last job that was looked at
	bytes int
}

// take looks at the next job. It reports whether the page goes on.
func (l *listing) take(j *job) bool {
	match := l.r.Matches(&j.JobRow)
	if match && l.r.Args {
		l.bytes += j.weight
	}
	n := len(l.page.Jobs)
	if l.page.Looked == l.look || match && (n == l.r.Limit || n > 0 && l.bytes > onceq.MaxPageBytes) {
		l.page.Next = l.last
		return false
	}
	l.page.Looked++
	if l.last = j.ID; match {
		if !l.r.Args {
			j.Args = nil
		}
		l.page.Jobs = append(l.page.Jobs, &j.JobRow)
	}
	return true
}

// over reports whether the page ends here, where there are more jobs to look at.
func (l *listing) over() bool {
	if l.page.Looked < l.look && len(l.page.Jobs) < l.r.Limit && time.Since(l.began) < onceq.MaxLookTime {
		return false
	}
	l.page.Next = l.last
	return true
}

// listAll goes through all jobs, on all partitions at once.
func (s *Store) listAll(ctx context.Context, l *listing) error {
	chunk := min(l.r.Limit, perScript)
	if n := len(s.parts); n > 1 {
		chunk = min(chunk, 2*l.r.Limit/n+10)
	}
	if l.r.Filtered() {
		chunk = perScript
	}
	for {
		all, frontier, now, err := s.listed(ctx, l.last, min(chunk, l.look), l.r.Args)
		if err != nil {
			return err
		}
		l.page.Now = onceq.Instant(now)
		for _, j := range all {
			if j.ID < frontier {
				break
			}
			if !l.take(j) {
				return nil
			}
		}
		if frontier == "" {
			return nil
		}
		if l.last = frontier; l.over() {
			return nil
		}
	}
}

// listed returns the next jobs of all partitions below an ID, the largest
// first. Below the frontier not all jobs were looked at; "" = all were.
func (s *Store) listed(ctx context.Context, after string, chunk int, args bool) (all []*job, frontier string,
	now int64, err error) {
	bytes := max(onceq.MaxPageBytes/len(s.parts), 64<<10)
	var trips []*trip
	for p := range s.parts {
		trips = append(trips, &trip{script: luaList, part: p,
			args: []any{packBelow(after), after, chunk, flag(args), bytes}})
	}
	if err := s.do(ctx, trips...); err != nil {
		return nil, "", 0, err
	}
	for _, t := range trips {
		now = t.now
		for _, v := range t.reply {
			some := list(v)
			for _, v := range some[1:] {
				j, err := s.readTriple(ctx, t, "", v)
				if err != nil {
					return nil, "", 0, err
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
	return all, frontier, now, nil
}

// mostFew is up to how many jobs are found by an index for each page, in no
// order of their IDs.
const mostFew = 5000

// fewJobs finds the IDs of all jobs that may be in the states that are wanted,
// by the indexes that few.lua knows; or the jobs themselves (rows is not nil), if
// all of them are on the first page and a script can read them at once. It is
// not ok if no index has them, or if they are too many.
func (s *Store) fewJobs(ctx context.Context, l *listing) (ids []string, rows []*job, ok bool, err error) {
	r := l.r
	if len(r.States) == 0 {
		return nil, nil, false, nil
	}
	indexes := ""
	for _, state := range r.States {
		if state == onceq.Completed {
			return nil, nil, false, nil
		}
		indexes += map[onceq.State]string{onceq.Scheduled: "wb", onceq.Available: "w", onceq.Retryable: "1",
			onceq.Running: "r", onceq.Discarded: "4", onceq.Cancelled: "5"}[state]
	}
	if strings.Contains(indexes, "w") { // what is to be retried is among what waits
		indexes = strings.ReplaceAll(indexes, "1", "")
	}
	atOnce := 0 // a later page needs few of them
	if r.Cursor == "" {
		atOnce = min(r.Limit, perScript/len(s.parts))
	}
	trips := make([]*trip, len(s.parts))
	for p := range trips {
		trips[p] = &trip{script: luaFew, part: p, args: []any{indexes, mostFew, r.Queue, r.Worker,
			atOnce, flag(r.Args), max(onceq.MaxPageBytes/len(s.parts), 64<<10)}}
	}
	if err := s.do(ctx, trips...); err != nil {
		return nil, nil, false, err
	}
	read := true // all partitions gave jobs, and not their IDs
	for _, t := range trips {
		l.page.Now = onceq.Instant(t.now)
		switch number(t.reply[0]) {
		case 0:
			return nil, nil, false, nil
		case 1:
			read = false
		}
	}
	if read {
		rows, err = s.readFew(ctx, trips)
		return nil, rows, err == nil, err
	}
	for _, t := range trips {
		for _, v := range t.reply[1:] {
			if number(t.reply[0]) == 2 {
				v = list(v)[0]
			}
			if id := unpackID(text(v)); r.Cursor == "" || id < r.Cursor {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) > mostFew {
		return nil, nil, false, nil
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	return slices.Compact(ids), nil, true, nil
}

// readFew reads the jobs that few.lua gave, the largest ID first. It is not nil
// if there are none.
func (s *Store) readFew(ctx context.Context, trips []*trip) ([]*job, error) {
	rows := []*job{}
	for _, t := range trips {
		for _, v := range t.reply[1:] {
			j, err := s.readTriple(ctx, t, "", v)
			if err != nil {
				return nil, err
			}
			if j != nil {
				rows = append(rows, j)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *job) int { return strings.Compare(b.ID, a.ID) })
	return slices.CompactFunc(rows, func(a, b *job) bool { return a.ID == b.ID }), nil
}

// listFew looks at jobs by their IDs.
func (s *Store) listFew(ctx context.Context, l *listing, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), perScript)
		jobs, now, err := s.readJobs(ctx, ids[:n], l.r.Args)
		if err != nil {
			return err
		}
		l.page.Now = onceq.Instant(now)
		for i, j := range jobs {
			if j == nil { // it is gone
				l.last = ids[i]
			} else if !l.take(j) {
				return nil
			}
		}
		if ids = ids[n:]; len(ids) > 0 && l.over() {
			return nil
		}
	}
	return nil
}
