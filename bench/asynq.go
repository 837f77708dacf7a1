package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// asynqQueue is asynq: Unique(24h), deleted on success (its default).
type asynqQueue struct {
	redis  *redis.Client // of the bench
	conn   asynq.RedisClientOpt
	check  time.Duration // TaskCheckInterval; 0 = asynq's default, 1 s
	client *asynq.Client
}

// openAsynq opens asynq in a database of its own, emptied.
func openAsynq(check time.Duration) opener {
	return func(ctx context.Context, e *env) (system, error) {
		q := &asynqQueue{check: check, conn: asynq.RedisClientOpt{Addr: e.server.addr, DB: 1, PoolSize: 64}}
		q.redis = connected(e.server.addr, 1)
		if err := empty(ctx, q.redis); err != nil {
			return nil, cmp.Or(err, q.redis.Close())
		}
		q.client = asynq.NewClient(q.conn)
		return q, nil
	}
}

func (q *asynqQueue) insert(ctx context.Context, e event) (bool, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask("bench", payload), asynq.Unique(24*time.Hour))
	if errors.Is(err, asynq.ErrDuplicateTask) {
		return true, nil
	}
	return false, err
}

// insertMany is what asynq's users do: it has no batches of unique tasks.
func (q *asynqQueue) insertMany(ctx context.Context, all []event) error {
	var g errgroup.Group
	const callers = 64
	for i := range callers {
		g.Go(func() error {
			for n := i; n < len(all); n += callers {
				if err := insertOne(ctx, q, all[n], false); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (q *asynqQueue) start(atOnce int, handle func()) (*asynq.Server, error) {
	server := asynq.NewServer(q.conn, asynq.Config{Concurrency: atOnce, TaskCheckInterval: q.check,
		LogLevel: asynq.FatalLevel})
	return server, server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		var e event
		if err := json.Unmarshal(t.Payload(), &e); err != nil { // the other sides' handlers get it decoded
			return err
		}
		handle()
		return nil
	}))
}

// drain ends with the last handler: asynq completes each job right after it.
func (q *asynqQueue) drain(ctx context.Context, n, atOnce int) (int, time.Duration, error) {
	var ran, began atomic.Int64
	done := make(chan struct{})
	server, err := q.start(atOnce, func() {
		switch ran.Add(1) {
		case 1:
			began.Store(time.Now().UnixNano())
		case int64(n):
			close(done)
		}
	})
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	took := time.Duration(time.Now().UnixNano() - began.Load())
	server.Shutdown()
	if err == nil && ran.Load() != int64(n) {
		err = fmt.Errorf("%d runs of %d jobs", ran.Load(), n)
	}
	return n, took, err
}

func (q *asynqQueue) serve(_ context.Context, handle func()) (func() error, error) {
	server, err := q.start(100, handle)
	return func() error { server.Shutdown(); return nil }, err
}

func (q *asynqQueue) size(ctx context.Context) (float64, error) { return usedMemory(ctx, q.redis) }
func (q *asynqQueue) settle(context.Context) error              { return nil }

func (q *asynqQueue) close() error {
	return cmp.Or(q.client.Close(), empty(context.Background(), q.redis), q.redis.Close())
}
