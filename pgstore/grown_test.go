package pgstore

import (
	"strings"
	"testing"
	"time"
)

func TestWhatOfATableIsWorthAWord(t *testing.T) {
	for _, c := range []struct {
		live, dead int64
		open       time.Duration
		want       []string
	}{
		{10_000, 99_999, 0, nil},
		{10_000, 100_000, 0, []string{"100000 dead rows beside 10000 living ones"}},
		{60_000, 100_000, 0, nil},
		{0, 0, 59 * time.Minute, nil},
		{0, 0, 61 * time.Minute, []string{"process 7 of the server has had a transaction open for 1h1m0s"}},
		{1, 1_000_000, 5 * time.Hour, []string{"1000000 dead rows", "open for 5h0m0s"}},
	} {
		got := grown(c.live, c.dead, 1<<30, c.open, 7)
		if len(got) != len(c.want) {
			t.Errorf("%+v: %q", c, got)
			continue
		}
		for i, line := range got {
			if !strings.Contains(line, c.want[i]) {
				t.Errorf("%q does not say %q", line, c.want[i])
			}
		}
	}
}
