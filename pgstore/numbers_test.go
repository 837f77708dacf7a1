package pgstore

import (
	"slices"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// What stands in databases that are there, and in functions of them: a new
// value takes the next number, none ever changes.
func TestNumbersThatAreOnDiskNeverChange(t *testing.T) {
	t.Parallel()
	if want := []onceq.State{"scheduled", "retryable", "running", "completed", "discarded", "cancelled",
		"available"}; !slices.Equal(stateOf[:], want) {
		t.Errorf("states are stored as the indexes of %q, want %q", stateOf, want)
	}
	if want := []onceq.Outcome{"inserted", "skipped", "rejected", "replaced", "coalesced",
		"superseded"}; !slices.Equal(outcomeOf[:], want) {
		t.Errorf("outcomes are stored as the indexes of %q, want %q", outcomeOf, want)
	}
	if codeRetryable != codeOf[onceq.Retryable] || codeRunning != codeOf[onceq.Running] ||
		codeCompleted != codeOf[onceq.Completed] {
		t.Errorf("codes are %d, %d and %d, and stand for %d, %d and %d in the table", codeRetryable,
			codeRunning, codeCompleted,
			codeOf[onceq.Retryable], codeOf[onceq.Running], codeOf[onceq.Completed])
	}
}

func TestAStoreIsPatientForTenSecondsIfNobodySaysOtherwise(t *testing.T) {
	for _, c := range []*Config{nil, {}, {NoMigrate: true}} {
		if got := c.patience(); got != 10*time.Second {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
