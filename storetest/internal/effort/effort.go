// Package effort says how much of what random and concurrent cases could do they do.
package effort

import "os"

// Long is whether ONCEQ_LONG asks for races and random histories that go on for minutes.
var Long = os.Getenv("ONCEQ_LONG") != ""

// Scaled is how often a case does what gets no truer by counting: less under the race detector, more where there is time.
func Scaled(n int) int {
	switch {
	case Long:
		return 5 * n
	case Raced:
		return n / 4
	}
	return n
}
