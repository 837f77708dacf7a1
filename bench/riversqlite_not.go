//go:build !riversqlite

package main

// River's SQLite driver comes with the other go.mod: see main.
const hasRiverSQLite = false

func openRiverSQLite(pace) opener { return nil }
