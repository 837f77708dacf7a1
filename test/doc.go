// Package test proves the promises with real processes: producers and workers that are killed, in the middle of everything, while a
// ledger outside the store keeps what was acknowledged and what ran. It is a module of its own, so that what it needs stays out of the
// module graph of those who use onceq.
package test
