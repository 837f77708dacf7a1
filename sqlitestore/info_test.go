package sqlitestore

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAStoreSaysWhatPutsItsPromisesAtRisk(t *testing.T) {
	for _, c := range []struct {
		path   string
		config Config
		want   string
	}{
		{filepath.Join(t.TempDir(), "full.db"), Config{}, ""},
		{filepath.Join(t.TempDir(), "normal.db"), Config{Synchronous: Normal}, "PRAGMA synchronous is below FULL"},
		{":memory:", Config{}, "in memory"},
	} {
		s, err := Open(c.path, &c.config)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Traits().Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(info.Server, "SQLite 3.") || info.Schema != "step 4" {
			t.Errorf("%s: %+v", c.path, info)
		}
		if got := strings.Join(info.Warnings, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
		_ = s.Close()
	}
}
