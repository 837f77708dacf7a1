// Package effort says how many repetitions random and concurrent cases do.
package effort

import "os"

// Long is whether ONCEQ_LONG asks for races and random histories that go on
// for minutes.
var Long = os.Getenv("ONCEQ_LONG") != ""

// Scaled is how often a case repeats something that does not become more
// certain by counting: less often under the race detector, more often where
// there is time.
func Scaled(n int) int {
	switch {
	case Long:
		return 5 * n
	case Raced:
		return n / 4
	}
	return n
}
