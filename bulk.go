package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/onceq/onceq/internal/refusal"
)

// Bulk is one operator's step for every job that matches a filter (see
// [Client.Bulk]). [Client.CancelAll], RetryAll, RunAll and DeleteAll are
// short forms.
type Bulk struct {
	Op     Op        // OpCancel, OpRetry, OpRunNow or OpDelete
	Filter JobFilter // an empty one needs All; Limit bounds the jobs that are changed

	// WithoutKey lets a job be retried although another job holds its key
	// by now. It then runs without the key.
	WithoutKey bool

	// DryRun changes nothing: the answer says what would be changed and
	// what would be passed over, as the jobs are now.
	DryRun bool

	// PassedOver is called for each job that matches and does not change,
	// with the reason: an [*InvalidError] (its state does not allow the
	// step) or a [*DuplicateError] (another job holds its key). A job that
	// is gone, or has left the States of the filter meanwhile, is not
	// reported. nil = no report.
	PassedOver func(job *JobRow, why error)
}

// BulkResult counts what a [Bulk] did.
type BulkResult struct {
	Changed    int // jobs that changed; with DryRun, that would
	PassedOver int // jobs that match and could not change
}

// Bulk takes an operator's step with every job that matches. Each job
// changes in a step of its own: after an error, the jobs that the result
// counts have changed.
func (c *Client) Bulk(ctx context.Context, b Bulk) (BulkResult, error) {
	if err := cmp.Or(c.usable(ctx), b.validate()); err != nil {
		return BulkResult{}, err
	}
	step := bulk{Bulk: b, store: c.store, taken: map[Key]string{}}
	for after := ""; ; {
		p, err := c.store.List(ctx, b.Filter.Request(after, page))
		if err != nil {
			return step.result, fmt.Errorf("onceq: list jobs: %w", err)
		}
		if err := step.page(ctx, p.Jobs); err != nil {
			return step.result, err
		}
		if after = p.Next; after == "" || step.room() == 0 {
			return step.result, nil
		}
	}
}

func (b *Bulk) validate() error {
	if b.Op < OpCancel || b.Op > OpDelete {
		return invalid("Bulk.Op", b.Op, "must be OpCancel, OpRetry, OpRunNow or OpDelete")
	}
	if b.Filter.empty() && !b.Filter.All {
		return invalid("filter", "", "is empty, which would mean every job: say what to match, or {All}")
	}
	return b.Filter.validate()
}

// bulk is a [Bulk] that is under way.
type bulk struct {
	Bulk
	store  Store
	result BulkResult
	taken  map[Key]string // in a dry run of OpRetry: the job that would take the key
}

// room is how many more jobs may be changed.
func (b *bulk) room() int {
	if b.Filter.Limit == 0 {
		return page
	}
	return b.Filter.Limit - b.result.Changed
}

// page takes the step with a page of jobs.
func (b *bulk) page(ctx context.Context, jobs []*JobRow) error {
	var fit []*JobRow
	for _, j := range jobs {
		if len(fit) == b.room() {
			break
		}
		if b.Filter.hides(j) {
			continue
		}
		if why := unfit(b.Op, j.State); why != "" {
			b.passOver(j, invalid("state", j.State, "%s", why))
		} else {
			fit = append(fit, j)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	if b.DryRun {
		return b.preview(ctx, fit)
	}
	ch := Change{Op: b.Op, WithoutKey: b.WithoutKey, States: b.Filter.States}
	for _, j := range fit {
		ch.IDs = append(ch.IDs, j.ID)
	}
	results, err := b.store.Change(ctx, ch)
	if err != nil {
		return fmt.Errorf("onceq: change %d jobs: %w", len(ch.IDs), err)
	}
	for i, r := range results {
		if r.Err == nil {
			b.result.Changed++
		} else {
			b.passOver(fit[i], adjusted(r.Err))
		}
	}
	return nil
}

// preview is page in a dry run.
func (b *bulk) preview(ctx context.Context, fit []*JobRow) error {
	for _, j := range fit {
		why, err := b.hindrance(ctx, j)
		switch {
		case err != nil:
			return err
		case why != nil:
			b.passOver(j, why)
		default:
			b.result.Changed++
		}
	}
	return nil
}

// hindrance is why a job cannot take the step although its state allows it;
// nil = it can.
func (b *bulk) hindrance(ctx context.Context, j *JobRow) (why, err error) {
	switch {
	case b.Op == OpRunNow && j.Behind != "":
		return invalid("state", j.State, "cannot be run now: the job stands behind %s", j.Behind), nil
	case b.Op != OpRetry || !j.State.Finished() || j.Key == nil || j.Keyless || b.WithoutKey:
		return nil, nil
	}
	held, err := lookUp(ctx, b.store, *j.Key)
	if err != nil {
		return nil, err
	}
	if held == nil && b.taken[*j.Key] != "" {
		held = &HeldKey{Key: *j.Key, Text: j.KeyText, Holder: b.taken[*j.Key], State: Available}
	}
	if held != nil && held.Holder != j.ID {
		return adjusted(&DuplicateError{Kind: j.Kind, Queue: j.Queue, Conflict: *held.Conflict(j.Digest)}), nil
	}
	b.taken[*j.Key] = j.ID
	return nil, nil
}

func (b *bulk) passOver(j *JobRow, why error) {
	if errors.Is(why, ErrNotFound) {
		return
	}
	b.result.PassedOver++
	if b.Bulk.PassedOver != nil {
		b.Bulk.PassedOver(j, why)
	}
}

// unfit is why a job in this state cannot take a step; "" = it can. Such
// jobs need not be sent to the store.
func unfit(op Op, s State) string {
	switch {
	case op == OpCancel && s == Cancelled:
		return "is the end that was asked for already"
	case op == OpCancel && s.Finished():
		return refusal.Cancel
	case op == OpRetry && !s.Finished() && s != Retryable:
		return refusal.Retry
	case op == OpRunNow && !s.Waiting():
		return refusal.RunNow
	case op == OpDelete && s == Running:
		return refusal.Delete
	}
	return ""
}
