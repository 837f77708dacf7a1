package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int       // from 1
	Name    string    // what it brings, in a word or two
	Applied time.Time // zero = not yet
}

// step is a migration with its statements, as they are for one namespace.
type step struct {
	Migration
	sql string
}

// steps returns all migrations in order, for a namespace.
func steps(namespace string) []step {
	files, err := schemaFiles.ReadDir("schema")
	if err != nil {
		panic(err) // they are embedded
	}
	var all []step
	for _, f := range files { // by name
		text, err := schemaFiles.ReadFile(path.Join("schema", f.Name()))
		if err != nil {
			panic(err)
		}
		number, name, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			panic(err)
		}
		all = append(all, step{Migration{Version: version, Name: name}, expand(string(text), namespace)})
	}
	return all
}

// conflictColumns are the types of the columns of answer_v1 that describe a conflict.
var conflictColumns = []string{"integer", "text", "smallint", "bigint", "bigint", "smallint", "text", "integer", "json"}

var token = regexp.MustCompile(`\{(\w+)(?: (\w+))?\}|\$\$`)

// expand puts in a statement what stands in braces: {ns} the quoted schema, {n delay} the delay of row i, and the like. It is one pass,
// so that a namespace can hold anything that an identifier can.
func expand(text, namespace string) string {
	quoted := pgx.Identifier{namespace}.Sanitize()
	tag := "$onceq$" // the quotes around a function must not occur in it
	for n := 0; strings.Contains(quoted, tag); n++ {
		tag = fmt.Sprintf("$onceq%d$", n)
	}
	nulls := func(types []string) string { return "null::" + strings.Join(types, ", null::") }
	return token.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return tag
		}
		m := token.FindStringSubmatch(found)
		switch m[1] {
		case "ns":
			return quoted
		case "n":
			return fmt.Sprintf("nums[i * %d - %d]", len(numbers), len(numbers)-1-slices.Index(numbers, m[2]))
		case "conflict_nulls":
			return nulls(conflictColumns)
		case "conflict_nulls_from_state":
			return nulls(conflictColumns[2:])
		case "answer_nulls":
			return strings.Repeat("null, ", 1+len(conflictColumns)) + "null"
		case "hot":
			// Plans are made once, for any number of rows, while the tables may still be empty: what would scan a table is out of the question.
			return "set enable_seqscan = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off"
		}
		return found
	})
}

// latest is the version of the schema that this code needs.
func latest() int {
	all := steps("onceq")
	return all[len(all)-1].Version
}

// Script returns the statements of the migrations after a version, for people who run SQL by hand.
func Script(config *Config, after int) string {
	namespace := config.namespace()
	var b strings.Builder
	quoted := pgx.Identifier{namespace}.Sanitize()
	fmt.Fprintf(&b, "begin;\n\n")
	if after == 0 {
		fmt.Fprintf(&b, "create schema if not exists %s;\n%s;\n\n", quoted, expand(migrationsTable, namespace))
	}
	for _, s := range steps(namespace) {
		if s.Version <= after {
			continue
		}
		fmt.Fprintf(&b, "%s\ninsert into %s.migrations (version, name) values (%d, '%s');\n\n", s.sql, quoted, s.Version, s.Name)
	}
	b.WriteString("commit;\n")
	return b.String()
}

const migrationsTable = `create table if not exists {ns}.migrations (
  version integer primary key,
  name    text not null,
  applied timestamptz not null default now()
)`

// Migrate brings the schema up to date. Any number of processes may do so at once: one does it, the others wait for it.
func Migrate(ctx context.Context, pool *pgxpool.Pool, config *Config) error {
	if err := config.validate(); err != nil {
		return err
	}
	namespace := config.namespace()
	version, err := schemaVersion(ctx, pool, namespace)
	if err != nil {
		return fmt.Errorf("pgstore: migrate %q: %w", namespace, err)
	}
	if err := refuseNewer(namespace, version); err != nil || version == latest() {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		return migrate(ctx, tx, namespace)
	})
	if err != nil {
		return fmt.Errorf("pgstore: migrate %q: %w", namespace, err)
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, namespace string) error {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", pgx.QueryExecModeExec, "onceq migrate "+namespace); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, tx, namespace) // again: another may have been faster
	if err != nil {
		return err
	}
	if err := refuseNewer(namespace, version); err != nil {
		return err
	}
	script := func(sql string) error {
		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	quoted := pgx.Identifier{namespace}.Sanitize()
	if version == 0 {
		// A role that may not create schemas can use one that was made for it.
		var exists bool
		if err := tx.QueryRow(ctx, "select exists (select from pg_namespace where nspname = $1)", pgx.QueryExecModeExec, namespace).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if err := script("create schema " + quoted); err != nil {
				return err
			}
		}
		if err := script(expand(migrationsTable, namespace)); err != nil {
			return err
		}
	}
	for _, s := range steps(namespace) {
		if s.Version <= version {
			continue
		}
		if err := script(s.sql); err != nil {
			return fmt.Errorf("step %d (%s): %w", s.Version, s.Name, err)
		}
		if err := script(fmt.Sprintf("insert into %s.migrations (version, name) values (%d, '%s')", quoted, s.Version, s.Name)); err != nil {
			return err
		}
	}
	return nil
}

// Status returns all migrations and when each was applied.
func Status(ctx context.Context, pool *pgxpool.Pool, config *Config) ([]Migration, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	namespace := config.namespace()
	version, err := schemaVersion(ctx, pool, namespace)
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace, err)
	}
	var all []Migration
	for _, s := range steps(namespace) {
		all = append(all, s.Migration)
	}
	if version == 0 {
		return all, nil
	}
	rows, err := pool.Query(ctx, "select version, name, applied from "+pgx.Identifier{namespace}.Sanitize()+".migrations order by version", pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace, err)
	}
	done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Migration])
	if err != nil {
		return nil, fmt.Errorf("pgstore: status of %q: %w", namespace, err)
	}
	for _, d := range done {
		found := false
		for i := range all {
			if all[i].Version == d.Version {
				all[i].Applied, found = d.Applied, true
			}
		}
		if !found {
			all = append(all, d) // of a newer onceq
		}
	}
	return all, nil
}

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// schemaVersion returns the newest migration that was applied; 0 = none. It raises no error inside a transaction.
func schemaVersion(ctx context.Context, q querier, namespace string) (version int, err error) {
	var exists bool
	err = q.QueryRow(ctx, "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = 'migrations')",
		pgx.QueryExecModeExec, namespace).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	err = q.QueryRow(ctx, "select coalesce(max(version), 0) from "+pgx.Identifier{namespace}.Sanitize()+".migrations", pgx.QueryExecModeExec).Scan(&version)
	return version, err
}

func refuseNewer(namespace string, version int) error {
	if version > latest() {
		return fmt.Errorf("pgstore: the schema %q is at version %d and this onceq knows %d: it belongs to a newer onceq, use that one", namespace, version, latest())
	}
	return nil
}

// check refuses a schema that is not the one this code needs.
func check(ctx context.Context, q querier, namespace string) error {
	version, err := schemaVersion(ctx, q, namespace)
	if err != nil {
		return fmt.Errorf("pgstore: look at the schema %q: %w", namespace, err)
	}
	if version == 0 {
		return fmt.Errorf("pgstore: there is no store in the schema %q of this database yet: run `onceq migrate`, or pgstore.Migrate", namespace)
	}
	if version < latest() {
		return fmt.Errorf("pgstore: the schema %q is at version %d and this onceq needs %d: run `onceq migrate`, or pgstore.Migrate", namespace, version, latest())
	}
	return refuseNewer(namespace, version)
}

// explainMissing says what to do where the schema is not there.
func explainMissing(err error, namespace string) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case "3F000", "42P01", "42883", "42704":
		return fmt.Errorf("%w (is the schema %q up to date? run `onceq migrate`, or pgstore.Migrate)", err, namespace)
	case "26000", "42P05", "08P01":
		return fmt.Errorf("%w (behind a pooler in transaction mode set Config.ExecMode to pgx.QueryExecModeExec, or default_query_exec_mode=exec in the URL)", err)
	}
	return err
}
