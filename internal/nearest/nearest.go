// Package nearest finds the name that a misspelt word was meant to be.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Name returns the name that was probably meant by a word; "" if none is similar.
func Name(word string, names []string) string {
	type near struct {
		name string
		far  int
	}
	var all []near
	for _, n := range names {
		d := distance(strings.ToLower(word), n)
		if strings.HasPrefix(n, word) && len(word) > 1 {
			d = 0
		}
		if d <= 1+len(n)/4 {
			all = append(all, near{n, d})
		}
	}
	if len(all) == 0 {
		return ""
	}
	return slices.MinFunc(all, func(x, y near) int { return cmp.Compare(x.far, y.far) }).name
}

// distance is how many letters to insert, delete, change or swap to get
// from a to b.
func distance(a, b string) int {
	row := make([][]int, len(a)+1)
	for i := range row {
		row[i] = make([]int, len(b)+1)
		row[i][0] = i
	}
	for j := range row[0] {
		row[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[i][j] = min(row[i-1][j]+1, row[i][j-1]+1, row[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[i][j] = min(row[i][j], row[i-2][j-2]+1)
			}
		}
	}
	return row[len(a)][len(b)]
}
