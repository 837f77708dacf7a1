package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/storetest/internal/snapshot"
)

// What most cases read with.
var (
	allJobs = snapshot.Jobs
	allKeys = snapshot.Keys
	show    = snapshot.Show
	clock   = snapshot.Clock
)

// newRow is an enqueue as the client decided it.
type newRow onceq.NewRow

func (r newRow) key() *onceq.Key { return &r.Claim.Key }

// row is what the client would send for this enqueue.
func (w *world) row(args onceq.Args, opts ...onceq.Option) newRow {
	w.Helper()
	r, err := snapshot.Row(w.Store, args, opts...)
	w.must(err)
	return newRow(r)
}

// checkInvariants reads the whole store at rest and wants it to be as
// docs/uniqueness.md says, at the instant at which its clock stands.
func checkInvariants(t testing.TB, store onceq.Store, now, latest time.Time) {
	t.Helper()
	s, err := snapshot.Of(context.Background(), store)
	if err != nil {
		t.Errorf("reading the store to check its invariants: %v", err)
	}
	for _, f := range s.Audit(now, latest) {
		t.Errorf("invariant broken: %s", f)
	}
}

// line is values with a space between them.
func line(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }
