// Package firsts finds, among a few things of which each comes once, those that are equal to one that came before.
package firsts

import "math/bits"

// Table is a hash table of numbers of things. It lives as long as one batch.
type Table []int32

// New makes a table for n things.
func New(n int) Table { return make(Table, 2<<bits.Len(uint(n))) }

// Find is the number of the first thing that was equal to thing i, or i itself, which is noted then.
func (t Table) Find(hash uint32, i int, equal func(first int) bool) int {
	for at := hash; ; at++ {
		slot := &t[at&uint32(len(t)-1)]
		if *slot == 0 {
			*slot = int32(i + 1)
			return i
		}
		if first := int(*slot - 1); equal(first) {
			return first
		}
	}
}
