package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/pgstore"
)

func postgresRows() []row {
	us, far := openPG(false, "FULL"), openPG(true, "FULL")
	usual, tuned, apart := openRiverPG(riverDefault, false), openRiverPG(riverTuned, false),
		openRiverPG(riverDefault, true)
	const pool = "riverpgxv5, a pgx pool of 64"
	rows := []row{
		{name: "enqueue", title: "unique enqueue, 64 callers",
			goals: []goal{{of: "rate", against: true, least: 12}}, sides: []side{
				{"onceq", "pgstore defaults", us.uniques(64), false},
				{"River", pool, usual.uniques(64), false}}},
		{name: "enqueue-1", title: "unique enqueue, 1 caller", show: []string{"p50", "p10"},
			goals: []goal{{of: "p50", against: true, most: 0.45}}, sides: []side{
				{"onceq", "", us.single, false},
				{"River", pool, usual.single, false}}},
		{name: "duplicate-1", title: "duplicates, 1 caller", show: []string{"rate", "written"},
			goals: []goal{{of: "rate", against: true, least: 8}, {of: "written", most: 1}}, sides: []side{
				{"onceq", "of 1,000 waiting jobs", us.duplicates(1), false},
				{"River", "of 1,000 waiting jobs", usual.duplicates(1), false}}},
		{name: "merge-1", title: "duplicates that write (Coalesce), 1 caller, against new jobs",
			show:  []string{"p50", "p10"},
			goals: []goal{{of: "p50", against: true, most: 1.2}}, sides: []side{
				{"onceq", "of 1,000 waiting jobs", us.merges, false},
				{"onceq, new", "", us.single, false}}},
		{name: "duplicate", title: "duplicates, 64 callers", show: []string{"rate", "written"},
			goals: []goal{{of: "rate", against: true, least: 20}, {of: "written", most: 1}}, sides: []side{
				{"onceq", "of 1,000 waiting jobs", us.duplicates(64), false},
				{"River", "of 1,000 waiting jobs; " + pool, usual.duplicates(64), false}}},
		{name: "batch", title: "unique batch of 1,000, one connection",
			goals: []goal{{of: "rate", against: true, least: 2.2}}, sides: []side{
				{"onceq", "EnqueueMany", us.batches(1), false},
				{"River", "InsertMany", usual.batches(1), false}}},
		{name: "batch-4", title: "unique batch of 1,000, four connections",
			goals: []goal{{of: "rate", against: true, least: 3}}, sides: []side{
				{"onceq", "EnqueueMany from four goroutines", us.batches(4), false},
				{"River", "InsertMany from four goroutines", usual.batches(4), false}}},
		{name: "run", title: "no-op unique jobs run, 100 at once",
			goals: []goal{{of: "rate", against: true, least: 4}}, sides: []side{
				{"onceq", "worker defaults, Concurrency 100", us.runs(20_000), false},
				{"River at 2 ms", "MaxWorkers 100, FetchCooldown 2 ms, FetchPollInterval 20 ms, as its own benchmark",
					tuned.runs(6000), false},
				{"River", "MaxWorkers 100, else its defaults", usual.runs(1000), true}}},
		{name: "start", title: "enqueue to start, idle, one process", show: []string{"p50", "p10", "p99"},
			goals: []goal{{of: "p50", most: 1.5}, {of: "p99", most: 15}}, sides: []side{
				{"onceq", "one store for client and worker; 10–15 ms between jobs", us.latency(briefly), false},
				{"River at 2 ms", "one client for both; 10–15 ms between jobs", tuned.latency(briefly), false},
				{"River", "one client for both, defaults; 120–180 ms between jobs, longer than its cooldown",
					usual.latency(longer), true}}},
		{name: "start-apart", title: "enqueue to start, idle, client and worker apart",
			show:  []string{"p50", "p10", "p99"},
			goals: []goal{{of: "p50", most: 1.5}, {of: "p99", most: 15}}, sides: []side{
				{"onceq", "a store each, as in two processes: LISTEN/NOTIFY; 10–15 ms between jobs",
					far.latency(briefly), false},
				{"River", "a client each: LISTEN/NOTIFY, defaults; 120–180 ms between jobs",
					apart.latency(longer), false}}},
		{name: "bytes", title: "bytes of a kept unique job", show: []string{"waiting", "finished", "unvacuumed"},
			goals: []goal{{of: "waiting", most: 600}, {of: "finished", most: 480}}, sides: []side{
				{"onceq", "tables and indexes of 20,000 jobs; finished: after VACUUM FULL",
					us.bytes(20_000, true), false},
				{"River", "the same", tuned.bytes(20_000, true), false}}},
	}
	return append(rows, growth(openPG(false, "ANALYZE"))...)
}

// openPG opens onceq in a schema of its own, which is dropped in the end.
func openPG(far bool, vacuum string) opener {
	return func(ctx context.Context, e *env) (system, error) {
		config := &pgstore.Config{Namespace: fmt.Sprintf("onceq_%d", serial.Add(1)), Logger: quiet}
		store, err := pgstore.Open(ctx, e.server.url, config)
		if err != nil {
			return nil, err
		}
		o, err := newOurs(store, func() error { return dropSchema(e, config.Namespace) })
		if err != nil {
			return nil, err
		}
		if far {
			o.far = func() (onceq.Store, error) { return pgstore.Open(ctx, e.server.url, config) }
		}
		o.sizes = func(ctx context.Context) (float64, error) { return schemaSize(ctx, e, config.Namespace) }
		o.tidy = func(ctx context.Context) error { return vacuumSchema(ctx, e, config.Namespace, vacuum) }
		return o, nil
	}
}

// openRiverPG opens River in a schema of its own.
func openRiverPG(p pace, far bool) opener {
	return func(ctx context.Context, e *env) (system, error) {
		config, err := pgxpool.ParseConfig(e.server.url)
		if err != nil {
			return nil, err
		}
		config.MaxConns = 64
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			return nil, err
		}
		schema := fmt.Sprintf("river_%d", serial.Add(1))
		if _, err := pool.Exec(ctx, "create schema "+schema); err != nil {
			return nil, err
		}
		return newRiver(ctx, &riverQueue[pgx.Tx]{driver: riverpgxv5.New(pool), schema: schema, pace: p, far: far,
			end:   func() error { pool.Close(); return dropSchema(e, schema) },
			sizes: func(ctx context.Context) (float64, error) { return schemaSize(ctx, e, schema) },
			tidy:  func(ctx context.Context) error { return vacuumSchema(ctx, e, schema, "FULL") },
		})
	}
}

func dropSchema(e *env, schema string) error {
	_, err := e.server.pg.Exec(context.Background(), "drop schema "+schema+" cascade")
	return err
}

func schemaSize(ctx context.Context, e *env, schema string) (size float64, err error) {
	err = e.server.pg.QueryRow(ctx, `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 from pg_class c
		join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'm')`,
		schema).Scan(&size)
	return size, err
}

func vacuumSchema(ctx context.Context, e *env, schema, how string) error {
	rows, err := e.server.pg.Query(ctx,
		`select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables where schemaname = $1`, schema)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, t := range tables {
		_, failed := e.server.pg.Exec(ctx, "vacuum ("+how+") "+t)
		err = errors.Join(err, failed)
	}
	return err
}
