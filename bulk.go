package onceq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

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

	// Budget is about how long one call of ChangeSome goes on; 0 = 10s. Bulk
	// goes on to the end.
	Budget time.Duration

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
	// Next is where ChangeSome goes on; "" = it is through. Where it is set,
	// there may be more jobs that match.
	Next string
}

// usualBudget is how long one call of ChangeSome goes on.
const usualBudget = 10 * time.Second

// Bulk takes an operator's step with every job that matches. Each job
// changes in a step of its own: after an error, the jobs that the result
// counts have changed.
func (c *Client) Bulk(ctx context.Context, b Bulk) (BulkResult, error) {
	return c.bulk(ctx, b, "", func() bool { return false })
}

// ChangeSome is Bulk for callers that cannot wait for the end of it: a page, a
// handler of requests. It stops when Budget is over or Filter.Limit jobs have
// changed, and BulkResult.Next is the cursor of the call that goes on; the
// first has the cursor "". A cursor goes with the step and the filter that it
// was made for, and is refused with another.
//
// A job that is enqueued meanwhile may be met or not. A dry run forgets, from
// call to call, which jobs would have taken a key.
func (c *Client) ChangeSome(ctx context.Context, b Bulk, cursor string) (BulkResult, error) {
	if b.Budget < 0 {
		return BulkResult{}, invalid("Bulk.Budget", b.Budget, "must be 0 (10s) or more")
	}
	end := time.Now().Add(cmp.Or(b.Budget, usualBudget))
	return c.bulk(ctx, b, cursor, func() bool { return !time.Now().Before(end) })
}

// bulk goes on from a cursor until enough says so: at least for one page.
func (c *Client) bulk(ctx context.Context, b Bulk, cursor string, enough func() bool) (BulkResult, error) {
	list := fmt.Sprint("change ", b.Op)
	after, err := openCursor(list, b.Filter.text(), cursor)
	if err := cmp.Or(c.usable(ctx), b.validate(), err); err != nil {
		return BulkResult{}, err
	}
	step := bulk{Bulk: b, store: c.store, taken: map[Key]string{}}
	for {
		p, err := c.store.List(ctx, b.Filter.Request(after, page))
		if err != nil {
			err = fmt.Errorf("onceq: list jobs: %w", err)
		} else if last, stepErr := step.page(ctx, p.Jobs); stepErr != nil {
			err = stepErr
		} else {
			after = cmp.Or(last, p.Next)
		}
		if err != nil || after == "" || step.room() == 0 || enough() {
			step.result.Next = makeCursor(list, b.Filter.text(), after)
			return step.result, err
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

// page takes the step with a page of jobs. Where there is no room for all of
// them, last is the last that it came to.
func (b *bulk) page(ctx context.Context, jobs []*JobRow) (last string, err error) {
	var fit []*JobRow
	for i, j := range jobs {
		if len(fit) == b.room() {
			last = jobs[i-1].ID
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
		return last, nil
	}
	if b.DryRun {
		return last, b.preview(ctx, fit)
	}
	ch := Change{Op: b.Op, WithoutKey: b.WithoutKey, States: b.Filter.States}
	for _, j := range fit {
		ch.IDs = append(ch.IDs, j.ID)
	}
	results, err := b.store.Change(ctx, ch)
	if err != nil {
		return "", fmt.Errorf("onceq: change %d jobs: %w", len(ch.IDs), err)
	}
	for i, r := range results {
		if r.Err == nil {
			b.result.Changed++
		} else {
			b.passOver(fit[i], adjusted(r.Err))
		}
	}
	return last, nil
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
