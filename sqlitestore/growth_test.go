package sqlitestore

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// A file whose jobs are gone is mostly free; the doctor says so, and what
// gives it back.
func TestAFileThatIsMostlyFreeIsNamed(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	client, err := onceq.NewClient(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	args := fmt.Appendf(nil, `"%s"`, strings.Repeat("x", 200<<10))
	var items []onceq.Item
	for range 120 {
		items = append(items, onceq.NewItem(onceq.JSON("big", args)))
	}
	if _, err := client.EnqueueMany(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	growth := func() string {
		t.Helper()
		report, err := client.Doctor(t.Context(), nil)
		if err != nil || len(report.Violations) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		return strings.Join(report.Growth, "\n")
	}
	if got := growth(); got != "" {
		t.Errorf("of a full file: %s", got)
	}
	if _, err := client.DeleteAll(t.Context(), onceq.JobFilter{All: true}); err != nil {
		t.Fatal(err)
	}
	if got := growth(); !strings.Contains(got, "MiB of the file are free") || !strings.Contains(got, "onceq compact") {
		t.Errorf("of an empty one: %q", got)
	}
}

func TestWhatOfAFileIsWorthAWord(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		file, free, wal int64
		want            string
	}{
		{100 * mib, 0, 0, ""},
		{100 * mib, 24 * mib, 0, ""},
		{100 * mib, 25 * mib, 0, "25 MiB of the 100 MiB"},
		{20 * mib, 15 * mib, 0, ""},
		{100 * mib, 0, 99 * mib, ""},
		{200 * mib, 0, 200 * mib, "the write-ahead log (-wal) has 200 MiB"},
		{1 * mib, 0, 63 * mib, ""},
		{111 * mib, 100 * mib, 1150 * mib, "100 MiB of the 111 MiB the write-ahead log (-wal) has 1150 MiB"},
	} {
		got := grown(c.file, c.free, c.wal)
		if len(got) != strings.Count(c.want, " has ")+strings.Count(c.want, " of the ") {
			t.Errorf("%+v: %q", c, got)
		}
		for _, line := range got {
			if !strings.Contains(c.want, line[:20]) {
				t.Errorf("%+v: %q", c, line)
			}
		}
	}
}
