package pgstore

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// A call that waits for an absent server makes many tries. What it reports
// is why the server could not be used, not that the last try had no time
// left or was cut off.
func TestTheReasonOfSeveralTriesIsNotThatTheLastHadNoTime(t *testing.T) {
	refused := &unsent{&net.OpError{Op: "dial", Err: errors.New("connection refused")}}
	late := &unsent{silence(50 * time.Millisecond)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, one := range []struct {
		name         string
		ctx          context.Context
		reason, err  error
		wantedReason error
	}{
		{"the first try", t.Context(), nil, refused, refused},
		{"a silent server", t.Context(), nil, late, late},
		{"a last try without time", t.Context(), refused, late, refused},
		{"a server that is silent now", t.Context(), errors.New("no such table"), late, late},
		{"a server that answers again", t.Context(), late, refused, refused},
		{"a caller who gave up", ended, refused, late, refused},
	} {
		if got := better(one.ctx, one.reason, one.err); got != one.wantedReason {
			t.Errorf("%s: %v, want %v", one.name, got, one.wantedReason)
		}
	}
}
