//go:build race

package effort

// Raced is whether the race detector slows everything down.
const Raced = true
