package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/onceq/onceq"
)

// newRow is an enqueue as the client decided it.
type newRow onceq.NewRow

func (r newRow) key() *onceq.Key { return &r.Claim.Key }

// recorder is a store that only writes down what it is asked to enqueue.
type recorder struct {
	onceq.Store
	rows []onceq.NewRow
}

var errRecorded = errors.New("recorded, not sent")

func (r *recorder) Enqueue(_ context.Context, req onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	r.rows = append(r.rows, req.Rows...)
	return nil, errRecorded
}

// placed is the ID as the store wants it.
func placed(store onceq.Store, id string, k *onceq.Key) string {
	if place := store.Traits().Place; place != nil {
		return place(id, k)
	}
	return id
}

// rowOf is what a client would send for this enqueue.
func rowOf(store onceq.Store, args onceq.Args, opts ...onceq.Option) (onceq.NewRow, error) {
	rec := &recorder{Store: store}
	client, err := onceq.NewClient(rec, nil)
	if err != nil {
		return onceq.NewRow{}, err
	}
	defer client.Close()
	if _, err := client.Enqueue(context.Background(), args, opts...); !errors.Is(err, errRecorded) {
		return onceq.NewRow{}, fmt.Errorf("no row for it: %w", err)
	}
	return rec.rows[0], nil
}

// row is what the client would send for this enqueue.
func (w *world) row(args onceq.Args, opts ...onceq.Option) newRow {
	w.Helper()
	r, err := rowOf(w.Store, args, opts...)
	w.must(err)
	return newRow(r)
}

// allJobs reads every job that matches, with its args, in pages of this many.
func allJobs(ctx context.Context, store onceq.Store, f onceq.JobFilter, limit int) (jobs []*onceq.JobRow, err error) {
	f.Args = true
	for after := ""; ; {
		page, err := store.List(ctx, onceq.ListRequest{Filter: f, After: after, Limit: limit})
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

// allKeys reads every key that matches, in pages of this many.
func allKeys(ctx context.Context, store onceq.Store, f onceq.KeyFilter, limit int) (keys []*onceq.HeldKey, err error) {
	for after := ""; ; {
		page, err := store.Keys(ctx, onceq.KeysRequest{Filter: f, After: after, Limit: limit})
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

// show is everything about a job, to print and to compare.
func show(j *onceq.JobRow) string {
	if j == nil {
		return "no job"
	}
	plain := *j
	normal(&plain)
	raw, err := json.Marshal(&plain)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s digest %x", raw, j.Digest)
}

// normal makes equal what means the same: instants in UTC.
func normal(j *onceq.JobRow) {
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

// line is values with a space between them.
func line(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }
