// Package test proves the promises with real processes. Producers and workers
// are killed at random points, and a ledger outside the store keeps what was
// acknowledged and what ran. It is a module of its own, so that users of onceq
// do not get what it needs into their module graph.
package test
