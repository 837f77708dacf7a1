package guardasynq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
)

// Middleware runs tasks under their claims. Use it before middlewares of yours,
// so that a copy does not reach them:
//
//	mux.Use(guardasynq.Middleware(g))
//
// A task that fails keeps its key while asynq will try it again. Its last
// failure, asynq.SkipRetry and onceq.Discard end it in asynq's archive and free
// its key; asynq.RevokeTask and onceq.Cancel free it too. A copy of a task that
// was done is done. A copy of a task that runs just now is tried again later,
// and Config.IsFailure of the server should be [IsFailure], so that it spends no
// retry. On its last try such a copy waits instead, for asynq would archive it.
func Middleware(g *guard.Guard) asynq.MiddlewareFunc {
	return func(next asynq.Handler) asynq.Handler {
		return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			return process(ctx, g, next, task)
		})
	}
}

// IsFailure is for asynq.Config.IsFailure: a task that could not begin has not
// failed, because a copy of it runs just now or the store of the guard does not
// answer.
func IsFailure(err error) bool {
	var not *notBegun
	return err != nil && !errors.As(err, &not)
}

// notBegun is the error of a task whose handler was not called.
type notBegun struct{ err error }

func (e *notBegun) Error() string { return e.err.Error() }

func (e *notBegun) Unwrap() error { return e.err }

// pause is how long a last try waits until it asks again whether it may begin.
const pause = time.Second

func process(ctx context.Context, g *guard.Guard, next asynq.Handler, task *asynq.Task) error {
	retried, _ := asynq.GetRetryCount(ctx)
	most, known := asynq.GetMaxRetry(ctx)
	last := known && retried >= most
	var run *guard.Run
	for {
		var err error
		if run, err = g.Start(ctx, guard.Token(task.Headers()[Header])); err == nil {
			break
		}
		var lapsed *guard.LapsedError
		if errors.Is(err, guard.ErrDone) || errors.As(err, &lapsed) {
			return nil
		}
		if last {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		return &notBegun{err}
	}
	return call(run, last, func() error { return next.ProcessTask(run.Context(), task) })
}

// call runs a handler, and ends the run of its task however it ends.
func call(run *guard.Run, last bool, handler func() error) error {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		_ = run.Done(inGuard(fmt.Errorf("panic: %v", p), last))
		if p != nil {
			panic(p) // asynq makes an error of it
		}
	}()
	err := handler()
	returned = true
	done := run.Done(inGuard(err, last))
	switch {
	case err == nil:
		return done // not nil: the result was not recorded, and another try finds out
	case run.State() == onceq.Discarded && !errors.Is(err, asynq.SkipRetry):
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	case run.State() == onceq.Cancelled && !errors.Is(err, asynq.RevokeTask):
		return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
	}
	return err
}

// inGuard is what the error of a handler means to the guard.
func inGuard(err error, last bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, asynq.RevokeTask):
		return onceq.Cancel(err)
	case last, errors.Is(err, asynq.SkipRetry):
		return onceq.Discard(err)
	}
	return err
}
