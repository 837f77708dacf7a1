package dedup_test

import (
	"math/rand/v2"
	"testing"

	"github.com/onceq/onceq/internal/dedup"
)

func TestEachItemFindsTheFirstEqualOne(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 1000} {
		for _, spread := range []uint32{1, 7, 1 << 31} { // also where all hashes are the same
			items, first := make([]int, n), map[int]int{}
			table := dedup.New(n)
			for i := range items {
				items[i] = rand.IntN(n)
				want, met := first[items[i]]
				if !met {
					want, first[items[i]] = i, i
				}
				got := table.Find(uint32(items[i])*2654435761%spread, i, func(k int) bool {
					return items[k] == items[i]
				})
				if got != want {
					t.Fatalf("item %d of %d: %d, want %d", i, n, got, want)
				}
			}
		}
	}
}
