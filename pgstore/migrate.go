package pgstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Migrate brings the schema up to date. Any number of processes may call it
// at once: one does it, and the others wait. An absent server is waited for,
// see Config.Patience.
func Migrate(ctx context.Context, pool *pgxpool.Pool, config *Config) error {
	if err := config.validate(); err != nil {
		return err
	}
	namespace := config.namespace()
	version, err := versionNow(ctx, pool, config)
	if err != nil {
		return fmt.Errorf("pgstore: migrate %q: %w", namespace, explain(err, pool.Config().ConnConfig, namespace))
	}
	if err := refuseNewer(namespace, version); err != nil || version == latest() {
		return err
	}
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return migrate(ctx, tx, namespace)
	})
	if err != nil {
		return fmt.Errorf("pgstore: migrate %q: %w", namespace, explain(err, pool.Config().ConnConfig, namespace))
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, namespace string) error {
	run := func(sql string) error {
		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := run(migrationSettings); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", pgx.QueryExecModeExec,
		"onceq migrate "+namespace); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, tx, namespace) // read again, because another may have been faster
	if err != nil {
		return err
	}
	if err := refuseNewer(namespace, version); err != nil || version == latest() {
		return err
	}
	if version == 0 {
		if err := run(expand(createSchema, namespace)); err != nil {
			return err
		}
	}
	for _, s := range steps(namespace) {
		if s.Version <= version {
			continue
		}
		if err := run(s.sql + s.record(namespace)); err != nil {
			return fmt.Errorf("step %d (%s): %w", s.Version, s.Name, err)
		}
	}
	return run(functions(namespace))
}

// Status returns all migrations and when each was applied.
func Status(ctx context.Context, pool *pgxpool.Pool, config *Config) ([]Migration, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	namespace := config.namespace()
	version, err := versionNow(ctx, pool, config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace,
			explain(err, pool.Config().ConnConfig, namespace))
	}
	var all []Migration
	for _, s := range steps(namespace) {
		all = append(all, s.Migration)
	}
	if version == 0 {
		return all, nil
	}
	rows, err := pool.Query(ctx, "select version, name, applied from "+quote(namespace)+".migrations order by version",
		pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace,
			explain(err, pool.Config().ConnConfig, namespace))
	}
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Migration])
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace,
			explain(err, pool.Config().ConnConfig, namespace))
	}
	for _, d := range done {
		found := false
		for i := range all {
			if all[i].Version == d.Version {
				all[i].Applied, found = d.Applied, true
			}
		}
		if !found {
			all = append(all, d) // a step of a newer onceq, or of one before version 7
		}
	}
	slices.SortFunc(all, func(a, b Migration) int { return a.Version - b.Version })
	return all, nil
}

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// migrationsExist looks in the catalog as it is now: to_regclass may
// remember how it was before a wait for the lock.
const migrationsExist = `select exists (
  select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
  where n.nspname operator(pg_catalog.=) $1 and c.relname operator(pg_catalog.=) 'migrations')`

// schemaVersion returns the newest migration that was applied; 0 = none. It
// raises no error inside a transaction.
func schemaVersion(ctx context.Context, q querier, namespace string) (version int, err error) {
	var exists bool
	err = q.QueryRow(ctx, migrationsExist, pgx.QueryExecModeExec, namespace).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	err = q.QueryRow(ctx, "select coalesce(pg_catalog.max(version), 0) from "+quote(namespace)+".migrations",
		pgx.QueryExecModeExec).Scan(&version)
	return version, err
}

// versionNow is schemaVersion, once the server is there.
func versionNow(ctx context.Context, pool *pgxpool.Pool, config *Config) (int, error) {
	if err := reach(ctx, pool, config.patience()); err != nil {
		return 0, err
	}
	return schemaVersion(ctx, pool, config.namespace())
}

func refuseNewer(namespace string, version int) error {
	if version > latest() {
		return fmt.Errorf("pgstore: the schema %q is at version %d and this onceq knows %d: it belongs to a newer "+
			"onceq, use that one", namespace, version, latest())
	}
	return nil
}

// check refuses a schema that is not the one that this code needs.
func check(ctx context.Context, pool *pgxpool.Pool, config *Config) error {
	namespace := config.namespace()
	version, err := versionNow(ctx, pool, config)
	if err != nil {
		return fmt.Errorf("pgstore: look at the schema %q: %w", namespace,
			explain(err, pool.Config().ConnConfig, namespace))
	}
	if version == 0 {
		return fmt.Errorf("pgstore: there is no store in the schema %q of this database yet: run `onceq migrate`, or "+
			"pgstore.Migrate", namespace)
	}
	if version < latest() {
		return fmt.Errorf("pgstore: the schema %q is at version %d and this onceq needs %d: run `onceq migrate`, or "+
			"pgstore.Migrate", namespace, version, latest())
	}
	return refuseNewer(namespace, version)
}
