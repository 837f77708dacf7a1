package guardasynq

import (
	"context"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// dry is a client of asynq whose commands succeed and go nowhere. A task keeps
// the options that it was made with to itself; what this client makes of them
// is the only way to learn them.
var dry = func() *asynq.Client {
	c := redis.NewClient(&redis.Options{Addr: "nowhere.invalid:0"})
	c.AddHook(nowhere{})
	return asynq.NewClientFromRedisClient(c)
}()

type nowhere struct{}

func (nowhere) DialHook(next redis.DialHook) redis.DialHook { return next }

func (nowhere) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (nowhere) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, arg := range cmd.Args() {
			if key, ok := arg.(string); ok && strings.HasPrefix(key, "asynq:{") && strings.Contains(key, "}:unique:") {
				*ctx.Value(uniqueKey{}).(*bool) = true
			}
		}
		if script, ok := cmd.(*redis.Cmd); ok {
			script.SetVal(int64(1)) // enqueued
		}
		return nil
	}
}

type uniqueKey struct{}

// preview is what asynq would make of a task and these options. It refuses
// options that do not go with a guard.
func preview(ctx context.Context, task *asynq.Task, opts []asynq.Option) (*asynq.TaskInfo, error) {
	unique := false
	info, err := dry.EnqueueContext(context.WithValue(ctx, uniqueKey{}, &unique), task, opts...)
	switch {
	case err != nil:
		return nil, err
	case unique:
		return nil, &onceq.InvalidError{Field: "asynq.Unique", Rule: "does not go with a guard, which has a key " +
			"until the task has ended: leave it away, or say onceq.Unique{TTL: …} for a lock that ends sooner"}
	case info.Group != "":
		return nil, &onceq.InvalidError{Field: "asynq.Group", Value: info.Group, Rule: "does not go with a guard: " +
			fmt.Sprintf("tasks of a group become one without a claim; enqueue %s with a client of asynq", task.Type())}
	}
	return info, nil
}
