package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/pgstore"
	"github.com/onceq/onceq/storeurl"
)

// migrate has the flags of the command.
type migrate struct {
	config pgstore.Config
	print  bool
	after  int
}

func newMigrate(a *app) *cobra.Command {
	var m migrate
	up := func(c *cobra.Command, _ []string) error { return a.migrate(c.Context(), &m, true) }
	status := func(c *cobra.Command, _ []string) error { return a.migrate(c.Context(), &m, false) }
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the schema of a PostgreSQL store up to date",
		Long: `Bring the schema of a PostgreSQL store up to date: each migration that is
missing, all in one transaction, while others wait. Opening a store does it
too, unless the program says NoMigrate; this is for roles that may not change
a schema. A SQLite file is brought up to date when it is opened, and Redis has
no schema.`,
		Args: noArgs, RunE: up,
	}
	c.AddCommand(
		&cobra.Command{Use: "up", Short: "Apply the missing migrations, as without a word", Args: noArgs, RunE: up},
		&cobra.Command{Use: "status", Short: "Which migrations are applied; exit code 1 if one is missing",
			Args: noArgs, RunE: status},
	)
	flags := c.PersistentFlags()
	flags.StringVar(&m.config.Namespace, "namespace", "", "the schema that holds the tables (default: ?namespace=… of "+
		"the store, or onceq)")
	flags.BoolVar(&m.print, "print", false, "print the SQL instead, for people who run it by hand; connects to nothing")
	flags.IntVar(&m.after, "after", 0, "with --print: only the migrations after this version")
	return c
}

// migrate shows which migrations are applied. With up it applies those that
// are missing first.
func (a *app) migrate(ctx context.Context, m *migrate, up bool) (err error) {
	defer func() { err = storeurl.Failure(a.store, err) }() // an error of the driver may have the password
	postgres := strings.HasPrefix(a.store, "postgres://") || strings.HasPrefix(a.store, "postgresql://")
	url, namespace, err := storeurl.CutNamespace(a.store)
	if err != nil && postgres {
		return usagef("%v", err)
	}
	if postgres {
		m.config.Namespace = cmp.Or(m.config.Namespace, namespace)
	}
	if m.print {
		a.printf("%s", pgstore.Script(&m.config, m.after))
		return nil
	}
	if !postgres {
		if _, err := storeurl.Creates(a.store); err != nil {
			return usagef("%v", err)
		}
		a.printf("nothing to migrate: a SQLite file is brought up to date when it is opened, and Redis has no " +
			"schema\n")
		return nil
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	before := 0
	if up {
		was, err := pgstore.Status(ctx, pool, &m.config)
		if err != nil {
			return err
		}
		before = unapplied(was)
		if err := pgstore.Migrate(ctx, pool, &m.config); err != nil {
			return err
		}
	}
	migrations, err := pgstore.Status(ctx, pool, &m.config)
	if err != nil {
		return err
	}
	if err := a.printMigrations(migrations); err != nil {
		return err
	}
	if up && before == 0 && !a.json {
		a.printf("nothing to do: the schema was up to date\n")
	}
	if n := unapplied(migrations); n > 0 {
		return fmt.Errorf("%s missing: run onceq migrate", count(n, "migration"))
	}
	return nil
}

// unapplied is how many are not applied.
func unapplied(migrations []pgstore.Migration) (n int) {
	for _, m := range migrations {
		if m.Applied.IsZero() {
			n++
		}
	}
	return n
}

func (a *app) printMigrations(migrations []pgstore.Migration) error {
	for _, m := range migrations {
		if a.json {
			if err := a.printJSON(struct {
				Version int           `json:"version"`
				Name    string        `json:"name"`
				Applied jsontext.Time `json:"applied_at,omitzero"`
			}{m.Version, m.Name, jsontext.Time(m.Applied)}); err != nil {
				return err
			}
			continue
		}
		applied := "missing"
		if !m.Applied.IsZero() {
			applied = "applied " + moment(m.Applied, time.Now())
		}
		a.printf("%3d  %-24s %s\n", m.Version, m.Name, applied)
	}
	return nil
}
