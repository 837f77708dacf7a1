package firsts_test

import (
	"math/rand/v2"
	"testing"

	"github.com/onceq/onceq/internal/firsts"
)

func TestEachThingFindsTheFirstOfItsKind(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 1000} {
		for _, spread := range []uint32{1, 7, 1 << 31} { // also where all hashes are the same
			things, first := make([]int, n), map[int]int{}
			table := firsts.New(n)
			for i := range things {
				things[i] = rand.IntN(n)
				want, met := first[things[i]]
				if !met {
					want, first[things[i]] = i, i
				}
				got := table.Find(uint32(things[i])*2654435761%spread, i, func(k int) bool { return things[k] == things[i] })
				if got != want {
					t.Fatalf("thing %d of %d: %d, want %d", i, n, got, want)
				}
			}
		}
	}
}
