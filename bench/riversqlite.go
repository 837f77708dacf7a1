//go:build riversqlite

package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"

	"github.com/riverqueue/river/riverdriver/riversqlite"
)

const hasRiverSQLite = true

// openRiverSQLite opens River on a fresh file, as its documentation says: one
// connection.
func openRiverSQLite(p pace) opener {
	return func(ctx context.Context, e *env) (system, error) {
		dir, err := os.MkdirTemp(e.dir, "river-")
		if err != nil {
			return nil, err
		}
		db, err := sql.Open("sqlite", sqliteDSN(filepath.Join(dir, "river.db")))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		return newRiver(ctx, &riverQueue[*sql.Tx]{driver: riversqlite.New(db), pace: p, end: func() error {
			err := db.Close()
			_ = os.RemoveAll(dir)
			return err
		}})
	}
}
