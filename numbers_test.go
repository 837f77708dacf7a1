package onceq_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/fingerprint"
)

// numbers are the constants whose values stand in the rows of databases, or
// in the text of SQL and Lua that another version of the program may have
// installed. A new one takes the next number; none ever changes.
var numbers = []struct {
	name      string
	got, want any
}{
	{"UntilDue", onceq.UntilDue, 1},
	{"UntilStarted", onceq.UntilStarted, 2},
	{"UntilFinished", onceq.UntilFinished, 3},
	{"UntilSucceeded", onceq.UntilSucceeded, 4},
	{"UntilFailed", onceq.UntilFailed, 5},
	{"UntilDeleted", onceq.UntilDeleted, 6},
	{"UntilWindowEnds", onceq.UntilWindowEnds, 7},

	{"ActionAnswer", onceq.ActionAnswer, 0},
	{"ActionRefuse", onceq.ActionRefuse, 1},
	{"ActionWrite", onceq.ActionWrite, 2},
	{"ActionPushBack", onceq.ActionPushBack, 3},
	{"ActionMerge", onceq.ActionMerge, 4},
	{"ActionStand", onceq.ActionStand, 5},
	{"ActionTake", onceq.ActionTake, 6},

	{"FieldArgs", onceq.FieldArgs, 1},
	{"FieldMeta", onceq.FieldMeta, 2},
	{"FieldPriority", onceq.FieldPriority, 4},
	{"FieldRunAt", onceq.FieldRunAt, 8},
	{"FieldMaxAttempts", onceq.FieldMaxAttempts, 16},
	{"FieldTags", onceq.FieldTags, 32},

	{"OpCancel", onceq.OpCancel, 1},
	{"OpRetry", onceq.OpRetry, 2},
	{"OpRunNow", onceq.OpRunNow, 3},
	{"OpDelete", onceq.OpDelete, 4},
	{"OpPause", onceq.OpPause, 5},
	{"OpResume", onceq.OpResume, 6},
	{"OpRelease", onceq.OpRelease, 7},

	// A key hashes which parts it is of.
	{"ByKind", onceq.ByKind, fingerprint.ByKind},
	{"ByQueue", onceq.ByQueue, fingerprint.ByQueue},
	{"ByArgs", onceq.ByArgs, fingerprint.ByArgs},
	{"ByMeta", onceq.ByMeta, fingerprint.ByMeta},
	{"ByKey", onceq.ByKey, 16},
	{"fingerprint.ByKind", fingerprint.ByKind, 1},
	{"fingerprint.ByQueue", fingerprint.ByQueue, 2},
	{"fingerprint.ByArgs", fingerprint.ByArgs, 4},
	{"fingerprint.ByMeta", fingerprint.ByMeta, 8},
}

func TestNumbersThatAreOnDiskNeverChange(t *testing.T) {
	for _, n := range numbers {
		if got, want := fmt.Sprintf("%d", n.got), fmt.Sprintf("%d", n.want); got != want {
			t.Errorf("%s is %s, and stands for %s in databases that are there", n.name, got, want)
		}
	}
}

func TestWordsThatAreOnDiskNeverChange(t *testing.T) {
	states := []onceq.State{"scheduled", "available", "running", "retryable", "completed", "discarded", "cancelled"}
	if !slices.Equal(states, onceq.States()) {
		t.Errorf("the states are %q, want %q", onceq.States(), states)
	}
	outcomes := []onceq.Outcome{onceq.Inserted, onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced,
		onceq.Superseded}
	if !slices.Equal(outcomes, []onceq.Outcome{"inserted", "skipped", "rejected", "replaced", "coalesced",
		"superseded"}) {
		t.Errorf("the outcomes are %q", outcomes)
	}
	if onceq.EncodingJSON != "json" || onceq.EncodingBytes != "bytes" {
		t.Errorf("the encodings are %q and %q", onceq.EncodingJSON, onceq.EncodingBytes)
	}
	if onceq.Never != 1<<63-1 {
		t.Errorf("Never is %d", onceq.Never)
	}
}
