package onceq

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// DefaultMaxResult is how many bytes a result may have as JSON, unless
// Config.MaxResult says otherwise.
const DefaultMaxResult = 64 << 10

// MaxResultSize is the largest Config.MaxResult.
const MaxResultSize = 1 << 20

// HandleResult registers a handler that gives a result, as [Handle] does. The
// result is encoded as JSON and kept with the job when the handler returns
// nil; [WaitFor] and [ResultOf] read it. A result that cannot be encoded, or
// is larger than [Config].MaxResult, discards the job: a retry would not mend
// it.
func HandleResult[T Args, R any](w *Worker, h func(ctx context.Context, job *Job[T]) (R, error),
	opts ...HandleOption) {
	if h == nil {
		Handle[T](w, nil, opts...)
		return
	}
	Handle(w, func(ctx context.Context, job *Job[T]) error {
		result, err := h(ctx, job)
		if err != nil {
			return err
		}
		if err := SetResult(ctx, result); err != nil {
			return Discard(err)
		}
		return nil
	}, opts...)
}

// SetResult sets the result of the run whose handler was called with ctx, in
// place of an earlier one. It is kept with the job if this run ends the job,
// whatever the end; that of a run that is tried again is forgotten. v is
// encoded as JSON at once. It is refused outside a handler, if it cannot be
// encoded, and if it has more bytes than [Config].MaxResult of the client
// that [ClientFrom] returns.
func SetResult(ctx context.Context, v any) error {
	kept := resultIn(ctx)
	if kept == nil {
		return invalid("context", "", "must be that of a handler of a Worker: a result belongs to a run")
	}
	raw, err := encodeResult(v, ClientFrom(ctx).maxResult())
	if err != nil {
		return err
	}
	kept.set(raw)
	return nil
}

func encodeResult(v any, most int) (raw []byte, err error) {
	defer recovered(&err, "result", v, "its encoding as JSON")
	if raw, err = json.Marshal(v); err != nil {
		return nil, invalid("result", fmt.Sprintf("%T", v), "must be encodable as JSON: %v", err)
	}
	if len(raw) > most {
		return nil, invalid("result", fmt.Sprintf("%d bytes", len(raw)),
			"must be at most %d bytes (Config.MaxResult): keep large data elsewhere and give a reference", most)
	}
	return raw, nil
}

// ResultOf decodes the result of a job that [Client.Job] or a wait returned.
// It is [ErrNotFound] if the job has none: it has not ended, or its handler
// gave none.
func ResultOf[R any](job *JobRow) (R, error) {
	var r R
	switch {
	case job == nil:
		return r, invalid("job", "nil", "must not be nil")
	case job.Result == nil:
		return r, fmt.Errorf("job %s is %s and has no result: %w", job.ID, job.State, ErrNotFound)
	}
	if err := json.Unmarshal(job.Result, &r); err != nil {
		return r, fmt.Errorf("the result of job %s does not decode as %T: %w", job.ID, r, err)
	}
	return r, nil
}

func (c *Client) maxResult() int {
	if c == nil || c.config.MaxResult == 0 {
		return DefaultMaxResult
	}
	return c.config.MaxResult
}

// outcomeOfRun is what a handler leaves for the end of its run.
type outcomeOfRun struct {
	of      Run  // the run
	encoded bool // the args were encoded; set before the handler is called

	mu     sync.Mutex
	result []byte
	inTx   bool // the job was completed in a transaction, which may not have committed
}

// complete notes that the job was completed in a transaction.
func (o *outcomeOfRun) complete() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inTx = true
}

func (o *outcomeOfRun) isComplete() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.inTx
}

func (o *outcomeOfRun) set(result []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.result = result
}

func (o *outcomeOfRun) get() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.result
}

type outcomeKey struct{}

// resultIn is what the handler that was called with ctx leaves; nil outside
// handlers.
func resultIn(ctx context.Context) *outcomeOfRun {
	if ctx == nil {
		return nil
	}
	o, _ := ctx.Value(outcomeKey{}).(*outcomeOfRun)
	return o
}
