package onceqtest

import (
	"slices"
	"testing"

	"github.com/onceq/onceq/internal/terms"
)

// A test that says an option asks about it: none may be left out.
func TestWhatAnOptionSaysIsCompared(t *testing.T) {
	compared := []string{"on_conflict"} // no property of a job
	for _, p := range properties {
		compared = append(compared, p.of...)
	}
	for _, s := range new(terms.Terms).All() {
		if m := s.Member(); !slices.Contains(compared, m) && !slices.Contains(compared, m+"_ms") {
			t.Errorf("RequireEnqueued does not compare %s", m)
		}
	}
}
