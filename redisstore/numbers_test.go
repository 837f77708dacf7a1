package redisstore

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// What stands in databases that are there: a new value takes the next
// number, none ever changes.
func TestNumbersThatAreOnDiskNeverChange(t *testing.T) {
	t.Parallel()
	if want := []onceq.State{"scheduled", "retryable", "running", "completed", "discarded", "cancelled",
		"available"}; !slices.Equal(states[:], want) {
		t.Errorf("states are stored as the indexes of %q, want %q", states, want)
	}
	if want := []onceq.Outcome{"inserted", "coalesced", "superseded"}; !slices.Equal(origins[:], want) {
		t.Errorf("origins are stored as the indexes of %q, want %q", origins, want)
	}
	if want := []string{"json", "bytes"}; !slices.Equal(encodings[:], want) {
		t.Errorf("encodings are stored as the indexes of %q, want %q", encodings, want)
	}
	for _, n := range []struct {
		name      string
		got, want int64
	}{
		{"headKey", headKey, 32}, {"headKeyless", headKeyless, 64}, {"headCancel", headCancel, 128},
		{"headLong", headLong, 16}, {"headNow", headNow, 32}, {"headInline", headInline, 64},
		{"bodyMeta", bodyMeta, 1}, {"bodyTags", bodyTags, 2}, {"bodyTold", bodyTold, 4},
		{"bodyNilArgs", bodyNilArgs, 8},
		{"never", never, 281474976710655}, {"packedSize", packedSize, 19},
	} {
		if n.got != n.want {
			t.Errorf("%s is %d, and stands for %d in databases that are there", n.name, n.got, n.want)
		}
	}
}

// The scripts name the same numbers as Go does.
func TestScriptsAndGoCountTheSame(t *testing.T) {
	t.Parallel()
	raw, err := luaFiles.ReadFile("lua/rows.lua")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	named := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^local ([A-Z, ]+) = ([0-9, ]+)$`).FindAllStringSubmatch(text, -1) {
		names, values := strings.Split(m[1], ", "), strings.Split(m[2], ", ")
		for i, name := range names {
			named[name], _ = strconv.Atoi(values[i])
		}
	}
	for i, s := range states[:stAvailable] {
		if got, there := named[strings.ToUpper(string(s))]; !there || got != i {
			t.Errorf("rows.lua has %s = %d (%v), Go has %d", strings.ToUpper(string(s)), got, there, i)
		}
	}
	for u := onceq.UntilDue; u <= onceq.UntilWindowEnds; u++ {
		name := strings.ToUpper(strings.ReplaceAll(u.String(), "-", ""))
		if got, there := named[name]; !there || got != int(u) {
			t.Errorf("rows.lua has %s = %d (%v), Go has %d", name, got, there, u)
		}
	}
}
