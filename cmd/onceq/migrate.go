package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/onceq/onceq/internal/jsontext"
	"github.com/onceq/onceq/pgstore"
	"github.com/onceq/onceq/storeurl"
)

func newMigrate(a *app) *cobra.Command {
	var config pgstore.Config
	var print bool
	var after int
	long := `Bring the schema of a PostgreSQL store up to date: each migration that is
missing, all in one transaction, while others wait. Opening a store does it
too, unless the program says NoMigrate; this is for roles that may not change
a schema. A SQLite file is brought up to date when it is opened, and Redis has
no schema.`
	run := func(c *cobra.Command, what string) (err error) {
		defer func() { err = storeurl.Failure(a.store, err) }() // an error of the driver may have the password
		postgres := strings.HasPrefix(a.store, "postgres://") || strings.HasPrefix(a.store, "postgresql://")
		url, namespace, err := storeurl.CutNamespace(a.store)
		if err != nil && postgres {
			return usagef("%v", err)
		}
		if postgres {
			config.Namespace = cmp.Or(config.Namespace, namespace)
		}
		if print {
			a.printf("%s", pgstore.Script(&config, after))
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
		pool, err := pgxpool.New(c.Context(), url)
		if err != nil {
			return err
		}
		defer pool.Close()
		before := 0
		if what == "up" {
			was, err := pgstore.Status(c.Context(), pool, &config)
			if err != nil {
				return err
			}
			for _, m := range was {
				if m.Applied.IsZero() {
					before++
				}
			}
			if err := pgstore.Migrate(c.Context(), pool, &config); err != nil {
				return err
			}
		}
		migrations, err := pgstore.Status(c.Context(), pool, &config)
		if err != nil {
			return err
		}
		missing := 0
		for _, m := range migrations {
			applied := "missing"
			if m.Applied.IsZero() {
				missing++
			} else {
				applied = "applied " + moment(m.Applied, time.Now())
			}
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
			a.printf("%3d  %-24s %s\n", m.Version, m.Name, applied)
		}
		if what == "up" && before == 0 && !a.json {
			a.printf("nothing to do: the schema was up to date\n")
		}
		if missing > 0 {
			return fmt.Errorf("%s missing: run onceq migrate", count(missing, "migration"))
		}
		return nil
	}
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the schema of a PostgreSQL store up to date", Long: long, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c, "up") },
	}
	c.AddCommand(
		&cobra.Command{Use: "up", Short: "Apply the missing migrations, as without a word", Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return run(c, "up")
			}},
		&cobra.Command{Use: "status", Short: "Which migrations are applied; exit code 1 if one is " +
			"missing", Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error { return run(c, "status") }},
	)
	flags := c.PersistentFlags()
	flags.StringVar(&config.Namespace, "namespace", "", "the schema that holds the tables (default: ?namespace=… of "+
		"the store, or onceq)")
	flags.BoolVar(&print, "print", false, "print the SQL instead, for people who run it by hand; connects to nothing")
	flags.IntVar(&after, "after", 0, "with --print: only the migrations after this version")
	return c
}
