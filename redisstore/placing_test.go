package redisstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/onceq/onceq"
)

// placing is a store with partitions on which a caller's ID goes together
// with any key, as the suite has it: it gives such an ID a suffix that
// makes it fall where its key lies. All else is the store's own. (The store
// by itself refuses such a row: see TestACallersIDWithAKeyElsewhere.)
type placing struct {
	*Store
	ids *placedIDs
}

type placedIDs struct {
	mu         sync.Mutex
	inner, out map[string]string

	// taking is held from where an ID gets its place until it is enqueued:
	// of two calls with one ID the second meets the first.
	taking sync.Mutex
}

func newPlacedIDs() *placedIDs {
	return &placedIDs{inner: map[string]string{}, out: map[string]string{}}
}

func (p placing) in(id string) string {
	p.ids.mu.Lock()
	defer p.ids.mu.Unlock()
	if in, ok := p.ids.inner[id]; ok {
		return in
	}
	return id
}

func (p placing) outside(id string) string {
	p.ids.mu.Lock()
	defer p.ids.mu.Unlock()
	if out, ok := p.ids.out[id]; ok {
		return out
	}
	return id
}

func (p placing) place(ctx context.Context, r onceq.NewRow) (onceq.NewRow, error) {
	p.ids.mu.Lock()
	defer p.ids.mu.Unlock()
	id, known := p.ids.inner[r.ID]
	if !known {
		id = r.ID
	}
	if r.Claim == nil || p.Store.ofID(id) == p.Store.ofKey(&r.Claim.Key) {
		r.ID = id
		return r, nil
	}
	there, err := p.Store.Get(ctx, []string{id})
	if err != nil {
		return r, err
	}
	if there[0] != nil { // it is answered by ID, whatever its key
		r.ID, r.Claim = id, nil
		return r, nil
	}
	if id = r.ID; !made(id) {
		id += "\x01000"
	}
	id = p.Store.Place(id, &r.Claim.Key)
	p.ids.inner[r.ID], p.ids.out[id] = id, r.ID
	r.ID = id
	return r, nil
}

func (p placing) Place(id string, key *onceq.Key) string { return p.Store.Place(id, key) }

func (p placing) row(j *onceq.JobRow) {
	if j != nil {
		j.ID, j.Behind, j.Displaced, j.SupersededBy = p.outside(j.ID), p.outside(j.Behind), p.outside(j.Displaced),
			p.outside(j.SupersededBy)
	}
}

func (p placing) rows(jobs []*onceq.JobRow) {
	for _, j := range jobs {
		p.row(j)
	}
}

func (p placing) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	if slices.ContainsFunc(rows, func(r onceq.NewRow) bool { return !made(r.ID) && r.Claim != nil }) {
		p.ids.taking.Lock()
		defer p.ids.taking.Unlock()
	}
	return p.enqueue(ctx, rows)
}

func (p placing) enqueue(ctx context.Context, rows []onceq.NewRow) ([]onceq.EnqueueResult, error) {
	seenIDs := map[string]bool{}
	for i := range rows {
		if seenIDs[rows[i].ID] { // where it falls depends on what became of the first
			first, err := p.enqueue(ctx, rows[:i])
			if err != nil {
				return first, err
			}
			rest, err := p.enqueue(ctx, rows[i:])
			return append(first, rest...), err
		}
		seenIDs[rows[i].ID] = true
	}
	rows = slices.Clone(rows)
	for i := range rows {
		var err error
		if rows[i], err = p.place(ctx, rows[i]); err != nil {
			return nil, err
		}
	}
	results, err := p.Store.Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
	seen := map[*onceq.JobRow]bool{}
	for _, r := range results {
		if !seen[r.Job] {
			seen[r.Job] = true
			p.row(r.Job)
		}
		if c := r.Conflict; c != nil {
			c.Holder = p.outside(c.Holder)
		}
	}
	return results, err
}

func (p placing) Fetch(ctx context.Context, r onceq.FetchRequest) (onceq.Fetched, error) {
	f, err := p.Store.Fetch(ctx, r)
	p.rows(f.Jobs)
	return f, err
}

func (p placing) runs(runs []onceq.Run, id func(string) string) []onceq.Run {
	runs = slices.Clone(runs)
	for i := range runs {
		runs[i].ID = id(runs[i].ID)
	}
	return runs
}

func (p placing) Extend(ctx context.Context, r onceq.ExtendRequest) (onceq.Extended, error) {
	r.Runs = p.runs(r.Runs, p.in)
	e, err := p.Store.Extend(ctx, r)
	e.Lost, e.Stop = p.runs(e.Lost, p.outside), p.runs(e.Stop, p.outside)
	return e, err
}

func (p placing) Finish(ctx context.Context, r onceq.FinishRequest) ([]onceq.FinishResult, error) {
	r.Runs = slices.Clone(r.Runs)
	for i := range r.Runs {
		r.Runs[i].ID = p.in(r.Runs[i].ID)
	}
	return p.Store.Finish(ctx, r)
}

func (p placing) Change(ctx context.Context, c onceq.Change) ([]onceq.ChangeResult, error) {
	c.IDs = slices.Clone(c.IDs)
	for i := range c.IDs {
		c.IDs[i] = p.in(c.IDs[i])
	}
	c.Holder = p.in(c.Holder)
	results, err := p.Store.Change(ctx, c)
	for _, r := range results {
		p.row(r.Job)
		var dup *onceq.DuplicateError
		if errors.As(r.Err, &dup) {
			dup.Holder = p.outside(dup.Holder)
		}
	}
	return results, err
}

func (p placing) Get(ctx context.Context, ids []string) ([]*onceq.JobRow, error) {
	ids = slices.Clone(ids)
	for i := range ids {
		ids[i] = p.in(ids[i])
	}
	jobs, err := p.Store.Get(ctx, ids)
	p.rows(jobs)
	return jobs, err
}

func (p placing) List(ctx context.Context, r onceq.ListRequest) (onceq.JobPage, error) {
	r.Cursor = p.in(r.Cursor)
	page, err := p.Store.List(ctx, r)
	p.rows(page.Jobs)
	page.Next = p.outside(page.Next)
	return page, err
}

func (p placing) Keys(ctx context.Context, r onceq.KeysRequest) (onceq.KeyPage, error) {
	page, err := p.Store.Keys(ctx, r)
	for _, k := range page.Keys {
		k.Holder, k.Waiter = p.outside(k.Holder), p.outside(k.Waiter)
	}
	return page, err
}

func (p placing) Sweep(ctx context.Context, r onceq.SweepRequest) (onceq.Swept, error) {
	s, err := p.Store.Sweep(ctx, r)
	p.rows(s.Runs)
	return s, err
}
