// Package snapshot reads everything that a store shows, to compare it with
// another store and to check it against the promises.
package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/onceq/onceq"
)

// Snapshot is everything that a store shows.
type Snapshot struct {
	Jobs   []*onceq.JobRow   // newest ID first
	Keys   []*onceq.HeldKey  // inert ones too
	Queues []onceq.QueueInfo // by name
}

// Of reads a store.
func Of(ctx context.Context, store onceq.Store) (s Snapshot, err error) {
	if s.Jobs, err = Jobs(ctx, store, onceq.JobFilter{}, 1000); err != nil {
		return s, err
	}
	if s.Keys, err = Keys(ctx, store, onceq.KeyFilter{Inert: true}, 1000); err != nil {
		return s, err
	}
	all, err := store.Queues(ctx, onceq.QueuesRequest{})
	s.Queues = all.Queues
	return s, err
}

// Jobs reads every job that matches, with its args, in pages of this many.
func Jobs(ctx context.Context, store onceq.Store, f onceq.JobFilter, limit int) (jobs []*onceq.JobRow, err error) {
	f.Args = true
	for after := ""; ; {
		page, err := store.List(ctx, f.Request(after, limit))
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		if len(page.Jobs) > limit {
			return nil, fmt.Errorf("a page of %d jobs, asked for %d", len(page.Jobs), limit)
		}
		jobs = append(jobs, page.Jobs...)
		if page.Next == "" {
			return jobs, nil
		}
		after = page.Next
	}
}

// Keys reads every key that matches, in pages of this many.
func Keys(ctx context.Context, store onceq.Store, f onceq.KeyFilter, limit int) (keys []*onceq.HeldKey, err error) {
	for after := ""; ; {
		page, err := store.Keys(ctx, f.Request(after, limit))
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		if len(page.Keys) > limit {
			return nil, fmt.Errorf("a page of %d keys, asked for %d", len(page.Keys), limit)
		}
		keys = append(keys, page.Keys...)
		if page.Next == "" {
			return keys, nil
		}
		after = page.Next
	}
}

// Show is everything about a job, to print and to compare.
func Show(j *onceq.JobRow) string {
	if j == nil {
		return "no job"
	}
	plain := *j
	Normal(&plain)
	raw, err := json.Marshal(&plain)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s digest %x", raw, j.Digest)
}

// Normal makes equal what means the same: instants in UTC.
func Normal(j *onceq.JobRow) {
	j.Anchor, j.EnqueuedAt, j.RunAt = j.Anchor.UTC(), j.EnqueuedAt.UTC(), j.RunAt.UTC()
	j.StartedAt, j.FinishedAt = j.StartedAt.UTC(), j.FinishedAt.UTC()
	if len(j.Args) == 0 {
		j.Args = nil
	}
	if len(j.Meta) == 0 {
		j.Meta = nil
	}
	if len(j.Tags) == 0 {
		j.Tags = nil
	}
	errs := j.Errors
	j.Errors = nil
	for _, e := range errs {
		e.At = e.At.UTC()
		j.Errors = append(j.Errors, e)
	}
}

// Clock is an instant, for people.
func Clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
