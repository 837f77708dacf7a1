// Package dedup is a small hash table for one batch: for each item it returns
// the index of the first item that is equal.
package dedup

import "math/bits"

// Table holds the indexes of the distinct items so far, plus one. It lives as
// long as one batch.
type Table []int32

// New makes a table for n items.
func New(n int) Table { return make(Table, 2<<bits.Len(uint(n))) }

// Find returns the index of the first item that was equal to item i. If there
// is none, it notes item i and returns i.
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
