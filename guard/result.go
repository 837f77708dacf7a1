package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/reserved"
)

// Begin is the first part of [Guard.Once], as Start is of Handle: it begins the
// run of a message of this ID. Whoever begins a run must call [Run.Done]. The
// error is [ErrBusy] or [ErrDone] as with Once; and if a message of this ID has
// come before with other args it is an [*onceq.DuplicateError] whose By is "id"
// and whose ArgsDiffer is true, and nothing runs.
func (g *Guard) Begin(ctx context.Context, id string, args onceq.Args, opts ...onceq.Option) (*Run, error) {
	t, dup, err := g.acquireID(ctx, id, args, opts)
	switch {
	case err != nil:
		return nil, err
	case dup != nil && dup.ArgsDiffer:
		return nil, dup
	}
	return g.Start(ctx, t)
}

// acquireID makes a claim of this ID, unless it is there: dup says so.
func (g *Guard) acquireID(ctx context.Context, id string, args onceq.Args, opts []onceq.Option) (t Token,
	dup *onceq.DuplicateError, err error) {
	own := []onceq.Option{g.claim(reserved.Claim{Patience: patience, ByID: true}), onceq.NotUnique, onceq.ID(id)}
	row, err := g.acquire(ctx, args, append(opts[:len(opts):len(opts)], own...))
	if errors.As(err, &dup) && dup.By == "id" {
		return Token(id), dup, nil
	}
	return Token(row.ID), nil, err
}

// SetResult keeps v with the claim, encoded as JSON, if this run ends it;
// [Guard.Result] reads it. It is called before [Run.Done], and the last call
// counts. A result that cannot be encoded or is larger than
// [onceq.MaxResultSize] is refused. That of a run without a claim is
// forgotten.
func (r *Run) SetResult(v any) error {
	raw, err := json.Marshal(v)
	switch {
	case err != nil:
		return &onceq.InvalidError{Field: "result", Value: fmt.Sprintf("%T", v),
			Rule: "must be encodable as JSON: " + err.Error()}
	case len(raw) > onceq.MaxResultSize:
		return &onceq.InvalidError{Field: "result", Value: fmt.Sprintf("%d bytes", len(raw)),
			Rule: fmt.Sprintf("must be at most %d bytes", onceq.MaxResultSize)}
	}
	r.kept = raw
	return nil
}

// Result is what the run that has ended a claim gave to [Run.SetResult], as
// JSON; nil = nothing. [ErrBusy] means that the claim has not ended, and
// [onceq.ErrNotFound] that it is not kept, or never was.
func (g *Guard) Result(ctx context.Context, t Token) (json.RawMessage, error) {
	j, err := g.claimRow(ctx, t)
	return resultOf(j, err)
}

// Wait is Result once the claim has ended. If ctx ends first the error is that
// of ctx. A failure that will come again is not the end.
func (g *Guard) Wait(ctx context.Context, t Token) (json.RawMessage, error) {
	j, err := g.client.Wait(ctx, string(t))
	var failed *onceq.FailedError // it has ended all the same
	switch {
	case errors.As(err, &failed):
		j, err = failed.Job, nil
	case errors.Is(err, onceq.ErrGone):
		err = fmt.Errorf("guard: claim %s: %w", t, onceq.ErrNotFound)
	}
	if err == nil && j.Queue != g.queue {
		err = notOurs(t)
	}
	return resultOf(j, err)
}

func resultOf(j *onceq.JobRow, err error) (json.RawMessage, error) {
	switch {
	case err != nil:
		return nil, err
	case !j.State.Finished():
		return nil, ErrBusy
	}
	return j.Result, nil
}
