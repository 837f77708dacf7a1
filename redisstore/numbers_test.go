package redisstore

import (
	"io/fs"
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

// Every word of the scripts has a value, and none is there for nothing.
func TestScriptsSayTheWordsThatGoHas(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, file := range files {
		text, err := luaFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range word.FindAllString(string(text), -1) {
			if said[w] = true; words[w] == "" {
				t.Errorf("%s says %s, and words.go does not have it", file, w)
			}
		}
	}
	for w := range words {
		family, _, _ := strings.Cut(w, "_")
		whole := slices.Contains([]string{"STATE", "UNTIL", "ACTION", "MODE"}, family) ||
			strings.Contains(records, "\n"+family+" ")
		if !said[w] && !whole {
			t.Errorf("no script says %s", w)
		}
	}
}

// What a script reads at a place is there in databases that are there.
func TestPlacesInRecordsNeverChange(t *testing.T) {
	t.Parallel()
	for w, want := range map[string]string{
		"STATE_RUNNING": "2", "UNTIL_WINDOW_ENDS": "7", "ACTION_TAKE": "6", "FIELD_TAGS": "32",
		"ORIGIN_SUPERSEDED": "2",
		"HEAD_RUNAT":        "9", "HEAD_REF": "15", "HEAD_NONCE": "19", "HEAD_KEY": "27", "HEAD_SIZE": "58",
		"LONG_RUN": "7", "LONG_ANCHOR": "12", "LONG_FINISHED": "24", "LONG_FETCH": "30", "LONG_WORKER": "37",
		"LONG_FORMAT":  "'>I3I3I5I6I6I6I6BBc0Bc0Bc0Bc0'",
		"KEYROW_FREES": "4", "KEYROW_HOLDER": "16", "KEYROW_FORMAT": "'>BBBI6I6Bc0Bc0'", "GONE_FORMAT": "'>Bc0Bc0Bc16'",
		"PROFILE_FORMAT": "'>Bc0Bc0BI3I6I6BI6I6B'", "ERROR_FORMAT": "'>I3I5I6'",
		"QUEUE_SLEEPERS": "5", "QUEUE_SIZE": "30", "QUEUE_FORMAT": "'>I3BBI5I5I5I5I5'",
		"WORKER_SIZE": "32", "WORKER_FORMAT": "'>I6I6c8I6I6'", "ID_FORMAT": "'>I3xI6I6I3'", "ID_SIZE": "19",
		"PLAN_SIZE": strconv.Itoa(planSize), "PLACE_SIZE": "7",
	} {
		if words[w] != want {
			t.Errorf("%s is %s, and stands for %s in databases that are there", w, words[w], want)
		}
	}
}
