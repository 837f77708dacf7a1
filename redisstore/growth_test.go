package redisstore

import (
	"strings"
	"testing"

	"github.com/onceq/onceq/internal/redistest"
)

// A server whose memory is nearly full is named by the doctor, before it
// refuses what is new.
func TestAMemoryThatIsNearlyFullIsNamed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), Config{})
	c := clientOf(t, s)
	growth := func() string {
		t.Helper()
		report, err := c.Doctor(t.Context(), nil)
		if err != nil || len(report.Violations) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		return strings.Join(report.Growth, "\n")
	}
	if got := growth(); got != "" {
		t.Errorf("without a bound: %s", got)
	}
	server.Do("config", "set", "maxmemory", "1gb")
	if got := growth(); got != "" {
		t.Errorf("of an empty server: %s", got)
	}
	server.Do("config", "set", "maxmemory", "1500kb")
	if got := growth(); !strings.Contains(got, "(maxmemory)") {
		t.Errorf("of a full one: %q", got)
	}
}
