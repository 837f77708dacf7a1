package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// Ctrl-C may cut off a batch whose answer is under way: then its lines may
// have been enqueued, and to feed the rest would double them.
func TestAnInterruptThatCutsABatchOffSaysWhatIsUncertain(t *testing.T) {
	for name, c := range map[string]struct {
		broken error
		want   string
	}{
		"cut":         {fmt.Errorf("%w: %w", onceq.ErrUncertain, context.Canceled), "stopped after line 7: uncertain"},
		"between two": {context.Canceled, "interrupted after line 7: --skip-lines 7 feeds the rest"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			f := &feed{a: newApp(nil, &out, &out), tally: newTally(), last: 7}
			if err := f.summary(c.broken); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it said %v: want %s", err, c.want)
			}
		})
	}
}
