//go:build race

package storetest

// raced is whether the race detector slows everything down.
const raced = true
