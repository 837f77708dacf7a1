package main

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/redisstore"
)

func redisRows() []row {
	us, far := openRedis(false, 0), openRedis(true, 0)
	usual, ticking := openAsynq(0), openAsynq(10*time.Millisecond)
	const pool = "Unique(24h), a pool of 64 connections"
	const bull = "deduplication: {id}, one connection (its default), in a process of Node; finished jobs are kept " +
		"for 24 hours"
	rows := []row{
		{name: "enqueue", title: "unique enqueue, 64 callers",
			goals: []goal{{of: "rate", against: true, least: 3}, {of: "cpu", against: true, most: 1. / 3}},
			sides: []side{
				{"onceq", "redisstore defaults", us.uniques(64), false},
				{"asynq", pool, usual.uniques(64), false},
				{"BullMQ", bull, bullMQ{Do: "uniques", Callers: 64}.action, true}}},
		{name: "batch", title: "unique batch of 1,000, against asynq's best unique rate",
			goals: []goal{{of: "rate", against: true, least: 6}}, sides: []side{
				{"onceq", "EnqueueMany from one goroutine", us.batches(1), false},
				{"asynq, 16 callers", "it refuses unique tasks in batches; " + pool, usual.uniques(16), false},
				{"asynq, 64 callers", pool, usual.uniques(64), false},
				{"asynq, 256 callers", pool, usual.uniques(256), false},
				{"BullMQ", "addBulk; " + bull, bullMQ{Do: "batches"}.action, true}}},
		{name: "duplicate", title: "duplicates, 64 callers",
			goals: []goal{{of: "rate", against: true, least: 5}}, sides: []side{
				{"onceq", "of 1,000 waiting jobs", us.duplicates(64), false},
				{"asynq", "of 1,000 waiting jobs; " + pool, usual.duplicates(64), false},
				{"BullMQ", "of 1,000 waiting jobs; " + bull, bullMQ{Do: "duplicates", Callers: 64}.action, true}}},
		{name: "enqueue-1", title: "unique enqueue, 1 caller", show: []string{"p50", "p10"},
			goals: []goal{{of: "p50", against: true, most: 1.1}}, sides: []side{
				{"onceq", "", us.single, false},
				{"asynq", pool, usual.single, false},
				{"BullMQ", bull, bullMQ{Do: "single"}.action, true}}},
		{name: "duplicate-1", title: "duplicate, 1 caller", show: []string{"p50", "p10"},
			goals: []goal{{of: "p50", against: true, most: 1}}, sides: []side{
				{"onceq", "of 1,000 waiting jobs", us.again, false},
				{"asynq", "of 1,000 waiting jobs; " + pool, usual.again, false}}},
		{name: "run", title: "no-op unique jobs run, 100 at once",
			goals: []goal{{of: "rate", against: true, least: 5}}, sides: []side{
				{"onceq", "worker defaults, Concurrency 100; jobs are kept for 24 hours", us.runs(40_000), false},
				{"asynq", "Concurrency 100; jobs are deleted on success (its default); " + pool,
					usual.runs(12_000), false},
				{"BullMQ", "a Worker with concurrency 100, in one process of Node; " + bull,
					bullMQ{Do: "runs", Jobs: 8000}.action, true}}},
		{name: "start", title: "enqueue to start, idle, one process", show: []string{"p50", "p10", "p99"},
			goals: []goal{{of: "p50", most: 0.5}, {of: "p99", most: 5}}, sides: []side{
				{"onceq", "one store for client and worker; 10–15 ms between jobs, on all sides",
					us.latency(briefly), false},
				{"asynq at 10 ms", "TaskCheckInterval 10 ms", ticking.latency(briefly), false},
				{"asynq", "defaults", usual.latency(briefly), true},
				{"BullMQ", "a Queue and a Worker in one process of Node", bullMQ{Do: "latency"}.action, true}}},
		{name: "start-apart", title: "enqueue to start, idle, client and worker apart",
			show:  []string{"p50", "p10", "p99"},
			goals: []goal{{of: "p50", most: 1}, {of: "p99", most: 5}}, sides: []side{
				{"onceq", "a store each, as in two processes", far.latency(briefly), false},
				{"asynq at 10 ms", "TaskCheckInterval 10 ms", ticking.latency(briefly), false}}},
		{name: "bytes", title: "bytes of a waiting unique job", show: []string{"waiting"},
			goals: []goal{{of: "waiting", most: 560}}, sides: []side{
				{"onceq", "used_memory of 100,000 jobs", us.bytes(100_000, false), false},
				{"asynq", "the same", usual.bytes(100_000, false), false}}},
	}
	return append(rows, growth(openRedis(false, 10_000_000))...)
}

// openRedis opens onceq in an emptied database: 0, or for growth 2 and up.
func openRedis(far bool, retentionMax int) opener {
	var others int
	return func(ctx context.Context, e *env) (system, error) {
		db := 0
		if retentionMax > 0 {
			db = 2 + others%12
			others++
		}
		plain, clear := connected(e.server.addr, db), empty
		// The database with the grown store lies in the same server, and a
		// rewrite would fork that too: for a while each first write to a page
		// is a page fault.
		if retentionMax > 0 {
			clear = func(ctx context.Context, c *redis.Client) error { return c.FlushDB(ctx).Err() }
		}
		if err := clear(ctx, plain); err != nil {
			return nil, cmp.Or(err, plain.Close())
		}
		url, config := "redis://"+e.server.addr+"/"+strconv.Itoa(db),
			&redisstore.Config{RetentionMax: retentionMax, Logger: quiet}
		store, err := redisstore.Open(ctx, url, config)
		if err != nil {
			return nil, err
		}
		o, err := newOurs(store, func() error { return cmp.Or(clear(context.Background(), plain), plain.Close()) })
		if err != nil {
			return nil, err
		}
		if far {
			o.far = func() (onceq.Store, error) { return redisstore.Open(ctx, url, config) }
		}
		o.sizes = func(ctx context.Context) (float64, error) { return usedMemory(ctx, plain) }
		if retentionMax > 0 {
			o.tidy = func(ctx context.Context) error { return rewritten(ctx, plain) }
		}
		return o, nil
	}
}

func connected(addr string, db int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, DB: db, ReadTimeout: time.Minute})
}

// empty empties the database and lets the append-only file shrink now, not in
// the middle of the next measurement.
func empty(ctx context.Context, c *redis.Client) error {
	if err := c.FlushDB(ctx).Err(); err != nil {
		return err
	}
	if err := c.BgRewriteAOF(ctx).Err(); err != nil && !strings.Contains(err.Error(), "in progress") {
		return err
	}
	return rewritten(ctx, c)
}

// rewritten waits until no rewrite is under way.
func rewritten(ctx context.Context, c *redis.Client) error {
	for range 3000 {
		info, err := c.Info(ctx, "persistence").Result()
		if err != nil || strings.Contains(info, "aof_rewrite_in_progress:0") &&
			strings.Contains(info, "aof_rewrite_scheduled:0") {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return context.DeadlineExceeded
}

func usedMemory(ctx context.Context, c *redis.Client) (float64, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "\nused_memory:")
	value, _, _ := strings.Cut(rest, "\r")
	return strconv.ParseFloat(value, 64)
}
